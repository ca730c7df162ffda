//! A socket in a process that has not started Winsock, as one that was inherited
//! is. This is a program of its own because the standard library starts Winsock
//! with its own first socket.
#![cfg(windows)]

mod support;

use std::os::windows::io::{FromRawSocket, OwnedSocket, RawSocket};

use completion_port::ErrorKind;
use support::port;
use windows_sys::Win32::Networking::WinSock as ws;

/// A socket that is left after Winsock has been cleaned up, which closes those
/// that it has made itself; if it knows others, which Wine's does not.
fn inherited() -> Option<OwnedSocket> {
    let mut data = ws::WSADATA::default();
    // SAFETY: The out-parameters are locals, and the socket is new and nobody
    // else's.
    unsafe {
        assert_eq!(ws::WSAStartup(0x0202, &raw mut data), 0);
        let flags = ws::WSA_FLAG_OVERLAPPED | ws::WSA_FLAG_NO_HANDLE_INHERIT;
        let family = ws::AF_INET.into();
        let socket = ws::WSASocketW(family, ws::SOCK_STREAM, 0, std::ptr::null(), 0, flags);
        assert_ne!(socket, ws::INVALID_SOCKET);
        #[cfg(not(simulated_kernel))]
        let socket = duplicate(socket);
        let (mut kind, mut length) = ([0; 4], 4);
        let (level, option) = (ws::SOL_SOCKET, ws::SO_TYPE);
        let is_known =
            ws::getsockopt(socket, level, option, kind.as_mut_ptr(), &raw mut length) == 0;
        assert_eq!(ws::WSACleanup(), 0);
        is_known.then(|| OwnedSocket::from_raw_socket(socket as RawSocket))
    }
}

#[cfg(not(simulated_kernel))]
fn duplicate(socket: ws::SOCKET) -> ws::SOCKET {
    use windows_sys::Win32::Foundation::{DUPLICATE_SAME_ACCESS, DuplicateHandle};
    use windows_sys::Win32::System::Threading::GetCurrentProcess;

    let mut duplicate = std::ptr::null_mut();
    // SAFETY: The out-parameter is a local.
    let duplicated = unsafe {
        let (here, socket) = (GetCurrentProcess(), std::ptr::without_provenance_mut(socket));
        DuplicateHandle(here, socket, here, &raw mut duplicate, 0, 0, DUPLICATE_SAME_ACCESS)
    };
    assert_ne!(duplicated, 0, "{}", std::io::Error::last_os_error());
    duplicate.addr()
}

#[test]
fn a_socket_is_known_as_one_before_winsock_has_been_started() {
    let port = port();
    let Some(socket) = inherited() else {
        return support::skipped_without("sockets that another process could have made");
    };
    let socket = port.add_handle(socket, 1).unwrap();
    // A socket, which has no offsets; and one that does not listen.
    let rejected = port.initiate_read_at(&socket, 2, [0; 8], 0).map(drop).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::Unsupported, "{}", rejected.error);
    let rejected = port.initiate_accept(&socket, 2).map(drop).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput, "{}", rejected.error);
}
