//! What the rows work on, the same for both sides.

use std::fs::{File, OpenOptions};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{FromRawHandle, OwnedHandle};
use std::ptr;

use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::Storage::FileSystem::{FILE_FLAG_OVERLAPPED, PIPE_ACCESS_DUPLEX};
use windows_sys::Win32::System::Pipes::{CreateNamedPipeW, PIPE_TYPE_BYTE};

pub const SIZE: usize = 64;

pub fn streams() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nodelay(true).unwrap();
    (client, listener.accept().unwrap().0)
}

pub fn datagrams() -> (UdpSocket, UdpSocket) {
    let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
    (bind(), bind())
}

pub fn file() -> File {
    let path = std::env::temp_dir().join(format!("completion-port-cost-{}", std::process::id()));
    std::fs::write(&path, [7; 4096]).unwrap();
    OpenOptions::new().read(true).custom_flags(FILE_FLAG_OVERLAPPED).open(path).unwrap()
}

pub fn pipes(name: &str) -> (OwnedHandle, File) {
    let name = format!(r"\\.\pipe\completion-port-cost-{}-{name}", std::process::id());
    let wide: Vec<u16> = name.encode_utf16().chain([0]).collect();
    let mode = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED;
    // SAFETY: The name ends with a zero.
    let server = unsafe {
        CreateNamedPipeW(wide.as_ptr(), mode, PIPE_TYPE_BYTE, 1, 4096, 4096, 0, ptr::null())
    };
    assert_ne!(server, INVALID_HANDLE_VALUE);
    // SAFETY: The handle is new and nobody else's.
    let server = unsafe { OwnedHandle::from_raw_handle(server) };
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(FILE_FLAG_OVERLAPPED);
    (server, options.open(name).unwrap())
}
