//! An echo server on one completion port, and clients that verify every byte.
//!
//! Without `--listen`, server and clients run for `--seconds` and the summary
//! says how it went. With `--listen` alone, the server serves any TCP client
//! until Ctrl-C.

mod arguments;
mod client;
mod print;
mod report;
mod server;

use std::env;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;

use arguments::Arguments;
use print::{Printer, Text};
use report::{Errors, Report};
use server::Server;

/// How often refused accepts are started again, and progress is shown on a terminal.
const TICK: Duration = Duration::from_millis(100);
/// How often progress is shown elsewhere.
const ELSEWHERE: Duration = Duration::from_secs(3);

/// Says that there is a terminal, though the program does not see it: under Wine, it writes
/// to a pipe, and `cargo xtask` passes on what comes.
const TERMINAL: &str = "COMPLETION_PORT_TERMINAL";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let printer = Printer::start();
    let (text, code) = match run(&arguments, &printer) {
        Ok(report) if report.is_good() => (Text::Out(format!("\n{report}\n")), ExitCode::SUCCESS),
        Ok(report) => (Text::Out(format!("\n{report}\n")), ExitCode::FAILURE),
        Err(error) => (Text::Err(format!("error: {error}\n")), ExitCode::FAILURE),
    };
    printer.finish(text);
    code
}

fn run(arguments: &Arguments, printer: &Printer) -> Result<Report, Box<dyn std::error::Error>> {
    let stop = Arc::new(AtomicBool::new(false));
    let on_interrupt = Arc::clone(&stop);
    ctrlc::set_handler(move || on_interrupt.store(true, Ordering::Relaxed))?;

    let errors = Arc::new(Errors::new(printer.clone()));
    let listen = arguments.listen.as_deref().unwrap_or("127.0.0.1:0");
    let server = Server::start(listen, arguments.threads, Arc::clone(&errors))?;
    let (address, threads) = (server.address(), arguments.threads);
    printer.print(Text::Out(format!("serving on {address} with {threads} threads\n")));

    let start = Instant::now();
    let on_terminal = io::stdout().is_terminal() || env::var_os(TERMINAL).is_some();
    let mut next = start + if on_terminal { TICK } else { ELSEWHERE };
    let clients = if arguments.serves_only() {
        printer.print(Text::Out("press Ctrl-C to end\n".to_owned()));
        None
    } else {
        let plan = client::Plan {
            server: address,
            connections: arguments.connections.unwrap_or(64),
            message_size: arguments.message_size as usize,
            duration: Duration::from_secs(arguments.seconds.unwrap_or(5).into()),
            stop: Arc::clone(&stop),
            errors: Arc::clone(&errors),
        };
        Some(thread::spawn(move || client::run(&plan)))
    };

    while !match &clients {
        Some(clients) => clients.is_finished(),
        None => stop.load(Ordering::Relaxed),
    } {
        thread::sleep(TICK);
        server.keep_accepting();
        if Instant::now() >= next {
            let progress = server.counters().progress(start.elapsed());
            let line = if on_terminal { format!("\r{progress} ") } else { format!("{progress}\n") };
            printer.print(Text::Out(line));
            next += if on_terminal { TICK } else { ELSEWHERE };
        }
    }
    let elapsed = start.elapsed();

    let verified = match clients {
        Some(clients) => Some(clients.join().expect("the clients do not panic")?),
        None => None,
    };
    let (accepting, counters) = server.stop();
    Ok(Report { elapsed, accepting, counters, verified, errors })
}
