//! Jobs: process trees whose events come to a port.
//!
//! A [`Job`] is a group of processes; what its processes start belongs to it, too. The
//! system posts a packet to the job's port when a process starts or ends, and when the last
//! one has. Such a packet is of no operation, so it arrives as
//! [`Error::foreign_packet`](crate::Error::foreign_packet), and [`Job::event`] says what it
//! means.
//!
//! The system does not promise that these packets come; when it is short of memory it leaves
//! them out. So take them for hints: ask for the [number of processes](Job::active_processes)
//! where it matters, and [wait](crate::Iocp::initiate_wait) for a process to know that it has
//! ended. [`Iocp::run`](crate::Iocp::run) and a [`Driver`](crate::Driver) drop packets of no
//! operation; dequeue in another way where you want to see them.
//!
//! ```no_run
//! use std::process::Command;
//!
//! use completion_port::job::{Job, JobEvent};
//! use completion_port::{Iocp, process};
//!
//! const JOB: usize = 100;
//! let port = Iocp::new()?;
//! let job = Job::new(&port, JOB)?;
//! job.kill_on_close(true)?;
//! process::SpawnOptions::new().job(&job).spawn(&port, &mut Command::new("build"))?;
//! loop {
//!     let event = match port.get_completion() {
//!         Ok(_) => continue,
//!         Err(error) => error.foreign_packet().and_then(|packet| job.event(&packet)),
//!     };
//!     match event {
//!         Some(JobEvent::ProcessStarted(id)) => println!("{id} has started"),
//!         Some(JobEvent::ProcessExited(id)) => println!("{id} has ended"),
//!         Some(JobEvent::NoProcesses) => break,
//!         _ => {}
//!     }
//! }
//! # Ok::<(), std::io::Error>(())
//! ```

use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle};

use windows_sys::Win32::System::SystemServices::{
    JOB_OBJECT_MSG_ABNORMAL_EXIT_PROCESS, JOB_OBJECT_MSG_ACTIVE_PROCESS_LIMIT,
    JOB_OBJECT_MSG_ACTIVE_PROCESS_ZERO, JOB_OBJECT_MSG_END_OF_JOB_TIME,
    JOB_OBJECT_MSG_END_OF_PROCESS_TIME, JOB_OBJECT_MSG_EXIT_PROCESS,
    JOB_OBJECT_MSG_JOB_MEMORY_LIMIT, JOB_OBJECT_MSG_NEW_PROCESS, JOB_OBJECT_MSG_NOTIFICATION_LIMIT,
    JOB_OBJECT_MSG_PROCESS_MEMORY_LIMIT,
};

use crate::error::{Error, ForeignPacket, Result};
use crate::port::Iocp;
use crate::sys::{self, Handle};

/// A group of processes, whose events come to a port.
///
/// Dropping it closes the job; its processes go on, unless they are to be
/// [killed](Self::kill_on_close) then.
#[derive(Debug)]
pub struct Job {
    handle: OwnedHandle,
    context: usize,
}

/// What has happened in a job; the numbers are the ids of processes.
///
/// By the time that an event is seen, its process may have ended, and its id be another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JobEvent {
    /// A process was assigned to the job, or started in it.
    ProcessStarted(u32),
    /// A process has ended.
    ProcessExited(u32),
    /// A process has ended with an exit code that says that it has crashed. It comes in
    /// place of [`ProcessExited`](Self::ProcessExited).
    ProcessCrashed(u32),
    /// The last process has ended.
    NoProcesses,
    /// A process was not started, because there are as many as the job may have.
    ProcessLimit,
    /// A process has used more processor time than it may.
    ProcessTimeLimit(u32),
    /// A process has asked for more memory than it may have.
    ProcessMemoryLimit(u32),
    /// The job has used more processor time than it may.
    JobTimeLimit,
    /// A process has asked for more memory than the job may have.
    JobMemoryLimit(u32),
    /// A process has exceeded a limit that the job was to be told of.
    NotificationLimit(u32),
    /// Something else.
    Other {
        /// One of the system's `JOB_OBJECT_MSG` numbers.
        message: u32,
        /// What came with it.
        value: usize,
    },
}

impl Job {
    /// Creates a job without processes, whose events come to the port with `context`.
    ///
    /// The packets are told by this alone, so choose one that is not the context of a handle.
    ///
    /// # Errors
    ///
    /// [`Closed`](crate::ErrorKind::Closed) if the port is, and what the system answers.
    pub fn new<C: Send + 'static>(port: &Iocp<C>, context: usize) -> Result<Self> {
        let shared = port.shared();
        shared.state.check_open().map_err(Error::usage)?;
        Ok(Self { handle: sys::create_job(&shared.port, context)?, context })
    }

    /// What the job was created with.
    #[must_use]
    pub fn context(&self) -> usize {
        self.context
    }

    /// What a packet says, if it is one of the job's.
    #[must_use]
    pub fn event(&self, packet: &ForeignPacket) -> Option<JobEvent> {
        if packet.completion_key != self.context {
            return None;
        }
        // "lpOverlapped: the identifier of the process" in messages of a process
        // (https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-jobobject_associate_completion_port).
        let id = packet.overlapped as u32;
        Some(match packet.bytes_transferred {
            JOB_OBJECT_MSG_NEW_PROCESS => JobEvent::ProcessStarted(id),
            JOB_OBJECT_MSG_EXIT_PROCESS => JobEvent::ProcessExited(id),
            JOB_OBJECT_MSG_ABNORMAL_EXIT_PROCESS => JobEvent::ProcessCrashed(id),
            JOB_OBJECT_MSG_ACTIVE_PROCESS_ZERO => JobEvent::NoProcesses,
            JOB_OBJECT_MSG_ACTIVE_PROCESS_LIMIT => JobEvent::ProcessLimit,
            JOB_OBJECT_MSG_END_OF_PROCESS_TIME => JobEvent::ProcessTimeLimit(id),
            JOB_OBJECT_MSG_PROCESS_MEMORY_LIMIT => JobEvent::ProcessMemoryLimit(id),
            JOB_OBJECT_MSG_END_OF_JOB_TIME => JobEvent::JobTimeLimit,
            JOB_OBJECT_MSG_JOB_MEMORY_LIMIT => JobEvent::JobMemoryLimit(id),
            JOB_OBJECT_MSG_NOTIFICATION_LIMIT => JobEvent::NotificationLimit(id),
            message => JobEvent::Other { message, value: packet.overlapped },
        })
    }

    /// Puts a process into the job, with what it starts from now on.
    ///
    /// What it has started before is not in the job:
    /// [`SpawnOptions::job`](crate::process::SpawnOptions::job) starts a process in it.
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) if the process is in another
    /// job that does not allow it, or has ended.
    pub fn assign(&self, process: &impl AsHandle) -> Result<()> {
        sys::assign_to_job(self.raw(), Handle(process.as_handle().as_raw_handle().addr()))
    }

    /// Whether its processes are killed when the job is closed, even if this process crashes.
    ///
    /// # Errors
    ///
    /// What the system answers.
    pub fn kill_on_close(&self, kills: bool) -> Result<()> {
        sys::kill_on_job_close(self.raw(), kills)
    }

    /// Kills all its processes, with this exit code.
    ///
    /// # Errors
    ///
    /// What the system answers.
    pub fn kill(&self, exit_code: u32) -> Result<()> {
        sys::terminate_job(self.raw(), exit_code)
    }

    /// How many processes are running in it.
    ///
    /// # Errors
    ///
    /// What the system answers.
    pub fn active_processes(&self) -> Result<u32> {
        sys::active_processes(self.raw())
    }

    fn raw(&self) -> Handle {
        Handle(self.handle.as_raw_handle().addr())
    }
}

impl AsHandle for Job {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.handle.as_handle()
    }
}
