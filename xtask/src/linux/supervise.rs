//! Waiting for a process group that must end: by itself, by a signal to us, or
//! by its time limit.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::limit::TIMED_OUT;

/// All that Unix shows of a Windows program's `STATUS_CONTROL_C_EXIT`.
const CONTROL_C_EXIT: i32 = 0x3a;

/// How a supervised program ended.
pub enum Outcome {
    Ended(ExitStatus),
    Interrupted(Signal, ExitStatus),
    TimedOut,
}

impl Outcome {
    /// As shells tell it: 128 and more for signals, 124 for a time limit.
    pub fn exit_code(&self) -> u8 {
        let code = match self {
            Self::Ended(status) => match (status.code(), status.signal()) {
                (Some(code), _) => code,
                (None, signal) => 128 + signal.unwrap_or(0),
            },
            // A program that answers an interruption itself chooses its code.
            Self::Interrupted(signal, status) => match status.code() {
                Some(code) if code != CONTROL_C_EXIT => code,
                _ => 128 + *signal as i32,
            },
            Self::TimedOut => TIMED_OUT.into(),
        };
        u8::try_from(code).unwrap_or(1)
    }
}

enum Event {
    Ended(std::io::Result<ExitStatus>),
    Signal(i32),
}

/// Catches the signals that ask this process to end, from its making on.
pub struct Supervisor {
    grace: Duration,
    sender: Sender<Event>,
    events: Receiver<Event>,
}

impl Supervisor {
    /// `grace` is how long a program may take to end in order once interrupted.
    pub fn new(grace: Duration) -> Result<Self> {
        let (sender, events) = mpsc::channel();
        let mut signals =
            Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot catch signals")?;
        let signal_sender = sender.clone();
        thread::spawn(move || {
            for signal in signals.forever() {
                // Nobody listens any more only when the process ends anyway.
                let _ = signal_sender.send(Event::Signal(signal));
            }
        });
        Ok(Self { grace, sender, events })
    }

    /// Runs `command` in a process group of its own until it ends.
    pub fn run(&self, command: &mut Command, limit: Option<Duration>) -> Result<Outcome> {
        let child = start(command)?;
        self.wait(child, limit)
    }

    /// Waits for a child that leads a process group of its own.
    ///
    /// The first signal that arrives is passed on to the group; a second one,
    /// or the end of its grace, kills it. So does the time limit.
    pub fn wait(&self, mut child: Child, limit: Option<Duration>) -> Result<Outcome> {
        let group = Pid::from_raw(i32::try_from(child.id())?);
        let sender = self.sender.clone();
        thread::spawn(move || {
            let _ = sender.send(Event::Ended(child.wait()));
        });

        let mut deadline = limit.map(|limit| Instant::now() + limit);
        let mut interrupted = None;
        let mut timed_out = false;
        loop {
            match self.next(deadline) {
                Some(Event::Ended(status)) => {
                    let status = status?;
                    return Ok(match interrupted {
                        Some(signal) => Outcome::Interrupted(signal, status),
                        None if timed_out => Outcome::TimedOut,
                        None => Outcome::Ended(status),
                    });
                }
                Some(Event::Signal(number)) => {
                    let signal = Signal::try_from(number)?;
                    end(group, if interrupted.is_none() { signal } else { Signal::SIGKILL });
                    interrupted.get_or_insert(signal);
                    deadline = Some(Instant::now() + self.grace);
                }
                None => {
                    timed_out = true;
                    deadline = None;
                    end(group, Signal::SIGKILL);
                }
            }
        }
    }

    /// The next event; none if the deadline comes first.
    fn next(&self, deadline: Option<Instant>) -> Option<Event> {
        let Some(deadline) = deadline else {
            return self.events.recv().ok();
        };
        let left = deadline.saturating_duration_since(Instant::now());
        self.events.recv_timeout(left).ok()
    }
}

/// Starts `command` as the leader of a process group of its own.
pub fn start(command: &mut Command) -> Result<Child> {
    match command.process_group(0).spawn() {
        Ok(child) => Ok(child),
        Err(error) => bail!("cannot start {}: {error}", command.get_program().display()),
    }
}

/// Sends `signal` to a whole process group; it may be gone already.
pub fn end(group: Pid, signal: Signal) {
    let _ = killpg(group, signal);
}
