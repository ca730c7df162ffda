//! An echo server on one completion port, and clients that verify every byte.
//!
//! Without `--listen`, server and clients run for `--seconds` and the summary
//! says how it went. With `--listen` alone, the server serves any TCP client
//! until Ctrl-C.

mod client;
mod report;
mod server;

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;

use report::Report;
use server::Server;

#[derive(Debug, Parser)]
#[command(about = "An IOCP echo server, and clients that verify every byte")]
struct Arguments {
    /// Serve on this address; alone, until Ctrl-C and without clients.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Threads that serve, all on one completion port.
    #[arg(long, default_value = "4")]
    threads: NonZeroU32,
    /// Clients, each with a connection of its own [default: 64].
    #[arg(long)]
    connections: Option<NonZeroU32>,
    /// Bytes that a client sends at a time and waits to get back.
    #[arg(long, default_value = "64", value_name = "BYTES")]
    message_size: NonZeroU32,
    /// How long the clients go on [default: 5].
    #[arg(long)]
    seconds: Option<NonZeroU32>,
}

impl Arguments {
    /// Whether to serve others rather than clients of our own.
    fn serves_only(&self) -> bool {
        self.listen.is_some() && self.connections.is_none() && self.seconds.is_none()
    }

    fn connections(&self) -> u32 {
        self.connections.map_or(64, NonZeroU32::get)
    }

    fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds.map_or(5, NonZeroU32::get).into())
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything came back.
fn run(arguments: &Arguments) -> Result<bool, Box<dyn std::error::Error>> {
    let address = arguments.listen.unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
    let server = Server::start(address, arguments.threads.get())?;
    println!("serving on {} with {} threads", server.address(), arguments.threads);

    let stop = Arc::new(AtomicBool::new(false));
    let on_interrupt = Arc::clone(&stop);
    ctrlc::set_handler(move || on_interrupt.store(true, Ordering::Relaxed))?;

    let start = Instant::now();
    let clients = if arguments.serves_only() {
        println!("press Ctrl-C to end");
        None
    } else {
        let plan = client::Plan {
            server: server.address(),
            connections: arguments.connections(),
            message_size: arguments.message_size.get() as usize,
            until: start + arguments.duration(),
            stop: Arc::clone(&stop),
        };
        Some(thread::spawn(move || client::run(&plan)))
    };

    while !match &clients {
        Some(clients) => clients.is_finished(),
        None => stop.load(Ordering::Relaxed),
    } {
        thread::sleep(Duration::from_millis(100));
        report::show_progress(start, server.counters());
    }
    let elapsed = start.elapsed();

    let verified = match clients {
        Some(clients) => Some(clients.join().expect("the clients do not panic")?),
        None => None,
    };
    let report = Report { elapsed, server: server.stop(), verified };
    println!("\n{report}");
    Ok(report.is_clean())
}
