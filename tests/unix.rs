//! Sockets of the family `AF_UNIX`.

mod support;

use std::net::{SocketAddr, TcpListener};
use std::os::windows::io::OwnedSocket;
use std::path::{Path, PathBuf};

use completion_port::{Associated, ErrorKind, Iocp, op, unix};
use support::{complete, complete_all, nothing_more, port, skipped_without, unique};

/// A path at which no other test listens, removed at the end.
struct At(PathBuf);

impl At {
    fn new() -> Self {
        Self(std::env::temp_dir().join(unique("unix")))
    }
}

impl Drop for At {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A listener that is on the port, if the system has it. Wine has not.
fn listening(port: &Iocp, at: &At) -> Option<Associated<OwnedSocket>> {
    match unix::listen(&at.0) {
        Ok(listener) => Some(port.add_handle(listener, 1).unwrap()),
        Err(error) => {
            assert!(support::is_wine(), "{error}");
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("AF_UNIX"), "{error}");
            assert_eq!(unix::connect(&at.0).unwrap_err().kind(), ErrorKind::Unsupported);
            skipped_without("AF_UNIX");
            None
        }
    }
}

fn read(port: &Iocp, socket: &Associated<OwnedSocket>) -> Vec<u8> {
    port.initiate_read(socket, 5, Vec::with_capacity(64)).unwrap();
    let mut completion = complete(port);
    assert_eq!(completion.error_status, Ok(()));
    completion.operation.take_buffer().unwrap()
}

#[test]
fn connections_are_accepted_before_and_after_the_client_comes_and_carry_both_ways() {
    let (port, at) = (port(), At::new());
    let Some(listener) = listening(&port, &at) else { return };
    for early in [false, true] {
        let open = || port.add_handle(unix::connect(&at.0).unwrap(), 2).unwrap();
        let client = early.then(open);
        port.initiate(&listener, 3, op::Accept::unix()).unwrap();
        let client = client.unwrap_or_else(open);
        let mut completion = complete(&port);
        assert_eq!((completion.context, completion.error_status), (3, Ok(())));
        let server: OwnedSocket = completion.operation.output().unwrap();
        let server = port.add_handle(server, 4).unwrap();
        for (from, to, text) in [(&client, &server, "there"), (&server, &client, "and back")] {
            port.initiate_write(from, 5, text).unwrap();
            assert_eq!(complete(&port).error_status, Ok(()));
            assert_eq!(read(&port, to), text.as_bytes());
        }
        drop(client);
        assert_eq!(read(&port, &server), b"");
    }
    nothing_more(&port);
}

#[test]
fn a_cancelled_accept_takes_nobody() {
    let (port, at) = (port(), At::new());
    let Some(listener) = listening(&port, &at) else { return };
    port.initiate(&listener, 3, op::Accept::unix()).unwrap();
    assert!(listener.cancel_all().unwrap());
    let mut completion = complete(&port);
    assert!(completion.error_status.unwrap_err().is_cancelled());
    assert!(completion.operation.take::<OwnedSocket>().is_none());
    let _client = unix::connect(&at.0).unwrap();
    port.initiate(&listener, 3, op::Accept::unix()).unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));

    // Dropped, it waits for nobody either.
    port.initiate(&listener, 3, op::Accept::unix()).unwrap();
    drop(listener);
    assert!(complete_all(&port, 1)[0].error_status.is_err());
}

#[test]
fn each_family_has_its_own_operations() {
    let (port, at) = (port(), At::new());
    let tcp = port.add_handle(TcpListener::bind("127.0.0.1:0").unwrap(), 1).unwrap();
    let rejected = port.initiate(&tcp, 2, op::Accept::unix()).unwrap_err();
    assert_eq!((rejected.error.kind(), rejected.returned.0), (ErrorKind::Unsupported, 2));
    assert!(rejected.error.to_string().contains("AF_UNIX"), "{}", rejected.error);

    let Some(listener) = listening(&port, &at) else { return };
    let rejected = port.initiate(&listener, 2, op::Accept::new()).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    assert!(rejected.error.to_string().contains("Accept::unix"), "{}", rejected.error);
    let client = port.add_handle(unix::connect(&at.0).unwrap(), 2).unwrap();
    let rejected = port.initiate(&client, 2, op::Accept::unix()).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
    // The system's own connect would break its stack.
    let to = SocketAddr::from(([127, 0, 0, 1], 1));
    let rejected = port.initiate(&client, 2, op::Connect::new(to)).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
    nothing_more(&port);
}

#[test]
fn a_path_that_is_none_or_taken_is_told() {
    let (port, at) = (port(), At::new());
    let long = "x".repeat(108);
    for path in ["", "zero\0zero", &long] {
        for error in [unix::listen(path).unwrap_err(), unix::connect(path).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
    }
    let Some(_listener) = listening(&port, &at) else { return };
    assert_eq!(unix::listen(&at.0).unwrap_err().kind(), ErrorKind::AddressInUse);
    let nobody = unix::connect(Path::new(&unique("nobody"))).unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::ConnectionRefused);
}
