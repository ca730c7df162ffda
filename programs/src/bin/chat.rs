//! A chat server: what one client says, in lines, all others get.
//!
//! What a client has not received yet waits for it. While too much is waiting for
//! anybody, nobody is read from, so that those who talk are slowed down to the pace of
//! who listens (back-pressure). Each write has a deadline, at which a client that has not
//! taken it is dropped, so that a slow one does not stop the others for ever.
#![cfg(windows)]
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use std::{io, mem};

use anyhow::Result;
use clap::{Parser, value_parser};
use completion_port::listener::{Connection, Listener};
use completion_port::{CompletionStatus, Iocp};
use programs::{listen, on_ctrl_c, refill, say};

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
    /// How long a client may take to receive what is sent to it before it is dropped
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

/// What an operation was for, and of which client.
enum Event {
    Accepted,
    /// It is time to start the accepts that are missing.
    Refill,
    Received(u64),
    Sent(u64),
}

struct Client {
    number: u64,
    connection: Connection,
    /// What was received of a line that has not ended yet. A read has it most of the time.
    received: Vec<u8>,
    /// What waits to be sent.
    outgoing: Vec<u8>,
    /// Whether a write is in flight.
    is_sending: bool,
    /// Whether no read is in flight, because others have to catch up.
    is_paused: bool,
}

struct Chat {
    room: Room,
    listener: Listener<Event>,
    backlog: usize,
    clients: BTreeMap<u64, Client>,
    accepted: u64,
}

/// What all clients know.
struct Room {
    port: Iocp<Event>,
    patience: Duration,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let port = Iocp::<Event>::typed()?;
    on_ctrl_c(&port, Iocp::close)?;
    let mut chat = Chat {
        listener: listen(&port, &arguments.listen, arguments.clients, || Event::Accepted)?,
        room: Room { port: port.clone(), patience: Duration::from_secs(arguments.patience) },
        backlog: arguments.backlog as usize,
        clients: BTreeMap::new(),
        accepted: 0,
    };
    refill(&port, &chat.listener, Event::Refill);
    port.run(|completion| chat.complete(completion))?;
    Ok(())
}

impl Chat {
    fn complete(&mut self, mut completion: CompletionStatus<Event>) {
        // All is cancelled, and nobody can be told anything any more.
        if self.room.port.is_closed() {
            return;
        }
        match completion.context {
            Event::Accepted => self.accepted(&mut completion),
            Event::Refill => refill(&self.room.port, &self.listener, Event::Refill),
            Event::Received(number) | Event::Sent(number) => self.go_on(number, completion),
        }
        // Those who wait are read from if nobody has to catch up.
        if !self.clients.values().any(|client| client.outgoing.len() > self.backlog) {
            self.for_each(|room, client| if client.is_paused { client.read(room) } else { Ok(()) });
        }
    }

    fn accepted(&mut self, completion: &mut CompletionStatus<Event>) {
        // The client may have gone already; what else there is, `refill` says.
        let Ok(accepted) = self.listener.accepted(completion) else { return };
        let Ok(connection) = accepted.associate(&self.room.port, 0) else { return };
        self.accepted += 1;
        let peer = connection.peer;
        let client = Client {
            number: self.accepted,
            connection,
            received: Vec::new(),
            outgoing: Vec::new(),
            is_sending: false,
            is_paused: true,
        };
        self.clients.insert(self.accepted, client);
        say(format_args!("{peer} has come"));
        self.tell_others(self.accepted, format!("* {peer} has come\n").as_bytes());
    }

    fn go_on(&mut self, number: u64, completion: CompletionStatus<Event>) {
        // It may have been dropped meanwhile.
        let Some(client) = self.clients.get_mut(&number) else { return };
        match client.complete(&self.room, completion) {
            Ok(said) => self.tell_others(number, &said),
            Err(error) => {
                let peer = client.connection.peer;
                self.clients.remove(&number);
                self.say_goodbye(vec![(peer, error)]);
            }
        }
    }

    fn tell_others(&mut self, from: u64, lines: &[u8]) {
        self.for_each(|room, client| match client.number {
            number if number == from => Ok(()),
            _ => client.tell(room, lines),
        });
    }

    /// Does something for each client, drops those for whom that fails, and tells the others.
    fn for_each(&mut self, act: impl FnMut(&Room, &mut Client) -> io::Result<()>) {
        let dropped = self.try_each(act);
        self.say_goodbye(dropped);
    }

    /// Does something for each client, and drops those for whom that fails: that closes their
    /// sockets, which cancels what is in flight.
    fn try_each(
        &mut self,
        mut act: impl FnMut(&Room, &mut Client) -> io::Result<()>,
    ) -> Vec<(SocketAddr, io::Error)> {
        let mut dropped = Vec::new();
        self.clients.retain(|_, client| {
            let done = act(&self.room, client);
            let is_kept = done.is_ok();
            dropped.extend(done.err().map(|error| (client.connection.peer, error)));
            is_kept
        });
        dropped
    }

    /// Tells the others of those who were dropped. Who cannot be told is dropped, too.
    fn say_goodbye(&mut self, mut dropped: Vec<(SocketAddr, io::Error)>) {
        while let Some((peer, error)) = dropped.pop() {
            // Then that may be why.
            if self.room.port.is_closed() {
                return;
            }
            let why = match error.kind() {
                io::ErrorKind::TimedOut => "was too slow",
                io::ErrorKind::FileTooLarge => "has said too much at a time",
                _ => "has gone",
            };
            say(format_args!("{peer} {why}"));
            let line = format!("* {peer} {why}\n");
            dropped.extend(self.try_each(|room, client| client.tell(room, line.as_bytes())));
        }
    }
}

impl Client {
    /// Returns the lines that have come to their ends, each behind who says it.
    fn complete(
        &mut self,
        room: &Room,
        mut completion: CompletionStatus<Event>,
    ) -> io::Result<Vec<u8>> {
        completion.error_status?;
        match completion.context {
            Event::Received(_) if completion.bytes_transferred == 0 => {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Event::Received(_) => {
                self.received = completion.operation.output()?;
                self.is_paused = true;
                self.lines()
            }
            _ => {
                self.is_sending = false;
                self.send(room).map(|()| Vec::new())
            }
        }
    }

    fn read(&mut self, room: &Room) -> io::Result<()> {
        let mut buffer = mem::take(&mut self.received);
        buffer.reserve(LONGEST);
        room.port.initiate_read(&self.connection.stream, Event::Received(self.number), buffer)?;
        self.is_paused = false;
        Ok(())
    }

    fn lines(&mut self) -> io::Result<Vec<u8>> {
        let mut said = Vec::new();
        let mut start = 0;
        while let Some(length) = self.received[start..].iter().position(|&byte| byte == b'\n') {
            let line = &self.received[start..start + length];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            said.extend_from_slice(format!("{}: ", self.connection.peer).as_bytes());
            said.extend_from_slice(line);
            said.push(b'\n');
            start += length + 1;
        }
        self.received.drain(..start);
        if self.received.len() > LONGEST {
            Err(io::ErrorKind::FileTooLarge.into())
        } else {
            Ok(said)
        }
    }

    fn tell(&mut self, room: &Room, lines: &[u8]) -> io::Result<()> {
        self.outgoing.extend_from_slice(lines);
        self.send(room)
    }

    /// Sends all that waits, unless that happens already.
    fn send(&mut self, room: &Room) -> io::Result<()> {
        if self.is_sending || self.outgoing.is_empty() {
            return Ok(());
        }
        let outgoing = mem::take(&mut self.outgoing);
        let stream = &self.connection.stream;
        let write = room.port.initiate_write(stream, Event::Sent(self.number), outgoing)?;
        self.is_sending = true;
        Ok(write.set_deadline(Instant::now() + room.patience)?)
    }
}
