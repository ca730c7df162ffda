//! What the program is told. `cargo xtask soak` knows it by this file, too.

use clap::{Parser, value_parser};

#[derive(Debug, Parser)]
#[command(about = "Random work on completion ports, for a long time")]
pub struct Arguments {
    /// How long, in minutes.
    #[arg(long, default_value = "2", value_parser = minutes)]
    pub minutes: f64,
    /// Threads that share a port.
    #[arg(long, default_value = "4", value_parser = value_parser!(u64).range(1..=256))]
    pub threads: u64,
    /// Chooses what is done; the same work again, though not in the same time
    /// [default: the clock's].
    #[arg(long)]
    pub seed: Option<u64>,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|error| format!("{error}"))?;
    let week = 7.0 * 24.0 * 60.0;
    if (0.0..=week).contains(&minutes) {
        Ok(minutes)
    } else {
        Err(format!("{minutes} is not in 0..={week}"))
    }
}
