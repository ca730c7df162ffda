//! The same rows on the library.

use std::net::{TcpListener, TcpStream};

use completion_port::{
    Associated, Batch, CompletionStatus, Error, Inline, Iocp, Mode, Queued, Started, listener, op,
};
use cost::objects::{SIZE, datagrams, file, pipes, streams};

use crate::{CONNECTIONS, Echo, Row};

pub fn run(row: Row, rounds: usize) {
    let port = Iocp::new().unwrap();
    match row {
        Row::Post => post(&port, rounds),
        Row::FileRead => file_read(&port, rounds),
        Row::PipeRoundTrip => pipe_round_trip(&port, rounds),
        Row::Cancel => cancel(&port, rounds),
        Row::Message => message(&port, rounds),
        Row::Accept => accept(&port, rounds),
        Row::Echo(echo) if echo.skip => {
            let skip = |stream| add(&port, stream).skip_on_success().unwrap();
            self::echo::<Inline>(&port, echo, rounds, skip);
        }
        Row::Echo(echo) => self::echo::<Queued>(&port, echo, rounds, |stream| add(&port, stream)),
    }
}

fn add<H: completion_port::Adoptable>(port: &Iocp, handle: H) -> Associated<H> {
    port.add_handle(handle, 0).unwrap()
}

fn post(port: &Iocp, rounds: usize) {
    for _ in 0..rounds {
        port.post(0, 0, 0).unwrap();
        succeeded(&port.get_completion().unwrap());
    }
}

fn file_read(port: &Iocp, rounds: usize) {
    let file = add(port, file());
    for _ in 0..rounds {
        port.initiate_read_at(&file, 0, [0; SIZE], 0).unwrap();
        succeeded(&port.get_completion().unwrap());
    }
}

fn pipe_round_trip(port: &Iocp, rounds: usize) {
    let (server, client) = pipes("library");
    let (server, client) = (add(port, server), add(port, client));
    for _ in 0..rounds {
        port.initiate_read(&client, 0, [0; SIZE]).unwrap();
        port.initiate_write(&server, 0, [7; SIZE]).unwrap();
        dequeue(port, 2);
        port.initiate_read(&server, 0, [0; SIZE]).unwrap();
        port.initiate_write(&client, 0, [7; SIZE]).unwrap();
        dequeue(port, 2);
    }
}

fn cancel(port: &Iocp, rounds: usize) {
    let (_client, server) = streams();
    let server = add(port, server);
    for _ in 0..rounds {
        let pending = port.initiate_read(&server, 0, [0; SIZE]).unwrap();
        assert_eq!(pending.cancel(), Ok(true));
        let completion = port.get_completion().unwrap();
        assert!(completion.error_status.as_ref().is_err_and(Error::is_cancelled));
    }
}

fn message(port: &Iocp, rounds: usize) {
    let (one, other) = datagrams();
    let to = other.local_addr().unwrap();
    let (one, other) = (add(port, one), add(port, other));
    for _ in 0..rounds {
        port.initiate(&one, 0, op::SendMessage::new([7; SIZE], to)).unwrap();
        port.initiate(&other, 0, op::ReceiveMessage::new([0; SIZE])).unwrap();
        dequeue(port, 2);
    }
}

fn accept(port: &Iocp, rounds: usize) {
    let socket = add(port, TcpListener::bind("127.0.0.1:0").unwrap());
    let options = listener::Options::new().accepts(1);
    let listener = options.listen(port, socket, || 0).unwrap();
    for _ in 0..rounds {
        let client = TcpStream::connect(listener.local_addr()).unwrap();
        let mut completion = port.get_completion().unwrap();
        let connection = listener.accepted(&mut completion).unwrap().associate(port, 0).unwrap();
        assert!(connection.peer.ip().is_loopback());
        connection.close();
        drop(client);
    }
}

fn echo<M: Mode>(
    port: &Iocp,
    echo: Echo,
    rounds: usize,
    add: impl Fn(TcpStream) -> Associated<TcpStream, M>,
) {
    let connections: Vec<_> = (0..CONNECTIONS)
        .map(|_| streams())
        .map(|(client, server)| (add(client), add(server)))
        .collect();
    let mut batch = Batch::with_capacity(2 * CONNECTIONS);
    for _ in 0..rounds / CONNECTIONS {
        for back in [false, true] {
            let mut packets = 0;
            for sending in [echo.ready, !echo.ready] {
                for (client, server) in &connections {
                    let (from, to) = if back { (server, client) } else { (client, server) };
                    let started = if sending {
                        port.initiate_write(from, 0, [7; SIZE])
                    } else {
                        port.initiate_read(to, 0, [0; SIZE])
                    };
                    match started.unwrap().into() {
                        started if echo.batches => batch.push(started),
                        Started::Completed(completion) => succeeded(&completion),
                        Started::Pending(_) => packets += 1,
                    }
                }
            }
            if echo.batches {
                dequeue_batches(port, &mut batch);
            } else if packets > 0 {
                dequeue(port, packets);
            } else {
                assert!(port.try_get_completion().unwrap().is_none());
            }
        }
    }
}

fn succeeded(completion: &CompletionStatus) {
    assert!(completion.error_status.is_ok());
}

fn dequeue(port: &Iocp, packets: usize) {
    for _ in 0..packets {
        succeeded(&port.get_completion().unwrap());
    }
}

/// All of one direction, those that completed at once included.
fn dequeue_batches(port: &Iocp, batch: &mut Batch) {
    let mut left = 2 * CONNECTIONS;
    while left > 0 {
        left -= port.get_completions(batch, None).unwrap();
        batch.for_each(|completion| succeeded(&completion.unwrap()));
    }
}
