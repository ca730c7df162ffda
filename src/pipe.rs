//! Named pipes: their servers, their clients, and pipes without a name.
//!
//! All handles are opened for overlapped I/O, and no child process inherits them.
//! Associate them with a port by [`add_handle`](crate::Iocp::add_handle), and wait for
//! the client of a server by [`op::ConnectPipe`](crate::op::ConnectPipe).
//!
//! ```
//! use completion_port::{Iocp, op, pipe};
//!
//! # let name = format!(r"\\.\pipe\completion-port-doc-{}", std::process::id());
//! let port = Iocp::new()?;
//! let options = pipe::ServerOptions::new().messages(true);
//! let server = port.add_handle(options.create(&name)?, 1)?;
//! port.initiate(&server, 2, op::ConnectPipe::new())?;
//!
//! let client = pipe::ClientOptions::new().messages(true).open(&name)?;
//! let client = port.add_handle(client, 3)?;
//! port.get_completion()?.error_status?; // the client has come
//! port.initiate(&client, 4, op::Write::new("hello"))?;
//! port.get_completion()?.error_status?;
//! port.initiate(&server, 5, op::Read::new(Vec::with_capacity(64)))?;
//! let mut completion = port.get_completion()?;
//! assert_eq!(completion.operation.output::<Vec<u8>>()?, b"hello");
//!
//! pipe::disconnect(&server)?; // for the next client
//! port.initiate(&server, 2, op::ConnectPipe::new())?;
//! # Ok::<(), completion_port::Error>(())
//! ```
//!
//! # When all instances are in use
//!
//! A client that finds none free gets [`Busy`](crate::ErrorKind::Busy). It waits for one
//! by [`op::WaitForPipe`](crate::op::WaitForPipe), without blocking a thread as
//! `WaitNamedPipe` does, and tries again: another client may be faster to take it. Servers
//! should have an instance ready at all times.
//!
//! ```no_run
//! use std::os::windows::io::OwnedHandle;
//! use std::time::Instant;
//!
//! use completion_port::{Associated, ErrorKind, Iocp, op, pipe};
//!
//! async fn connect(
//!     port: &Iocp<()>,
//!     name: &str,
//!     deadline: Instant,
//! ) -> std::io::Result<Associated<OwnedHandle>> {
//!     let pipes = port.add_handle(pipe::file_system()?, 0)?;
//!     loop {
//!         match pipe::ClientOptions::new().open(name) {
//!             // Each wait may be in time, and another client be faster.
//!             Err(error) if error.kind() == ErrorKind::Busy && Instant::now() < deadline => {}
//!             opened => return Ok(port.add_handle(opened?, 0)?),
//!         }
//!         let wait = port.initiate(&pipes, (), op::WaitForPipe::new(name)?)?;
//!         wait.set_deadline(deadline)?;
//!         wait.await?;
//!     }
//! }
//! ```

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::hash::{BuildHasher, RandomState};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, OwnedHandle};

use windows_sys::Win32::Storage::FileSystem::{
    FILE_APPEND_DATA, FILE_FLAG_OVERLAPPED, FILE_GENERIC_READ, FILE_GENERIC_WRITE,
    FILE_READ_ATTRIBUTES, FILE_WRITE_ATTRIBUTES, SECURITY_ANONYMOUS, SECURITY_DELEGATION,
    SECURITY_IDENTIFICATION, SECURITY_IMPERSONATION,
};

use crate::error::{Error, Facts, Result, refusal};
use crate::handle::Associated;
use crate::op::on::{Pipe, Supports};
use crate::sys::{self, Handle, PipeTraits};

pub use crate::sys::SecurityDescriptor;

/// The options of a pipe's server. By default, the pipe carries bytes in both directions, for
/// processes of its owner on this machine.
///
/// Each instance serves one client at a time.
///
/// ```
/// use completion_port::{ErrorKind, pipe};
///
/// # let name = format!(r"\\.\pipe\completion-port-server-{}", std::process::id());
/// let options = pipe::ServerOptions::new().messages(true).max_instances(2);
/// let first = options.create(&name)?;
/// assert_eq!(options.create(&name).unwrap_err().kind(), ErrorKind::AddressInUse);
/// let second = options.create_next(&name)?;
/// # Ok::<(), completion_port::Error>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct ServerOptions {
    traits: PipeTraits,
    security: Option<SecurityDescriptor>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        const SIZE: u32 = 65_536;
        let traits = PipeTraits {
            inbound: true,
            outbound: true,
            messages: false,
            accepts_remote: false,
            instances: u8::MAX,
            incoming_size: SIZE,
            outgoing_size: SIZE,
        };
        Self { traits, security: None }
    }
}

impl ServerOptions {
    /// Creates the default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether clients can send; they can by default.
    pub fn inbound(mut self, inbound: bool) -> Self {
        self.traits.inbound = inbound;
        self
    }

    /// Sets whether the server can send; it can by default.
    pub fn outbound(mut self, outbound: bool) -> Self {
        self.traits.outbound = outbound;
        self
    }

    /// Sets whether the pipe carries messages, which the server reads one by one. By default
    /// it carries bytes.
    pub fn messages(mut self, messages: bool) -> Self {
        self.traits.messages = messages;
        self
    }

    /// Sets whether clients on other machines are let in. By default they are not.
    pub fn accept_remote(mut self, accept: bool) -> Self {
        self.traits.accepts_remote = accept;
        self
    }

    /// Sets how many instances there may be at a time: 1 to 254, or 255 for as many as the
    /// system can have, which is the default. The first instance decides.
    pub fn max_instances(mut self, instances: u8) -> Self {
        self.traits.instances = instances;
        self
    }

    /// Sets how many unread bytes the pipe holds in each direction before writes wait: 65,536
    /// each, by default. The system may round them.
    pub fn buffer_sizes(mut self, incoming: u32, outgoing: u32) -> Self {
        (self.traits.incoming_size, self.traits.outgoing_size) = (incoming, outgoing);
        self
    }

    /// Sets who may do what. By default the owner may do everything, and nobody else
    /// anything.
    ///
    /// Give clients of other users the rights to read and write data, `0x12019b`, and
    /// not all that writing a file needs (`GW`): that would let them create instances of
    /// the pipe, and pose as the server.
    ///
    /// ```
    /// use completion_port::pipe;
    ///
    /// # let name = format!(r"\\.\pipe\completion-port-security-{}", std::process::id());
    /// // Whoever is logged on interactively.
    /// let users = pipe::SecurityDescriptor::from_sddl("D:P(A;;GA;;;OW)(A;;0x12019b;;;IU)")?;
    /// let server = pipe::ServerOptions::new().security(users).create(name)?;
    /// # Ok::<(), completion_port::Error>(())
    /// ```
    pub fn security(mut self, descriptor: SecurityDescriptor) -> Self {
        self.security = Some(descriptor);
        self
    }

    /// Creates the first instance of the pipe. Its name is `\\.\pipe\` and anything behind
    /// it.
    ///
    /// # Errors
    ///
    /// [`AddressInUse`](crate::ErrorKind::AddressInUse) if there is a pipe of that name
    /// already, this program's or a stranger's.
    pub fn create(&self, name: impl AsRef<OsStr>) -> Result<OwnedHandle> {
        self.create_instance(name.as_ref(), true)
    }

    /// Creates another instance of the pipe, with the options of the first.
    ///
    /// If all others are closed, it is the first one again.
    ///
    /// # Errors
    ///
    /// [`Busy`](crate::ErrorKind::Busy) if there are
    /// [`max_instances`](Self::max_instances) of them,
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) if the first instance has other
    /// options, or is another user's who has not let this one create more. (One who has lets
    /// others serve its clients: if that matters, create it by [`create`](Self::create).)
    pub fn create_next(&self, name: impl AsRef<OsStr>) -> Result<OwnedHandle> {
        self.create_instance(name.as_ref(), false)
    }

    fn create_instance(&self, name: &OsStr, claims: bool) -> Result<OwnedHandle> {
        if self.traits.instances == 0 {
            return Err(Error::usage(&refusal::NO_INSTANCES));
        }
        sys::create_pipe(name, &self.traits, self.security.as_ref(), claims)
    }
}

/// The options of a pipe's client. By default, it reads and writes bytes, and the server
/// cannot act in its name.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct ClientOptions {
    read: bool,
    write: bool,
    messages: bool,
    impersonation: Impersonation,
}

/// What the server of a pipe can do in the name of its client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Impersonation {
    /// Nothing: it is not even told who the client is.
    Anonymous,
    /// Identify the client, and check its rights.
    #[default]
    Identification,
    /// Whatever the client may do on this machine.
    Impersonation,
    /// Whatever the client may do, on other machines, too.
    Delegation,
}

impl Default for ClientOptions {
    fn default() -> Self {
        let impersonation = Impersonation::default();
        Self { read: true, write: true, messages: false, impersonation }
    }
}

impl ClientOptions {
    /// Creates the default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether the client can read; it can by default.
    pub fn read(self, read: bool) -> Self {
        Self { read, ..self }
    }

    /// Sets whether the client can write; it can by default.
    pub fn write(self, write: bool) -> Self {
        Self { write, ..self }
    }

    /// Sets whether the client reads messages one by one. The pipe has to carry messages.
    pub fn messages(self, messages: bool) -> Self {
        Self { messages, ..self }
    }

    /// Sets what the server can do in the client's name: identify it, by default.
    pub fn impersonation(self, impersonation: Impersonation) -> Self {
        Self { impersonation, ..self }
    }

    /// Opens the client's end of a pipe, with the rights to its data alone.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no pipe of that name,
    /// [`Busy`](crate::ErrorKind::Busy) if no instance of it is free: see
    /// [above](crate::pipe#when-all-instances-are-in-use).
    pub fn open(self, name: impl AsRef<OsStr>) -> Result<OwnedHandle> {
        let right = |right, wanted| if wanted { right } else { 0 };
        let rights = right(FILE_GENERIC_READ, self.read)
            | right(FILE_GENERIC_WRITE & !FILE_APPEND_DATA, self.write)
            | right(FILE_WRITE_ATTRIBUTES, self.messages);
        let level = match self.impersonation {
            Impersonation::Anonymous => SECURITY_ANONYMOUS,
            Impersonation::Identification => SECURITY_IDENTIFICATION,
            Impersonation::Impersonation => SECURITY_IMPERSONATION,
            Impersonation::Delegation => SECURITY_DELEGATION,
        };
        let pipe = open(name.as_ref(), rights, FILE_FLAG_OVERLAPPED, level)?;
        if self.messages {
            sys::read_messages(Handle(pipe.as_raw_handle().addr()))?;
        }
        Ok(pipe)
    }
}

/// Opens the file system of named pipes, for [`op::WaitForPipe`](crate::op::WaitForPipe).
///
/// # Errors
///
/// What the system answers.
pub fn file_system() -> Result<OwnedHandle> {
    let pipes = OpenOptions::new()
        .access_mode(FILE_READ_ATTRIBUTES)
        .custom_flags(FILE_FLAG_OVERLAPPED)
        .open(sys::PIPES)
        .map_err(|error| {
            let code = error.raw_os_error().unwrap_or_default();
            Error::os(Facts::CreateFileW, code as u32)
        })?;
    Ok(pipes.into())
}

/// Ends the connection of a pipe's server to its client, so that another can come:
/// start [`op::ConnectPipe`](crate::op::ConnectPipe) again.
///
/// What the client has not read yet is lost. Operations in flight on both ends
/// complete with [`NotConnected`](crate::ErrorKind::NotConnected), and so do those
/// that are started before a client comes.
///
/// # Errors
///
/// What the system answers, if this is not the server's end, for one.
pub fn disconnect<H: Supports<Pipe> + AsRawHandle, M>(server: &Associated<H, M>) -> Result<()> {
    sys::disconnect_pipe(Handle(server.as_raw_handle().addr()))
}

/// Creates a pipe of bytes without a name, and returns the end to read from and the end to
/// write to.
///
/// Those that `std::io::pipe` creates have no overlapped I/O.
///
/// # Errors
///
/// What the system answers.
///
/// ```
/// use completion_port::{Iocp, pipe};
///
/// let port = Iocp::new()?;
/// let (reader, writer) = pipe::pair()?;
/// let (reader, writer) = (port.add_handle(reader, 1)?, port.add_handle(writer, 2)?);
/// port.initiate_write(&writer, 3, "hello")?;
/// port.get_completion()?.error_status?;
/// port.initiate_read(&reader, 4, Vec::with_capacity(64))?;
/// assert_eq!(port.get_completion()?.operation.take_buffer::<Vec<u8>>().unwrap(), b"hello");
/// # Ok::<(), completion_port::Error>(())
/// ```
pub fn pair() -> Result<(OwnedHandle, OwnedHandle)> {
    let name = unguessable_name();
    let reader = ServerOptions::new().outbound(false).max_instances(1).create(&name)?;
    let writer = ClientOptions::new().read(false).open(&name)?;
    Ok((reader, writer))
}

/// This process's end of a pipe of bytes, and that of a child process, which is not overlapped.
pub(crate) fn for_child(child_reads: bool) -> Result<(OwnedHandle, OwnedHandle)> {
    let name = unguessable_name();
    let server = ServerOptions::new().inbound(!child_reads).outbound(child_reads);
    let own = server.max_instances(1).create(&name)?;
    // Children also look at what they read from and write to.
    let rights = if child_reads {
        FILE_GENERIC_READ | FILE_WRITE_ATTRIBUTES
    } else {
        FILE_GENERIC_WRITE & !FILE_APPEND_DATA | FILE_READ_ATTRIBUTES
    };
    Ok((own, open(name.as_ref(), rights, 0, SECURITY_ANONYMOUS)?))
}

/// Of a pipe that is to have no other client than one of this process's.
fn unguessable_name() -> String {
    let random = || RandomState::new().hash_one(std::process::id());
    format!(r"\\.\pipe\completion-port-{:x}-{:x}", random(), random())
}

fn open(name: &OsStr, rights: u32, flags: u32, level: u32) -> Result<OwnedHandle> {
    let opened = OpenOptions::new()
        .access_mode(rights)
        .custom_flags(flags)
        .security_qos_flags(level)
        .open(name);
    opened.map(Into::into).map_err(|error| match error.raw_os_error() {
        Some(code) => Error::os(Facts::CreateFileW, code as u32),
        None => Error::usage(&refusal::ZERO),
    })
}
