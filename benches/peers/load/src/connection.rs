//! One connection, and what it sends.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

/// Messages that differ between connections and from one to the next.
pub struct Messages {
    noise: Vec<u8>,
    size: usize,
}

impl Messages {
    const STARTS: usize = 1 << 16;

    pub fn new(size: usize) -> Self {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let noise = (0..Self::STARTS + size)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            })
            .collect();
        Self { noise, size }
    }

    fn get(&self, lane: usize, sequence: usize) -> &[u8] {
        let start = (lane * 7919 + sequence * 104_729) % Self::STARTS;
        &self.noise[start..start + self.size]
    }
}

pub struct Connection {
    stream: TcpStream,
    lane: usize,
    sequence: usize,
    started: Instant,
    sent: usize,
    received: usize,
}

impl Connection {
    pub fn open(server: SocketAddr, lane: usize, registry: &Registry) -> Result<Self> {
        let started = Instant::now();
        let mut stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        registry.register(&mut stream, Token(lane), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, lane, sequence: 0, started, sent: 0, received: 0 })
    }

    /// Starts the next message.
    pub fn begin(&mut self, messages: &Messages) -> Result<()> {
        (self.sequence, self.sent, self.received) = (self.sequence + 1, 0, 0);
        self.started = Instant::now();
        self.send(messages)
    }

    /// Does what can be done without waiting. When all of a message has come
    /// back: when it was started.
    pub fn advance(&mut self, messages: &Messages) -> Result<Option<Instant>> {
        self.send(messages)?;
        let message = messages.get(self.lane, self.sequence);
        let mut buffer = [0; 16 * 1024];
        while self.received < self.sent {
            let Some(count) = ready(self.stream.read(&mut buffer)).context("receiving")? else {
                return Ok(None);
            };
            let expected = &message[self.received..self.sent];
            if count == 0 {
                bail!("the server has closed connection {}", self.lane);
            }
            if count > expected.len() || buffer[..count] != expected[..count] {
                bail!("connection {}: other bytes came back than were sent", self.lane);
            }
            self.received += count;
        }
        Ok((self.received == message.len()).then_some(self.started))
    }

    fn send(&mut self, messages: &Messages) -> Result<()> {
        let message = messages.get(self.lane, self.sequence);
        while self.sent < message.len() {
            match ready(self.stream.write(&message[self.sent..])).context("sending")? {
                Some(count) => self.sent += count,
                None => break,
            }
        }
        Ok(())
    }
}

/// `None` if it would have to wait.
fn ready(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        // Still connecting.
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(None),
        Err(error) => Err(error),
    }
}
