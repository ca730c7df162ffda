//! Messages that go through a named pipe and come back.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{FromRawHandle, OwnedHandle};
use std::process;
use std::ptr;
use std::time::{Duration, Instant};

use measure::Recorder;
use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_OVERLAPPED, FILE_FLAGS_AND_ATTRIBUTES, PIPE_ACCESS_DUPLEX,
};
use windows_sys::Win32::System::Pipes::{CreateNamedPipeW, PIPE_TYPE_BYTE};

use crate::MESSAGE;

/// The job: the client's end sends a message, the server's end sends it back,
/// the client's end checks it.
pub struct PingPong {
    recorder: Recorder,
    round: u64,
    started: Instant,
}

impl PingPong {
    pub(crate) fn new(duration: Duration) -> Self {
        Self { recorder: Recorder::new(1, duration), round: 0, started: Instant::now() }
    }

    /// A name for the pipe that no other program has.
    #[must_use]
    pub fn name(&self) -> String {
        format!(r"\\.\pipe\completion-port-bench-{}", process::id())
    }

    /// Writes the next message into `message`.
    pub fn next(&mut self, message: &mut [u8; MESSAGE]) {
        self.round += 1;
        self.started = Instant::now();
        *message = self.message();
    }

    /// Takes what came back; whether to go on. Reports if not.
    ///
    /// # Panics
    ///
    /// If it is not what was sent.
    #[must_use]
    pub fn done(&self, message: &[u8]) -> bool {
        assert!(message == self.message(), "a message with other bytes");
        let more = self.recorder.record(0, self.started);
        if !more {
            self.recorder.report();
        }
        more
    }

    fn message(&self) -> [u8; MESSAGE] {
        let mut message = [self.round as u8; MESSAGE];
        message[..8].copy_from_slice(&self.round.to_le_bytes());
        message
    }
}

/// Both ends of a new pipe, the server's and the client's, for overlapped
/// operations: for peers that do not make pipes.
///
/// # Errors
///
/// What the system answers.
pub fn pipe_pair(name: &str) -> io::Result<(OwnedHandle, File)> {
    let server = server_end(name, FILE_FLAG_OVERLAPPED)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(FILE_FLAG_OVERLAPPED);
    Ok((server, options.open(name)?))
}

/// The server's end of a new pipe, for blocking calls.
///
/// # Errors
///
/// What the system answers.
pub fn blocking_pipe(name: &str) -> io::Result<File> {
    server_end(name, 0).map(File::from)
}

fn server_end(name: &str, flags: FILE_FLAGS_AND_ATTRIBUTES) -> io::Result<OwnedHandle> {
    let wide: Vec<u16> = name.encode_utf16().chain([0]).collect();
    let mode = PIPE_ACCESS_DUPLEX | flags;
    // SAFETY: The name ends with a zero.
    let server = unsafe {
        CreateNamedPipeW(wide.as_ptr(), mode, PIPE_TYPE_BYTE, 1, 4096, 4096, 0, ptr::null())
    };
    if server == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: The handle is new and nobody else's.
    Ok(unsafe { OwnedHandle::from_raw_handle(server) })
}
