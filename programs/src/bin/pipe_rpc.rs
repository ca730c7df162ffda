//! Remote procedure calls over a named pipe: a server, and its client.
//!
//! A request and its answer are one message each. The server has several instances of its
//! pipe, each of which serves one client at a time: it waits for a client, reads a request,
//! writes the answer, and so on, until the client has gone. The client sends its requests
//! by `TransactNamedPipe`.
#![cfg(windows)]
#![forbid(unsafe_code)]

use std::os::windows::io::OwnedHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, value_parser};
use completion_port::{Associated, CompletionStatus, Error, ErrorKind, Iocp, op, pipe};
use programs::{on_ctrl_c, say};

/// Serve or call procedures over a named pipe
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until Ctrl-C: echo TEXT, upper TEXT, sum NUMBER..., count TEXT
    Serve {
        /// The pipe's name, behind \\.\pipe\
        name: String,
        /// How many clients are served at a time; more have to wait
        #[arg(long, value_name = "COUNT", default_value = "4")]
        #[arg(value_parser = value_parser!(u8).range(1..=254))]
        instances: u8,
    },
    /// Send requests, and print the answers
    Call {
        /// The pipe's name, behind \\.\pipe\
        name: String,
        /// Such as "sum 1 2 3"
        #[arg(required = true)]
        requests: Vec<String>,
        /// How long to wait for the server to have time
        #[arg(long, value_name = "SECONDS", default_value = "5")]
        #[arg(value_parser = value_parser!(u64).range(0..=3600))]
        patience: u64,
    },
}

/// How many bytes of a message are read at first. If it is longer, the rest comes with
/// further reads.
const BUFFER: usize = 4096;
/// How long a request may be, in bytes.
const LONGEST: usize = 16 * 1024 * 1024;

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Serve { name, instances } => serve(&full(&name), instances),
        Command::Call { name, requests, patience } => {
            call(&full(&name), requests, Duration::from_secs(patience))
        }
    }
}

fn full(name: &str) -> String {
    format!(r"\\.\pipe\{name}")
}

/// What an operation of the server was for, and on which instance.
enum Event {
    Connected(usize),
    Read(usize),
    Wrote(usize),
}

struct Server {
    port: Iocp<Event>,
    instances: Vec<Associated<OwnedHandle>>,
    answered: u64,
}

fn serve(name: &str, instances: u8) -> Result<()> {
    let port = Iocp::<Event>::typed()?;
    on_ctrl_c(&port, Iocp::close)?;
    let mut server = Server { port: port.clone(), instances: Vec::new(), answered: 0 };
    let options = pipe::ServerOptions::new().messages(true).max_instances(instances);
    for index in 0..instances {
        let create = if index == 0 { options.create(name) } else { options.create_next(name) };
        let instance = create.with_context(|| format!("cannot serve {name}"))?;
        server.instances.push(port.add_handle(instance, 0)?);
    }
    for index in 0..server.instances.len() {
        server.wait_for_client(index)?;
    }
    say(format_args!("serving {name}"));
    port.try_run(|completion| server.complete(completion))?;
    say(format_args!("{} requests answered", server.answered));
    Ok(())
}

impl Server {
    /// Takes an instance a step further. An error of the client's ends the connection, and
    /// the next client can come.
    fn complete(&mut self, completion: CompletionStatus<Event>) -> Result<(), Error> {
        let (Event::Connected(index) | Event::Read(index) | Event::Wrote(index)) =
            completion.context;
        self.advance(index, completion).or_else(|_| {
            pipe::disconnect(&self.instances[index])?;
            self.wait_for_client(index)
        })
    }

    fn advance(
        &mut self,
        index: usize,
        mut completion: CompletionStatus<Event>,
    ) -> Result<(), Error> {
        match (completion.context, completion.error_status) {
            (Event::Connected(_) | Event::Wrote(_), Ok(())) => {
                self.read(index, Vec::with_capacity(BUFFER))
            }
            // The rest of the message is behind what has come of it.
            (Event::Read(_), Err(error)) if error.kind() == ErrorKind::MoreData => {
                let mut request: Vec<u8> = completion.operation.output()?;
                if request.len() >= LONGEST {
                    return Err(error);
                }
                request.reserve(request.len());
                self.read(index, request)
            }
            (Event::Read(_), Ok(())) => {
                if completion.operation.is_at_end() {
                    pipe::disconnect(&self.instances[index])?;
                    return self.wait_for_client(index);
                }
                let request: Vec<u8> = completion.operation.output()?;
                self.answered += 1;
                let answer = answer(&String::from_utf8_lossy(&request));
                let instance = &self.instances[index];
                self.port.initiate_write(instance, Event::Wrote(index), answer)?;
                Ok(())
            }
            (_, Err(error)) => Err(error),
        }
    }

    fn wait_for_client(&self, index: usize) -> Result<(), Error> {
        let instance = &self.instances[index];
        let wait = || self.port.initiate(instance, Event::Connected(index), op::ConnectPipe::new());
        if let Err(refused) = wait() {
            // A client came and went before it was waited for.
            if refused.error.kind() != ErrorKind::BrokenPipe {
                return Err(refused.error);
            }
            // From here on none can come unless it is waited for.
            pipe::disconnect(instance)?;
            wait()?;
        }
        Ok(())
    }

    fn read(&self, index: usize, buffer: Vec<u8>) -> Result<(), Error> {
        self.port.initiate_read(&self.instances[index], Event::Read(index), buffer)?;
        Ok(())
    }
}

/// The procedures.
fn answer(request: &str) -> String {
    let (procedure, arguments) = request.split_once(' ').unwrap_or((request, ""));
    match procedure {
        "echo" => arguments.to_owned(),
        "upper" => arguments.to_uppercase(),
        "count" => arguments.len().to_string(),
        "sum" => {
            let mut numbers = arguments.split_whitespace();
            let sum = numbers.try_fold(0_i64, |sum, number| sum.checked_add(number.parse().ok()?));
            sum.map_or("error: sum wants whole numbers".to_owned(), |sum| sum.to_string())
        }
        _ => format!("error: there is no procedure {procedure:?}"),
    }
}

fn call(name: &str, requests: Vec<String>, patience: Duration) -> Result<()> {
    let port = Iocp::<()>::typed()?;
    let pipe = port.block_on(connect(&port, name, patience))??;
    let pipe = port.add_handle(pipe, 0)?;
    for request in requests {
        let answer = port.block_on(ask(&port, &pipe, request))?;
        say(String::from_utf8_lossy(&answer.context("the server has not answered")?));
    }
    Ok(())
}

/// Opens the pipe once the server has an instance free.
async fn connect(port: &Iocp<()>, name: &str, patience: Duration) -> Result<OwnedHandle> {
    let deadline = Instant::now() + patience;
    let pipes = port.add_handle(pipe::file_system()?, 0)?;
    loop {
        match pipe::ClientOptions::new().messages(true).open(name) {
            Err(error) if error.kind() == ErrorKind::Busy => {
                let wait = port.initiate(&pipes, (), op::WaitForPipe::new(name)?)?;
                wait.set_deadline(deadline)?;
                wait.await.with_context(|| format!("{name} has no time for another client"))?;
            }
            opened => return opened.with_context(|| format!("cannot open {name}")),
        }
    }
}

/// Sends a request, and returns the whole of its answer.
async fn ask(
    port: &Iocp<()>,
    pipe: &Associated<OwnedHandle>,
    request: String,
) -> Result<Vec<u8>, Error> {
    let transact = op::Transact::new(request, Vec::with_capacity(BUFFER));
    let mut read = match port.initiate(pipe, (), transact)?.await {
        Ok((_, (_, answer))) => return Ok(answer),
        Err(failed) => (failed.error, failed.returned.map(|(_, answer)| answer)),
    };
    // The rest of the message is behind what has come of it.
    while let (error, Some(mut answer)) = read {
        if error.kind() != ErrorKind::MoreData {
            return Err(error);
        }
        answer.reserve(answer.len());
        match port.initiate_read(pipe, (), answer)?.await {
            Ok((_, answer)) => return Ok(answer),
            Err(failed) => read = (failed.error, failed.returned),
        }
    }
    Err(read.0)
}
