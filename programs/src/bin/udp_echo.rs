//! Sends every datagram back to where it came from.
//!
//! Several receives are in flight at a time. Each becomes the send of what it has
//! received, in the same buffer, and then a receive again: so no buffer is allocated
//! once the program has begun.
#![cfg(windows)]
#![forbid(unsafe_code)]

use std::net::{SocketAddr, UdpSocket};

use anyhow::{Context, Result};
use clap::{Parser, value_parser};
use completion_port::{Associated, CompletionStatus, Error, Iocp, op};
use programs::{on_ctrl_c, say};

/// Echo UDP datagrams
#[derive(Parser)]
struct Arguments {
    /// Where to listen; port 0 is one of the system's choice
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7007")]
    listen: String,
    /// How many datagrams are received or sent at a time
    #[arg(long, value_name = "COUNT", default_value = "64")]
    #[arg(value_parser = value_parser!(u32).range(1..=10_000))]
    depth: u32,
}

/// As long as a datagram can be, in bytes.
const LONGEST: usize = 65_535;

/// What an operation does.
enum Event {
    Receives,
    Sends,
}

struct Server {
    port: Iocp<Event>,
    socket: Associated<UdpSocket>,
    echoed: u64,
}

fn main() -> Result<()> {
    let Arguments { listen, depth } = Arguments::parse();
    let port = Iocp::<Event>::typed()?;
    on_ctrl_c(&port, Iocp::close)?;
    let socket = UdpSocket::bind(&listen).with_context(|| format!("cannot listen on {listen}"))?;
    say(format_args!("listening on {}", socket.local_addr()?));
    let socket = port.add_handle(socket, 0)?;
    // That one client has gone is no reason to fail for the others.
    socket.ignore_unreachable()?;

    let mut server = Server { port: port.clone(), socket, echoed: 0 };
    for _ in 0..depth {
        server.receive(Vec::with_capacity(LONGEST))?;
    }
    port.try_run(|completion| server.complete(completion))?;
    say(format_args!("{} datagrams echoed", server.echoed));
    Ok(())
}

impl Server {
    /// Starts what follows the end of an operation.
    fn complete(&mut self, mut completion: CompletionStatus<Event>) -> Result<(), Error> {
        if self.port.is_closed() {
            return Ok(());
        }
        if let Err(error) = &completion.error_status {
            // It concerns one datagram; the next may be better.
            say(error);
        }
        let succeeded = completion.error_status.is_ok();
        match completion.context {
            Event::Receives => {
                let op::Datagram { buffer, from, .. } = completion.operation.output()?;
                match from {
                    Some(from) if succeeded => self.send(buffer, from),
                    _ => self.receive(buffer),
                }
            }
            Event::Sends => {
                self.echoed += u64::from(succeeded);
                self.receive(completion.operation.output()?)
            }
        }
    }

    fn send(&self, buffer: Vec<u8>, to: SocketAddr) -> Result<(), Error> {
        match self.port.initiate(&self.socket, Event::Sends, op::SendTo::new(buffer, to)) {
            Ok(_) => Ok(()),
            Err(rejected) => {
                say(&rejected.error);
                let (_, op::Sends(buffer)) = rejected.returned;
                self.receive(buffer)
            }
        }
    }

    fn receive(&self, mut buffer: Vec<u8>) -> Result<(), Error> {
        buffer.clear();
        self.port.initiate(&self.socket, Event::Receives, op::ReceiveFrom::new(buffer))?;
        Ok(())
    }
}
