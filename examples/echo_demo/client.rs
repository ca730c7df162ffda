//! The clients: all on one thread and one port of their own. Once all are
//! connected, each sends a message, reads it back while it is still sending,
//! and verifies every byte.

use std::fmt::{Debug, Display};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use completion_port::{
    Associated, Batch, CompletionStatus, Iocp, OperationKind, Rejected, unconnected_stream,
};

use super::report::{Errors, Verified};

/// How long a client waits for anything at all before it gives up.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Plan {
    /// Where the server listens.
    pub server: SocketAddr,
    pub connections: u32,
    pub message_size: usize,
    pub duration: Duration,
    pub stop: Arc<AtomicBool>,
    pub errors: Arc<Errors>,
}

/// What all clients share.
struct Shared<'a> {
    plan: &'a Plan,
    port: Iocp,
    until: Instant,
    verified: Verified,
}

struct Client {
    stream: Associated<TcpStream>,
    number: usize,
    is_connected: bool,
    round: usize,
    /// Messages that came back whole.
    messages: usize,
    /// How much of the message has come back.
    received: usize,
    is_sending: bool,
}

pub fn run(plan: &Plan) -> io::Result<Verified> {
    let start = Instant::now();
    let verified = Verified::default();
    let mut shared = Shared { plan, port: Iocp::new()?, until: start, verified };

    let server = reachable(plan.server);
    let mut clients = Vec::new();
    for number in 0..plan.connections as usize {
        let client = Client::new(&shared.port, number, server)?;
        let started = shared.port.initiate_connect(&client.stream, number, server);
        shared.started(number, started);
        clients.push(client);
    }
    shared.complete_all(&mut clients)?;
    shared.verified.connecting = start.elapsed();

    let start = Instant::now();
    shared.until = start + plan.duration;
    for client in clients.iter_mut().filter(|client| client.is_connected) {
        client.next_message(&mut shared, Vec::new());
    }
    shared.complete_all(&mut clients)?;
    shared.verified.elapsed = start.elapsed();
    shared.verified.fewest = clients.iter().map(|client| client.messages).min().unwrap_or(0);
    Ok(shared.verified)
}

/// A server that listens on all addresses of this machine is found on its
/// loopback address.
fn reachable(mut server: SocketAddr) -> SocketAddr {
    match server.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => server.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => server.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    server
}

impl Shared<'_> {
    /// Serves the clients until nothing is in flight.
    fn complete_all(&mut self, clients: &mut [Client]) -> io::Result<()> {
        let mut batch = Batch::with_capacity(64);
        while self.verified.in_flight > 0 {
            if self.port.get_completions(&mut batch, Some(PATIENCE))? == 0 {
                self.verified.wrong += self.verified.in_flight;
                let error = format!("no answer for {} s", PATIENCE.as_secs());
                self.plan.errors.count("clients", io::ErrorKind::TimedOut, error);
                break;
            }
            for completion in &mut batch {
                let completion = completion?;
                self.verified.in_flight -= 1;
                clients[completion.context].advance(self, completion);
            }
        }
        Ok(())
    }

    fn started<P, T>(&mut self, number: usize, started: Result<P, Rejected<T>>) {
        match started {
            Ok(_) => self.verified.in_flight += 1,
            Err(rejected) => self.failed(number, rejected.error.kind(), &rejected.error),
        }
    }

    fn failed(&mut self, number: usize, kind: impl Debug, error: impl Display) {
        self.verified.wrong += 1;
        self.plan.errors.count(format_args!("client {number}"), kind, error);
    }

    /// Whether it is time to say goodbye.
    fn is_over(&self) -> bool {
        Instant::now() >= self.until || self.plan.stop.load(Ordering::Relaxed)
    }
}

impl Client {
    fn new(port: &Iocp, number: usize, server: SocketAddr) -> io::Result<Self> {
        let stream = port.add_handle(unconnected_stream(server)?, number)?;
        Ok(Self {
            stream,
            number,
            is_connected: false,
            round: 0,
            messages: 0,
            received: 0,
            is_sending: false,
        })
    }

    fn advance(&mut self, shared: &mut Shared, mut completion: CompletionStatus) {
        if let Err(error) = completion.error_status {
            shared.failed(self.number, error.kind(), error);
            return;
        }
        match completion.operation.kind() {
            OperationKind::Connect => {
                self.is_connected = true;
                // Whether it works does not matter to the result.
                let _ = self.stream.get_ref().set_nodelay(true);
            }
            OperationKind::Write => {
                self.is_sending = false;
                let message = completion.operation.take_buffer().expect("a message was sent");
                if self.received == shared.plan.message_size {
                    self.next_message(shared, message);
                }
            }
            _ => {
                let buffer: Vec<u8> = completion.operation.take_buffer().expect("a read's buffer");
                self.receive(shared, buffer);
            }
        }
    }

    /// Sends the next message, or says goodbye, and reads what comes back.
    fn next_message(&mut self, shared: &mut Shared, mut message: Vec<u8>) {
        let size = shared.plan.message_size;
        self.round += 1;
        self.received = 0;
        if !shared.is_over() {
            message.clear();
            message.extend((0..size).map(|index| self.expected(index)));
            self.is_sending = true;
            let started = shared.port.initiate_write(&self.stream, self.number, message);
            shared.started(self.number, started);
        } else if let Err(error) = self.stream.get_ref().shutdown(Shutdown::Write) {
            shared.failed(self.number, error.kind(), error);
        }
        self.read(shared, Vec::with_capacity(size.min(64 * 1024)));
    }

    fn read(&self, shared: &mut Shared, buffer: Vec<u8>) {
        let started = shared.port.initiate_read(&self.stream, self.number, buffer);
        shared.started(self.number, started);
    }

    fn receive(&mut self, shared: &mut Shared, mut buffer: Vec<u8>) {
        if buffer.is_empty() {
            // The server has closed the connection: as it should, after we
            // have said goodbye.
            if self.received == 0 && !self.is_sending {
                shared.verified.connections += 1;
            } else {
                shared.failed(self.number, io::ErrorKind::UnexpectedEof, "the echo was cut short");
            }
            return;
        }
        let right = (self.received..)
            .zip(&buffer)
            .filter(|&(index, &byte)| {
                index < shared.plan.message_size && byte == self.expected(index)
            })
            .count();
        shared.verified.bytes += right;
        shared.verified.wrong += buffer.len() - right;
        self.received += buffer.len();
        if self.received < shared.plan.message_size {
            buffer.clear();
            self.read(shared, buffer);
            return;
        }
        self.messages += 1;
        shared.verified.messages += 1;
        if !self.is_sending {
            self.next_message(shared, Vec::new());
        }
    }

    /// The byte that belongs at `index`: different for every client, round and
    /// place, so that nothing that is lost, doubled or mixed up goes unseen.
    fn expected(&self, index: usize) -> u8 {
        let mixed = (self.number * 31 + self.round * 7 + index).wrapping_mul(0x9E37_79B1);
        (mixed >> 13) as u8
    }
}
