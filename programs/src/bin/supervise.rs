//! Runs programs, and starts those again that fail, after pauses that grow.
//!
//! All of them, and what they start, are in one job, which ends with this program, however
//! that ends. Their outputs are read through pipes, and printed line by line. To stop a
//! program is to end its standard input; what is still there after a while is killed.
#![cfg(windows)]
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::os::windows::io::OwnedHandle;
use std::os::windows::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use anyhow::{Context, Result, ensure};
use clap::{Parser, value_parser};
use completion_port::job::{Job, JobEvent};
use completion_port::process::{Exit, SpawnOptions};
use completion_port::{Associated, CompletionStatus, ForeignPacket, Iocp, Pending};
use programs::{on_ctrl_c, say};

/// Run programs, and start those again that fail, until Ctrl-C or the end of the input
#[derive(Parser)]
struct Arguments {
    /// A file with a command line in each line; empty ones and those behind a # are left out
    commands: PathBuf,
    /// How long to wait before a program is started again: twice as long each time, up to a
    /// minute, and again this long once it has run for a minute
    #[arg(long, value_name = "MILLISECONDS", default_value = "500")]
    #[arg(value_parser = value_parser!(u64).range(1..=60_000))]
    pause: u64,
    /// How long the programs may take to stop before they are killed
    #[arg(long, value_name = "SECONDS", default_value = "5")]
    #[arg(value_parser = value_parser!(u64).range(0..=3600))]
    patience: u64,
}

/// Ctrl-C in a console is for all processes of it: the programs would end before they are told
/// to. "If this flag is specified, CTRL+C signals will be disabled for all processes within the
/// new process group"
/// (<https://learn.microsoft.com/windows/win32/procthread/process-creation-flags>).
const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;
/// The context of the job, and of nothing else.
const JOB: usize = 1;
/// The longest pause, and how long a program has to run to be taken for a good one.
const MINUTE: Duration = Duration::from_secs(60);
/// How long a line may be until it is divided, in bytes.
const LONGEST: usize = 4096;

/// What has happened; the numbers are those of programs.
enum Event {
    Printed(Arc<Output>),
    Ended(usize),
    Paused(usize),
    /// Ctrl-C was pressed, or the input has ended.
    Stop,
    /// The patience is over.
    Kill,
}

/// What a program prints to one of its streams.
struct Output {
    label: String,
    stream: Associated<OwnedHandle>,
}

struct Program {
    name: String,
    command: Command,
    /// It is told to stop by the end of this.
    stdin: Option<Associated<OwnedHandle>>,
    started: Instant,
    /// How long the next pause is.
    pause: Duration,
    /// The pause that it is in.
    pausing: Option<Pending<()>>,
}

struct Supervisor {
    port: Iocp<Event>,
    job: Job,
    programs: Vec<Program>,
    /// The processes that were started here; others in the job were started by them.
    started: HashSet<u32>,
    /// How many outputs, programs and pauses have not ended.
    open: usize,
    pause: Duration,
    patience: Duration,
    is_stopping: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let path = arguments.commands.display();
    let commands =
        fs::read_to_string(&arguments.commands).with_context(|| format!("cannot read {path}"))?;
    let pause = Duration::from_millis(arguments.pause);
    let lines = commands.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let programs: Vec<_> =
        lines.zip(1..).map(|(line, number)| Program::new(number, line, pause)).collect();
    ensure!(!programs.is_empty(), "there are no command lines in {path}");

    let port = Iocp::<Event>::typed()?;
    on_ctrl_c(&port, |port| drop(port.post(Event::Stop, 0, 0)))?;
    let job = Job::new(&port, JOB)?;
    job.kill_on_close(true)?;
    let mut supervisor = Supervisor {
        job,
        programs,
        started: HashSet::new(),
        open: 0,
        pause,
        patience: Duration::from_secs(arguments.patience),
        is_stopping: false,
        port: port.clone(),
    };
    for number in 0..supervisor.programs.len() {
        supervisor.start(number)?;
    }
    // Nobody knows what kind of handle the input is, so a thread waits for its end.
    thread::spawn({
        let port = port.downgrade();
        move || {
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            port.upgrade().map(|port| port.post(Event::Stop, 0, 0))
        }
    });
    for completion in port.completions() {
        match completion {
            Ok(completion) => supervisor.complete(completion)?,
            Err(error) => supervisor.tell(error.foreign_packet().ok_or(error)?),
        }
        if supervisor.open == 0 {
            break;
        }
    }
    say("all have ended");
    Ok(())
}

impl Program {
    /// What a command line says: the program, in quotes if there are spaces in its name, and
    /// its arguments, which it takes apart itself.
    fn new(number: u32, line: &str, pause: Duration) -> Self {
        let (program, arguments) = match line.strip_prefix('"') {
            Some(rest) => rest.split_once('"').unwrap_or((rest, "")),
            None => line.split_once(' ').unwrap_or((line, "")),
        };
        let mut command = Command::new(program);
        command.raw_arg(arguments);
        let name = format!("{number} {program}");
        let started = Instant::now();
        Self { name, command, stdin: None, started, pause, pausing: None }
    }
}

impl Supervisor {
    fn start(&mut self, number: usize) -> Result<()> {
        let program = &mut self.programs[number];
        let name = &program.name;
        let options = SpawnOptions::new().stdin(0).stdout(0).stderr(0).job(&self.job);
        let options = options.creation_flags(CREATE_NEW_PROCESS_GROUP);
        let mut child = options
            .spawn(&self.port, &mut program.command)
            .with_context(|| format!("cannot start {name}"))?;
        let id = child.process.id();
        self.started.insert(id);
        say(format_args!("{name} has started as process {id}"));
        program.stdin = child.stdin.take();
        program.started = Instant::now();
        let (label, error_label) = (name.clone(), format!("{name} (error)"));
        let outputs = [(label, child.stdout.take()), (error_label, child.stderr.take())];
        self.follow(number, &child.process, outputs).inspect_err(|_| {
            // One that cannot be killed has ended.
            let _ = child.process.kill();
        })
    }

    /// Reads what a program prints, and waits for its end. That comes last: a program whose end
    /// is not waited for is told of by the error alone.
    fn follow(
        &mut self,
        number: usize,
        process: &Child,
        outputs: [(String, Option<Associated<OwnedHandle>>); 2],
    ) -> Result<()> {
        for (label, stream) in outputs {
            if let Some(stream) = stream {
                self.read(Arc::new(Output { label, stream }), Vec::new())?;
            }
        }
        self.port.initiate_wait(Exit::of(process)?, Event::Ended(number))?;
        self.open += 1;
        Ok(())
    }

    fn read(&mut self, output: Arc<Output>, mut buffer: Vec<u8>) -> Result<()> {
        buffer.reserve(LONGEST);
        let stream = Arc::clone(&output);
        self.port.initiate_read(&stream.stream, Event::Printed(output), buffer)?;
        self.open += 1;
        Ok(())
    }

    fn complete(&mut self, mut completion: CompletionStatus<Event>) -> Result<()> {
        match completion.context {
            Event::Printed(output) => {
                self.open -= 1;
                let is_over = completion.operation.is_at_end();
                let mut buffer: Vec<u8> = completion.operation.output()?;
                output.print(&mut buffer, is_over);
                if is_over { Ok(()) } else { self.read(output, buffer) }
            }
            Event::Ended(number) => {
                self.open -= 1;
                self.ended(number, completion.operation.output()?)
            }
            Event::Paused(number) => {
                self.open -= 1;
                self.programs[number].pausing = None;
                if self.is_stopping {
                    return Ok(());
                }
                self.start(number).or_else(|error| {
                    say(format_args!("{error:#}"));
                    self.pause(number)
                })
            }
            Event::Stop => self.stop(),
            Event::Kill => {
                say("what is left is killed");
                Ok(self.job.kill(1)?)
            }
        }
    }

    fn ended(&mut self, number: usize, status: ExitStatus) -> Result<()> {
        let program = &mut self.programs[number];
        program.stdin = None;
        say(format_args!("{} has ended, {status}", program.name));
        if program.started.elapsed() > MINUTE {
            program.pause = self.pause;
        }
        if status.success() || self.is_stopping { Ok(()) } else { self.pause(number) }
    }

    fn pause(&mut self, number: usize) -> Result<()> {
        let program = &mut self.programs[number];
        say(format_args!("{} is started again in {:?}", program.name, program.pause));
        program.pausing = Some(self.port.after(program.pause, Event::Paused(number))?);
        program.pause = (program.pause * 2).min(MINUTE);
        self.open += 1;
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        if self.is_stopping {
            return Ok(());
        }
        say("stopping");
        self.is_stopping = true;
        for program in &mut self.programs {
            program.stdin = None;
            if let Some(pausing) = &program.pausing {
                pausing.cancel()?;
            }
        }
        self.port.after(self.patience, Event::Kill)?;
        Ok(())
    }

    /// Tells what the programs have started, and what has become of that.
    fn tell(&mut self, packet: ForeignPacket) {
        match self.job.event(&packet) {
            Some(JobEvent::ProcessStarted(id)) if !self.started.contains(&id) => {
                say(format_args!("process {id} was started by one of them"));
            }
            Some(JobEvent::ProcessExited(id) | JobEvent::ProcessCrashed(id))
                if !self.started.remove(&id) =>
            {
                say(format_args!("process {id} has ended"));
            }
            _ => {}
        }
    }
}

impl Output {
    /// Prints the lines that have ended, and keeps the rest, unless there is no more to come.
    fn print(&self, buffer: &mut Vec<u8>, is_over: bool) {
        let end = buffer.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        let is_over = is_over || buffer.len() - end > LONGEST;
        let end = if is_over { buffer.len() } else { end };
        for line in String::from_utf8_lossy(&buffer[..end]).lines() {
            say(format_args!("{}: {line}", self.label));
        }
        buffer.drain(..end);
    }
}
