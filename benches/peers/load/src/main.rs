//! Clients of an echo server, on Linux outside Wine, that verify every byte.
//!
//! Each connection sends a message, waits until all of it has come back, and
//! sends the next. With `--reconnect`, each message has a connection of its own.

mod connection;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::process;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Parser;
use measure::{Recorder, say};
use mio::{Events, Poll};

use connection::{Connection, Messages};

/// A server that has stopped is noticed after this long.
const PATIENCE: Duration = Duration::from_secs(20);
/// All connections have been served once after this long.
const START: Duration = Duration::from_secs(20);

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

fn main() {
    // Who reads the report reads why there is none.
    if let Err(error) = measure(&Args::parse()) {
        say(&format!("{error:#}"));
        process::exit(1);
    }
}

fn measure(args: &Args) -> Result<()> {
    let messages = Messages::new(args.size);
    let mut poll = Poll::new()?;
    let mut connections = (0..args.connections)
        .map(|lane| Connection::open(args.address, lane, poll.registry()))
        .collect::<Result<Vec<_>>>()?;
    let mut events = Events::with_capacity(1024);
    // All have been accepted and served once before the clock runs.
    let mut served = HashSet::new();
    let begin = Instant::now();
    while served.len() < args.connections {
        if begin.elapsed() > START {
            let (served, all) = (served.len(), args.connections);
            bail!("{served} of {all} connections have been served after {} s", START.as_secs());
        }
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
