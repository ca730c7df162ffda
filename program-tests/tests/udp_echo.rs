//! `udp_echo`, driven by sockets of Python's.

use program_tests::{Program, python, run};

const SCRIPT: &str = "
import socket, sys
server = (sys.argv[1], int(sys.argv[2]))
def client():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(20)
    return s
clients = [client() for _ in range(20)]
echoed = 0
for size in [0, 1, 100, 1472, 9000, 65507]:
    for number, s in enumerate(clients):
        s.sendto(bytes([number]) * size, server)
        answer, sender = s.recvfrom(65536)
        assert answer == bytes([number]) * size and sender == server, (number, size, len(answer))
        echoed += 1
# Nobody is there for these echoes, which does no harm to others.
for _ in range(100):
    s = client()
    s.sendto(b'gone', server)
    s.close()
clients[0].sendto(b'still there', server)
assert clients[0].recv(100) == b'still there'
print(echoed)
";

#[test]
fn each_datagram_comes_back_to_its_sender() {
    let mut server = Program::start("udp_echo", ["--listen", "127.0.0.1:0", "--depth", "4"]);
    let address = server.address();
    let (host, port) = address.rsplit_once(':').expect("a port");
    let Some(echoed) = python(SCRIPT, [host, port]) else { return };
    assert_eq!(echoed.trim(), "120");
    #[cfg(unix)]
    assert!(server.interrupt()[0].ends_with(" datagrams echoed"));
}

#[test]
fn mistakes_are_explained() {
    let output = run("udp_echo", ["--listen", "127.0.0.1:70000"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("cannot listen on 127.0.0.1:70000"), "{errors}");
    assert_eq!(run("udp_echo", ["--depth", "0"]).status.code(), Some(2));
}
