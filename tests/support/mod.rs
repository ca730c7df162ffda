//! What the behaviour tests share: ports, connected pairs, files, waits with a
//! bound, and the few raw calls that this crate does not make.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![cfg_attr(simulated_kernel, allow(unused_imports, reason = "the model opens files and pipes"))]

// The foreign functions.
#[cfg(simulated_kernel)]
use simulated_kernel as _;

pub mod child;
pub mod ledger;
#[cfg(memcheck)]
mod memcheck;
pub mod restless;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::windows::ffi::OsStrExt;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, AsRawSocket, FromRawHandle, OwnedHandle, RawSocket};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use completion_port::{CompletionStatus, Iocp};
use windows_sys::Win32::Foundation::{CloseHandle, GENERIC_READ, GENERIC_WRITE, HANDLE};
use windows_sys::Win32::Networking::WinSock as ws;
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_FIRST_PIPE_INSTANCE, OPEN_EXISTING, PIPE_ACCESS_DUPLEX,
};
use windows_sys::Win32::System::IO::{GetQueuedCompletionStatus, PostQueuedCompletionStatus};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
use windows_sys::Win32::System::Pipes::{
    CreateNamedPipeW, CreatePipe, PIPE_READMODE_BYTE, PIPE_READMODE_MESSAGE, PIPE_TYPE_BYTE,
    PIPE_TYPE_MESSAGE, SetNamedPipeHandleState,
};

pub const FILE_FLAG_OVERLAPPED: u32 = 0x4000_0000;

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A port with `usize` contexts.
pub fn port() -> Iocp {
    Iocp::new().expect("a port")
}

/// A port with contexts of another type.
pub fn port_of<C: Send + 'static>() -> Iocp<C> {
    Iocp::typed().expect("a port")
}

/// The next completion, or a panic after a time in which anything arrives.
#[track_caller]
pub fn complete<C: Send + 'static>(port: &Iocp<C>) -> CompletionStatus<C> {
    match port.get_completion_timeout(PATIENCE) {
        Ok(Some(completion)) => completion,
        Ok(None) => panic!("nothing completed in {PATIENCE:?}"),
        Err(error) => panic!("dequeuing failed: {error}"),
    }
}

/// The next `count` completions, in the order of their arrival.
#[track_caller]
pub fn complete_all<C: Send + 'static>(port: &Iocp<C>, count: usize) -> Vec<CompletionStatus<C>> {
    let mut completions = Vec::with_capacity(count);
    for _ in 0..count {
        completions.push(complete(port));
    }
    completions
}

/// Asserts that no packet is queued.
#[track_caller]
pub fn nothing_more<C: Send + 'static>(port: &Iocp<C>) {
    match port.try_get_completion() {
        Ok(None) => {}
        Ok(Some(completion)) => panic!(
            "an extra completion: {:?}, {} bytes, {:?}",
            completion.operation.kind(),
            completion.bytes_transferred,
            completion.error_status,
        ),
        Err(error) => panic!("dequeuing failed: {error}"),
    }
}

/// To be said by a test that ends early, because it needs `what` this machine
/// does not have: the table in docs/testing.md says so, too.
pub fn skipped_without(what: &str) {
    // Past the test harness, for `cargo xtask` to count.
    let _ = writeln!(io::stdout(), "skipped: this needs {what}");
}

/// Waits until `condition` holds, or panics.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether this is Windows itself, to which its documentation leaves more than
/// Wine and the model of the kernel ever do. A test allows the rest of it here
/// alone, so that it shows as much as before elsewhere.
pub fn is_windows() -> bool {
    !cfg!(simulated_kernel) && !is_wine()
}

/// Whether this is Wine, which keeps less than Windows promises.
pub fn is_wine() -> bool {
    // Its `ntdll` exports its version, so that programs can ask.
    // SAFETY: Both names end with a zero, and every process has an ntdll.
    let has_version = || unsafe {
        let ntdll = GetModuleHandleA(c"ntdll.dll".as_ptr().cast());
        GetProcAddress(ntdll, c"wine_get_version".as_ptr().cast()).is_some()
    };
    !cfg!(simulated_kernel) && has_version()
}

/// To be said by a test that ends early, because Windows did what it may do and
/// has left nothing to be seen. Elsewhere it panics.
#[track_caller]
pub fn nothing_to_see(what: &str) {
    assert!(is_windows(), "{what}");
    eprintln!("nothing to see: {what}");
}

/// Asserts that the peer's end of a connection is closed: it finds the end of
/// the stream or, on Windows, a reset. (There, closing a socket with a receive
/// in flight, or with something unread, may reset the connection.)
#[track_caller]
pub fn assert_peer_closed(mut stream: &TcpStream) {
    match io::Read::read(&mut stream, &mut [0; 8]) {
        Ok(count) => assert_eq!(count, 0, "the end of the stream"),
        Err(error) => assert!(
            is_windows()
                && matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
                ),
            "{error}"
        ),
    }
}

/// Asserts that a completion is that of a pipe's read that the drop of its
/// handle has ended. It was cancelled; but the close comes right behind, and on
/// Windows a read may find that first, which is the end of the pipe.
#[track_caller]
pub fn assert_ended_by_drop<C>(completion: &CompletionStatus<C>) {
    assert_eq!(completion.bytes_transferred, 0);
    match &completion.error_status {
        Ok(()) => assert!(is_windows(), "a success"),
        Err(error) => assert!(error.is_cancelled(), "{error}"),
    }
}

/// The longest datagram that the system says the socket can send.
pub fn longest_datagram(socket: &UdpSocket) -> usize {
    let (mut longest, mut length) = (0_u32, 4);
    // SAFETY: The value is a local of the given length.
    let result = unsafe {
        ws::getsockopt(
            socket.as_raw_socket() as ws::SOCKET,
            ws::SOL_SOCKET,
            ws::SO_MAX_MSG_SIZE,
            (&raw mut longest).cast(),
            &raw mut length,
        )
    };
    assert_eq!(result, 0, "getsockopt: {}", io::Error::last_os_error());
    longest as usize
}

/// Makes room for so many bytes that have come and are not read yet.
pub fn make_room(socket: &impl AsRawSocket, bytes: i32) {
    set_socket_option(socket, ws::SO_RCVBUF, &bytes);
}

/// How often a test repeats itself: seldom under Miri, which is slow and tries
/// other schedules in other runs.
pub const fn few(count: usize) -> usize {
    if cfg!(miri) && count > 6 { 6 } else { count }
}

/// Bytes that differ at every offset that could be mixed up.
pub fn pattern(length: usize) -> Vec<u8> {
    pattern_from(0, length)
}

/// The part of [`pattern`] that starts at `offset`.
pub fn pattern_from(offset: usize, length: usize) -> Vec<u8> {
    (offset..offset + length).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}

/// A connected pair of TCP streams on IPv4's loopback: who connected, and who
/// was accepted.
pub fn stream_pair() -> (TcpStream, TcpStream) {
    stream_pair_on("127.0.0.1:0").expect("loopback")
}

/// The same on another address, which this machine may not have.
pub fn stream_pair_on(address: &str) -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(address)?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, peer) = listener.accept()?;
    assert_eq!(peer, client.local_addr()?);
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    Ok((client, server))
}

/// Two UDP sockets on loopback that are connected to each other.
pub fn datagram_pair() -> (UdpSocket, UdpSocket) {
    let one = UdpSocket::bind("127.0.0.1:0").unwrap();
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    one.connect(other.local_addr().unwrap()).unwrap();
    other.connect(one.local_addr().unwrap()).unwrap();
    one.set_read_timeout(Some(PATIENCE)).unwrap();
    other.set_read_timeout(Some(PATIENCE)).unwrap();
    (one, other)
}

/// Closes a connection so that the peer sees it reset, not ended.
pub fn reset(stream: TcpStream) {
    let linger = ws::LINGER { l_onoff: 1, l_linger: 0 };
    set_socket_option(&stream, ws::SO_LINGER, &linger);
    drop(stream);
}

/// Makes the socket's own buffers small, so that few bytes fill them.
pub fn shrink_buffers(socket: &impl AsRawSocket) {
    set_socket_option(socket, ws::SO_SNDBUF, &4096i32);
    set_socket_option(socket, ws::SO_RCVBUF, &4096i32);
}

fn set_socket_option<T>(socket: &impl AsRawSocket, option: i32, value: &T) {
    // SAFETY: The value is read for its length before the call returns.
    let result = unsafe {
        ws::setsockopt(
            socket.as_raw_socket() as ws::SOCKET,
            ws::SOL_SOCKET,
            option,
            ptr::from_ref(value).cast(),
            size_of::<T>() as i32,
        )
    };
    assert_eq!(result, 0, "setsockopt: {}", io::Error::last_os_error());
}

/// A name that no other test uses, in this process or another.
///
/// Every Wine session counts its processes from the same number, so the
/// process id alone would not do for what several sessions share.
pub fn unique(name: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("completion-port-{name}-{}-{now:x}-{count}", std::process::id())
}

/// A file that is deleted when this is dropped. Close its handles first.
#[derive(Debug)]
pub struct TempFile(PathBuf);

impl TempFile {
    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn contents(&self) -> Vec<u8> {
        std::fs::read(&self.0).unwrap()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        // A test that panics may still have it open.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A temporary file with these contents.
pub fn temp_file(name: &str, contents: impl AsRef<[u8]>) -> TempFile {
    let path = std::env::temp_dir().join(unique(name));
    std::fs::write(&path, contents).unwrap();
    TempFile(path)
}

/// Opens a file for overlapped I/O.
pub fn overlapped_file(path: impl AsRef<Path>, read: bool, write: bool) -> File {
    #[cfg(simulated_kernel)]
    return simulated_kernel::open_file(path, read, write).expect("an overlapped file");
    #[cfg(not(simulated_kernel))]
    open_overlapped(path, read, write)
}

#[cfg(not(simulated_kernel))]
fn open_overlapped(path: impl AsRef<Path>, read: bool, write: bool) -> File {
    let mut options = OpenOptions::new();
    options.read(read).write(write).custom_flags(FILE_FLAG_OVERLAPPED);
    options.open(path).expect("an overlapped file")
}

/// The two ends of a named pipe, both overlapped: the server's and the
/// client's. Of messages or of bytes.
pub fn pipe_pair(message: bool) -> (OwnedHandle, OwnedHandle) {
    let name = format!(r"\\.\pipe\{}", unique("pipe"));
    let server = pipe_server(&name, message);
    let client = pipe_client(&name, message).expect("a pipe client");
    (server, client)
}

/// One end of a pipe for reads and writes that block.
#[cfg(not(simulated_kernel))]
pub type BlockingPipe = File;
#[cfg(simulated_kernel)]
pub use simulated_kernel::BlockingPipe;

/// The first instance of a named pipe, not connected yet.
pub fn pipe_server(name: &str, message: bool) -> OwnedHandle {
    let wide = wide(name);
    let mode = if message {
        PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE
    } else {
        PIPE_TYPE_BYTE | PIPE_READMODE_BYTE
    };
    let access = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | FILE_FLAG_FIRST_PIPE_INSTANCE;
    // SAFETY: The name ends with a zero.
    let server =
        unsafe { CreateNamedPipeW(wide.as_ptr(), access, mode, 1, 65536, 65536, 0, ptr::null()) };
    own(server).expect("a pipe server")
}

/// The client's end of a pipe whose server exists.
pub fn pipe_client(name: &str, message: bool) -> io::Result<OwnedHandle> {
    #[cfg(simulated_kernel)]
    let client = simulated_kernel::open_pipe(name)?;
    #[cfg(not(simulated_kernel))]
    let wide = wide(name);
    // SAFETY: The name ends with a zero.
    #[cfg(not(simulated_kernel))]
    let client = own(unsafe {
        CreateFileW(
            wide.as_ptr(),
            GENERIC_READ | GENERIC_WRITE,
            0,
            ptr::null(),
            OPEN_EXISTING,
            FILE_FLAG_OVERLAPPED,
            ptr::null_mut(),
        )
    })?;
    if message {
        let mode = PIPE_READMODE_MESSAGE;
        // SAFETY: The mode is read before the call returns.
        let set = unsafe {
            SetNamedPipeHandleState(
                client.as_raw_handle(),
                &raw const mode,
                ptr::null(),
                ptr::null(),
            )
        };
        if set == 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(client)
}

/// The reading and the writing end of a pipe that is full from the first byte
/// on, both for calls that block.
pub fn narrow_pipe() -> (File, File) {
    let (mut read, mut write) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: The handles are written before the call returns.
    let created = unsafe { CreatePipe(&raw mut read, &raw mut write, ptr::null(), 1) };
    assert_ne!(created, 0, "CreatePipe: {}", io::Error::last_os_error());
    (File::from(own(read).expect("a pipe")), File::from(own(write).expect("a pipe")))
}

fn own(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() || handle.addr() == usize::MAX {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: The handle is new and nobody else's.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

fn wide(name: &str) -> Vec<u16> {
    std::ffi::OsStr::new(name).encode_wide().chain([0]).collect()
}

/// Posts a packet past the library, as other code with the port's handle may.
pub fn post_raw<C: Send + 'static>(port: &Iocp<C>, bytes: u32, key: usize, overlapped: usize) {
    try_post_raw(port, bytes, key, overlapped).unwrap();
}

/// The same, where the system may refuse it.
pub fn try_post_raw<C: Send + 'static>(
    port: &Iocp<C>,
    bytes: u32,
    key: usize,
    overlapped: usize,
) -> io::Result<()> {
    let overlapped = ptr::without_provenance(overlapped);
    // SAFETY: "The system does not use or validate these values."
    let posted =
        unsafe { PostQueuedCompletionStatus(port.as_raw_handle(), bytes, key, overlapped) };
    if posted == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Dequeues a packet past the library, of an operation that may have failed:
/// bytes, key, and `OVERLAPPED`.
pub fn dequeue_raw<C: Send + 'static>(port: &Iocp<C>) -> (u32, usize, usize) {
    let (mut bytes, mut key, mut overlapped) = (0, 0, ptr::null_mut());
    // SAFETY: The out-parameters are locals. Only the address is used.
    let dequeued = unsafe {
        GetQueuedCompletionStatus(
            port.as_raw_handle(),
            &raw mut bytes,
            &raw mut key,
            &raw mut overlapped,
            PATIENCE.as_millis() as u32,
        )
    };
    assert!(dequeued != 0 || !overlapped.is_null(), "{}", io::Error::last_os_error());
    (bytes, key, overlapped.addr())
}

/// The address that the `OVERLAPPED` of the port's next operation has: it is
/// looked up in a packet on the way.
pub fn own_address(port: &Iocp) -> usize {
    port.post(1, 2, 3).unwrap();
    let (bytes, key, overlapped) = dequeue_raw(port);
    assert_eq!((key, bytes), (2, 3));
    post_raw(port, bytes, key, overlapped);
    assert_eq!(complete(port).context, 1);
    overlapped
}

/// Closes a handle behind its owner's back. The owner must not be used, and
/// other tests' handles may get the value.
pub fn close_raw(handle: HANDLE) {
    // SAFETY: An invalid handle is answered with an error.
    let closed = unsafe { CloseHandle(handle) };
    assert_ne!(closed, 0, "{}", io::Error::last_os_error());
}

/// The same for a socket.
pub fn close_raw_socket(socket: RawSocket) {
    // SAFETY: An invalid socket is answered with an error.
    let closed = unsafe { ws::closesocket(socket as ws::SOCKET) };
    assert_eq!(closed, 0, "{}", io::Error::last_os_error());
}
