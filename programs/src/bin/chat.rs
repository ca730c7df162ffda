//! A chat server: what one client says, in lines, all others get.
//!
//! What a client has not received yet waits for it. While too much is waiting for
//! anybody, nobody is read from, so that those who talk are slowed down to the pace of
//! who listens (back-pressure). Who has not caught up after a while is dropped, so that
//! one slow client does not stop the others for ever.
#![cfg(windows)]
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Parser, value_parser};
use completion_port::{Associated, Batch, CompletionStatus, Error, Iocp, Rejected};
use programs::{Listener, close_on_ctrl_c, say};

/// Serve a chat over TCP: one line is one message
#[derive(Parser)]
struct Arguments {
    /// Where to listen; port 0 is one of the system's choice
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7000")]
    listen: String,
    /// How much may wait for a client before the others have to wait for it
    #[arg(long, value_name = "BYTES", default_value = "65536")]
    #[arg(value_parser = value_parser!(u32).range(1..=16_777_216))]
    backlog: u32,
    /// How long they wait before the client is dropped
    #[arg(long, value_name = "SECONDS", default_value = "5")]
    #[arg(value_parser = value_parser!(u64).range(1..=3600))]
    patience: u64,
    /// How many clients there may be
    #[arg(long, value_name = "COUNT", default_value = "500")]
    #[arg(value_parser = value_parser!(u32).range(1..=10_000))]
    clients: u32,
}

/// How long a line may be, in bytes.
const LONGEST: usize = 4096;
/// How often to look for clients that are too slow.
const TICK: Duration = Duration::from_millis(250);

/// What an operation was for, and of which client.
enum Event {
    Accepted,
    Received(u64),
    Sent(u64),
}

struct Client {
    stream: Associated<TcpStream>,
    peer: SocketAddr,
    /// What was received of a line that has not ended yet. A read has it most of the time.
    received: Vec<u8>,
    /// What waits to be sent.
    outgoing: Vec<u8>,
    /// Whether a write is in flight.
    is_sending: bool,
    /// Whether no read is in flight, because others have to catch up.
    is_paused: bool,
    /// Since when too much is waiting.
    is_behind: Option<Instant>,
}

struct Chat {
    port: Iocp<Event>,
    listener: Listener,
    backlog: usize,
    patience: Duration,
    most: usize,
    clients: BTreeMap<u64, Client>,
    accepted: u64,
}

/// The client is to be dropped, which closes its socket and cancels what is in flight.
struct Over(&'static str);

impl From<Error> for Over {
    fn from(_: Error) -> Self {
        Self("has gone")
    }
}

impl<T> From<Rejected<T>> for Over {
    fn from(_: Rejected<T>) -> Self {
        Self("has gone")
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let port: Iocp<Event> = Iocp::builder().build()?;
    close_on_ctrl_c(&port)?;
    let mut chat = Chat {
        listener: Listener::bind(&port, &arguments.listen)?,
        backlog: arguments.backlog as usize,
        patience: Duration::from_secs(arguments.patience),
        most: arguments.clients as usize,
        clients: BTreeMap::new(),
        accepted: 0,
        port,
    };
    chat.run()
}

impl Chat {
    fn run(&mut self) -> Result<()> {
        let mut batch = Batch::with_capacity(64);
        loop {
            let left = self.most.saturating_sub(self.clients.len());
            self.listener.keep_accepting(&self.port, left, || Event::Accepted);
            match self.port.get_completions(&mut batch, Some(TICK)) {
                Ok(_) => {}
                Err(error) if error.is_closed() => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            for completion in &mut batch {
                match completion {
                    Ok(completion) => self.complete(completion),
                    Err(foreign) => say(foreign),
                }
            }
            self.drop_the_slow();
            self.read_on();
        }
    }

    fn complete(&mut self, mut completion: CompletionStatus<Event>) {
        let number = match completion.context {
            Event::Accepted => return self.accepted(&mut completion),
            Event::Received(number) | Event::Sent(number) => number,
        };
        // It may have been dropped meanwhile.
        let Some(client) = self.clients.get_mut(&number) else { return };
        let completed = match completion.context {
            Event::Received(_) => client.received(completion),
            _ => client.sent(&self.port, number, completion).map(|()| Vec::new()),
        };
        match completed {
            Ok(lines) => self.tell_others(number, &lines),
            Err(over) => self.drop_client(number, &over),
        }
    }

    fn accepted(&mut self, completion: &mut CompletionStatus<Event>) {
        let Some((stream, peer)) = self.listener.accepted(completion) else { return };
        let Ok(stream) = self.port.add_handle(stream, 0) else { return };
        self.accepted += 1;
        let client = Client {
            stream,
            peer,
            received: Vec::new(),
            outgoing: Vec::new(),
            is_sending: false,
            is_paused: true,
            is_behind: None,
        };
        self.clients.insert(self.accepted, client);
        say(format_args!("{peer} has come"));
        self.tell_others(self.accepted, format!("* {peer} has come\n").as_bytes());
    }

    fn tell_others(&mut self, from: u64, lines: &[u8]) {
        let mut gone = Vec::new();
        for (&number, client) in self.clients.iter_mut().filter(|(number, _)| **number != from) {
            client.outgoing.extend_from_slice(lines);
            if let Err(over) = client.send(&self.port, number) {
                gone.push((number, over));
            }
            if client.outgoing.len() > self.backlog {
                client.is_behind.get_or_insert_with(Instant::now);
            }
        }
        for (number, over) in gone {
            self.drop_client(number, &over);
        }
    }

    fn drop_client(&mut self, number: u64, Over(why): &Over) {
        if let Some(client) = self.clients.remove(&number) {
            say(format_args!("{} {why}", client.peer));
            self.tell_others(number, format!("* {} {why}\n", client.peer).as_bytes());
        }
    }

    fn drop_the_slow(&mut self) {
        let is_too_slow = |client: &Client| {
            client.is_behind.is_some_and(|since| since.elapsed() >= self.patience)
        };
        let slow: Vec<u64> = self
            .clients
            .iter_mut()
            .filter_map(|(&number, client)| {
                if client.outgoing.len() <= self.backlog {
                    client.is_behind = None;
                }
                is_too_slow(client).then_some(number)
            })
            .collect();
        for number in slow {
            self.drop_client(number, &Over("was too slow"));
        }
    }

    /// Reads from those who wait to be read from, if nobody has to catch up.
    fn read_on(&mut self) {
        if self.clients.values().any(|client| client.is_behind.is_some()) {
            return;
        }
        let mut gone = Vec::new();
        for (&number, client) in self.clients.iter_mut().filter(|(_, client)| client.is_paused) {
            if let Err(over) = client.read(&self.port, number) {
                gone.push((number, over));
            }
        }
        for (number, over) in gone {
            self.drop_client(number, &over);
        }
    }
}

impl Client {
    fn read(&mut self, port: &Iocp<Event>, number: u64) -> Result<(), Over> {
        let mut buffer = mem::take(&mut self.received);
        buffer.reserve(LONGEST);
        port.initiate_read(&self.stream, Event::Received(number), buffer)?;
        self.is_paused = false;
        Ok(())
    }

    /// Returns the lines that have come to their ends, each behind who says it.
    fn received(&mut self, mut completion: CompletionStatus<Event>) -> Result<Vec<u8>, Over> {
        completion.error_status?;
        if completion.bytes_transferred == 0 {
            return Err(Over("has gone"));
        }
        self.received = completion.operation.output()?;
        self.is_paused = true;
        let mut said = Vec::new();
        let mut start = 0;
        while let Some(length) = self.received[start..].iter().position(|&byte| byte == b'\n') {
            let line = &self.received[start..start + length];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            said.extend_from_slice(format!("{}: ", self.peer).as_bytes());
            said.extend_from_slice(line);
            said.push(b'\n');
            start += length + 1;
        }
        self.received.drain(..start);
        if self.received.len() > LONGEST {
            return Err(Over("has said too much at a time"));
        }
        Ok(said)
    }

    /// Sends all that waits, unless that happens already.
    fn send(&mut self, port: &Iocp<Event>, number: u64) -> Result<(), Over> {
        if !self.is_sending && !self.outgoing.is_empty() {
            let outgoing = mem::take(&mut self.outgoing);
            port.initiate_write(&self.stream, Event::Sent(number), outgoing)?;
            self.is_sending = true;
        }
        Ok(())
    }

    fn sent(
        &mut self,
        port: &Iocp<Event>,
        number: u64,
        completion: CompletionStatus<Event>,
    ) -> Result<(), Over> {
        completion.error_status?;
        self.is_sending = false;
        self.send(port, number)
    }
}
