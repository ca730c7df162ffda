//! Sockets.

use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::windows::io::{AsRawSocket, FromRawSocket, OwnedSocket};
use std::{ptr, slice};

use windows_sys::Win32::Foundation::ERROR_IO_PENDING;
use windows_sys::Win32::Networking::WinSock as ws;
use windows_sys::Win32::System::IO::OVERLAPPED;

use super::extension::{Extension, Provider};
use super::last_winsock_error;
use super::{AddressRegion, Answer, Handle, InPlace, LentOverlapped, Region, RegionMut};
use crate::error::{Cause, Error, Facts, Result, refusal};

/// The bytes that `AcceptEx` needs for an address: "at least 16 bytes more
/// than the maximum address length for the transport protocol in use"
/// (<https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-acceptex>).
pub(crate) const ADDRESS_SPACE: usize = mem::size_of::<ws::SOCKADDR_IN6>() + 16;

/// Starts a receive into one region after the other. The byte count is asked for
/// only where it is used: "use NULL for this parameter if the lpOverlapped parameter
/// is not NULL to avoid potentially erroneous results"
/// (<https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsarecv>).
#[inline(always)]
pub(crate) fn receive(
    socket: Handle,
    regions: &[RegionMut],
    mut flags: u32,
    overlapped: LentOverlapped,
    counts: bool,
) -> Answer {
    let mut count = 0;
    let counter = if counts { &raw mut count } else { ptr::null_mut() };
    // SAFETY: Regions, which are `WSABUF`s, and OVERLAPPED are lent for the operation's
    // whole life. The `WSABUF`s may be on the stack: "the service provider must capture
    // these structures before returning". Flags are not updated later.
    let result = unsafe {
        ws::WSARecv(
            socket.0,
            regions.as_ptr().cast(),
            regions.len() as u32,
            counter,
            &raw mut flags,
            overlapped.into_raw(),
            None,
        )
    };
    received(answer(result == 0, count), regions)
}

#[inline(always)]
fn received(answer: Answer, regions: &[RegionMut]) -> Answer {
    match answer {
        Answer::Code(code) if code != ERROR_IO_PENDING => refused_receive(code, regions),
        answer => answer,
    }
}

/// Of a message that was cut, the answer says how much memory it was given.
#[cold]
#[inline(never)]
fn refused_receive(code: u32, regions: &[RegionMut]) -> Answer {
    if code != ws::WSAEMSGSIZE as u32 {
        return Answer::Code(code);
    }
    Answer::Cut(regions.iter().fold(0, |sum, region| region.length().saturating_add(sum)))
}

/// Starts a receive of no bytes, which waits until there are some.
pub(crate) fn receive_nothing(socket: Handle, overlapped: LentOverlapped, counts: bool) -> Answer {
    receive(socket, &[InPlace::nothing()], 0, overlapped, counts)
}

/// Starts a send of one region after the other.
#[inline(always)]
pub(crate) fn send(
    socket: Handle,
    regions: &[Region],
    flags: u32,
    overlapped: LentOverlapped,
    counts: bool,
) -> Answer {
    let mut count = 0;
    let counter = if counts { &raw mut count } else { ptr::null_mut() };
    // SAFETY: Regions and OVERLAPPED are lent for the operation's whole life; the
    // buffer structures are read before the call returns.
    let result = unsafe {
        ws::WSASend(
            socket.0,
            regions.as_ptr().cast(),
            regions.len() as u32,
            counter,
            flags,
            overlapped.into_raw(),
            None,
        )
    };
    answer(result == 0, count)
}

/// Starts a receive that also tells who has sent.
pub(crate) fn receive_from(
    socket: Handle,
    region: &RegionMut,
    from: AddressRegion,
    overlapped: LentOverlapped,
) -> Answer {
    let mut flags = 0;
    let (address, length) = from.into_raw();
    // SAFETY: Region, address and OVERLAPPED are lent for the operation's whole
    // life.
    let result = unsafe {
        ws::WSARecvFrom(
            socket.0,
            ptr::from_ref(region).cast(),
            1,
            ptr::null_mut(),
            &raw mut flags,
            address.cast(),
            length,
            overlapped.into_raw(),
            None,
        )
    };
    received(answer(result == 0, 0), slice::from_ref(region))
}

/// Starts to send a datagram to somebody.
pub(crate) fn send_to(
    socket: Handle,
    region: &Region,
    to: SocketAddr,
    overlapped: LentOverlapped,
) -> Answer {
    let (storage, length) = sockaddr(to);
    // SAFETY: Region and OVERLAPPED are lent for the operation's whole life; the
    // address is read before the call returns.
    let result = unsafe {
        ws::WSASendTo(
            socket.0,
            ptr::from_ref(region).cast(),
            1,
            ptr::null_mut(),
            0,
            (&raw const storage).cast(),
            length,
            overlapped.into_raw(),
            None,
        )
    };
    answer(result == 0, 0)
}

type AcceptExFunction = unsafe extern "system" fn(
    ws::SOCKET,
    ws::SOCKET,
    *mut core::ffi::c_void,
    u32,
    u32,
    u32,
    *mut u32,
    *mut OVERLAPPED,
) -> i32;

type ConnectExFunction = unsafe extern "system" fn(
    ws::SOCKET,
    *const ws::SOCKADDR,
    i32,
    *const core::ffi::c_void,
    u32,
    *mut u32,
    *mut OVERLAPPED,
) -> i32;

type DisconnectExFunction = unsafe extern "system" fn(ws::SOCKET, *mut OVERLAPPED, u32, u32) -> i32;

/// The provider's `AcceptEx`.
#[derive(Clone, Copy)]
pub(crate) struct AcceptEx(AcceptExFunction);

/// The provider's `ConnectEx`.
#[derive(Clone, Copy)]
pub(crate) struct ConnectEx(ConnectExFunction);

type GetAcceptExSockaddrsFunction = unsafe extern "system" fn(
    *const core::ffi::c_void,
    u32,
    u32,
    u32,
    *mut *mut ws::SOCKADDR,
    *mut i32,
    *mut *mut ws::SOCKADDR,
    *mut i32,
);

/// The provider's `GetAcceptExSockaddrs`, which knows the form in which its `AcceptEx` writes
/// addresses.
#[derive(Clone, Copy)]
pub(crate) struct AcceptExAddresses(GetAcceptExSockaddrsFunction);

impl AcceptExAddresses {
    pub fn of(socket: Handle, provider: Provider) -> Result<Self, Cause> {
        static EXTENSION: Extension = Extension::new(ws::WSAID_GETACCEPTEXSOCKADDRS);
        let function = EXTENSION.of(socket, provider)?;
        // SAFETY: The provider gave this address for GetAcceptExSockaddrs.
        Ok(Self(unsafe { mem::transmute::<*const (), GetAcceptExSockaddrsFunction>(function) }))
    }

    /// The local and the remote address in the output of an accept that has succeeded.
    pub fn get(self, output: &mut [u8]) -> Option<(SocketAddr, SocketAddr)> {
        let Self(get) = self;
        let data = output.len().checked_sub(2 * ADDRESS_SPACE)?;
        let (mut local, mut remote) = (ptr::null_mut(), ptr::null_mut());
        let (mut local_length, mut remote_length) = (0, 0);
        // SAFETY: The output has room for the data and two addresses, as the accept had, and
        // what is written to are locals.
        unsafe {
            get(
                output.as_mut_ptr().cast(),
                data as u32,
                ADDRESS_SPACE as u32,
                ADDRESS_SPACE as u32,
                &raw mut local,
                &raw mut local_length,
                &raw mut remote,
                &raw mut remote_length,
            );
        }
        let address = |place: *mut ws::SOCKADDR, length: i32| {
            let start = place.addr().checked_sub(output.as_ptr().addr())?;
            let end = start.checked_add(usize::try_from(length).ok()?)?;
            let bytes = output.get(start..end)?;
            let mut storage = ws::SOCKADDR_IN6::default();
            let length = bytes.len().min(size_of_val(&storage));
            // SAFETY: Both have so many bytes, and any bytes are a value of the local.
            unsafe {
                ptr::copy_nonoverlapping(bytes.as_ptr(), (&raw mut storage).cast(), length);
            }
            address_of(&storage)
        };
        Some((address(local, local_length)?, address(remote, remote_length)?))
    }
}

impl AcceptEx {
    pub fn of(socket: Handle, provider: Provider) -> Result<Self, Cause> {
        static EXTENSION: Extension = Extension::new(ws::WSAID_ACCEPTEX);
        let function = EXTENSION.of(socket, provider)?;
        // SAFETY: The provider gave this address for AcceptEx.
        Ok(Self(unsafe { mem::transmute::<*const (), AcceptExFunction>(function) }))
    }
}

impl ConnectEx {
    pub fn of(socket: Handle, provider: Provider) -> Result<Self, Cause> {
        static EXTENSION: Extension = Extension::new(ws::WSAID_CONNECTEX);
        let function = EXTENSION.of(socket, provider)?;
        // SAFETY: The provider gave this address for ConnectEx.
        Ok(Self(unsafe { mem::transmute::<*const (), ConnectExFunction>(function) }))
    }
}

/// The provider's `DisconnectEx`.
#[derive(Clone, Copy)]
pub(crate) struct DisconnectEx(DisconnectExFunction);

impl DisconnectEx {
    pub fn of(socket: Handle, provider: Provider) -> Result<Self, Cause> {
        static EXTENSION: Extension = Extension::new(ws::WSAID_DISCONNECTEX);
        let function = EXTENSION.of(socket, provider)?;
        // SAFETY: The provider gave this address for DisconnectEx.
        Ok(Self(unsafe { mem::transmute::<*const (), DisconnectExFunction>(function) }))
    }
}

/// Starts to end a connection.
pub(crate) fn disconnect(
    DisconnectEx(disconnect_ex): DisconnectEx,
    socket: Handle,
    reuses: bool,
    overlapped: LentOverlapped,
) -> Answer {
    let flags = if reuses { ws::TF_REUSE_SOCKET } else { 0 };
    // SAFETY: The OVERLAPPED is lent for the operation's whole life.
    let succeeded = unsafe { disconnect_ex(socket.0, overlapped.into_raw(), flags, 0) };
    answer(succeeded != 0, 0)
}

/// Starts an accept, which waits for data if the output has room for more than the two
/// addresses, each of which has so much `space`.
pub(crate) fn accept(
    AcceptEx(accept_ex): AcceptEx,
    listener: Handle,
    accepted: Handle,
    output: &RegionMut,
    space: usize,
    overlapped: LentOverlapped,
) -> Answer {
    let space = space as u32;
    let data = output.length().checked_sub(2 * space);
    let data = data.expect("room for two addresses");
    let mut count = 0;
    // SAFETY: The output buffer and the OVERLAPPED are lent for the
    // operation's whole life; the count is written before the call returns.
    let succeeded = unsafe {
        accept_ex(
            listener.0,
            accepted.0,
            output.start().cast(),
            data,
            space,
            space,
            &raw mut count,
            overlapped.into_raw(),
        )
    };
    answer(succeeded != 0, count)
}

/// Starts a connect of a bound socket, which may send something at once.
pub(crate) fn connect(
    ConnectEx(connect_ex): ConnectEx,
    socket: Handle,
    peer: SocketAddr,
    data: Option<&Region>,
    overlapped: LentOverlapped,
) -> Answer {
    let (storage, length) = sockaddr(peer);
    let mut count = 0;
    // SAFETY: The address is read before the call returns; data and OVERLAPPED are
    // lent for the operation's whole life.
    let succeeded = unsafe {
        connect_ex(
            socket.0,
            (&raw const storage).cast(),
            length,
            data.map_or(ptr::null(), |data| data.start().cast()),
            data.map_or(0, Region::length),
            &raw mut count,
            overlapped.into_raw(),
        )
    };
    answer(succeeded != 0, count)
}

#[inline(always)]
pub(super) fn answer(succeeded: bool, count: u32) -> Answer {
    if succeeded { Answer::Finished(count) } else { Answer::Code(last_winsock_error()) }
}

/// Without it, "the accepted socket does not behave as connected": `getpeername`
/// and `shutdown` fail
/// (<https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-acceptex>).
pub(crate) fn update_accept_context(accepted: Handle, listener: Handle) -> Result<()> {
    let listener = listener.0.to_ne_bytes();
    set_option(accepted, ws::SOL_SOCKET, ws::SO_UPDATE_ACCEPT_CONTEXT, &listener)
}

/// The same for a socket that `ConnectEx` connected.
pub(crate) fn update_connect_context(connected: Handle) -> Result<()> {
    set_option(connected, ws::SOL_SOCKET, ws::SO_UPDATE_CONNECT_CONTEXT, &[])
}

pub(super) fn set_option(socket: Handle, level: i32, option: i32, value: &[u8]) -> Result<()> {
    // SAFETY: The value is read for its length before the call returns.
    let result = unsafe {
        ws::setsockopt(
            socket.0,
            level,
            option,
            if value.is_empty() { ptr::null() } else { value.as_ptr() },
            value.len() as i32,
        )
    };
    if result != 0 {
        return Err(last_error(Facts::Setsockopt));
    }
    Ok(())
}

/// Makes a call that may be the first of this process to Winsock, which the
/// standard library starts with its own first socket, and which is then started
/// here.
fn with_winsock<T>(call: impl Fn() -> Result<T, u32>) -> Result<T, u32> {
    match call() {
        Err(code) if code as i32 == ws::WSANOTINITIALISED => {
            let mut data = ws::WSADATA::default();
            // SAFETY: `data` is a local.
            unsafe { ws::WSAStartup(0x0202, &raw mut data) };
            call()
        }
        answer => answer,
    }
}

/// A new overlapped stream socket that child processes do not inherit.
pub(crate) fn new_socket(family: u16) -> Result<OwnedSocket> {
    let flags = ws::WSA_FLAG_OVERLAPPED | ws::WSA_FLAG_NO_HANDLE_INHERIT;
    let (kind, protocol) = (ws::SOCK_STREAM, if is_ip(family) { ws::IPPROTO_TCP } else { 0 });
    let socket = with_winsock(|| {
        // SAFETY: Writes no memory of this process.
        let socket =
            unsafe { ws::WSASocketW(family.into(), kind, protocol, ptr::null(), 0, flags) };
        if socket == ws::INVALID_SOCKET { Err(last_winsock_error()) } else { Ok(socket) }
    })
    .map_err(|code| Error::os(Facts::WSASocketW, code))?;
    // SAFETY: The socket is new and nobody else's.
    Ok(unsafe { OwnedSocket::from_raw_socket(socket as _) })
}

/// The socket by value.
pub(crate) fn handle_of(socket: &OwnedSocket) -> Handle {
    Handle(socket.as_raw_socket() as usize)
}

/// The family of an address.
pub(crate) fn family_of(address: SocketAddr) -> u16 {
    if address.is_ipv4() { ws::AF_INET } else { ws::AF_INET6 }
}

/// Lets an IPv6 socket, which must not be bound yet, reach IPv4 addresses in
/// their IPv6 form: "The socket option must be set to zero before the socket is
/// bound" (<https://learn.microsoft.com/windows/win32/winsock/dual-stack-sockets>).
pub(crate) fn make_dual_stack(socket: Handle) -> Result<()> {
    set_option(socket, ws::IPPROTO_IPV6, ws::IPV6_V6ONLY, &0_u32.to_ne_bytes())
}

/// Whether addresses of this family are those of [`SocketAddr`].
pub(crate) fn is_ip(family: u16) -> bool {
    matches!(family, ws::AF_INET | ws::AF_INET6)
}

pub(crate) fn is_unix(family: u16) -> bool {
    family == ws::AF_UNIX
}

/// Gives a socket a local address, as `ConnectEx` requires: this one, or one of the
/// system's choice. A socket that is bound already, there or anywhere, stays as it is.
pub(crate) fn bind(socket: Handle, family: u16, local: Option<SocketAddr>) -> Result<(), Cause> {
    // "When set, allow ephemeral port reuse for Winsock API connection functions
    // which require an explicit bind, such as ConnectEx"
    // (https://learn.microsoft.com/windows/win32/winsock/sol-socket-socket-options).
    // Otherwise all connections together have one port each. A system that does
    // not know the option is left to do that, and so is a socket that is bound.
    if local.is_none_or(|local| local.port() == 0) {
        let shares = 1_u32.to_ne_bytes();
        let _ = set_option(socket, ws::SOL_SOCKET, ws::SO_REUSE_UNICASTPORT, &shares);
    }
    let any = if family == ws::AF_INET6 {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
    } else {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
    };
    let (storage, length) = sockaddr(local.unwrap_or(any));
    // SAFETY: The address is read for its length before the call returns.
    if unsafe { ws::bind(socket.0, (&raw const storage).cast(), length) } == 0 {
        return Ok(());
    }
    let code = last_winsock_error();
    // "WSAEINVAL: the socket is already bound to an address"
    // (https://learn.microsoft.com/windows/win32/api/winsock/nf-winsock-bind).
    let bound = if code as i32 == ws::WSAEINVAL { local_address(socket) } else { None };
    match (bound, local) {
        (Some(_), None) => Ok(()),
        (Some(bound), Some(local)) if is_within(bound, local) => Ok(()),
        (Some(_), Some(_)) => Err(Cause::UsageError(&refusal::BOUND_ELSEWHERE)),
        (None, _) => Err(Cause::Call { facts: Facts::Bind, code }),
    }
}

/// Whether a bound socket is where it was to be bound: the unspecified address and port 0
/// are anywhere.
fn is_within(bound: SocketAddr, wanted: SocketAddr) -> bool {
    (wanted.ip().is_unspecified() || wanted.ip() == bound.ip())
        && (wanted.port() == 0 || wanted.port() == bound.port())
}

/// What a socket is bound to.
fn local_address(socket: Handle) -> Option<SocketAddr> {
    let mut storage = ws::SOCKADDR_IN6::default();
    let mut length = mem::size_of_val(&storage) as i32;
    // SAFETY: The address is a local of the given length.
    let result = unsafe { ws::getsockname(socket.0, (&raw mut storage).cast(), &raw mut length) };
    if result == 0 { address_of(&storage) } else { None }
}

/// What the system knows of a socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketTraits {
    pub is_stream: bool,
    /// Its address family, bound or not.
    pub family: u16,
    /// Whether it is a real handle of the kernel's rather than one of a layered
    /// provider (`XP1_IFS_HANDLES`).
    pub has_kernel_handle: bool,
    pub provider: Provider,
}

/// `None` if the handle is not a socket.
pub(crate) fn socket_traits(handle: Handle) -> Option<SocketTraits> {
    let information = || get_option::<ws::WSAPROTOCOL_INFOW>(handle, ws::SO_PROTOCOL_INFOW);
    let information = with_winsock(information).ok()?;
    Some(SocketTraits {
        is_stream: information.iSocketType == ws::SOCK_STREAM,
        family: information.iAddressFamily as u16,
        has_kernel_handle: information.dwServiceFlags1 & ws::XP1_IFS_HANDLES != 0,
        provider: Provider(information.dwCatalogEntryId),
    })
}

pub(crate) fn is_listening(socket: Handle) -> bool {
    get_option::<i32>(socket, ws::SO_ACCEPTCONN).is_ok_and(|listening| listening != 0)
}

/// How many seconds ago the socket was connected, if it is: "If the socket is not connected,
/// the getsockopt returns 0xFFFFFFFF"
/// (<https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-acceptex>).
pub(crate) fn connect_time(socket: Handle) -> Option<u32> {
    get_option(socket, ws::SO_CONNECT_TIME).ok().filter(|seconds| *seconds != u32::MAX)
}

/// The longest datagram that the socket can send, in bytes.
pub(crate) fn max_message_size(socket: Handle) -> Option<u32> {
    get_option(socket, ws::SO_MAX_MSG_SIZE).ok()
}

/// The options that are read here are plain data, for which all zeros is a
/// value.
trait PlainOption: Default {}
impl PlainOption for i32 {}
impl PlainOption for u32 {}
impl PlainOption for ws::WSAPROTOCOL_INFOW {}

fn get_option<T: PlainOption>(socket: Handle, option: i32) -> Result<T, u32> {
    let mut value = T::default();
    let mut length = mem::size_of::<T>() as i32;
    // SAFETY: The value is a local of the given length, and any bytes are a
    // valid value of it.
    let result = unsafe {
        ws::getsockopt(socket.0, ws::SOL_SOCKET, option, (&raw mut value).cast(), &raw mut length)
    };
    if result != 0 { Err(last_winsock_error()) } else { Ok(value) }
}

/// An address in the form that Winsock takes, and its length.
pub(super) fn sockaddr(address: SocketAddr) -> (ws::SOCKADDR_IN6, i32) {
    let mut storage = ws::SOCKADDR_IN6::default();
    match address {
        SocketAddr::V4(address) => {
            let v4 = ws::SOCKADDR_IN {
                sin_family: ws::AF_INET,
                sin_port: address.port().to_be(),
                sin_addr: ws::IN_ADDR {
                    S_un: ws::IN_ADDR_0 { S_addr: u32::from_ne_bytes(address.ip().octets()) },
                },
                sin_zero: [0; 8],
            };
            // SAFETY: SOCKADDR_IN is smaller than, and aligned no stricter
            // than, the local it is written to.
            unsafe { (&raw mut storage).cast::<ws::SOCKADDR_IN>().write(v4) };
            (storage, mem::size_of::<ws::SOCKADDR_IN>() as i32)
        }
        SocketAddr::V6(address) => {
            storage.sin6_family = ws::AF_INET6;
            storage.sin6_port = address.port().to_be();
            storage.sin6_flowinfo = address.flowinfo();
            storage.sin6_addr.u.Byte = address.ip().octets();
            storage.Anonymous.sin6_scope_id = address.scope_id();
            (storage, mem::size_of::<ws::SOCKADDR_IN6>() as i32)
        }
    }
}

/// The address in what Winsock has written, if it has.
pub(super) fn address_of(storage: &ws::SOCKADDR_IN6) -> Option<SocketAddr> {
    match storage.sin6_family {
        ws::AF_INET => {
            // SAFETY: SOCKADDR_IN is smaller than, and aligned no stricter than,
            // the storage, all of which is initialised.
            let v4 = unsafe { (&raw const *storage).cast::<ws::SOCKADDR_IN>().read() };
            // SAFETY: Any bytes are a value of each of the union's forms.
            let octets = unsafe { v4.sin_addr.S_un.S_addr }.to_ne_bytes();
            Some((Ipv4Addr::from(octets), u16::from_be(v4.sin_port)).into())
        }
        ws::AF_INET6 => {
            // SAFETY: All of the structure is initialised.
            let (bytes, scope) =
                unsafe { (storage.sin6_addr.u.Byte, storage.Anonymous.sin6_scope_id) };
            let port = u16::from_be(storage.sin6_port);
            Some(SocketAddrV6::new(bytes.into(), port, storage.sin6_flowinfo, scope).into())
        }
        _ => None,
    }
}

#[cold]
fn last_error(facts: &'static Facts) -> Error {
    Error::os(facts, last_winsock_error())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;

    use super::*;

    #[test]
    fn an_address_of_either_family_is_what_winsock_takes_in_full() {
        let v4 = SocketAddrV4::new(Ipv4Addr::new(1, 2, 3, 4), 0x5678);
        let (storage, length) = sockaddr(v4.into());
        assert_eq!(length as usize, mem::size_of::<ws::SOCKADDR_IN>());
        // SAFETY: It was written as one.
        let storage = unsafe { (&raw const storage).cast::<ws::SOCKADDR_IN>().read() };
        assert_eq!(storage.sin_family, ws::AF_INET);
        assert_eq!(storage.sin_port.to_ne_bytes(), [0x56, 0x78]);
        // SAFETY: Any bytes are a value of each of the union's forms.
        assert_eq!(unsafe { storage.sin_addr.S_un.S_addr }.to_ne_bytes(), [1, 2, 3, 4]);

        let bytes: [u8; 16] = std::array::from_fn(|i| i as u8 + 1);
        // Without the last, an address that is local to a link is none.
        let v6 = SocketAddrV6::new(bytes.into(), 0x5678, 9, 10);
        let (storage, length) = sockaddr(v6.into());
        assert_eq!(length as usize, mem::size_of::<ws::SOCKADDR_IN6>());
        assert_eq!(storage.sin6_family, ws::AF_INET6);
        assert_eq!(storage.sin6_port.to_ne_bytes(), [0x56, 0x78]);
        assert_eq!(storage.sin6_flowinfo, 9);
        // SAFETY: All of the structure is initialised.
        unsafe {
            assert_eq!(storage.sin6_addr.u.Byte, bytes);
            assert_eq!(storage.Anonymous.sin6_scope_id, 10);
        }
    }
}
