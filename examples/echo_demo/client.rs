//! The clients: all on one thread and one port of their own. Each sends a
//! message, reads it back while it is still sending, and verifies every byte.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use completion_port::{
    Associated, Batch, CompletionStatus, Iocp, OperationKind, Rejected, unconnected_stream,
};

use super::report::Verified;

/// How long a client waits for anything at all before it gives up.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Plan {
    pub server: SocketAddr,
    pub connections: u32,
    pub message_size: usize,
    pub until: Instant,
    pub stop: Arc<AtomicBool>,
}

struct Client {
    stream: Associated<TcpStream>,
    number: usize,
    round: usize,
    /// Messages that came back whole.
    messages: usize,
    /// How much of the message has come back.
    received: usize,
    is_sending: bool,
}

pub fn run(plan: &Plan) -> io::Result<Verified> {
    let port = Iocp::new()?;
    let mut verified = Verified::default();
    let mut clients = Vec::new();
    for number in 0..plan.connections as usize {
        let stream = port.add_handle(unconnected_stream(plan.server)?, number)?;
        let client =
            Client { stream, number, round: 0, messages: 0, received: 0, is_sending: false };
        verified.count(port.initiate_connect(&client.stream, number, plan.server));
        clients.push(client);
    }
    let mut batch = Batch::with_capacity(64);
    while verified.in_flight > 0 {
        if port.get_completions(&mut batch, Some(PATIENCE))? == 0 {
            eprintln!("\nthe server has not answered for {} s", PATIENCE.as_secs());
            verified.wrong += verified.in_flight;
            break;
        }
        for completion in &mut batch {
            let completion = completion?;
            verified.in_flight -= 1;
            let client = &mut clients[completion.context];
            client.advance(&port, plan, completion, &mut verified);
        }
    }
    verified.fewest = clients.iter().map(|client| client.messages).min().unwrap_or(0);
    Ok(verified)
}

impl Verified {
    fn count<P, T>(&mut self, started: Result<P, Rejected<T>>) {
        match started {
            Ok(_) => self.in_flight += 1,
            Err(rejected) => {
                eprintln!("\nclient: {rejected}");
                self.wrong += 1;
            }
        }
    }
}

impl Client {
    fn advance(
        &mut self,
        port: &Iocp,
        plan: &Plan,
        mut completion: CompletionStatus,
        verified: &mut Verified,
    ) {
        if let Err(error) = completion.error_status {
            eprintln!("\nclient {}: {error}", self.number);
            verified.wrong += plan.message_size;
            return;
        }
        match completion.operation.kind() {
            OperationKind::Connect => {
                // Whether it works does not matter to the result.
                let _ = self.stream.get_ref().set_nodelay(true);
                self.next_message(port, plan, verified, Vec::new());
            }
            OperationKind::Write => {
                self.is_sending = false;
                let message = completion.operation.take_buffer().expect("a message was sent");
                if self.received == plan.message_size {
                    self.next_message(port, plan, verified, message);
                }
            }
            _ => {
                let buffer: Vec<u8> = completion.operation.take_buffer().expect("a read's buffer");
                self.receive(port, plan, verified, buffer);
            }
        }
    }

    /// Sends the next message, or says goodbye, and reads what comes back.
    fn next_message(
        &mut self,
        port: &Iocp,
        plan: &Plan,
        verified: &mut Verified,
        mut message: Vec<u8>,
    ) {
        self.round += 1;
        self.received = 0;
        if Instant::now() < plan.until && !plan.stop.load(Ordering::Relaxed) {
            message.clear();
            message.extend((0..plan.message_size).map(|index| self.expected(index)));
            self.is_sending = true;
            verified.count(port.initiate_write(&self.stream, self.number, message));
        } else if let Err(error) = self.stream.get_ref().shutdown(Shutdown::Write) {
            eprintln!("\nclient {}: {error}", self.number);
            verified.wrong += 1;
        }
        let buffer = Vec::with_capacity(plan.message_size.min(64 * 1024));
        verified.count(port.initiate_read(&self.stream, self.number, buffer));
    }

    fn receive(&mut self, port: &Iocp, plan: &Plan, verified: &mut Verified, mut buffer: Vec<u8>) {
        if buffer.is_empty() {
            // The server has closed the connection: as it should, after we
            // have said goodbye.
            let complete = self.received == 0 && !self.is_sending;
            verified.connections += usize::from(complete);
            verified.wrong += usize::from(!complete);
            return;
        }
        let right = (self.received..)
            .zip(&buffer)
            .filter(|&(index, &byte)| index < plan.message_size && byte == self.expected(index))
            .count();
        verified.bytes += right;
        verified.wrong += buffer.len() - right;
        self.received += buffer.len();
        if self.received < plan.message_size {
            buffer.clear();
            verified.count(port.initiate_read(&self.stream, self.number, buffer));
            return;
        }
        self.messages += 1;
        verified.messages += 1;
        if !self.is_sending {
            self.next_message(port, plan, verified, Vec::new());
        }
    }

    /// The byte that belongs at `index`: different for every client, round and
    /// place, so that nothing that is lost, doubled or mixed up goes unseen.
    fn expected(&self, index: usize) -> u8 {
        let mixed = (self.number * 31 + self.round * 7 + index).wrapping_mul(0x9E37_79B1);
        (mixed >> 13) as u8
    }
}
