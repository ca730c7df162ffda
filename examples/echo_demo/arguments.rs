//! What the demo is told. `cargo xtask demo` knows it by this file, too.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(about = "An IOCP echo server, and clients that verify every byte")]
pub struct Arguments {
    /// Serve on this address; alone, until Ctrl-C and without clients.
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Threads that serve, all on one completion port.
    #[arg(long, default_value = "4")]
    pub threads: NonZeroU32,
    /// Clients, each with a connection of its own [default: 64].
    #[arg(long)]
    pub connections: Option<NonZeroU32>,
    /// Bytes that a client sends at a time and waits to get back.
    #[arg(long, default_value = "64", value_name = "BYTES")]
    pub message_size: NonZeroU32,
    /// How long the clients go on [default: 5].
    #[arg(long)]
    pub seconds: Option<NonZeroU32>,
}

impl Arguments {
    /// Whether to serve others rather than clients of our own.
    pub fn serves_only(&self) -> bool {
        self.listen.is_some() && self.connections.is_none() && self.seconds.is_none()
    }

    pub fn connections(&self) -> u32 {
        self.connections.map_or(64, NonZeroU32::get)
    }

    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds.map_or(5, NonZeroU32::get).into())
    }
}
