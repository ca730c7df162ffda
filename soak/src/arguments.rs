//! What the program is told. `cargo xtask soak` knows it by this file, too.

use clap::Parser;

#[derive(Debug, Parser)]
#[command(about = "Random work on completion ports, for a long time")]
pub struct Arguments {
    /// How long, in minutes.
    #[arg(long, default_value = "2")]
    pub minutes: f64,
    /// Threads that share a port.
    #[arg(long, default_value = "4")]
    pub threads: u64,
    /// Chooses what is done; the same work again, though not in the same time
    /// [default: the clock's].
    #[arg(long)]
    pub seed: Option<u64>,
}
