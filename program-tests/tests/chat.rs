//! `chat`, among sockets of Python's.

use program_tests::{Program, python};

fn chat(options: &[&str], script: &str) -> Option<(Program, String)> {
    const COMMON: &str = "
import socket, struct, sys, threading, time
class Client:
    def __init__(self, receive_buffer=None):
        self.s = socket.socket()
        self.s.settimeout(20)
        if receive_buffer: self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.s.connect((sys.argv[1], int(sys.argv[2])))
        self.name = '%s:%d' % self.s.getsockname()
        self.lines = self.s.makefile('rb')
    def line(self): return self.lines.readline().decode()
    def say(self, text): self.s.sendall(text.encode())
def meet(*clients):
    # Everybody is there once each has heard of the next.
    for client, other in zip(clients, clients[1:]):
        while client.line() != f'* {other.name} has come\\n': pass
";
    let mut server = Program::start("chat", [&["--listen", "127.0.0.1:0"], options].concat());
    let address = server.address();
    let (host, port) = address.rsplit_once(':').expect("a port");
    let said = python(&[COMMON, script].concat(), [host, port])?;
    Some((server, said))
}

#[test]
fn everybody_else_gets_a_line() {
    let script = r"
a = Client(); b = Client(); c = Client()
meet(a, b, c)
assert a.line() == f'* {c.name} has come\n'
a.say('hel')
a.say('lo\r\nsecond\nthird without an end')
for other in b, c:
    assert other.line() == f'{a.name}: hello\n'
    assert other.line() == f'{a.name}: second\n'
c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii' if sys.platform != 'win32' else 'hh', 1, 0))
c.lines.close(); c.s.close()
for other in a, b: assert other.line() == f'* {c.name} has gone\n'
b.say('x' * 10_000)
assert a.line() == f'* {b.name} has said too much at a time\n'
print('good')
";
    let Some((_server, said)) = chat(&[], script) else { return };
    assert_eq!(said.trim(), "good");
}

#[test]
fn who_talks_waits_for_who_listens() {
    let script = r"
talker = Client(); listener = Client(4096)
meet(talker, listener)
TEXT, COUNT = 'y' * 4000 + '\n', 5000
progress = [0]
def talk():
    for _ in range(COUNT):
        talker.say(TEXT)
        progress[0] += 1
thread = threading.Thread(target=talk)
thread.start()
# Until it is stuck, before the server has been told everything.
before = -1
while before != progress[0]:
    before = progress[0]
    time.sleep(0.5)
assert before < COUNT, 'nobody held it back'
for _ in range(COUNT): assert listener.line() == f'{talker.name}: {TEXT}'
thread.join()
print('good')
";
    let options = ["--patience", "100", "--backlog", "10000"];
    let Some((_server, said)) = chat(&options, script) else { return };
    assert_eq!(said.trim(), "good");
}

#[test]
fn of_a_crowd_that_goes_at_once_each_is_told_once() {
    let script = r"
watcher = Client()
crowd = [Client() for _ in range(200)]
meet(watcher, *crowd)
for client in crowd[1:]: assert watcher.line() == f'* {client.name} has come\n'
for client in crowd:
    client.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii' if sys.platform != 'win32' else 'hh', 1, 0))
    client.lines.close(); client.s.close()
gone = [watcher.line() for _ in crowd]
assert sorted(gone) == sorted(f'* {client.name} has gone\n' for client in crowd), gone
late = Client()
assert watcher.line() == f'* {late.name} has come\n'
print('good')
";
    let Some((_server, said)) = chat(&[], script) else { return };
    assert_eq!(said.trim(), "good");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_it_and_nobody_is_said_to_have_gone() {
    let mut server = Program::start("chat", ["--listen", "127.0.0.1:0"]);
    let address = server.address();
    let connect = |_| {
        let client = std::net::TcpStream::connect(&address).unwrap();
        assert!(server.line().ends_with(" has come"));
        client
    };
    let clients: Vec<_> = (0..20).map(connect).collect();
    assert_eq!(server.interrupt(), [""; 0]);
    drop(clients);
}

#[test]
fn who_does_not_listen_is_dropped_and_the_others_go_on() {
    let script = r"
talker = Client(); slow = Client(4096); good = Client()
meet(talker, slow, good)
TEXT, COUNT = 'y' * 4000 + '\n', 3000
thread = threading.Thread(target=lambda: [talker.say(TEXT) for _ in range(COUNT)])
thread.start()
lines = 0
while lines < COUNT:
    line = good.line()
    if line == f'* {slow.name} was too slow\n': print('dropped')
    else:
        assert line == f'{talker.name}: {TEXT}', line
        lines += 1
thread.join()
print('good')
";
    let options = ["--patience", "1", "--backlog", "10000"];
    let Some((_server, said)) = chat(&options, script) else { return };
    assert_eq!(said.lines().collect::<Vec<_>>(), ["dropped", "good"]);
}
