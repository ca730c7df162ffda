//! Passes TCP connections on to another address.
//!
//! Each direction of a connection has one operation in flight: a read from one side, then
//! the write of what was read to the other. So a side that reads slowly slows the other
//! down, and no more than a buffer is in between. When one side has ended its stream, the
//! other is told so, and may still answer.
#![cfg(windows)]
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, value_parser};
use completion_port::{
    Associated, Batch, CompletionStatus, Error, Iocp, Rejected, unconnected_stream,
};
use programs::{Listener, close_on_ctrl_c, say};

/// Pass TCP connections on to another address
#[derive(Parser)]
struct Arguments {
    /// Where the connections go, such as example.com:80
    target: String,
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
/// How often to look whether accepts can be started that were refused.
const TICK: Duration = Duration::from_millis(250);

/// What an operation was for, and of which connection.
enum Event {
    Accepted,
    Connected(u64),
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
    client: Associated<TcpStream>,
    target: Associated<TcpStream>,
    /// How many of the two have ended their stream.
    ended: u32,
}

/// The connection is over.
struct Over;

impl std::convert::From<Error> for Over {
    fn from(_: Error) -> Self {
        Self
    }
}

impl<T> std::convert::From<Rejected<T>> for Over {
    fn from(_: Rejected<T>) -> Self {
        Self
    }
}

struct Proxy {
    port: Iocp<Event>,
    listener: Listener,
    target: SocketAddr,
    most: usize,
    links: HashMap<u64, Link>,
    accepted: u64,
    bytes: u64,
}

fn main() -> Result<()> {
    let Arguments { target, listen, connections } = Arguments::parse();
    let addresses = target.to_socket_addrs();
    let mut addresses = addresses.with_context(|| format!("cannot find the target {target}"))?;
    let port: Iocp<Event> = Iocp::builder().build()?;
    close_on_ctrl_c(&port)?;
    let mut proxy = Proxy {
        listener: Listener::bind(&port, &listen)?,
        target: addresses.next().with_context(|| format!("{target} has no address"))?,
        most: connections as usize,
        links: HashMap::new(),
        accepted: 0,
        bytes: 0,
        port,
    };
    proxy.run()?;
    say(format_args!("{} connections, {} bytes", proxy.accepted, proxy.bytes));
    Ok(())
}

impl Proxy {
    fn run(&mut self) -> Result<()> {
        let mut batch = Batch::with_capacity(64);
        loop {
            let left = self.most.saturating_sub(self.links.len());
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
        }
    }

    fn complete(&mut self, mut completion: CompletionStatus<Event>) {
        let number = match completion.context {
            Event::Accepted => return self.accepted(&mut completion),
            Event::Connected(number) | Event::Read(number, _) | Event::Wrote(number, _) => number,
        };
        if let (Event::Wrote(..), Ok(())) = (&completion.context, &completion.error_status) {
            self.bytes += u64::from(completion.bytes_transferred);
        }
        // It may have been ended meanwhile.
        let Some(link) = self.links.get_mut(&number) else { return };
        if let (Event::Connected(_), Err(error)) = (&completion.context, &completion.error_status) {
            say(format_args!("cannot reach {}: {error}", self.target));
        }
        if link.complete(&self.port, completion).is_err() {
            // Closes both sockets, and cancels what is in flight on them.
            self.links.remove(&number);
        }
    }

    /// Connects to the target for a client.
    fn accepted(&mut self, completion: &mut CompletionStatus<Event>) {
        let Some((client, _)) = self.listener.accepted(completion) else { return };
        self.accepted += 1;
        let number = self.accepted;
        let link = self.link(number, client);
        let link = link.and_then(|link| {
            self.port.initiate_connect(&link.target, Event::Connected(number), self.target)?;
            Ok(link)
        });
        match link {
            Ok(link) => drop(self.links.insert(number, link)),
            Err(error) => say(format_args!("cannot reach {}: {error}", self.target)),
        }
    }

    fn link(&self, number: u64, client: TcpStream) -> Result<Link, Error> {
        let target = self.port.add_handle(unconnected_stream(self.target)?, 0)?;
        Ok(Link { number, client: self.port.add_handle(client, 0)?, target, ended: 0 })
    }
}

impl Link {
    /// Takes one direction a step further.
    fn complete(
        &mut self,
        port: &Iocp<Event>,
        mut completion: CompletionStatus<Event>,
    ) -> Result<(), Over> {
        completion.error_status?;
        match completion.context {
            Event::Accepted => Ok(()),
            Event::Connected(_) => {
                for stream in [&self.client, &self.target] {
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
                to.shutdown(Shutdown::Write).map_err(|_| Over)?;
                if self.ended == 2 { Err(Over) } else { Ok(()) }
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

    fn read(&self, port: &Iocp<Event>, from: From, buffer: Vec<u8>) -> Result<(), Over> {
        let (stream, _) = self.sides(from);
        port.initiate_read(stream, Event::Read(self.number, from), buffer)?;
        Ok(())
    }

    /// Whom to read from, and whom to write to.
    fn sides(&self, from: From) -> (&Associated<TcpStream>, &Associated<TcpStream>) {
        match from {
            From::Client => (&self.client, &self.target),
            From::Target => (&self.target, &self.client),
        }
    }
}
