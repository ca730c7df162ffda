//! Internet addresses in Winsock's form.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use windows_sys::Win32::Networking::WinSock as ws;

/// What stands for the paths of `AF_UNIX`: their hashes, in an address of their own.
fn of_path(path: &[u8]) -> SocketAddr {
    let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut hash = DefaultHasher::new();
    path.hash(&mut hash);
    let [a, b, c, d] = [48, 32, 16, 0].map(|shift| (hash.finish() >> shift) as u16);
    (Ipv6Addr::new(0xfd00, 0x756e, 0x6978, 0, a, b, c, d), 1).into()
}

const V4: usize = size_of::<ws::SOCKADDR_IN>();
const V6: usize = size_of::<ws::SOCKADDR_IN6>();

/// # Safety
///
/// `length` bytes can be read.
pub unsafe fn read(address: *const ws::SOCKADDR, length: i32) -> Option<SocketAddr> {
    let length = usize::try_from(length).ok()?;
    if address.is_null() || length < V4 {
        return None;
    }
    // SAFETY: By the caller's promise.
    let bytes = unsafe { std::slice::from_raw_parts(address.cast::<u8>(), length) };
    let family = u16::from_ne_bytes([bytes[0], bytes[1]]);
    let port = u16::from_be_bytes([bytes[2], bytes[3]]);
    match family {
        ws::AF_INET => {
            let octets: [u8; 4] = bytes[4..8].try_into().ok()?;
            Some(SocketAddr::from((Ipv4Addr::from(octets), port)))
        }
        ws::AF_INET6 if length >= V6 => {
            let octets: [u8; 16] = bytes[8..24].try_into().ok()?;
            Some(SocketAddrV6::new(Ipv6Addr::from(octets), port, 0, 0).into())
        }
        ws::AF_UNIX if length == size_of::<ws::SOCKADDR_UN>() => Some(of_path(&bytes[2..])),
        _ => None,
    }
}

/// The bytes of an address.
pub fn bytes(address: SocketAddr) -> Vec<u8> {
    let port = address.port().to_be_bytes();
    match address.ip() {
        IpAddr::V4(ip) => {
            let family = ws::AF_INET.to_ne_bytes();
            [&family[..], &port, &ip.octets(), &[0; 8]].concat()
        }
        IpAddr::V6(ip) => {
            let family = ws::AF_INET6.to_ne_bytes();
            [&family[..], &port, &[0; 4], &ip.octets(), &[0; 4]].concat()
        }
    }
}

/// Writes an address out, and how long it is; `false` if there is no room.
///
/// # Safety
///
/// Both are null, or `length` is the number of bytes that can be written.
pub unsafe fn write(address: SocketAddr, place: *mut ws::SOCKADDR, length: *mut i32) -> bool {
    if place.is_null() || length.is_null() {
        return true;
    }
    let bytes = bytes(address);
    // SAFETY: By the caller's promise.
    unsafe {
        if (*length as usize) < bytes.len() {
            return false;
        }
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), place.cast(), bytes.len());
        *length = bytes.len() as i32;
    }
    true
}
