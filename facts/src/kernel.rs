//! What the questions share: ports, operations, and what they run on.
//!
//! Nothing that the system may write to is ever freed: each question has a
//! process of its own, which ends soon.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{
    AsRawHandle, AsRawSocket, FromRawHandle, FromRawSocket, OwnedHandle, OwnedSocket,
};
use std::path::PathBuf;
use std::ptr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    ERROR_IO_PENDING, GetLastError, HANDLE, INVALID_HANDLE_VALUE, RtlNtStatusToDosError,
};
use windows_sys::Win32::Networking::WinSock as ws;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, PIPE_ACCESS_DUPLEX, ReadFile,
    SetFileCompletionNotificationModes, WriteFile,
};
use windows_sys::Win32::System::IO::{
    CancelIoEx, CreateIoCompletionPort, GetQueuedCompletionStatus, OVERLAPPED,
    PostQueuedCompletionStatus,
};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
use windows_sys::Win32::System::Memory::{MEM_COMMIT, MEM_RESERVE, PAGE_READWRITE, VirtualAlloc};
use windows_sys::Win32::System::Pipes::{
    CreateNamedPipeW, CreatePipe, PIPE_READMODE_BYTE, PIPE_READMODE_MESSAGE, PIPE_TYPE_BYTE,
    PIPE_TYPE_MESSAGE, SetNamedPipeHandleState,
};
use windows_sys::Win32::System::WindowsProgramming::FILE_SKIP_COMPLETION_PORT_ON_SUCCESS;
use windows_sys::core::GUID;

/// How long a packet may take that comes. One that has not come by then is
/// taken not to.
const PATIENCE: u32 = 700;

/// The length of an operation's buffer, unless it is told.
pub const LENGTH: usize = 64;

/// No system gives it to a call, so who finds it knows that nobody wrote one.
const NO_STATUS: u32 = 0xCFED_CBA9;

/// What has a handle.
pub trait Raw {
    fn raw(&self) -> HANDLE;
}

macro_rules! raw {
    ($method:ident: $($type:ty),*) => {$(
        impl Raw for $type {
            fn raw(&self) -> HANDLE {
                self.$method() as HANDLE
            }
        }
    )*};
}

raw!(as_raw_handle: File, OwnedHandle);
raw!(as_raw_socket: TcpListener, TcpStream, UdpSocket, OwnedSocket);

fn socket(on: &impl Raw) -> ws::SOCKET {
    on.raw().addr()
}

/// A completion port, which is never closed.
pub struct Port(HANDLE);

impl Port {
    pub fn new() -> io::Result<Self> {
        // SAFETY: No handle is associated.
        let port = unsafe { CreateIoCompletionPort(INVALID_HANDLE_VALUE, ptr::null_mut(), 0, 0) };
        if port.is_null() { Err(io::Error::last_os_error()) } else { Ok(Self(port)) }
    }

    /// A port that this handle is associated with.
    pub fn with(handle: &impl Raw, skips: bool) -> io::Result<Self> {
        let port = Self::new()?;
        port.add(handle)?;
        if skips {
            skip(handle)?;
        }
        Ok(port)
    }

    pub fn add(&self, handle: &impl Raw) -> io::Result<()> {
        // SAFETY: Handles are checked.
        if unsafe { CreateIoCompletionPort(handle.raw(), self.0, 1, 0) }.is_null() {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    pub fn raw(&self) -> HANDLE {
        self.0
    }

    pub fn post(&self, operation: &Operation) -> io::Result<()> {
        // SAFETY: The values are not used by the system.
        let posted = unsafe { PostQueuedCompletionStatus(self.0, 0, 2, operation.overlapped) };
        if posted == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// What a call answered, and its packet.
    pub fn tell(&self, started: &Started) -> String {
        format!("{started}; {}", self.packet())
    }

    /// The next packet, if one comes.
    pub fn packet(&self) -> Packet {
        let (mut bytes, mut key, mut overlapped) = (0, 0, ptr::null_mut());
        // SAFETY: The out-parameters are locals.
        let succeeded = unsafe {
            GetQueuedCompletionStatus(
                self.0,
                &raw mut bytes,
                &raw mut key,
                &raw mut overlapped,
                PATIENCE,
            )
        };
        if overlapped.is_null() {
            return Packet::None;
        }
        let code = if succeeded == 0 { last_code() } else { 0 };
        // SAFETY: All operations live as long as the process.
        let status = unsafe { (*overlapped).Internal } as u32;
        Packet::Of { code, status, bytes }
    }
}

/// Turns off the packets of inline successes.
pub fn skip(handle: &impl Raw) -> io::Result<()> {
    let modes = FILE_SKIP_COMPLETION_PORT_ON_SUCCESS as u8;
    // SAFETY: Handles are checked.
    let set = unsafe { SetFileCompletionNotificationModes(handle.raw(), modes) };
    if set == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What came through a port.
pub enum Packet {
    None,
    Of { code: u32, status: u32, bytes: u32 },
}

impl Packet {
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no packet"),
            Self::Of { code: 0, status: 0, bytes } => write!(f, "a packet of {bytes} bytes"),
            Self::Of { code, status, bytes } => {
                write!(f, "a packet of {bytes} bytes with code {code} ({status:#010x})")
            }
        }
    }
}

/// What a call answered, and what was to be seen right after it.
pub struct Started {
    /// 0 for a success.
    pub code: u32,
    /// The thread's last NTSTATUS, if the call has set it.
    pub status: Option<u32>,
    /// That of the `OVERLAPPED`, if it has been written.
    pub internal: Option<u32>,
}

impl Started {
    pub fn is_started(&self) -> bool {
        matches!(self.code, 0 | ERROR_IO_PENDING)
    }
}

impl fmt::Display for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |status| match status {
            Some(status) => format!("{status:#010x}"),
            None => "not set".to_owned(),
        };
        let (internal, status) = (show(self.internal), show(self.status));
        match self.code {
            0 => write!(f, "succeeds at once; `Internal` {internal}"),
            // What else is to be seen may have changed meanwhile.
            ERROR_IO_PENDING => f.write_str("pends"),
            code => write!(
                f,
                "fails at once with {code}; `Internal` {internal}; last NTSTATUS {status}"
            ),
        }
    }
}

/// An `OVERLAPPED` and a buffer.
pub struct Operation {
    overlapped: *mut OVERLAPPED,
    buffer: *mut u8,
    length: usize,
}

impl Operation {
    pub fn new() -> Self {
        Self::of(LENGTH)
    }

    /// One with a buffer of so many bytes, which begins where a page does, as
    /// unbuffered I/O requires.
    pub fn of(length: usize) -> Self {
        let overlapped = Box::leak(Box::default());
        *overlapped = OVERLAPPED { Internal: NO_STATUS as usize, ..OVERLAPPED::default() };
        // SAFETY: New memory, which is never freed.
        let buffer = unsafe {
            VirtualAlloc(ptr::null(), length.max(1), MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE)
        };
        assert!(!buffer.is_null(), "there is no memory");
        Self { overlapped, buffer: buffer.cast(), length }
    }

    /// The same at this offset of a file.
    pub fn at(self, offset: u32) -> Self {
        // SAFETY: Not started yet.
        unsafe { (*self.overlapped).Anonymous.Anonymous.Offset = offset };
        self
    }

    /// The status in the `OVERLAPPED`, if it has been written.
    pub fn internal(&self) -> Option<u32> {
        // SAFETY: It is never freed. Volatile, as the system may be writing it.
        let status =
            unsafe { (&raw const (*self.overlapped).Internal).cast::<u32>().read_volatile() };
        (status != NO_STATUS).then_some(status)
    }

    pub fn overlapped(&self) -> *mut OVERLAPPED {
        self.overlapped
    }

    pub fn buffer(&self) -> *mut u8 {
        self.buffer
    }

    pub fn read(&self, on: &impl Raw) -> Started {
        // SAFETY: Buffer and OVERLAPPED are never freed.
        self.start(|| unsafe {
            ReadFile(on.raw(), self.buffer, self.length as u32, ptr::null_mut(), self.overlapped)
                != 0
        })
    }

    pub fn write(&self, on: &impl Raw) -> Started {
        // SAFETY: As above.
        self.start(|| unsafe {
            WriteFile(on.raw(), self.buffer, self.length as u32, ptr::null_mut(), self.overlapped)
                != 0
        })
    }

    pub fn receive(&self, on: &impl Raw) -> Started {
        let buffer = ws::WSABUF { len: self.length as u32, buf: self.buffer };
        let (mut bytes, mut flags) = (0, 0);
        // SAFETY: As above; the provider captures the WSABUF.
        self.start(|| unsafe {
            ws::WSARecv(
                socket(on),
                &raw const buffer,
                1,
                &raw mut bytes,
                &raw mut flags,
                self.overlapped,
                None,
            ) == 0
        })
    }

    pub fn send(&self, on: &impl Raw) -> Started {
        let buffer = ws::WSABUF { len: self.length as u32, buf: self.buffer };
        let mut bytes = 0;
        // SAFETY: As above.
        self.start(|| unsafe {
            let overlapped = self.overlapped;
            ws::WSASend(socket(on), &raw const buffer, 1, &raw mut bytes, 0, overlapped, None) == 0
        })
    }

    /// Makes a call, which says whether it has succeeded.
    pub fn start(&self, call: impl FnOnce() -> bool) -> Started {
        forget_last_status();
        let code = if call() { 0 } else { last_code() };
        let status = last_status();
        Started { code, status, internal: self.internal() }
    }

    /// What the system says to a request to cancel this on a handle.
    pub fn cancel(&self, on: &impl Raw) -> &'static str {
        // SAFETY: The OVERLAPPED is only compared.
        if unsafe { CancelIoEx(on.raw(), self.overlapped) } != 0 {
            return "success";
        }
        match last_code() {
            1168 => "1168, not found",
            _ => "another error",
        }
    }
}

fn last_code() -> u32 {
    // SAFETY: Reads what is the thread's own.
    unsafe { GetLastError() }
}

/// The address of a function that this system may not have.
pub fn function(module: &str, name: &str) -> Option<*const ()> {
    let (module, name) = (format!("{module}\0"), format!("{name}\0"));
    // SAFETY: The names end with zeros.
    let function = unsafe {
        let module = GetModuleHandleA(module.as_ptr());
        if module.is_null() { None } else { GetProcAddress(module, name.as_ptr()) }
    };
    function.map(|function| function as *const ())
}

type RtlGetLastNtStatus = unsafe extern "system" fn() -> i32;

static RTL_GET_LAST_NT_STATUS: LazyLock<Option<RtlGetLastNtStatus>> = LazyLock::new(|| {
    let found = function("ntdll.dll", "RtlGetLastNtStatus")?;
    // SAFETY: It is declared like this in Windows' own headers.
    Some(unsafe { std::mem::transmute::<*const (), RtlGetLastNtStatus>(found) })
});

fn forget_last_status() {
    LazyLock::force(&RTL_GET_LAST_NT_STATUS);
    // SAFETY: The function writes down what it translates, and nothing else.
    unsafe { RtlNtStatusToDosError(NO_STATUS as i32) };
}

fn last_status() -> Option<u32> {
    // SAFETY: It reads what is the thread's own.
    let status = (*RTL_GET_LAST_NT_STATUS).map(|get| unsafe { get() } as u32);
    status.filter(|&status| status != NO_STATUS)
}

/// The address of an extension function of the socket's provider.
pub fn extension(on: &impl Raw, id: GUID) -> Option<*const ()> {
    let (mut function, mut returned) = (ptr::null::<()>(), 0);
    // SAFETY: Input and output are locals of the given sizes.
    let result = unsafe {
        ws::WSAIoctl(
            socket(on),
            ws::SIO_GET_EXTENSION_FUNCTION_POINTER,
            (&raw const id).cast(),
            size_of::<GUID>() as u32,
            (&raw mut function).cast(),
            size_of::<*const ()>() as u32,
            &raw mut returned,
            ptr::null_mut(),
            None,
        )
    };
    (result == 0).then_some(function)
}

/// Who connected, and who was accepted.
pub fn streams() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    client.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok((client, listener.accept()?.0))
}

/// Two datagram sockets that are connected to each other.
pub fn datagrams() -> io::Result<(UdpSocket, UdpSocket)> {
    let one = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    one.connect(other.local_addr()?)?;
    other.connect(one.local_addr()?)?;
    Ok((one, other))
}

pub fn set_option(on: &impl Raw, level: i32, option: i32, value: &[u8]) -> io::Result<()> {
    let (start, length) = (value.as_ptr(), value.len() as i32);
    // SAFETY: The value is read before the call returns.
    match unsafe { ws::setsockopt(socket(on), level, option, start, length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A stream socket that is not connected.
pub fn new_socket(family: u16) -> io::Result<OwnedSocket> {
    // The standard library starts Winsock with its first socket.
    drop(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?);
    let (kind, flags) = (ws::SOCK_STREAM, ws::WSA_FLAG_OVERLAPPED);
    // SAFETY: Writes no memory of this process.
    let socket = unsafe { ws::WSASocketW(family.into(), kind, 0, ptr::null(), 0, flags) };
    if socket == ws::INVALID_SOCKET {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: The socket is new and nobody else's.
    Ok(unsafe { OwnedSocket::from_raw_socket(socket as _) })
}

pub fn bind(on: &impl Raw, address: SocketAddr) -> io::Result<()> {
    let (address, length) = sockaddr(address);
    // SAFETY: The address is read before the call returns.
    match unsafe { ws::bind(socket(on), (&raw const address).cast(), length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// An address as the system takes it, and its length.
pub fn sockaddr(address: SocketAddr) -> (ws::SOCKADDR_STORAGE, i32) {
    let mut storage = ws::SOCKADDR_STORAGE::default();
    let start = &raw mut storage;
    // SAFETY: The storage is large enough for either, and aligned for both.
    let length = unsafe {
        match address {
            SocketAddr::V4(address) => {
                let to = &mut *start.cast::<ws::SOCKADDR_IN>();
                to.sin_family = ws::AF_INET;
                to.sin_port = address.port().to_be();
                to.sin_addr.S_un.S_addr = u32::from_ne_bytes(address.ip().octets());
                size_of::<ws::SOCKADDR_IN>()
            }
            SocketAddr::V6(address) => {
                let to = &mut *start.cast::<ws::SOCKADDR_IN6>();
                to.sin6_family = ws::AF_INET6;
                to.sin6_port = address.port().to_be();
                to.sin6_addr.u.Byte = address.ip().octets();
                size_of::<ws::SOCKADDR_IN6>()
            }
        }
    };
    (storage, length as i32)
}

/// A name that nobody else uses.
pub fn unique() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("completion-port-facts-{}-{count}", std::process::id())
}

/// The two ends of a pipe, the server's and the client's; of messages or of
/// bytes.
pub fn pipes(message: bool) -> io::Result<(OwnedHandle, File)> {
    let name = format!(r"\\.\pipe\{}", unique());
    let wide: Vec<u16> = name.encode_utf16().chain([0]).collect();
    let access = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | FILE_FLAG_FIRST_PIPE_INSTANCE;
    let mode = if message {
        PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE
    } else {
        PIPE_TYPE_BYTE | PIPE_READMODE_BYTE
    };
    // SAFETY: The name ends with a zero.
    let server =
        unsafe { CreateNamedPipeW(wide.as_ptr(), access, mode, 1, 65536, 65536, 0, ptr::null()) };
    if server == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: The handle is new and nobody else's.
    let server = unsafe { OwnedHandle::from_raw_handle(server) };
    let client = overlapped(true, true, 0).open(name)?;
    if message {
        let mode = PIPE_READMODE_MESSAGE;
        // SAFETY: The mode is read before the call returns.
        let set = unsafe {
            SetNamedPipeHandleState(client.raw(), &raw const mode, ptr::null(), ptr::null())
        };
        if set == 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok((server, client))
}

/// The two ends of an anonymous pipe: to read, and to write.
pub fn synchronous_pipes() -> io::Result<(File, File)> {
    let (mut reader, mut writer) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: The out-parameters are locals.
    if unsafe { CreatePipe(&raw mut reader, &raw mut writer, ptr::null(), 0) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: The handles are new and nobody else's.
    Ok(unsafe { (File::from_raw_handle(reader), File::from_raw_handle(writer)) })
}

/// How an overlapped file is opened.
pub fn overlapped(read: bool, write: bool, flags: u32) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(read).write(write).custom_flags(FILE_FLAG_OVERLAPPED | flags);
    options
}

/// A temporary file, which is deleted when this is dropped.
pub struct Temporary(pub PathBuf);

impl Temporary {
    pub fn new(length: usize) -> io::Result<Self> {
        let path = std::env::temp_dir().join(unique());
        std::fs::write(&path, vec![b'y'; length])?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // The system's temporary folder is swept by others, too.
        let _ = std::fs::remove_file(&self.0);
    }
}
