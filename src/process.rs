//! Child processes whose standard streams and exit are on a port.
//!
//! [`SpawnOptions`] starts a [`Command`] with pipes for overlapped I/O. [`Exit`] is what
//! [`Iocp::initiate_wait`] waits for to get the exit status.
//!
//! The exit and the end of each stream are completions of their own, and come in any order.
//! What a child has written last may still be in the pipe when its exit is known: read until a
//! read [finds the end](crate::Finished::is_at_end); one of 0 bytes may be that of a write of
//! nothing. That is later than the exit where the child has left a process behind that has the
//! other end of the pipe. To wait no longer than you like for that,
//! [cancel](crate::Pending::cancel) the read; what was faster is in its buffer.
//!
//! ```no_run
//! use std::process::{Command, ExitStatus};
//!
//! use completion_port::process::{Exit, SpawnOptions};
//! use completion_port::{Iocp, OperationKind};
//!
//! const OUTPUT: usize = 1;
//! let port = Iocp::new()?;
//! let child = SpawnOptions::new().stdout(OUTPUT).spawn(&port, &mut Command::new("build"))?;
//! let stdout = child.stdout.unwrap();
//! port.initiate_wait(Exit::of(&child.process)?, 0)?;
//! port.initiate_read(&stdout, 0, Vec::with_capacity(4096))?;
//!
//! let (mut status, mut output, mut is_at_end) = (None, Vec::new(), false);
//! while status.is_none() || !is_at_end {
//!     let mut completion = port.get_completion()?;
//!     completion.error_status?;
//!     if completion.operation.kind() == OperationKind::Wait {
//!         status = Some(completion.operation.output::<ExitStatus>()?);
//!         continue;
//!     }
//!     is_at_end = completion.operation.is_at_end();
//!     let mut buffer: Vec<u8> = completion.operation.output()?;
//!     output.append(&mut buffer);
//!     if !is_at_end {
//!         port.initiate_read(&stdout, 0, buffer)?;
//!     }
//! }
//! # Ok::<(), std::io::Error>(())
//! ```

#![allow(private_interfaces, reason = "the sealed trait is for this crate alone")]

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, OwnedHandle};
use std::os::windows::process::{CommandExt, ExitStatusExt};
use std::process::{self, Command, ExitStatus, Stdio};

use windows_sys::Win32::System::Threading::CREATE_SUSPENDED;

use crate::handle::Associated;
use crate::job::Job;
use crate::op::wait::sealed;
use crate::pipe;
use crate::port::Iocp;
use crate::sys::{self, Handle};

/// How a child process is started.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct SpawnOptions<'j> {
    stdin: Option<usize>,
    stdout: Option<usize>,
    stderr: Option<usize>,
    flags: Option<u32>,
    job: Option<&'j Job>,
}

/// A child process, and this process's ends of its standard streams.
///
/// Dropping it closes the streams; the child goes on.
#[derive(Debug)]
#[non_exhaustive]
pub struct Child {
    /// What is written here, the child reads.
    pub stdin: Option<Associated<OwnedHandle>>,
    /// What the child writes, is read here.
    pub stdout: Option<Associated<OwnedHandle>>,
    /// What the child writes to its standard error, is read here.
    pub stderr: Option<Associated<OwnedHandle>>,
    /// The process itself.
    pub process: process::Child,
}

impl<'j> SpawnOptions<'j> {
    /// Leaves all standard streams as the command has them.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the child read what is written to [`Child::stdin`], which is associated with the
    /// port with this context. When that is dropped, the child finds the end.
    pub fn stdin(self, handle_context: usize) -> Self {
        Self { stdin: Some(handle_context), ..self }
    }

    /// Sends what the child writes to [`Child::stdout`], which is associated with the port
    /// with this context.
    pub fn stdout(self, handle_context: usize) -> Self {
        Self { stdout: Some(handle_context), ..self }
    }

    /// The same of what it writes to its standard error.
    pub fn stderr(self, handle_context: usize) -> Self {
        Self { stderr: Some(handle_context), ..self }
    }

    /// Passes these [flags](CommandExt::creation_flags), in place of the command's.
    pub fn creation_flags(self, flags: u32) -> Self {
        Self { flags: Some(flags), ..self }
    }

    /// Starts the child in a job, so that nothing that it starts escapes.
    ///
    /// It is created suspended, by [flags](Self::creation_flags) that replace the command's.
    pub fn job(self, job: &'j Job) -> Self {
        Self { job: Some(job), ..self }
    }

    /// Starts the child.
    ///
    /// Each child gets the ends of its own pipes, and none of another's that is started by this
    /// or by the standard library meanwhile. When this returns, whatever it returns, the child's
    /// ends are the child's alone; the command then inherits the streams that were piped.
    ///
    /// # Errors
    ///
    /// Those of [`Command::spawn`], [`pipe::pair`], [`Iocp::add_handle`] and [`Job::assign`].
    /// Then no child is left running.
    pub fn spawn<C: Send + 'static>(
        &self,
        port: &Iocp<C>,
        command: &mut Command,
    ) -> io::Result<Child> {
        let mut piped = Piped { command, streams: [None; 3] };
        let stdin = piped.pipe(port, self.stdin, true, Command::stdin)?;
        let stdout = piped.pipe(port, self.stdout, false, Command::stdout)?;
        let stderr = piped.pipe(port, self.stderr, false, Command::stderr)?;
        let command = &mut *piped.command;
        if let Some(flags) = self.flags {
            command.creation_flags(flags);
        }
        let process = match self.job {
            Some(job) => self.spawn_in(job, command)?,
            None => command.spawn()?,
        };
        Ok(Child { stdin, stdout, stderr, process })
    }

    fn spawn_in(&self, job: &Job, command: &mut Command) -> io::Result<process::Child> {
        let flags = self.flags.unwrap_or(0);
        let spawned = command.creation_flags(flags | CREATE_SUSPENDED).spawn();
        // Who spawns it again does not expect that it is suspended.
        command.creation_flags(flags);
        let mut process = spawned?;
        let raw = Handle(process.as_raw_handle().addr());
        match job.assign(&process).and_then(|()| sys::resume(raw)) {
            Ok(()) => Ok(process),
            Err(error) => {
                // One that cannot be killed has ended.
                let _ = process.kill();
                process.wait()?;
                Err(error.into())
            }
        }
    }
}

/// A command that has the child's ends of pipes, until this is dropped.
struct Piped<'c> {
    command: &'c mut Command,
    /// Which they are.
    streams: [Option<SetStream>; 3],
}

type SetStream = fn(&mut Command, Stdio) -> &mut Command;

impl Piped<'_> {
    /// Makes one of the streams a pipe, of which this process's end is associated with the
    /// port.
    fn pipe<C: Send + 'static>(
        &mut self,
        port: &Iocp<C>,
        context: Option<usize>,
        child_reads: bool,
        set: SetStream,
    ) -> io::Result<Option<Associated<OwnedHandle>>> {
        let Some(context) = context else { return Ok(None) };
        let (own, childs) = pipe::for_child(child_reads)?;
        let own = port.add_handle(own, context)?;
        if let Some(place) = self.streams.iter_mut().find(|place| place.is_none()) {
            *place = Some(set);
        }
        set(self.command, childs.into());
        Ok(Some(own))
    }
}

impl Drop for Piped<'_> {
    fn drop(&mut self) {
        for set in self.streams.into_iter().flatten() {
            set(self.command, Stdio::inherit());
        }
    }
}

/// The exit of a process, as what [`Iocp::initiate_wait`] waits for. The operation's output is
/// the [`ExitStatus`].
///
/// ```no_run
/// use std::process::{Command, ExitStatus};
///
/// use completion_port::{Iocp, process::Exit};
///
/// let port = Iocp::new()?;
/// let child = Command::new("build").spawn()?;
/// port.initiate_wait(Exit::of(&child)?, 1)?;
/// let mut completion = port.get_completion()?;
/// completion.error_status?;
/// println!("{}", completion.operation.output::<ExitStatus>()?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Exit(OwnedHandle);

impl Exit {
    /// That of this process, which may have ended already.
    ///
    /// # Errors
    ///
    /// If the system has no room for another handle.
    pub fn of(process: &process::Child) -> io::Result<Self> {
        Ok(Self(process.as_handle().try_clone_to_owned()?))
    }
}

impl sealed::Waitable for Exit {
    type Output = ExitStatus;

    fn handle(&self) -> Handle {
        Handle(self.0.as_raw_handle().addr())
    }

    fn into_output(self, succeeded: bool) -> Option<ExitStatus> {
        // That it has ended, the wait says, and no exit code: any is one.
        let code = if succeeded { sys::exit_code(self.handle()) } else { None };
        code.map(ExitStatus::from_raw)
    }
}
