//! Control data: what comes with a datagram beside its bytes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use windows_sys::Win32::Networking::WinSock as ws;

/// The control data of a datagram, with room for `N` bytes: what the system says of one that
/// was received, if the socket was told to ask for it.
///
/// | what | asked for with |
/// |---|---|
/// | [`packet_info`](Self::packet_info) | [`receive_packet_info`](crate::Associated::receive_packet_info) |
/// | [`ecn`](Self::ecn) | [`receive_ecn`](crate::Associated::receive_ecn) |
/// | [`coalesced_size`](Self::coalesced_size) | [`receive_coalesced`](crate::Associated::receive_coalesced) |
/// | [`get`](Self::get) | options of your own |
///
/// All of it may be missing at any time: the system leaves it out when it is short of
/// memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Control<const N: usize> {
    bytes: Aligned<N>,
    length: usize,
}

/// The system writes headers that are aligned.
#[derive(Clone, PartialEq, Eq)]
#[repr(C, align(8))]
struct Aligned<const N: usize>([u8; N]);

/// Where a datagram arrived, or where it is to be sent from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PacketInfo {
    /// The address on this machine.
    pub address: IpAddr,
    /// The index of the network interface; 0 for any.
    pub interface: u32,
}

/// Explicit congestion notification: the two bits of
/// [RFC 3168](https://www.rfc-editor.org/rfc/rfc3168#section-5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ecn {
    /// The transport is not capable of it.
    NotCapable = 0,
    /// The transport is capable of it: ECT(1).
    Capable1 = 1,
    /// The transport is capable of it: ECT(0).
    Capable0 = 2,
    /// A router was congested.
    CongestionExperienced = 3,
}

/// The header of each: `WSACMSGHDR`.
const HEADER: usize = size_of::<ws::CMSGHDR>();

/// Headers and data begin at multiples of it, and so does what follows them:
/// `WSA_CMSGHDR_ALIGN` and `WSA_CMSGDATA_ALIGN`.
const ALIGN: usize = align_of::<ws::CMSGHDR>();

const IP: i32 = ws::IPPROTO_IP;
const IPV6: i32 = ws::IPPROTO_IPV6;
const UDP: i32 = ws::IPPROTO_UDP;

impl<const N: usize> Control<N> {
    /// None.
    pub(crate) fn new() -> Self {
        Self { bytes: Aligned([0; N]), length: 0 }
    }

    /// Returns where the datagram arrived: the address of this machine that it was sent to.
    #[must_use]
    pub fn packet_info(&self) -> Option<PacketInfo> {
        if let Some([a, b, c, d, i @ ..]) = self.array::<8>(IP, ws::IP_PKTINFO) {
            let address = Ipv4Addr::new(a, b, c, d).into();
            return Some(PacketInfo { address, interface: u32::from_ne_bytes(i) });
        }
        let data = self.array::<20>(IPV6, ws::IPV6_PKTINFO)?;
        let (address, interface) = data.split_first_chunk::<16>()?;
        let interface = u32::from_ne_bytes(interface.try_into().ok()?);
        Some(PacketInfo { address: Ipv6Addr::from(*address).into(), interface })
    }

    /// Returns the bits for explicit congestion notification.
    #[must_use]
    pub fn ecn(&self) -> Option<Ecn> {
        let sources =
            [(IP, ws::IP_ECN), (IPV6, ws::IPV6_ECN), (IP, ws::IP_TOS), (IPV6, ws::IPV6_TCLASS)];
        let number = sources.iter().find_map(|(level, kind)| self.number(*level, *kind))?;
        Some(match number & 3 {
            0 => Ecn::NotCapable,
            1 => Ecn::Capable1,
            2 => Ecn::Capable0,
            _ => Ecn::CongestionExperienced,
        })
    }

    /// Returns the length of each of several datagrams that arrived as one, in bytes; the
    /// last may be shorter.
    ///
    /// `None` says that it is not known. On a socket that receives
    /// [coalesced datagrams](crate::Associated::receive_coalesced) it does *not* say that
    /// there was one.
    #[must_use]
    pub fn coalesced_size(&self) -> Option<u32> {
        self.number(UDP, ws::UDP_COALESCED_INFO as i32)
    }

    /// Returns the data of the first control message of this level and type.
    #[must_use]
    pub fn get(&self, level: i32, kind: i32) -> Option<&[u8]> {
        self.iter().find_map(|(message, data)| (message == (level, kind)).then_some(data))
    }

    /// Returns an iterator over all control messages: their levels and types, and their data.
    pub fn iter(&self) -> impl Iterator<Item = ((i32, i32), &[u8])> {
        let mut rest = &self.bytes.0[..self.length.min(N)];
        std::iter::from_fn(move || {
            let header = rest.get(..HEADER)?;
            let (length, kinds) = header.split_first_chunk::<{ size_of::<usize>() }>()?;
            let length = usize::from_ne_bytes(*length);
            let (level, kind) = kinds.split_first_chunk::<4>()?;
            let kind = kind.first_chunk::<4>()?;
            // What does not fit is not there.
            let data = rest.get(HEADER..length)?;
            rest = rest.get(length.next_multiple_of(ALIGN)..).unwrap_or_default();
            Some(((i32::from_ne_bytes(*level), i32::from_ne_bytes(*kind)), data))
        })
    }

    fn array<const L: usize>(&self, level: i32, kind: i32) -> Option<[u8; L]> {
        self.get(level, kind)?.first_chunk().copied()
    }

    fn number(&self, level: i32, kind: i32) -> Option<u32> {
        self.array(level, kind).map(u32::from_ne_bytes)
    }

    fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        let start = self.length;
        let header = [level.to_ne_bytes(), kind.to_ne_bytes()];
        let message = [&(HEADER + data.len()).to_ne_bytes()[..], header.as_flattened(), data];
        for part in message {
            self.bytes.0[self.length..][..part.len()].copy_from_slice(part);
            self.length += part.len();
        }
        self.length = start + (HEADER + data.len()).next_multiple_of(ALIGN);
    }

    /// Where it is, and how much of it there is.
    pub(super) fn used(&mut self) -> (*mut u8, u32) {
        (self.bytes.0.as_mut_ptr(), self.length as u32)
    }

    /// Where there is room, and how much.
    pub(super) fn room(&mut self) -> (*mut u8, u32) {
        (self.bytes.0.as_mut_ptr(), N as u32)
    }

    /// So much of the room has been filled.
    pub(super) fn set_length(&mut self, length: u32) {
        self.length = N.min(length as usize);
    }
}

/// What goes out with a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub source: Option<PacketInfo>,
    pub ecn: Option<Ecn>,
    pub segment_size: Option<u32>,
}

/// So many bytes of control data have room for all [`Options`].
pub(crate) const SENT: usize = 3 * (HEADER + 20).next_multiple_of(ALIGN);

impl Options {
    /// Its control data for a destination of a family.
    pub fn control(self, is_ipv4: bool) -> Control<SENT> {
        let mut control = Control::new();
        if let Some(PacketInfo { address, interface }) = self.source {
            let interface = interface.to_ne_bytes();
            match address.to_canonical() {
                IpAddr::V4(address) => {
                    control.push(IP, ws::IP_PKTINFO, &[address.octets(), interface].concat());
                }
                IpAddr::V6(address) => {
                    let mut data = [0; 20];
                    data[..16].copy_from_slice(&address.octets());
                    data[16..].copy_from_slice(&interface);
                    control.push(IPV6, ws::IPV6_PKTINFO, &data);
                }
            }
        }
        if let Some(ecn) = self.ecn {
            let (level, kind) = if is_ipv4 { (IP, ws::IP_ECN) } else { (IPV6, ws::IPV6_ECN) };
            control.push(level, kind, &(ecn as i32).to_ne_bytes());
        }
        if let Some(size) = self.segment_size {
            control.push(UDP, ws::UDP_SEND_MSG_SIZE, &size.to_ne_bytes());
        }
        control
    }
}

impl<const N: usize> fmt::Debug for Control<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<const N: usize>(bytes: [u8; N], length: u32) -> Control<N> {
        let mut control = Control::new();
        control.bytes.0 = bytes;
        control.set_length(length);
        control
    }

    #[test]
    fn what_is_put_in_comes_out() {
        let v4 = PacketInfo { address: Ipv4Addr::new(1, 2, 3, 4).into(), interface: 0x0506_0708 };
        let v6 = PacketInfo { address: Ipv6Addr::LOCALHOST.into(), interface: 9 };
        for (source, is_ipv4) in [(v4, true), (v6, false)] {
            let ecn = [Ecn::NotCapable, Ecn::Capable1, Ecn::Capable0, Ecn::CongestionExperienced];
            for ecn in ecn {
                let segment_size = Some(1200);
                let options = Options { source: Some(source), ecn: Some(ecn), segment_size };
                let control = options.control(is_ipv4);
                assert_eq!((control.packet_info(), control.ecn()), (Some(source), Some(ecn)));
                let size = control.get(UDP, ws::UDP_SEND_MSG_SIZE).unwrap();
                assert_eq!(size, 1200_u32.to_ne_bytes());
                assert_eq!(control.length % ALIGN, 0);
                assert_eq!(control.iter().count(), 3);
            }
        }
        assert_eq!(Options::default().control(true).used().1, 0);
    }

    #[test]
    fn what_is_no_control_data_ends_it() {
        let mut whole = Control::<64>::new();
        whole.push(IP, ws::IP_ECN, &3_i32.to_ne_bytes());
        whole.push(UDP, ws::UDP_COALESCED_INFO as i32, &1220_u32.to_ne_bytes());
        let (bytes, length) = (whole.bytes.0, whole.length as u32);
        assert_eq!(whole.coalesced_size(), Some(1220));
        let second = (HEADER + 4).next_multiple_of(ALIGN);
        for cut in 0..=length {
            let control = of(bytes, cut);
            let whole = [HEADER + 4, second + HEADER + 4];
            let expected = whole.iter().filter(|end| **end <= cut as usize).count();
            assert_eq!(control.iter().count(), expected, "{cut}");
        }
        // Lengths that lead nowhere, or round and round.
        for wrong in [0, 1, HEADER - 1, 65, usize::MAX - 1, usize::MAX] {
            let mut bytes = bytes;
            bytes[..size_of::<usize>()].copy_from_slice(&wrong.to_ne_bytes());
            assert_eq!(of(bytes, 64).iter().count(), 0, "{wrong}");
        }
        assert_eq!(of([0xFF; 64], u32::MAX).iter().count(), 0);
        assert_eq!(of([], 8).packet_info(), None);
    }
}
