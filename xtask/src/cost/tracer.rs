//! Counts the instructions that a program executes between two marks.
//!
//! Breakpoints in the debug registers wait for the marks, so nothing in the
//! program is changed. Between them the thread is stepped one instruction at a
//! time; a call that leaves the program's own code runs at full speed to a
//! third breakpoint, at its return address. (Stepping through Wine itself upsets
//! it: it saves the flags, the trace flag among them, and trips over it later.)

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::mem;
use std::process::{Command, Stdio};
use std::ptr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, AddressType, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::image::Image;

/// How long the whole program may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// What was counted in one region.
#[derive(Default)]
pub struct Region {
    /// How often it was entered.
    pub times: u64,
    /// The instructions of the cheapest time; the dearer ones had company.
    least: Option<u64>,
    /// All instructions by their addresses.
    pub addresses: HashMap<u64, u64>,
}

impl Region {
    pub fn instructions(&self) -> u64 {
        self.least.unwrap_or(0)
    }
}

pub struct Trace {
    pub regions: HashMap<u64, Region>,
    /// What the program printed.
    pub output: String,
}

impl Trace {
    pub fn instructions(&self, region: u64) -> Result<u64> {
        let counted = self.regions.get(&region);
        Ok(counted.with_context(|| format!("region {region} was not entered"))?.instructions())
    }
}

/// The thread between the marks.
struct Stepped {
    thread: Pid,
    region: u64,
    count: u64,
    /// Where a call that has left the code will return to, and with which
    /// stack pointer.
    outside: Option<(u64, u64)>,
}

struct Tracer<'a> {
    image: &'a Image,
    known: HashSet<Pid>,
    stepped: Option<Stepped>,
    regions: HashMap<u64, Region>,
}

pub fn trace(command: &Command, image: &Image) -> Result<Trace> {
    // A shell that stops itself can be caught before anything else happens.
    let mut stopped = Command::new("sh");
    stopped.args(["-c", "kill -STOP $$; exec \"$@\"", "sh"]);
    stopped.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => stopped.env(name, value),
            None => stopped.env_remove(name),
        };
    }
    let mut child = stopped.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    let mut stdout = child.stdout.take().context("the program has no output")?;
    let output = thread::spawn(move || {
        let mut output = String::new();
        stdout.read_to_string(&mut output).map(|_| output)
    });
    let (done, ended) = mpsc::channel::<()>();
    thread::spawn(move || {
        if ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            // Then the trace ends with an error.
            let _ = kill(pid, Signal::SIGKILL);
        }
    });

    waitpid(pid, Some(WaitPidFlag::WUNTRACED))?;
    let options = Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options).context("the program cannot be traced")?;
    kill(pid, Signal::SIGCONT)?;

    let mut tracer =
        Tracer { image, known: HashSet::new(), stepped: None, regions: HashMap::new() };
    let code = tracer.follow(pid)?;
    drop(done);
    if code != 0 {
        bail!("the program ended with code {code}");
    }
    let output = output.join().expect("reading does not panic")?;
    Ok(Trace { regions: tracer.regions, output })
}

impl Tracer<'_> {
    /// Follows all threads until the program has ended.
    fn follow(&mut self, program: Pid) -> Result<i32> {
        loop {
            match waitpid(None, Some(WaitPidFlag::__WALL)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == program => return Ok(code),
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == program => {
                    bail!("the program was ended by {signal}")
                }
                Ok(WaitStatus::Stopped(thread, signal)) => self.stopped(thread, signal)?,
                Ok(WaitStatus::PtraceEvent(thread, _, event)) => self.event(thread, event)?,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A thread is new, or has become another program: it gets breakpoints.
    fn event(&mut self, thread: Pid, event: i32) -> Result<()> {
        if self.known.insert(thread) || event == libc::PTRACE_EVENT_EXEC {
            set_breakpoints(thread, self.image, None)?;
        }
        self.go_on(thread, None)
    }

    fn stopped(&mut self, thread: Pid, signal: Signal) -> Result<()> {
        if self.known.insert(thread) {
            set_breakpoints(thread, self.image, None)?;
        }
        if signal != Signal::SIGTRAP {
            return self.go_on(thread, Some(signal));
        }
        let instruction = register(thread, RIP)?;
        match &mut self.stepped {
            Some(stepped) if stepped.thread == thread => self.step(instruction),
            None if instruction == self.image.begin => {
                let region = register(thread, RCX)?;
                self.stepped = Some(Stepped { thread, region, count: 0, outside: None });
                clear_breakpoints(thread)?;
                Ok(ptrace::step(thread, None)?)
            }
            // Another thread at a mark.
            _ if instruction == self.image.begin || instruction == self.image.end => {
                Ok(ptrace::cont(thread, None)?)
            }
            // The program's own.
            _ => Ok(ptrace::cont(thread, Some(signal))?),
        }
    }

    /// The stepped thread has come to `instruction`.
    fn step(&mut self, instruction: u64) -> Result<()> {
        let stepped = self.stepped.as_mut().expect("a thread is stepped");
        let thread = stepped.thread;
        if let Some((back, stack)) = stepped.outside {
            if instruction != back || register(thread, RSP)? != stack {
                // A breakpoint on the way, by recursion into the program.
                return Ok(ptrace::cont(thread, None)?);
            }
            stepped.outside = None;
            clear_breakpoints(thread)?;
        }
        let region = self.regions.entry(stepped.region).or_default();
        if instruction == self.image.end {
            region.times += 1;
            region.least = Some(region.least.map_or(stepped.count, |l| l.min(stepped.count)));
            self.stepped = None;
            set_breakpoints(thread, self.image, None)?;
            return Ok(ptrace::cont(thread, None)?);
        }
        if self.image.code.contains(&instruction) {
            stepped.count += 1;
            *region.addresses.entry(instruction).or_default() += 1;
            return Ok(ptrace::step(thread, None)?);
        }
        // The first instruction of a call: the return address is on the stack.
        let stack = register(thread, RSP)?;
        let back = ptrace::read(thread, address(stack))?.cast_unsigned();
        if !self.image.code.contains(&back) {
            return Ok(ptrace::step(thread, None)?);
        }
        stepped.outside = Some((back, stack + 8));
        set_breakpoints(thread, self.image, Some(back))?;
        Ok(ptrace::cont(thread, None)?)
    }

    fn go_on(&self, thread: Pid, signal: Option<Signal>) -> Result<()> {
        let stepping = self
            .stepped
            .as_ref()
            .is_some_and(|stepped| stepped.thread == thread && stepped.outside.is_none());
        let result =
            if stepping { ptrace::step(thread, signal) } else { ptrace::cont(thread, signal) };
        match result {
            // It was killed meanwhile.
            Err(Errno::ESRCH) => Ok(()),
            result => Ok(result?),
        }
    }
}

const RIP: usize = mem::offset_of!(libc::user, regs.rip);
const RSP: usize = mem::offset_of!(libc::user, regs.rsp);
const RCX: usize = mem::offset_of!(libc::user, regs.rcx);
const DEBUG: usize = mem::offset_of!(libc::user, u_debugreg);

fn register(thread: Pid, offset: usize) -> Result<u64> {
    Ok(ptrace::read_user(thread, address(offset as u64))?.cast_unsigned())
}

fn set_breakpoints(thread: Pid, image: &Image, back: Option<u64>) -> Result<()> {
    // Off while they are changed: the kernel checks each change.
    set_debug_register(thread, 7, 0)?;
    set_debug_register(thread, 0, image.begin)?;
    set_debug_register(thread, 1, image.end)?;
    let mut enabled = 0b0101;
    if let Some(back) = back {
        set_debug_register(thread, 2, back)?;
        enabled |= 0b1_0000;
    }
    set_debug_register(thread, 7, enabled)
}

/// Stepping is faster without.
fn clear_breakpoints(thread: Pid) -> Result<()> {
    set_debug_register(thread, 7, 0)
}

fn set_debug_register(thread: Pid, number: usize, value: u64) -> Result<()> {
    let offset = DEBUG + number * size_of::<u64>();
    match ptrace::write_user(thread, address(offset as u64), value.cast_signed()) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).context("the debug registers cannot be set on this machine"),
    }
}

fn address(value: u64) -> AddressType {
    ptr::without_provenance_mut(usize::try_from(value).expect("an address of 64 bits"))
}
