//! What the demo is told. `cargo xtask demo` knows it by this file, too.

use clap::{Parser, value_parser};

#[derive(Debug, Parser)]
#[command(about = "An IOCP echo server, and clients that verify every byte")]
pub struct Arguments {
    /// Serve on this address, such as localhost:9000 or :9000; alone, until
    /// Ctrl-C and without clients.
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Threads that serve, all on one completion port.
    #[arg(long, default_value = "4", value_parser = value_parser!(u32).range(1..=256))]
    pub threads: u32,
    /// Clients, each with a connection of its own [default: 64].
    #[arg(long, value_parser = value_parser!(u32).range(1..=10_000))]
    pub connections: Option<u32>,
    /// Bytes that a client sends at a time and waits to get back.
    #[arg(long, default_value = "64", value_name = "BYTES")]
    #[arg(value_parser = value_parser!(u32).range(1..=16_777_216))]
    pub message_size: u32,
    /// How long the clients go on once they are connected [default: 5].
    #[arg(long, value_parser = value_parser!(u32).range(1..=86_400))]
    pub seconds: Option<u32>,
}

impl Arguments {
    /// Whether to serve others rather than clients of our own.
    pub fn serves_only(&self) -> bool {
        self.listen.is_some() && self.connections.is_none() && self.seconds.is_none()
    }
}
