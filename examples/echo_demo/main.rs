//! An echo server on one completion port, and clients that verify every byte.
//!
//! Without `--listen`, server and clients run for `--seconds` and the summary
//! says how it went. With `--listen` alone, the server serves any TCP client
//! until Ctrl-C.

mod arguments;
mod client;
mod report;
mod server;

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;

use arguments::Arguments;
use report::Report;
use server::Server;

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
