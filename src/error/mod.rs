//! What can go wrong, in one type that keeps all that the system said.

#[allow(unsafe_code)]
mod facts;
mod failed;
mod status;

use std::fmt;
use std::io;

use windows_sys::Win32::Foundation::{WAIT_IO_COMPLETION, WAIT_TIMEOUT};

pub(crate) use facts::Errors;
pub use facts::{Facts, FactsOn, OperationKind};
pub use failed::Failed;
pub(crate) use failed::ended;

pub(crate) use status::{
    STATUS_BUFFER_OVERFLOW, STATUS_CANCELLED, STATUS_CONNECTION_ABORTED, STATUS_END_OF_FILE,
    STATUS_NOTIFY_ENUM_DIR, STATUS_PENDING, STATUS_PIPE_BROKEN, STATUS_TIMEOUT, completion_error,
    is_end, is_error, is_failure, is_warning, win32_code,
};

/// A `Result` whose error is this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error: the call that failed, its code, and the `NTSTATUS` of an operation that failed
/// after it had been started.
///
/// It converts into [`std::io::Error`], so `?` works in functions that return one. (A
/// cancelled operation has the kind `Other` there, which nothing retries.) The
/// `std::io::Error` contains this `Error`, and with it the code:
///
/// ```
/// # fn failing() -> std::io::Result<()> {
/// #     Err(completion_port::Iocp::<usize>::with_concurrency(0).unwrap_err().into())
/// # }
/// use completion_port::{Error, ErrorKind};
///
/// let error: std::io::Error = failing().unwrap_err();
/// assert_eq!(error.raw_os_error(), None);
/// let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).unwrap();
/// assert_eq!((inner.kind(), inner.raw_os_error()), (ErrorKind::InvalidInput, None));
/// let inner: Error = error.downcast().unwrap(); // or by value
/// ```
///
/// ```
/// use completion_port::{ErrorKind, Iocp};
///
/// let error = Iocp::with_concurrency(0).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidInput);
/// assert_eq!(error.raw_os_error(), None);
/// let error: std::io::Error = error.into();
/// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Repr);

// Nothing of it is on the heap: to drop a success is no code at all.
#[derive(Clone, PartialEq, Eq)]
#[repr(usize)]
enum Repr {
    /// The system refused a call.
    Call { facts: &'static Facts, code: u32, kind: ErrorKind },
    /// An operation failed after this call had started it.
    Operation { facts: &'static Facts, status: u32, kind: ErrorKind },
    /// This crate refused, before any call was made.
    UsageError(&'static UsageError),
    /// A packet that belongs to no operation of the port that dequeued it.
    Foreign { key: usize, bytes: u32, overlapped: usize },
    /// An operation returns something else than what was asked for.
    NoOutput { returned: TypeName, wanted: TypeName },
}

/// The name of a type. A function, because it is so on 64 bits that an [`Error`] has
/// room for two.
#[derive(Clone, Copy)]
struct TypeName(fn() -> &'static str);

impl PartialEq for TypeName {
    fn eq(&self, other: &Self) -> bool {
        (self.0)() == (other.0)()
    }
}

impl Eq for TypeName {}

/// What this crate refuses by itself, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UsageError {
    pub kind: ErrorKind,
    pub message: &'static str,
}

/// The general cause of an [`Error`]. It displays as a short description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operation was cancelled, or its handle was closed under it.
    Cancelled,
    /// The port was [closed](crate::Iocp::close).
    Closed,
    /// A packet was dequeued that belongs to no operation of this port; see
    /// [`Error::foreign_packet`].
    ForeignPacket,
    /// The handle was not opened for overlapped I/O.
    NotOverlapped,
    /// The file, socket or pipe is associated with a completion port already.
    AlreadyAssociated,
    /// Consoles have no overlapped I/O.
    Console,
    /// The handle is closed, or never was one.
    InvalidHandle,
    /// The handle is associated with another port than the one it was used on.
    WrongPort,
    /// The object cannot do this operation.
    Unsupported,
    /// An argument makes no sense.
    InvalidInput,
    /// The port has as many operations in flight as it was
    /// [built](crate::Builder::max_operations) for.
    TooManyOperations,
    /// The system is out of memory, of buffers, or of quota for now; the same
    /// call may succeed later.
    ResourceExhausted,
    /// The message is larger than the buffer; the rest of it is waiting in the
    /// pipe. The transferred bytes are valid.
    MoreData,
    /// A datagram was larger than the buffer, and the rest of it is lost; or
    /// larger than the socket can send. The transferred bytes are valid.
    MessageTruncated,
    /// The other side reset the connection.
    ConnectionReset,
    /// The connection was ended from this side or by the network.
    ConnectionAborted,
    /// Nobody listens at the address.
    ConnectionRefused,
    /// The socket or pipe is not connected.
    NotConnected,
    /// The socket is connected already.
    AlreadyConnected,
    /// The other end of the pipe is closed.
    BrokenPipe,
    /// The pipe is empty, and was told not to wait (`PIPE_NOWAIT`). Without that
    /// mode, a read waits for data.
    WouldBlock,
    /// The device was unplugged, switched off or disabled. Close the handle:
    /// nothing on it will succeed again.
    DeviceRemoved,
    /// All instances of the pipe are in use, or what was to be used is otherwise busy:
    /// the same call may succeed later.
    Busy,
    /// The address, or the name of the pipe, is in use.
    AddressInUse,
    /// The address is not an address of this machine.
    AddressNotAvailable,
    /// There is no route to the network.
    NetworkUnreachable,
    /// There is no route to the host.
    HostUnreachable,
    /// A [deadline](crate::Pending::set_deadline) has passed, or the operation took longer
    /// than the system, the device or the peer allows.
    TimedOut,
    /// The file, pipe or object does not exist.
    NotFound,
    /// Access is denied.
    PermissionDenied,
    /// Another handle has locked this part of the file.
    Locked,
    /// The disk is full.
    StorageFull,
    /// Something else, which the code tells.
    Other,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cancelled => "operation cancelled",
            Self::Closed => "port closed",
            Self::ForeignPacket => "packet of no operation of the port",
            Self::NotOverlapped => "handle not opened for overlapped I/O",
            Self::AlreadyAssociated => "handle associated with a completion port already",
            Self::Console => "consoles have no overlapped I/O",
            Self::InvalidHandle => "invalid handle",
            Self::WrongPort => "handle associated with another port",
            Self::Unsupported => "unsupported operation",
            Self::InvalidInput => "invalid input",
            Self::TooManyOperations => "too many operations in flight",
            Self::ResourceExhausted => "out of memory, buffers or quota",
            Self::MoreData => "message larger than the buffer",
            Self::MessageTruncated => "datagram too large",
            Self::ConnectionReset => "connection reset",
            Self::ConnectionAborted => "connection aborted",
            Self::ConnectionRefused => "connection refused",
            Self::NotConnected => "not connected",
            Self::AlreadyConnected => "already connected",
            Self::BrokenPipe => "broken pipe",
            Self::WouldBlock => "operation would block",
            Self::DeviceRemoved => "device removed",
            Self::Busy => "busy",
            Self::AddressInUse => "address in use",
            Self::AddressNotAvailable => "address not available",
            Self::NetworkUnreachable => "network unreachable",
            Self::HostUnreachable => "host unreachable",
            Self::TimedOut => "timed out",
            Self::NotFound => "not found",
            Self::PermissionDenied => "permission denied",
            Self::Locked => "locked by another handle",
            Self::StorageFull => "no storage space",
            Self::Other => "other error",
        })
    }
}

impl Error {
    /// Returns the general cause.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match &self.0 {
            Repr::Call { kind, .. } | Repr::Operation { kind, .. } => *kind,
            Repr::UsageError(usage) => usage.kind,
            Repr::Foreign { .. } => ErrorKind::ForeignPacket,
            Repr::NoOutput { .. } => ErrorKind::InvalidInput,
        }
    }

    /// Returns the Win32 or Winsock code, or `None` if no call was made.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        match &self.0 {
            Repr::Call { code, .. } => Some(*code as i32),
            Repr::Operation { facts, status, .. } => {
                status::code_of(*status, facts).map(|code| code as i32)
            }
            Repr::UsageError(_) | Repr::Foreign { .. } | Repr::NoOutput { .. } => None,
        }
    }

    /// Returns the `NTSTATUS` with which an operation completed, or `None` if the call failed
    /// at once or was not made.
    #[must_use]
    pub fn ntstatus(&self) -> Option<u32> {
        match &self.0 {
            Repr::Operation { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Returns the documented name of the system call that failed, or `None` if no call was
    /// made.
    #[must_use]
    pub fn call(&self) -> Option<&'static str> {
        match &self.0 {
            Repr::Call { facts, .. } | Repr::Operation { facts, .. } => Some(facts.name),
            Repr::UsageError(_) | Repr::Foreign { .. } | Repr::NoOutput { .. } => None,
        }
    }

    /// Returns `true` if the operation was cancelled: by
    /// [`Pending::cancel`](crate::Pending::cancel), by
    /// [`Associated::cancel_all`](crate::Associated::cancel_all), at the end of a
    /// [scope](crate::Iocp::scope), because its handle was closed, its future dropped, or its
    /// port [shut down](crate::Iocp::shut_down), closed or dropped.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.kind() == ErrorKind::Cancelled
    }

    /// Returns `true` if the port was closed. A thread that dequeues should end then.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.kind() == ErrorKind::Closed
    }

    /// Returns the packet, if one was dequeued that belongs to no operation of this port.
    #[must_use]
    pub fn foreign_packet(&self) -> Option<ForeignPacket> {
        match self.0 {
            Repr::Foreign { bytes: bytes_transferred, key: completion_key, overlapped } => {
                Some(ForeignPacket { completion_key, bytes_transferred, overlapped })
            }
            _ => None,
        }
    }

    /// Whether it says that nothing was dequeued in the time that a dequeue had.
    pub(crate) fn is_dequeue_timeout(&self) -> bool {
        matches!(&self.0, Repr::Call { code: WAIT_TIMEOUT, .. })
    }

    /// Whether it says that a procedure call has ended a wait.
    pub(crate) fn is_alert(&self) -> bool {
        matches!(&self.0, Repr::Call { code: WAIT_IO_COMPLETION, .. })
    }

    /// The error of a call that failed with `code`.
    #[cold]
    pub(crate) fn os(facts: &'static Facts, code: u32) -> Self {
        Self::os_as(facts, status::kind_of_code(code, facts), code)
    }

    /// The same, where the code alone does not tell the cause.
    pub(crate) fn os_as(facts: &'static Facts, kind: ErrorKind, code: u32) -> Self {
        Self(Repr::Call { facts, kind, code })
    }

    #[cold]
    pub(crate) fn usage(usage: &'static UsageError) -> Self {
        Self(Repr::UsageError(usage))
    }

    #[cold]
    pub(crate) fn no_output(returned: fn() -> &'static str, wanted: fn() -> &'static str) -> Self {
        Self(Repr::NoOutput { returned: TypeName(returned), wanted: TypeName(wanted) })
    }

    #[cold]
    pub(crate) fn foreign(packet: ForeignPacket) -> Self {
        let ForeignPacket { completion_key: key, bytes_transferred: bytes, overlapped } = packet;
        Self(Repr::Foreign { bytes, key, overlapped })
    }
}

/// Why a call was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// This call has failed, which comes before it.
    Call { facts: &'static Facts, code: u32 },
    /// This crate refuses it.
    UsageError(&'static UsageError),
}

impl From<Cause> for Error {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Call { facts, code } => Self::os(facts, code),
            Cause::UsageError(usage) => Self::usage(usage),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Call { facts, kind, .. } | Repr::Operation { facts, kind, .. } => {
                let code = self.raw_os_error().unwrap_or_default();
                let status = self.ntstatus().unwrap_or_default();
                write!(f, "{}: ", facts.name)?;
                match kind {
                    ErrorKind::Cancelled => f.write_str("the operation was cancelled")?,
                    ErrorKind::NotOverlapped => f.write_str(
                        "the handle is not open for overlapped I/O; open it with FILE_FLAG_OVERLAPPED",
                    )?,
                    ErrorKind::AlreadyAssociated => f.write_str(
                        "the handle is associated with a completion port already, which lasts until the file, socket or pipe is closed",
                    )?,
                    ErrorKind::Console => f.write_str(
                        "a console has no overlapped I/O; read and write it on a thread of its own",
                    )?,
                    _ => return write_system_message(f, code, status),
                }
                write_codes(f, code, status)
            }
            Repr::UsageError(usage) => f.write_str(usage.message),
            Repr::NoOutput { returned, wanted } if returned == wanted => f.write_str(
                "the operation has returned nothing, or what it returned was taken already",
            ),
            Repr::NoOutput { returned: TypeName(returned), wanted: TypeName(wanted) } => {
                write!(f, "the operation returns {}, not {}", returned(), wanted())
            }
            Repr::Foreign { bytes, key, overlapped } => write!(
                f,
                "a packet that belongs to no operation of this port (key {key:#x}, {bytes} bytes, overlapped {overlapped:#x})",
            ),
        }
    }
}

fn write_system_message(f: &mut fmt::Formatter<'_>, code: i32, status: u32) -> fmt::Result {
    // The standard library's message ends with the code.
    write!(f, "{}", io::Error::from_raw_os_error(code))?;
    if status != 0 {
        write!(f, " (status {status:#010x})")?;
    }
    Ok(())
}

fn write_codes(f: &mut fmt::Formatter<'_>, code: i32, status: u32) -> fmt::Result {
    write!(f, " (os error {code}")?;
    if status != 0 {
        write!(f, ", status {status:#010x}")?;
    }
    f.write_str(")")
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind())
            .field("message", &format_args!("{self}"))
            .finish()
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        // `io::Error::from_raw_os_error` would call a cancelled operation
        // timed out, and leave most of the others without a kind.
        io::Error::new(error.kind().into(), error)
    }
}

impl From<ErrorKind> for io::ErrorKind {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::InvalidInput
            | ErrorKind::NotOverlapped
            | ErrorKind::AlreadyAssociated
            | ErrorKind::InvalidHandle
            | ErrorKind::WrongPort => Self::InvalidInput,
            ErrorKind::Unsupported | ErrorKind::Console => Self::Unsupported,
            ErrorKind::TooManyOperations | ErrorKind::ResourceExhausted => Self::OutOfMemory,
            ErrorKind::MoreData | ErrorKind::MessageTruncated => Self::InvalidData,
            ErrorKind::ConnectionReset => Self::ConnectionReset,
            ErrorKind::ConnectionAborted => Self::ConnectionAborted,
            ErrorKind::ConnectionRefused => Self::ConnectionRefused,
            ErrorKind::NotConnected | ErrorKind::DeviceRemoved => Self::NotConnected,
            ErrorKind::Closed | ErrorKind::BrokenPipe => Self::BrokenPipe,
            ErrorKind::WouldBlock => Self::WouldBlock,
            ErrorKind::AddressInUse => Self::AddrInUse,
            ErrorKind::AddressNotAvailable => Self::AddrNotAvailable,
            ErrorKind::NetworkUnreachable => Self::NetworkUnreachable,
            ErrorKind::HostUnreachable => Self::HostUnreachable,
            ErrorKind::TimedOut => Self::TimedOut,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::PermissionDenied => Self::PermissionDenied,
            ErrorKind::Locked | ErrorKind::Busy => Self::ResourceBusy,
            ErrorKind::StorageFull => Self::StorageFull,
            // Not `Interrupted`, which loops of the standard library retry.
            ErrorKind::Cancelled
            | ErrorKind::ForeignPacket
            | ErrorKind::AlreadyConnected
            | ErrorKind::Other => Self::Other,
        }
    }
}

/// A packet that does not belong to any operation of this port, as the three integers that
/// came with it.
///
/// Such packets come from other code that calls `PostQueuedCompletionStatus`
/// on the port's handle, from I/O that other code does on a duplicate of
/// an associated handle, and from jobs: [`Job::event`](crate::job::Job::event) says what those
/// mean. The `overlapped` value is never followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ForeignPacket {
    /// The completion key: the context of the handle that the packet came
    /// through, or whatever was posted.
    pub completion_key: usize,
    /// The byte count of the packet.
    pub bytes_transferred: u32,
    /// The `OVERLAPPED` pointer of the packet, which may be null and need not
    /// be a pointer at all.
    pub overlapped: usize,
}

/// The error from an operation that could not be started, together with the arguments,
/// returned unchanged.
///
/// It converts into [`Error`] and [`std::io::Error`], which drops `returned`.
///
/// ```
/// use completion_port::Iocp;
///
/// let port = Iocp::new()?;
/// let file = tempfile(); // not opened with FILE_FLAG_OVERLAPPED
/// let rejected = port.add_handle(file, 1).unwrap_err();
/// println!("{}", rejected.error);
/// let file = rejected.returned; // still ours
/// # drop(file);
/// # fn tempfile() -> std::fs::File {
/// #     let path = std::env::temp_dir().join(format!("rejected-doc-{}", std::process::id()));
/// #     std::fs::File::create(path).unwrap()
/// # }
/// # Ok::<(), completion_port::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Rejected<T> {
    /// Why.
    pub error: Error,
    /// What was passed in: the handle, or the context and the buffer.
    pub returned: T,
}

impl<T> Rejected<T> {
    /// Returns something else with the error.
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Rejected<U> {
        Rejected { error: self.error, returned: change(self.returned) }
    }
}

impl<T> fmt::Debug for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

impl<T> fmt::Display for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl<T> std::error::Error for Rejected<T> {}

impl<T> From<Rejected<T>> for Error {
    fn from(rejected: Rejected<T>) -> Self {
        rejected.error
    }
}

impl<T> From<Rejected<T>> for io::Error {
    fn from(rejected: Rejected<T>) -> Self {
        rejected.error.into()
    }
}

/// Declares the refusals of this crate: one sentence each, which says what was
/// wrong and what to do.
macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident: $kind:ident = $message:literal;)*) => {
        $($(#[$doc])* pub(crate) static $name: UsageError =
            UsageError { kind: ErrorKind::$kind, message: $message };)*
    };
}

/// The refusals, each used at the place that checks for it.
pub(crate) mod refusal {
    use super::{ErrorKind, UsageError};

    refusals! {
        CLOSED: Closed = "the completion port is closed";
        NO_THREADS: InvalidInput =
            "a concurrency of 0 threads; use Iocp::new() for one thread per processor";
        NO_OPERATIONS: InvalidInput = "max_operations must be between 1 and 16,777,214";
        EMPTY_BATCH: InvalidInput = "a batch of capacity 0 can never hold a completion; use Batch::with_capacity(64)";
        WRONG_PORT: WrongPort =
            "the handle is associated with another completion port; start its operations on that one";
        STILL_IN_FLIGHT: InvalidInput =
            "operations on the handle are in flight, or have completed and are still queued; cancel and dequeue them, and try again";
        STAYS_AT_ITS_PORT: Unsupported =
            "this system cannot take a handle from its completion port, which needs Windows 8.1 or later; use it with the port that it has";
        TOO_MANY_OPERATIONS: TooManyOperations =
            "as many operations are in flight, or completed and not yet dropped, as the port was built for; see Builder::max_operations";
        NO_ROOM: InvalidInput =
            "the buffer has no room to read into; reads append to the spare capacity of a Vec, so use Vec::with_capacity, or overwrite its contents by reading into vec.slice(..); other buffers must not be empty";
        NEEDS_OFFSET: Unsupported =
            "a file opened for overlapped I/O has no current position; use initiate_read_at or initiate_write_at";
        NO_OFFSET: Unsupported = "sockets have no offsets; use initiate_read or initiate_write";
        FLAGS_OF_SOCKETS: Unsupported =
            "only sockets have flags; read and write files, pipes and devices without them";
        FLAGS_OF_STREAMS: Unsupported =
            "a datagram socket neither waits for a full buffer nor has out-of-band data; only stream sockets do";
        WAITS_FOR_ALL: InvalidInput =
            "a receive that waits for a full buffer can neither peek nor be for out-of-band data";
        NOT_FOR_SOCKETS: Unsupported = "this operation is for files, pipes or devices, not for sockets";
        NOT_FOR_SKIPPING: Unsupported =
            "it is not known when this operation has a packet on a handle that skips the port; start it on one that does not";
        NOT_DATAGRAMS: Unsupported = "this operation needs a datagram socket";
        NOT_A_STREAM: Unsupported = "this operation needs a stream socket";
        NOT_A_SOCKET: Unsupported = "this operation needs a socket";
        CONNECTS_DATAGRAMS: Unsupported =
            "only stream sockets are connected here; connect a datagram socket with UdpSocket::connect";
        BOUND_TO_OTHER_FAMILY: InvalidInput =
            "the local address is not of the peer's family; give both as IPv4 or both as IPv6";
        BOUND_ELSEWHERE: InvalidInput =
            "the socket is bound to another address already; connect it from there, without a local address";
        TRANSMITS_TOO_MUCH: InvalidInput =
            "one operation sends at most 2,147,483,646 bytes with head and tail; send the file in several, as op::pieces divides it";
        TRANSMITS_TOO_MANY: InvalidInput =
            "one operation sends at most 2,147,483,646 bytes; send the elements in several";
        TRANSMITS_NOTHING: InvalidInput = "there are no bytes to be sent in any of the elements";
        TRANSMITS_FROM_NOWHERE: InvalidInput = "no file is so long: the offset is greater than i64::MAX";
        NO_EXTENSION: Unsupported =
            "the provider of this socket does not have the function that the operation calls";
        NEEDS_REUSABLE: InvalidInput =
            "this socket was disconnected for reuse; connect it with what the disconnect has returned, by op::Connect::reusing";
        REUSES_ANOTHER: InvalidInput =
            "another socket than this was disconnected for reuse, or this one was closed since";
        NOT_ACCEPTED: InvalidInput =
            "the completion is not that of a listener's accept, or was passed to a listener before";
        NO_ACCEPTS: InvalidInput =
            "a listener with no accept in flight, or for no connection, never accepts; use 1 or more";
        SILENT: TimedOut = "the client has sent nothing in time";
        NO_ADDRESSES: ConnectionAborted = "the system has not told the addresses of a connection";
        NOT_LISTENING: InvalidInput = "the socket does not listen; call listen on it first";
        MESSAGE_TOO_LONG: MessageTruncated =
            "the datagram is longer than the socket's provider can send";
        SKIP_UNSAFE_LAYERED: Unsupported =
            "a layered Winsock provider stands between this socket and the kernel, so skip-on-success is not reliable on it";
        SKIP_UNSAFE_MESSAGES: Unsupported =
            "skip-on-success is not reliable on datagram sockets and on pipes that have messages, or do not tell, where a truncated message completes inline with a warning";
        SKIPS_ALREADY: Unsupported =
            "the handle skips the port on success already (FILE_SKIP_COMPLETION_PORT_ON_SUCCESS), by other code or an earlier association, which lasts; open another, and use skip_on_success";
        FAMILY: Unsupported = "only sockets of the families IPv4 and IPv6 accept and connect here; for AF_UNIX there are Accept::unix and unix::connect";
        NOT_UNIX: Unsupported = "this accept is for listening sockets of the family AF_UNIX";
        NO_UNIX: Unsupported = "this system has no sockets of the family AF_UNIX, which need Windows 10 of 2018 or later";
        NO_UNIX_PATH: InvalidInput = "the path of a socket has 1 to 107 bytes in UTF-8, and none of them is zero";
        LOCK_RANGE: InvalidInput = "the range to be locked ends behind the largest offset; to lock all of a file, use the offset 0 and the length u64::MAX";
        MALFORMED_CHANGES: Other =
            "the list of changes that the system has written is malformed; look at the directory again";
        NO_INSTANCES: InvalidInput = "a pipe with 0 instances; use 1 to 254, or 255 for as many as the system can have";
        NO_PIPE_NAME: InvalidInput =
            r"the name of a pipe on this machine is \\.\pipe\ and up to 256 characters, none of which is zero";
        ZERO: InvalidInput = "the text has a zero character in it, which the system would take for its end";
        INVALID_HANDLE: InvalidHandle = "the handle is null or INVALID_HANDLE_VALUE";
    }
}
