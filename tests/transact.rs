//! A request and its answer on a pipe of messages, in one operation.
#![cfg(windows)]

mod support;

use std::os::windows::io::OwnedHandle;

use completion_port::{Associated, CompletionStatus, ErrorKind, Iocp, op};
use op::{Fills, Sends};
use support::{complete, few, nothing_more, pipe_pair, port};

const ASK: usize = 1;
const OTHER: usize = 2;

type Pipe = Associated<OwnedHandle>;
type Both = (&'static str, Vec<u8>);

fn pair(port: &Iocp, messages: bool) -> (Pipe, Pipe) {
    let (server, client) = pipe_pair(messages);
    (port.add_handle(server, 10).unwrap(), port.add_handle(client, 20).unwrap())
}

fn ask(request: &'static str, room: usize) -> op::Transact<&'static str, Vec<u8>> {
    op::Transact::new(request, Vec::with_capacity(room))
}

/// What the server is asked.
#[track_caller]
fn asked(port: &Iocp, server: &Pipe) -> Vec<u8> {
    port.initiate_read(server, OTHER, Vec::with_capacity(64)).unwrap();
    let mut completion = complete(port);
    assert_eq!((completion.context, &completion.error_status), (OTHER, &Ok(())));
    completion.operation.take_buffer().unwrap()
}

/// What was there to answer may come before or after what has answered.
#[track_caller]
fn answer(port: &Iocp, server: &Pipe, answer: &'static str) -> CompletionStatus {
    port.initiate_write(server, OTHER, answer).unwrap();
    let (one, other) = (complete(port), complete(port));
    let (asked, answered) = if one.context == ASK { (one, other) } else { (other, one) };
    assert_eq!((asked.context, answered.context), (ASK, OTHER));
    assert_eq!(answered.error_status, Ok(()));
    asked
}

#[test]
fn an_answer_comes_with_its_request() {
    let port = port();
    let (server, client) = pair(&port, true);
    for text in
        [["ping", "pong"], ["", "nothing"], ["nothing", ""]].into_iter().cycle().take(few(60))
    {
        let [request, reply] = text;
        port.initiate(&client, ASK, ask(request, 64)).unwrap();
        nothing_more(&port);
        assert_eq!(asked(&port, &server), request.as_bytes());
        let mut completion = answer(&port, &server, reply);
        assert_eq!(completion.error_status, Ok(()));
        assert_eq!(completion.bytes_transferred as usize, reply.len());
        let (sent, received) = completion.operation.output::<Both>().unwrap();
        assert_eq!((sent, received), (request, reply.as_bytes().to_vec()));
    }
    nothing_more(&port);
}

#[test]
#[cfg_attr(miri, ignore = "Miri's own RtlNtStatusToDosError does not know the status")]
fn a_long_answer_is_cut_and_its_rest_can_be_read() {
    let port = port();
    let (server, client) = pair(&port, true);
    port.initiate(&client, ASK, ask("ping", 4)).unwrap();
    assert_eq!(asked(&port, &server), b"ping");
    let mut completion = {
        port.initiate_write(&server, OTHER, "a long answer").unwrap();
        let first = complete(&port);
        if first.context == ASK { first } else { complete(&port) }
    };
    let error = completion.error_status.unwrap_err();
    assert_eq!((error.kind(), completion.bytes_transferred), (ErrorKind::MoreData, 4));
    assert_eq!(completion.operation.output::<Both>().unwrap().1, b"a lo");
    // It is no answer to the next request.
    let rejected = port.initiate(&client, ASK, ask("ping", 64)).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Busy);
    assert_eq!(rejected.returned.0, ASK);
    port.initiate_read(&client, ASK, Vec::with_capacity(64)).unwrap();
    // The server's write may end only now.
    let rest = std::iter::repeat_with(|| complete(&port)).find(|it| it.context == ASK);
    assert_eq!(rest.unwrap().operation.take_buffer::<Vec<u8>>().unwrap(), b"ng answer");
}

#[test]
fn what_cannot_be_answered_is_refused_and_comes_back() {
    let port = port();
    let (_server, client) = pair(&port, false);
    let rejected = port.initiate(&client, ASK, ask("ping", 64)).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    let (Sends(request), Fills(room)) = rejected.returned.1;
    assert_eq!((request, room.capacity()), ("ping", 64));

    let (server, client) = pair(&port, true);
    let rejected = port.initiate(&client, ASK, ask("ping", 0)).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
    drop(server);
    // Not the end of a stream: there was no answer.
    let error = match port.initiate(&client, ASK, ask("ping", 64)) {
        Ok(_) => complete(&port).error_status.unwrap_err(),
        Err(rejected) => rejected.error,
    };
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    nothing_more(&port);
}

#[test]
fn both_buffers_come_back_when_nobody_answers() {
    let port = port();
    let (server, client) = pair(&port, true);
    let mut pending = port.initiate(&client, ASK, ask("ping", 64)).unwrap();
    assert_eq!(asked(&port, &server), b"ping");
    pending.cancel().unwrap();
    assert!(complete(&port).error_status.unwrap_err().is_cancelled());
    let (request, answer) = pending.take().unwrap();
    assert_eq!((request, answer.capacity()), ("ping", 64));

    port.initiate(&client, ASK, ask("ping", 64)).unwrap();
    assert_eq!(asked(&port, &server), b"ping");
    drop(server);
    let mut completion = complete(&port);
    // Miri's own RtlNtStatusToDosError does not know the status.
    let kind = completion.error_status.unwrap_err().kind();
    assert!(cfg!(miri) || kind == ErrorKind::BrokenPipe, "{kind}");
    assert_eq!(completion.operation.output::<Both>().unwrap().1, b"");
    nothing_more(&port);
}

#[test]
fn borrowed_buffers_do_in_a_scope() {
    let port = port();
    let (server, client) = pair(&port, true);
    let (request, mut room) = (b"ping".to_vec(), [0; 16]);
    port.scope(|scope| {
        let operation = op::Transact::new(&request[..], &mut room[..]);
        let mut pending = scope.initiate(&client, ASK, operation).unwrap();
        assert_eq!(asked(&port, &server), b"ping");
        let completion = answer(&port, &server, "pong");
        assert_eq!(completion.bytes_transferred, 4);
        assert_eq!(&pending.take().unwrap().1[..4], b"pong");
    });
    assert_eq!(&room[..4], b"pong");
}

#[cfg(simulated_kernel)] // other kernels cannot be told
mod told {
    use simulated_kernel::{Chance, behave};

    use super::*;

    /// A broken kernel's count makes nothing of memory that was not written.
    #[test]
    fn no_more_is_told_of_an_answer_than_there_is_room() {
        for (inline, more) in [(Chance::Always, 1), (Chance::Never, 1), (Chance::Never, 1 << 31)] {
            let port = port();
            let (server, client) = pair(&port, true);
            let behaving = behave(|kernel| {
                kernel.inline = inline;
                kernel.over_report = more;
            });
            port.initiate(&client, ASK, ask("ping", 4)).unwrap();
            drop(behaving);
            let behaving = behave(|kernel| kernel.over_report = more);
            let _ = asked(&port, &server);
            let mut completion = answer(&port, &server, "pong");
            drop(behaving);
            assert_eq!(completion.operation.output::<Both>().unwrap().1, b"pong");
        }
    }

    #[test]
    fn a_failure_gives_both_back_whenever_it_comes() {
        let port = port();
        let (server, client) = pair(&port, true);
        let behaving = behave(|kernel| kernel.refuse.push_back(1450));
        let rejected = port.initiate(&client, ASK, ask("ping", 4)).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::ResourceExhausted);
        drop(behaving);
        port.initiate(&client, ASK, ask("ping", 4)).unwrap();
        assert_eq!(asked(&port, &server), b"ping");
        let behaving = behave(|kernel| kernel.fail.push_back(0xC000_009A));
        let mut completion = answer(&port, &server, "pong");
        drop(behaving);
        assert!(completion.error_status.is_err());
        assert_eq!(completion.operation.output::<Both>().unwrap(), ("ping", Vec::new()));
        nothing_more(&port);
    }
}
