//! Clients of an echo server, on Linux outside Wine, that verify every byte.
//!
//! Each connection sends a message, waits until all of it has come back, and
//! sends the next. With `--reconnect`, each message has a connection of its own.

mod connection;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Parser;
use measure::Recorder;
use mio::{Events, Poll};

use connection::{Connection, Messages};

/// A server that has stopped is noticed after this long.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Parser)]
struct Args {
    address: SocketAddr,
    #[arg(long)]
    connections: usize,
    /// Bytes of a message.
    #[arg(long)]
    size: usize,
    #[arg(long)]
    seconds: f64,
    /// Connect anew for each message.
    #[arg(long)]
    reconnect: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let messages = Messages::new(args.size);
    let mut poll = Poll::new()?;
    let mut connections = (0..args.connections)
        .map(|lane| Connection::open(args.address, lane, poll.registry()))
        .collect::<Result<Vec<_>>>()?;
    let mut events = Events::with_capacity(1024);
    // All have been accepted and served once before the clock runs.
    let mut served = HashSet::new();
    while served.len() < args.connections {
        wait(&mut poll, &mut events)?;
        for event in &events {
            let lane = event.token().0;
            if !served.contains(&lane) && connections[lane].advance(&messages)?.is_some() {
                served.insert(lane);
            }
        }
    }
    let recorder = Recorder::new(args.connections, Duration::from_secs_f64(args.seconds));
    for connection in &mut connections {
        connection.begin(&messages)?;
    }
    loop {
        wait(&mut poll, &mut events)?;
        for event in &events {
            let lane = event.token().0;
            let connection = &mut connections[lane];
            let Some(started) = connection.advance(&messages)? else { continue };
            if !recorder.record(lane, started) {
                recorder.report();
                return Ok(());
            }
            if args.reconnect {
                *connection = Connection::open(args.address, lane, poll.registry())?;
            } else {
                connection.begin(&messages)?;
            }
        }
    }
}

fn wait(poll: &mut Poll, events: &mut Events) -> Result<()> {
    poll.poll(events, Some(PATIENCE))?;
    if events.is_empty() {
        bail!("no connection has made progress for {} s", PATIENCE.as_secs());
    }
    Ok(())
}
