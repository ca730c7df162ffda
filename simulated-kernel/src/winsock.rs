//! Winsock's functions.

use std::ffi::c_void;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::GetLastError;
use windows_sys::Win32::Networking::WinSock as ws;
use windows_sys::Win32::System::IO::OVERLAPPED;
use windows_sys::core::GUID;

use crate::address;
use crate::behaviour::{Behaviour, Chance};
use crate::handle::fail;
use crate::kernel::{Entered, Id, Kernel, announce, enter, wait};
use crate::memory::put;
use crate::message::Extras;
use crate::object::{Body, Object};
use crate::operation::{Direction, Kind, Operation, Part, pending_code, start};
use crate::packets::TransmitPackets;
use crate::socket::{Context, LONGEST_DATAGRAM, Received, Role, Socket};
use crate::status::winsock_code;

pub type Answer<T> = Result<T, i32>;

/// Zero, or `SOCKET_ERROR` with the code for `WSAGetLastError`.
fn zero(answer: Answer<()>) -> i32 {
    answer.map_or_else(|code| fail(code as u32, ws::SOCKET_ERROR), |()| 0)
}

fn count(answer: Answer<usize>) -> i32 {
    answer.map_or_else(|code| fail(code as u32, ws::SOCKET_ERROR), |count| count as i32)
}

fn code_of(status: u32) -> i32 {
    winsock_code(status) as i32
}

/// Enters the kernel for a call to Winsock.
fn enter_started() -> Answer<Entered> {
    let kernel = enter();
    if kernel.winsock_starts == 0 { Err(ws::WSANOTINITIALISED) } else { Ok(kernel) }
}

/// Enters the kernel for a call on a socket.
pub fn enter_for(socket: ws::SOCKET) -> Answer<(Entered, Id)> {
    let kernel = enter_started()?;
    let id = *kernel.sockets.get(&socket).ok_or(ws::WSAENOTSOCK)?;
    Ok((kernel, id))
}

impl Kernel {
    fn the_socket(&mut self, id: Id) -> &mut Socket {
        self.socket(id).expect("a socket")
    }

    /// Whether nobody has shut this direction down. What began before goes on.
    pub fn check_open(&mut self, socket: ws::SOCKET, direction: Direction) -> Answer<()> {
        let id = *self.sockets.get(&socket).ok_or(ws::WSAENOTSOCK)?;
        let Some(stream) = self.stream(id) else { return Ok(()) };
        let is_shut_down = match direction {
            Direction::In => stream.receives_no_more,
            Direction::Out => stream.sends_no_more,
            Direction::Neither => false,
        };
        if is_shut_down { Err(ws::WSAESHUTDOWN) } else { Ok(()) }
    }

    /// A new value for an object: the lowest that is free, as values are
    /// recycled.
    fn open_socket(&mut self, id: Id) -> ws::SOCKET {
        let value = (0x10_0000..).step_by(4).find(|value| !self.sockets.contains_key(value));
        let value = value.expect("a free value");
        self.sockets.insert(value, id);
        self.objects[id].handles += 1;
        value
    }
}

/// Tries until there is an answer, unless the socket must not block.
fn block<T>(
    socket: ws::SOCKET,
    timeout: i32,
    mut attempt: impl FnMut(&mut Kernel, Id) -> Option<Answer<T>>,
) -> Answer<T> {
    let (mut kernel, id) = enter_for(socket)?;
    let limit = kernel.the_socket(id).number(timeout).filter(|limit| *limit > 0);
    let deadline = limit.map(|limit| Instant::now() + Duration::from_millis(limit.into()));
    loop {
        if kernel.sockets.get(&socket) != Some(&id) {
            return Err(ws::WSAEINTR);
        }
        if let Some(answer) = attempt(&mut kernel, id) {
            return answer;
        }
        if kernel.the_socket(id).is_nonblocking {
            return Err(ws::WSAEWOULDBLOCK);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(ws::WSAETIMEDOUT);
        }
        kernel = wait(kernel);
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn WSAStartup(_version: u16, _data: *mut ws::WSADATA) -> i32 {
    enter().winsock_starts += 1;
    0
}

#[unsafe(no_mangle)]
extern "system" fn WSACleanup() -> i32 {
    zero(enter_started().map(|mut kernel| kernel.winsock_starts -= 1))
}

#[unsafe(no_mangle)]
extern "system" fn WSAGetLastError() -> i32 {
    // SAFETY: Reads the calling thread's last error.
    unsafe { GetLastError() as i32 }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn WSASocketW(
    family: i32,
    kind: i32,
    _protocol: i32,
    information: *const ws::WSAPROTOCOL_INFOW,
    _group: u32,
    flags: u32,
) -> ws::SOCKET {
    let mut kernel = match enter_started() {
        Ok(kernel) => kernel,
        Err(code) => return fail(code as u32, ws::INVALID_SOCKET),
    };
    // SAFETY: Null, or from `WSADuplicateSocketW`.
    if let Some(information) = unsafe { information.as_ref() } {
        let id = Id::from(information.dwProviderReserved);
        return kernel.open_socket(id);
    }
    if family == i32::from(ws::AF_UNIX) && !kernel.behaviour.has_unix {
        drop(kernel);
        return fail(ws::WSAEAFNOSUPPORT as u32, ws::INVALID_SOCKET);
    }
    assert!(flags & ws::WSA_FLAG_NO_HANDLE_INHERIT != 0, "child processes inherit the socket");
    if kernel.behaviour.refuse_sockets > 0 {
        kernel.behaviour.refuse_sockets -= 1;
        return fail(ws::WSAEMFILE as u32, ws::INVALID_SOCKET);
    }
    let mut object = Object::new(Body::Socket(Socket::new(family, kind)));
    object.is_overlapped = flags & ws::WSA_FLAG_OVERLAPPED != 0;
    let id = kernel.add(object);
    kernel.open_socket(id)
}

#[unsafe(no_mangle)]
unsafe extern "system" fn WSADuplicateSocketW(
    socket: ws::SOCKET,
    _process: u32,
    information: *mut ws::WSAPROTOCOL_INFOW,
) -> i32 {
    zero(enter_for(socket).map(|(_, id)| {
        let described =
            ws::WSAPROTOCOL_INFOW { dwProviderReserved: id as u32, ..Default::default() };
        // SAFETY: The out-parameter is writable.
        unsafe { information.write(described) };
    }))
}

#[unsafe(no_mangle)]
extern "system" fn closesocket(socket: ws::SOCKET) -> i32 {
    zero(enter_for(socket).map(|(mut kernel, id)| {
        kernel.sockets.remove(&socket);
        kernel.close(id);
        announce();
    }))
}

#[unsafe(no_mangle)]
unsafe extern "system" fn bind(socket: ws::SOCKET, name: *const ws::SOCKADDR, length: i32) -> i32 {
    // SAFETY: As the caller promises.
    let address = unsafe { address::read(name, length) }.ok_or(ws::WSAEFAULT);
    zero(address.and_then(|address| {
        let (mut kernel, id) = enter_for(socket)?;
        kernel.bind_socket(id, address)
    }))
}

#[unsafe(no_mangle)]
extern "system" fn listen(socket: ws::SOCKET, _backlog: i32) -> i32 {
    zero(enter_for(socket).and_then(|(mut kernel, id)| {
        let socket = kernel.the_socket(id);
        if socket.local.is_none() || !matches!(socket.role, Role::Fresh | Role::Listener(_)) {
            return Err(ws::WSAEINVAL);
        }
        if let Role::Fresh = socket.role {
            socket.role = Role::Listener(std::collections::VecDeque::new());
        }
        Ok(())
    }))
}

#[unsafe(no_mangle)]
unsafe extern "system" fn accept(
    listener: ws::SOCKET,
    name: *mut ws::SOCKADDR,
    length: *mut i32,
) -> ws::SOCKET {
    let accepted = block(listener, ws::SO_RCVTIMEO, |kernel, id| {
        if !matches!(kernel.the_socket(id).role, Role::Listener(_)) {
            return Some(Err(ws::WSAEINVAL));
        }
        let connection = kernel.next_connection(id)?;
        let peer = kernel.the_socket(connection).peer.expect("connected");
        Some(Ok((kernel.open_socket(connection), peer)))
    });
    match accepted {
        Ok((socket, peer)) => {
            // SAFETY: As the caller promises.
            unsafe { address::write(peer, name, length) };
            socket
        }
        Err(code) => fail(code as u32, ws::INVALID_SOCKET),
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn connect(
    socket: ws::SOCKET,
    name: *const ws::SOCKADDR,
    length: i32,
) -> i32 {
    // SAFETY: As the caller promises.
    let address = unsafe { address::read(name, length) }.ok_or(ws::WSAEFAULT);
    zero(address.and_then(|address| {
        let (mut kernel, id) = enter_for(socket)?;
        if let Role::Stream(_) = kernel.the_socket(id).role {
            return Err(ws::WSAEISCONN);
        }
        let address = kernel.the_socket(id).destination(address)?;
        kernel.connect_socket(id, address).map_err(code_of)
    }))
}

#[unsafe(no_mangle)]
extern "system" fn shutdown(socket: ws::SOCKET, how: i32) -> i32 {
    zero(enter_for(socket).and_then(|(mut kernel, id)| {
        if kernel.the_socket(id).context != Context::Whole {
            return Err(ws::WSAENOTCONN);
        }
        let stream = kernel.stream(id).ok_or(ws::WSAENOTCONN)?;
        // What is in flight goes on; the other end is told once all is sent.
        stream.receives_no_more |= how != ws::SD_SEND;
        stream.sends_no_more |= how != ws::SD_RECEIVE;
        if let Some(peer) = stream.peer {
            kernel.look(peer);
        }
        Ok(())
    }))
}

/// Writes a socket's address out.
unsafe fn name_out(
    socket: ws::SOCKET,
    name: *mut ws::SOCKADDR,
    length: *mut i32,
    which: impl FnOnce(&Socket) -> Answer<SocketAddr>,
) -> i32 {
    zero(enter_for(socket).and_then(|(mut kernel, id)| {
        let address = which(kernel.the_socket(id))?;
        // SAFETY: As the caller promises.
        let fits = unsafe { address::write(address, name, length) };
        if fits { Ok(()) } else { Err(ws::WSAEFAULT) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "system" fn getsockname(
    socket: ws::SOCKET,
    name: *mut ws::SOCKADDR,
    length: *mut i32,
) -> i32 {
    // SAFETY: As the caller promises.
    unsafe {
        name_out(socket, name, length, |socket| {
            socket.local.filter(|_| socket.context != Context::Unknown).ok_or(ws::WSAEINVAL)
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn getpeername(
    socket: ws::SOCKET,
    name: *mut ws::SOCKADDR,
    length: *mut i32,
) -> i32 {
    // SAFETY: As the caller promises.
    unsafe {
        name_out(socket, name, length, |socket| {
            socket.peer.filter(|_| socket.context == Context::Whole).ok_or(ws::WSAENOTCONN)
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn setsockopt(
    socket: ws::SOCKET,
    level: i32,
    option: i32,
    value: *const u8,
    length: i32,
) -> i32 {
    zero(enter_for(socket).and_then(|(mut kernel, id)| {
        let bytes = match length {
            0 => Vec::new(),
            // SAFETY: As the caller promises.
            _ => unsafe { std::slice::from_raw_parts(value, length as usize) }.to_vec(),
        };
        if level == ws::SOL_SOCKET && option == ws::SO_UPDATE_ACCEPT_CONTEXT {
            let listener = bytes.as_slice().try_into().map_err(|_| ws::WSAEFAULT)?;
            // The listener must still be there, and be one.
            let listener =
                *kernel.sockets.get(&usize::from_ne_bytes(listener)).ok_or(ws::WSAENOTSOCK)?;
            if !matches!(kernel.the_socket(listener).role, Role::Listener(_)) {
                return Err(ws::WSAEINVAL);
            }
        }
        let socket = kernel.the_socket(id);
        if level == ws::SOL_SOCKET
            && matches!(option, ws::SO_UPDATE_ACCEPT_CONTEXT | ws::SO_UPDATE_CONNECT_CONTEXT)
        {
            if !matches!(socket.role, Role::Stream(_)) {
                return Err(ws::WSAENOTCONN);
            }
            socket.context = Context::Whole;
            return Ok(());
        }
        if socket.local.is_some()
            && matches!(
                (level, option),
                (ws::IPPROTO_IPV6, ws::IPV6_V6ONLY) | (ws::SOL_SOCKET, ws::SO_REUSE_UNICASTPORT)
            )
        {
            // It would come too late for the bind.
            return Err(ws::WSAEINVAL);
        }
        socket.options.insert((level, option), bytes);
        Ok(())
    }))
}

#[unsafe(no_mangle)]
unsafe extern "system" fn getsockopt(
    socket: ws::SOCKET,
    level: i32,
    option: i32,
    value: *mut u8,
    length: *mut i32,
) -> i32 {
    zero(enter_for(socket).map(|(mut kernel, id)| {
        let Behaviour { layered, connected_for, .. } = kernel.behaviour;
        let socket = kernel.the_socket(id);
        // SAFETY: As the caller promises.
        let room = unsafe { *length } as usize;
        let is_datagram = socket.is_datagram();
        let kind = if is_datagram { ws::SOCK_DGRAM } else { ws::SOCK_STREAM };
        if (level, option) == (ws::SOL_SOCKET, ws::SO_PROTOCOL_INFOW) {
            let information = ws::WSAPROTOCOL_INFOW {
                dwServiceFlags1: if layered { 0 } else { ws::XP1_IFS_HANDLES },
                iAddressFamily: socket.family,
                iSocketType: kind,
                dwCatalogEntryId: kind as u32 + u32::from(layered) * 100,
                ..Default::default()
            };
            // SAFETY: The caller gives room for one.
            unsafe { value.cast::<ws::WSAPROTOCOL_INFOW>().write_unaligned(information) };
            return;
        }
        let mut bytes = match (level, option) {
            (ws::SOL_SOCKET, ws::SO_CONNECT_TIME) => {
                let is_connected = matches!(socket.role, Role::Stream(_));
                let seconds = if is_connected { connected_for } else { u32::MAX };
                seconds.to_ne_bytes().to_vec()
            }
            (ws::SOL_SOCKET, ws::SO_TYPE) => kind.to_ne_bytes().to_vec(),
            (ws::SOL_SOCKET, ws::SO_ACCEPTCONN) => {
                i32::from(matches!(socket.role, Role::Listener(_))).to_ne_bytes().to_vec()
            }
            (ws::IPPROTO_IPV6, ws::IPV6_V6ONLY) => {
                i32::from(socket.is_v6_only()).to_ne_bytes().to_vec()
            }
            (ws::SOL_SOCKET, ws::SO_MAX_MSG_SIZE) if is_datagram => {
                (LONGEST_DATAGRAM as u32).to_ne_bytes().to_vec()
            }
            key => socket.options.get(&key).cloned().unwrap_or_default(),
        };
        bytes.resize(room, 0);
        // SAFETY: The caller gives that much room.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), value, room) };
    }))
}

#[unsafe(no_mangle)]
unsafe extern "system" fn ioctlsocket(socket: ws::SOCKET, command: i32, value: *mut u32) -> i32 {
    zero(enter_for(socket).and_then(|(mut kernel, id)| {
        if command != ws::FIONBIO {
            return Err(ws::WSAEOPNOTSUPP);
        }
        // SAFETY: As the caller promises.
        kernel.the_socket(id).is_nonblocking = unsafe { *value } != 0;
        Ok(())
    }))
}

/// Receives without an `OVERLAPPED`.
///
/// # Safety
///
/// As for the calls that it is for.
unsafe fn receive(
    socket: ws::SOCKET,
    buffer: *mut u8,
    length: usize,
    flags: i32,
    from: (*mut ws::SOCKADDR, *mut i32),
) -> Answer<usize> {
    let peeks = flags & ws::MSG_PEEK != 0;
    enter_for(socket)?.0.check_open(socket, Direction::In)?;
    let Received { data, from: sender, is_cut, .. } =
        block(socket, ws::SO_RCVTIMEO, |kernel, id| {
            Some(kernel.receive_from(id, length, peeks)?.map_err(code_of))
        })?;
    // SAFETY: The buffer has `length` bytes; the address has room or is null.
    unsafe {
        if !data.is_empty() {
            std::ptr::copy_nonoverlapping(data.as_ptr(), buffer, data.len());
        }
        if let Some(sender) = sender {
            address::write(sender, from.0, from.1);
        }
    }
    if is_cut { Err(ws::WSAEMSGSIZE) } else { Ok(data.len()) }
}

/// Sends all bytes, without an `OVERLAPPED`.
fn send_all(socket: ws::SOCKET, to: Option<SocketAddr>, bytes: &[u8]) -> Answer<usize> {
    let mut sent = 0;
    enter_for(socket)?.0.check_open(socket, Direction::Out)?;
    block(socket, ws::SO_SNDTIMEO, |kernel, id| {
        let whole = kernel.the_socket(id);
        if whole.is_datagram() {
            if bytes.len() > LONGEST_DATAGRAM {
                return Some(Err(ws::WSAEMSGSIZE));
            }
            let result = kernel.send_datagram(id, to, bytes.to_vec(), Extras::default());
            return Some(result.map(|()| bytes.len()).map_err(code_of));
        }
        if kernel.stream(id).is_none() {
            return Some(Err(ws::WSAENOTCONN));
        }
        let room = match kernel.room_to_send(id, bytes.len() - sent) {
            None if sent > 0 && kernel.the_socket(id).is_nonblocking => return Some(Ok(sent)),
            None => return None,
            Some(Err(status)) => return Some(Err(code_of(status))),
            Some(Ok(room)) => room,
        };
        kernel.send(id, &bytes[sent..sent + room]);
        sent += room;
        (sent == bytes.len()).then_some(Ok(sent))
    })
}

#[unsafe(no_mangle)]
unsafe extern "system" fn recv(
    socket: ws::SOCKET,
    buffer: *mut u8,
    length: i32,
    flags: i32,
) -> i32 {
    let nowhere = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: As the caller promises.
    count(unsafe { receive(socket, buffer, length as usize, flags, nowhere) })
}

#[unsafe(no_mangle)]
unsafe extern "system" fn recvfrom(
    socket: ws::SOCKET,
    buffer: *mut u8,
    length: i32,
    flags: i32,
    from: *mut ws::SOCKADDR,
    from_length: *mut i32,
) -> i32 {
    // SAFETY: As the caller promises.
    count(unsafe { receive(socket, buffer, length as usize, flags, (from, from_length)) })
}

#[unsafe(no_mangle)]
unsafe extern "system" fn send(
    socket: ws::SOCKET,
    buffer: *const u8,
    length: i32,
    _flags: i32,
) -> i32 {
    // SAFETY: As the caller promises.
    let bytes = unsafe { std::slice::from_raw_parts(buffer, length as usize) };
    count(send_all(socket, None, bytes))
}

#[unsafe(no_mangle)]
unsafe extern "system" fn sendto(
    socket: ws::SOCKET,
    buffer: *const u8,
    length: i32,
    _flags: i32,
    to: *const ws::SOCKADDR,
    to_length: i32,
) -> i32 {
    // SAFETY: As the caller promises.
    let (bytes, to) = unsafe {
        (std::slice::from_raw_parts(buffer, length as usize), address::read(to, to_length))
    };
    count(send_all(socket, to, bytes))
}

#[unsafe(no_mangle)]
unsafe extern "system" fn WSARecv(
    socket: ws::SOCKET,
    buffers: *const ws::WSABUF,
    buffer_count: u32,
    bytes: *mut u32,
    flags: *mut u32,
    overlapped: *mut OVERLAPPED,
    _routine: ws::LPWSAOVERLAPPED_COMPLETION_ROUTINE,
) -> i32 {
    // SAFETY: As the caller promises; the structures are captured here.
    unsafe {
        let buffers = all(buffers, buffer_count);
        if overlapped.is_null() {
            let buffer = the_one(&buffers);
            let nowhere = (std::ptr::null_mut(), std::ptr::null_mut());
            let received = receive(socket, buffer.0, buffer.1, *flags as i32, nowhere);
            return zero(received.map(|count| put(bytes, count as u32)));
        }
        if flags.is_null() {
            return zero(Err(ws::WSAEFAULT));
        }
        let asked = *flags as i32;
        // The model has no out-of-band data.
        if asked & !(ws::MSG_PARTIAL as i32 | ws::MSG_PEEK | ws::MSG_WAITALL) != 0 {
            return zero(Err(ws::WSAEOPNOTSUPP));
        }
        let receive = || {
            let mut operation = Operation::scattered(Kind::Read, &buffers, overlapped);
            operation.flags = asked;
            operation
        };
        let result = overlap(socket, receive, bytes);
        // The flags of one that pends are not written: the caller's local is gone by
        // then.
        let is_cut = result != 0 && WSAGetLastError() == ws::WSAEMSGSIZE;
        if result == 0 || is_cut {
            *flags = if is_cut { ws::MSG_PARTIAL } else { 0 };
        }
        result
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn WSASend(
    socket: ws::SOCKET,
    buffers: *const ws::WSABUF,
    buffer_count: u32,
    bytes: *mut u32,
    flags: u32,
    overlapped: *mut OVERLAPPED,
    _routine: ws::LPWSAOVERLAPPED_COMPLETION_ROUTINE,
) -> i32 {
    if flags != 0 {
        return zero(Err(ws::WSAEOPNOTSUPP));
    }
    // SAFETY: As the caller promises; the structures are captured here.
    unsafe {
        let buffers = all(buffers, buffer_count);
        if overlapped.is_null() {
            let (start, length) = the_one(&buffers);
            let data = std::slice::from_raw_parts(start, length);
            let sent = send_all(socket, None, data);
            return zero(sent.map(|count| put(bytes, count as u32)));
        }
        overlap(socket, || Operation::scattered(Kind::Write(0), &buffers, overlapped), bytes)
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn WSARecvFrom(
    socket: ws::SOCKET,
    buffers: *const ws::WSABUF,
    buffer_count: u32,
    bytes: *mut u32,
    flags: *mut u32,
    from: *mut ws::SOCKADDR,
    from_length: *mut i32,
    overlapped: *mut OVERLAPPED,
    _routine: ws::LPWSAOVERLAPPED_COMPLETION_ROUTINE,
) -> i32 {
    assert!(!overlapped.is_null(), "the standard library calls recvfrom");
    // SAFETY: As the caller promises; the structures are captured here.
    unsafe {
        if flags.is_null() {
            return zero(Err(ws::WSAEFAULT));
        }
        let buffers = all(buffers, buffer_count);
        let receive = || {
            let operation = Operation::scattered(Kind::Read, &buffers, overlapped);
            operation.tells_sender(from, from_length)
        };
        overlap(socket, receive, bytes)
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn WSASendTo(
    socket: ws::SOCKET,
    buffers: *const ws::WSABUF,
    buffer_count: u32,
    bytes: *mut u32,
    _flags: u32,
    to: *const ws::SOCKADDR,
    to_length: i32,
    overlapped: *mut OVERLAPPED,
    _routine: ws::LPWSAOVERLAPPED_COMPLETION_ROUTINE,
) -> i32 {
    assert!(!overlapped.is_null(), "the standard library calls sendto");
    // SAFETY: As the caller promises; the structures are captured here.
    unsafe {
        let (buffers, to) = (all(buffers, buffer_count), address::read(to, to_length));
        let send = || {
            let mut operation = Operation::scattered(Kind::Write(0), &buffers, overlapped);
            operation.to = to;
            operation
        };
        overlap(socket, send, bytes)
    }
}

unsafe extern "system" fn WSARecvMsg(
    socket: ws::SOCKET,
    message: *mut ws::WSAMSG,
    bytes: *mut u32,
    overlapped: *mut OVERLAPPED,
    _routine: ws::LPWSAOVERLAPPED_COMPLETION_ROUTINE,
) -> i32 {
    assert!(!overlapped.is_null(), "the model has no such call that waits");
    // SAFETY: As the caller promises.
    unsafe {
        let buffers = all((*message).lpBuffers, (*message).dwBufferCount);
        let receive = || Operation::scattered(Kind::Read, &buffers, overlapped).of_message(message);
        overlap(socket, receive, bytes)
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn WSASendMsg(
    socket: ws::SOCKET,
    message: *const ws::WSAMSG,
    _flags: u32,
    bytes: *mut u32,
    overlapped: *mut OVERLAPPED,
    _routine: ws::LPWSAOVERLAPPED_COMPLETION_ROUTINE,
) -> i32 {
    assert!(!overlapped.is_null(), "the model has no such call that waits");
    // SAFETY: As the caller promises.
    unsafe {
        let buffers = all((*message).lpBuffers, (*message).dwBufferCount);
        let send = || {
            let operation = Operation::scattered(Kind::Write(0), &buffers, overlapped);
            operation.of_message(message.cast_mut())
        };
        if let Err(code) = send().destination() {
            return zero(Err(code));
        }
        overlap(socket, send, bytes)
    }
}

/// # Safety
///
/// There are so many buffers.
unsafe fn all(buffers: *const ws::WSABUF, count: u32) -> Vec<(*mut u8, usize)> {
    // SAFETY: By the caller's promise.
    let buffers = unsafe { std::slice::from_raw_parts(buffers, count as usize) };
    buffers.iter().map(|buffer| (buffer.buf, buffer.len as usize)).collect()
}

/// What is not overlapped has one buffer.
fn the_one(buffers: &[(*mut u8, usize)]) -> (*mut u8, usize) {
    let [buffer] = buffers else { panic!("the model has no scattered buffers here") };
    *buffer
}

/// Starts an operation: zero, or `SOCKET_ERROR` with the code.
///
/// # Safety
///
/// The count is null or writable.
unsafe fn overlap(
    socket: ws::SOCKET,
    operation: impl FnOnce() -> Operation,
    bytes: *mut u32,
) -> i32 {
    let started = enter_for(socket).and_then(|(mut kernel, id)| {
        if let Some(code) = kernel.behaviour.refuse.pop_front() {
            // It may tell the status of what it has refused, too.
            if kernel.random.draw(Chance::Sometimes) {
                operation().refuse();
            }
            return Err(code as i32);
        }
        let operation = operation();
        let is_datagram = kernel.the_socket(id).is_datagram();
        let is_write = matches!(operation.kind, Kind::Write(_));
        if is_datagram && is_write && operation.length > LONGEST_DATAGRAM {
            return Err(ws::WSAEMSGSIZE);
        }
        kernel.check_open(socket, operation.direction())?;
        start(kernel, id, operation).map_err(|status| pending_code(status, winsock_code) as i32)
    });
    // SAFETY: The count is null or writable.
    zero(started.map(|count| unsafe { put(bytes, count) }))
}

#[unsafe(no_mangle)]
unsafe extern "system" fn WSAIoctl(
    socket: ws::SOCKET,
    control: u32,
    input: *const c_void,
    _input_length: u32,
    output: *mut c_void,
    output_length: u32,
    returned: *mut u32,
    overlapped: *mut OVERLAPPED,
    _routine: ws::LPWSAOVERLAPPED_COMPLETION_ROUTINE,
) -> i32 {
    assert!(overlapped.is_null(), "the model has no overlapped WSAIoctl");
    zero(enter_for(socket).and_then(|(mut kernel, id)| match control {
        ws::SIO_GET_EXTENSION_FUNCTION_POINTER => {
            // SAFETY: The input is a GUID.
            let wanted = unsafe { input.cast::<GUID>().read() };
            let layered = kernel.behaviour.layered;
            let is_datagram = kernel.the_socket(id).is_datagram();
            let function = match wanted.data1 {
                data if data == ws::WSAID_WSARECVMSG.data1 => WSARecvMsg as *const c_void,
                _ if is_datagram => return Err(ws::WSAEINVAL),
                data if data == ws::WSAID_ACCEPTEX.data1 => AcceptEx as *const c_void,
                data if data == ws::WSAID_GETACCEPTEXSOCKADDRS.data1 => {
                    GetAcceptExSockaddrs as *const c_void
                }
                data if data == ws::WSAID_CONNECTEX.data1 => ConnectEx as *const c_void,
                data if data == ws::WSAID_TRANSMITFILE.data1 => TransmitFile as *const c_void,
                data if data == ws::WSAID_TRANSMITPACKETS.data1 && !layered => {
                    TransmitPackets as *const c_void
                }
                data if data == ws::WSAID_DISCONNECTEX.data1 && layered => {
                    LayeredDisconnectEx as *const c_void
                }
                data if data == ws::WSAID_DISCONNECTEX.data1 => DisconnectEx as *const c_void,
                _ => return Err(ws::WSAEINVAL),
            };
            assert_eq!(output_length as usize, size_of_val(&function));
            // SAFETY: There is room for a pointer.
            unsafe {
                output.cast::<*const c_void>().write(function);
                put(returned, output_length);
            }
            Ok(())
        }
        ws::SIO_UDP_CONNRESET | ws::SIO_UDP_NETRESET => {
            let Role::Datagram(datagrams) = &mut kernel.the_socket(id).role else {
                return Err(ws::WSAEINVAL);
            };
            if control == ws::SIO_UDP_CONNRESET {
                // SAFETY: The input is a BOOL.
                datagrams.ignores_unreachable = unsafe { input.cast::<i32>().read() } == 0;
            }
            Ok(())
        }
        _ => Err(ws::WSAEOPNOTSUPP),
    }))
}

unsafe extern "system" fn AcceptEx(
    listener: ws::SOCKET,
    accepted: ws::SOCKET,
    output: *mut c_void,
    data_length: u32,
    local_length: u32,
    remote_length: u32,
    bytes: *mut u32,
    overlapped: *mut OVERLAPPED,
) -> i32 {
    assert_eq!(local_length, remote_length, "as the model writes them");
    let started = enter_for(listener).and_then(|(mut kernel, id)| {
        let accepted = *kernel.sockets.get(&accepted).ok_or(ws::WSAENOTSOCK)?;
        if let Some(code) = kernel.behaviour.refuse.pop_front() {
            return Err(code as i32);
        }
        let family = kernel.the_socket(id).family;
        let is_listener = matches!(kernel.the_socket(id).role, Role::Listener(_));
        let accepting = kernel.the_socket(accepted);
        // It must be "neither bound nor connected".
        let is_fresh = matches!(accepting.role, Role::Fresh)
            && (accepting.local.is_none() || accepting.is_reusable);
        if !is_listener || !is_fresh || accepting.family != family {
            return Err(ws::WSAEINVAL);
        }
        let least = match family {
            family if family == i32::from(ws::AF_UNIX) => size_of::<ws::SOCKADDR_UN>(),
            _ => address::bytes(SocketAddr::new(accepting.unspecified(), 0)).len(),
        } + 16;
        assert!(local_length as usize >= least, "too little room for an address");
        let length = (data_length + local_length + remote_length) as usize;
        let kind = Kind::Accept(accepted, data_length as usize);
        // SAFETY: As the caller promises.
        let operation = unsafe { Operation::new(kind, output.cast(), length, overlapped) };
        start(kernel, id, operation).map_err(|status| pending_code(status, winsock_code) as i32)
    });
    finish(started, bytes)
}

unsafe extern "system" fn GetAcceptExSockaddrs(
    output: *const c_void,
    data_length: u32,
    local_length: u32,
    remote_length: u32,
    local: *mut *const c_void,
    local_size: *mut i32,
    remote: *mut *const c_void,
    remote_size: *mut i32,
) {
    // SAFETY: The output is that of an accept with these lengths, and the others are
    // writable.
    unsafe {
        *local = output.byte_add(data_length as usize);
        *remote = (*local).byte_add(local_length as usize);
        (*local_size, *remote_size) = (local_length as i32, remote_length as i32);
    }
}

unsafe extern "system" fn ConnectEx(
    socket: ws::SOCKET,
    name: *const ws::SOCKADDR,
    length: i32,
    data: *const c_void,
    data_length: u32,
    bytes: *mut u32,
    overlapped: *mut OVERLAPPED,
) -> i32 {
    // SAFETY: As the caller promises.
    let address = unsafe { address::read(name, length) }.ok_or(ws::WSAEFAULT);
    let started = address.and_then(|address| {
        let (mut kernel, id) = enter_for(socket)?;
        if let Some(code) = kernel.behaviour.refuse.pop_front() {
            return Err(code as i32);
        }
        let state = kernel.the_socket(id);
        assert_ne!(state.family, i32::from(ws::AF_UNIX), "ConnectEx would break its own stack");
        let address = state.destination(address)?;
        match state.role {
            Role::Stream(_) => return Err(ws::WSAEISCONN),
            Role::Fresh if state.local.is_some() => {}
            _ => return Err(ws::WSAEINVAL),
        }
        let kind = Kind::Connect(address);
        // SAFETY: As the caller promises.
        let operation = unsafe {
            Operation::new(kind, data.cast_mut().cast(), data_length as usize, overlapped)
        };
        start(kernel, id, operation).map_err(|status| pending_code(status, winsock_code) as i32)
    });
    finish(started, bytes)
}

unsafe extern "system" fn DisconnectEx(
    socket: ws::SOCKET,
    overlapped: *mut OVERLAPPED,
    flags: u32,
    _reserved: u32,
) -> i32 {
    let started = enter_for(socket).and_then(|(mut kernel, id)| {
        if let Some(code) = kernel.behaviour.refuse.pop_front() {
            return Err(code as i32);
        }
        if kernel.stream(id).is_none() {
            return Err(ws::WSAENOTCONN);
        }
        let kind = Kind::Disconnect(flags & ws::TF_REUSE_SOCKET != 0);
        // SAFETY: As the caller promises; there is no buffer.
        let operation = unsafe { Operation::new(kind, std::ptr::null_mut(), 0, overlapped) };
        start(kernel, id, operation).map_err(|status| pending_code(status, winsock_code) as i32)
    });
    finish(started, std::ptr::null_mut())
}

unsafe extern "system" fn TransmitFile(
    socket: ws::SOCKET,
    file: *mut c_void,
    length: u32,
    _at_once: u32,
    overlapped: *mut OVERLAPPED,
    buffers: *const ws::TRANSMIT_FILE_BUFFERS,
    flags: u32,
) -> i32 {
    assert_eq!(flags, 0, "the model has no flags here");
    let started = enter_for(socket).and_then(|(mut kernel, id)| {
        if let Some(code) = kernel.behaviour.refuse.pop_front() {
            return Err(code as i32);
        }
        if kernel.stream(id).is_none() {
            return Err(ws::WSAENOTCONN);
        }
        kernel.check_open(socket, Direction::Out)?;
        // SAFETY: As the caller promises.
        let (parts, operation) = unsafe {
            let buffers = &*buffers;
            let parts = [
                (buffers.Head.cast(), buffers.HeadLength as usize),
                (buffers.Tail.cast(), buffers.TailLength as usize),
            ];
            (parts, Operation::scattered(Kind::Write(0), &parts, overlapped))
        };
        let whole = parts.iter().map(|part| part.1).sum::<usize>() + length as usize;
        assert!(whole < i32::MAX as usize, "the call is limited to 2^31 - 2 bytes");
        assert!(file.is_null() == (length == 0), "no bytes are the whole file");
        let mut sent = Vec::from(parts.map(|part| Part::Memory(part.1)));
        if length > 0 {
            sent.insert(1, Part::File(file.addr(), operation.offset, length as usize));
        }
        let operation = operation.sends(sent);
        start(kernel, id, operation).map_err(|status| pending_code(status, winsock_code) as i32)
    });
    finish(started, std::ptr::null_mut())
}

/// That of a layered provider, which can do nothing of the kind.
unsafe extern "system" fn LayeredDisconnectEx(
    _socket: ws::SOCKET,
    _overlapped: *mut OVERLAPPED,
    _flags: u32,
    _reserved: u32,
) -> i32 {
    fail(ws::WSAEOPNOTSUPP as u32, 0)
}

/// The answer of an extension function: a `BOOL`.
pub fn finish(started: Answer<u32>, bytes: *mut u32) -> i32 {
    match started {
        Ok(count) => {
            // SAFETY: The count is null or writable.
            unsafe { put(bytes, count) };
            1
        }
        Err(code) => fail(code as u32, 0),
    }
}
