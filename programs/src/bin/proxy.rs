//! Passes TCP connections on to another address.
//!
//! Each direction of a connection has one operation in flight: a read from one side, then
//! the write of what was read to the other. So a side that reads slowly slows the other
//! down, and no more than a buffer is in between. When one side has ended its stream, the
//! other is told so, and may still answer.
//!
//! A target may have several addresses, and there may be several targets. The first address
//! that can be reached is taken.
#![cfg(windows)]
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Parser, value_parser};
use completion_port::listener::{Connection, Listener};
use completion_port::{Associated, CompletionStatus, Error, Iocp, unconnected_stream};
use programs::{listen, on_ctrl_c, refill, say};

/// Pass TCP connections on to another address
#[derive(Parser)]
struct Arguments {
    /// Where the connections go, such as example.com:80: to the first that can be reached
    #[arg(value_name = "TARGET", required = true)]
    targets: Vec<String>,
    /// Where to listen; port 0 is one of the system's choice
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    listen: String,
    /// How many connections are passed on at a time; more have to wait
    #[arg(long, value_name = "COUNT", default_value = "1000")]
    #[arg(value_parser = value_parser!(u32).range(1..=30_000))]
    connections: u32,
}

/// How much is read at a time, in bytes.
const BUFFER: usize = 64 * 1024;
/// How long to try each address of the target.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an operation was for, and of which connection.
enum Event {
    Accepted,
    /// It is time to start the accepts that are missing.
    Refill,
    /// Or not, to the target's address of this index.
    Connected(u64, usize),
    Read(u64, From),
    Wrote(u64, From),
}

/// Whose data it is.
#[derive(Clone, Copy)]
enum From {
    Client,
    Target,
}

struct Link {
    number: u64,
    client: Connection,
    target: Associated<TcpStream>,
    /// Which of the target's addresses that is.
    index: usize,
    /// How many of the two have ended their stream.
    ended: u32,
}

struct Proxy {
    port: Iocp<Event>,
    listener: Listener<Event>,
    /// The addresses of all targets.
    targets: Vec<SocketAddr>,
    links: HashMap<u64, Link>,
    accepted: u64,
    bytes: u64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut targets = Vec::new();
    for target in &arguments.targets {
        let addresses = target.to_socket_addrs();
        targets.extend(addresses.with_context(|| format!("cannot find the target {target}"))?);
    }
    let port = Iocp::<Event>::typed()?;
    on_ctrl_c(&port, Iocp::close)?;
    let mut proxy = Proxy {
        listener: listen(&port, &arguments.listen, arguments.connections, || Event::Accepted)?,
        targets,
        links: HashMap::new(),
        accepted: 0,
        bytes: 0,
        port: port.clone(),
    };
    refill(&port, &proxy.listener, Event::Refill);
    port.run(|completion| proxy.complete(completion))?;
    say(format_args!("{} connections, {} bytes", proxy.accepted, proxy.bytes));
    Ok(())
}

impl Proxy {
    fn complete(&mut self, mut completion: CompletionStatus<Event>) {
        let number = match completion.context {
            Event::Accepted => return self.accepted(&mut completion),
            Event::Refill => return refill(&self.port, &self.listener, Event::Refill),
            Event::Connected(number, _) | Event::Read(number, _) | Event::Wrote(number, _) => {
                number
            }
        };
        if let Event::Wrote(..) = completion.context {
            self.bytes += u64::from(completion.bytes_transferred);
        }
        // It may have been ended meanwhile.
        let Some(mut link) = self.links.remove(&number) else { return };
        let goes_on = match (&completion.context, &completion.error_status) {
            // It was given up for an address behind it.
            (&Event::Connected(_, index), _) if index != link.index => true,
            (&Event::Connected(_, index), Err(error)) if !error.is_cancelled() => {
                say(format_args!("cannot reach {}: {error}", self.targets[index]));
                let next = self.connect(number, index + 1);
                next.map(|next| (link.index, link.target) = next).is_some()
            }
            _ => link.complete(&self.port, completion).is_ok(),
        };
        // Otherwise both sockets are closed, which cancels what is in flight on them.
        if goes_on {
            self.links.insert(number, link);
        }
    }

    /// Connects to the target for a client.
    fn accepted(&mut self, completion: &mut CompletionStatus<Event>) {
        // The client may have gone already; what else there is, `refill` says.
        let Ok(accepted) = self.listener.accepted(completion) else { return };
        let Ok(client) = accepted.associate(&self.port, 0) else { return };
        self.accepted += 1;
        let number = self.accepted;
        if let Some((index, target)) = self.connect(number, 0) {
            self.links.insert(number, Link { number, client, target, index, ended: 0 });
        }
    }

    /// Starts to connect to one of the target's addresses: this, or one behind it if that
    /// cannot be tried. Returns its index, too.
    fn connect(&self, number: u64, first: usize) -> Option<(usize, Associated<TcpStream>)> {
        let start = |index, address| -> Result<_, Error> {
            let stream = self.port.add_handle(unconnected_stream(address)?, 0)?;
            let connected = Event::Connected(number, index);
            let connect = self.port.initiate_connect(&stream, connected, address)?;
            connect.set_deadline(Instant::now() + PATIENCE)?;
            Ok(stream)
        };
        for (index, &address) in self.targets.iter().enumerate().skip(first) {
            match start(index, address) {
                Ok(stream) => return Some((index, stream)),
                Err(error) => say(format_args!("cannot reach {address}: {error}")),
            }
        }
        None
    }
}

impl Link {
    /// Takes one direction a step further.
    fn complete(
        &mut self,
        port: &Iocp<Event>,
        mut completion: CompletionStatus<Event>,
    ) -> io::Result<()> {
        completion.error_status?;
        match completion.context {
            Event::Accepted | Event::Refill => Ok(()),
            Event::Connected(..) => {
                for stream in [&self.client.stream, &self.target] {
                    // What comes in small pieces is passed on in small pieces. Where that
                    // cannot be asked for, it only takes longer.
                    let _ = stream.get_ref().set_nodelay(true);
                }
                self.read(port, From::Client, Vec::with_capacity(BUFFER))?;
                self.read(port, From::Target, Vec::with_capacity(BUFFER))
            }
            Event::Read(_, from) if completion.bytes_transferred == 0 => {
                self.ended += 1;
                let (_, to) = self.sides(from);
                to.shutdown(Shutdown::Write)?;
                if self.ended == 2 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
            }
            Event::Read(number, from) => {
                let buffer: Vec<u8> = completion.operation.output()?;
                let (_, to) = self.sides(from);
                port.initiate_write(to, Event::Wrote(number, from), buffer)?;
                Ok(())
            }
            Event::Wrote(_, from) => {
                let mut buffer: Vec<u8> = completion.operation.output()?;
                buffer.clear();
                self.read(port, from, buffer)
            }
        }
    }

    fn read(&self, port: &Iocp<Event>, from: From, buffer: Vec<u8>) -> io::Result<()> {
        let (stream, _) = self.sides(from);
        port.initiate_read(stream, Event::Read(self.number, from), buffer)?;
        Ok(())
    }

    /// Whom to read from, and whom to write to.
    fn sides(&self, from: From) -> (&Associated<TcpStream>, &Associated<TcpStream>) {
        match from {
            From::Client => (&self.client.stream, &self.target),
            From::Target => (&self.target, &self.client.stream),
        }
    }
}
