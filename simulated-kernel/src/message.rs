//! Datagrams with control data.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use windows_sys::Win32::Networking::WinSock as ws;

use crate::kernel::{Id, Kernel};
use crate::operation::Outcome;
use crate::socket::Received;
use crate::status::{STATUS_BUFFER_OVERFLOW, STATUS_SUCCESS};

const HEADER: usize = size_of::<ws::CMSGHDR>();
const ALIGN: usize = align_of::<ws::CMSGHDR>();

/// A datagram on its way.
#[derive(Clone)]
pub struct Datagram {
    pub from: SocketAddr,
    /// Where it was sent to.
    pub at: SocketAddr,
    pub data: Vec<u8>,
    pub extras: Extras,
}

/// What was sent with a datagram.
#[derive(Clone, Copy, Default)]
pub struct Extras {
    pub source: Option<IpAddr>,
    pub ecn: Option<u8>,
    pub segment: Option<usize>,
}

impl Extras {
    /// What control data says, all of which must be whole messages.
    pub fn parse(mut control: &[u8]) -> Result<Self, i32> {
        let mut extras = Self::default();
        while !control.is_empty() {
            let (header, rest) = control.split_at_checked(HEADER).ok_or(ws::WSAEINVAL)?;
            let (length, kind) = header.split_at(size_of::<usize>());
            let length = usize::from_ne_bytes(length.try_into().expect("a length"));
            let data = length.checked_sub(HEADER).and_then(|length| rest.get(..length));
            let (data, kind) = (data.ok_or(ws::WSAEINVAL)?, number(&kind[4..]).zip(number(kind)));
            let (kind, level) = kind.ok_or(ws::WSAEINVAL)?;
            match (level, kind) {
                (ws::IPPROTO_IP, ws::IP_PKTINFO) if data.len() == 8 => {
                    let octets: [u8; 4] = data[..4].try_into().expect("four");
                    extras.source = Some(Ipv4Addr::from(octets).into());
                }
                (ws::IPPROTO_IPV6, ws::IPV6_PKTINFO) if data.len() == 20 => {
                    let octets: [u8; 16] = data[..16].try_into().expect("sixteen");
                    extras.source = Some(Ipv6Addr::from(octets).into());
                }
                (ws::IPPROTO_IP | ws::IPPROTO_IPV6, ws::IP_ECN) => {
                    extras.ecn = Some(number(data).ok_or(ws::WSAEINVAL)? as u8);
                }
                (ws::IPPROTO_UDP, ws::UDP_SEND_MSG_SIZE) => {
                    extras.segment = Some(number(data).ok_or(ws::WSAEINVAL)? as usize);
                }
                _ => return Err(ws::WSAEINVAL),
            }
            let whole = length.next_multiple_of(ALIGN);
            control = control.get(whole..).ok_or(ws::WSAEINVAL)?;
        }
        let is_ours = |source: IpAddr| source.is_loopback() || source.is_unspecified();
        if extras.source.is_none_or(is_ours) { Ok(extras) } else { Err(ws::WSAEINVAL) }
    }
}

fn number(bytes: &[u8]) -> Option<i32> {
    bytes.first_chunk().copied().map(i32::from_ne_bytes)
}

fn push(control: &mut Vec<u8>, level: i32, kind: i32, data: &[u8]) {
    control.extend((HEADER + data.len()).to_ne_bytes());
    control.extend(level.to_ne_bytes());
    control.extend(kind.to_ne_bytes());
    control.extend(data);
    control.resize(control.len().next_multiple_of(ALIGN), 0);
}

/// What becomes of a datagram in so much room for control data.
pub fn deliver(received: Received, room: usize) -> Outcome {
    let Received { data, from, is_cut, mut control } = received;
    let mut flags = if is_cut { ws::MSG_TRUNC } else { 0 };
    if control.len() > room {
        // None at all is as good as a part.
        control.clear();
        flags |= ws::MSG_CTRUNC;
    }
    let status = if flags == 0 { STATUS_SUCCESS } else { STATUS_BUFFER_OVERFLOW };
    Outcome { from, control, flags, ..Outcome::read_with(status, data) }
}

impl Kernel {
    /// The control data that a socket has asked for.
    pub fn control_for(&mut self, id: Id, datagram: &Datagram) -> Vec<u8> {
        let tells_segments = !self.behaviour.untold_segments;
        let Some(socket) = self.socket(id) else { return Vec::new() };
        let is_on = |level, option| {
            let value = socket.options.get(&(level, option));
            value.is_some_and(|value| value.iter().any(|byte| *byte != 0))
        };
        let mut control = Vec::new();
        match datagram.at.ip() {
            IpAddr::V4(address) if is_on(ws::IPPROTO_IP, ws::IP_PKTINFO) => {
                let data = [address.octets(), 1_u32.to_ne_bytes()].concat();
                push(&mut control, ws::IPPROTO_IP, ws::IP_PKTINFO, &data);
            }
            IpAddr::V6(address) if is_on(ws::IPPROTO_IPV6, ws::IPV6_PKTINFO) => {
                let data = [&address.octets()[..], &1_u32.to_ne_bytes()].concat();
                push(&mut control, ws::IPPROTO_IPV6, ws::IPV6_PKTINFO, &data);
            }
            _ => {}
        }
        if is_on(ws::IPPROTO_IP, ws::IP_RECVECN) {
            let ecn = i32::from(datagram.extras.ecn.unwrap_or(0));
            push(&mut control, ws::IPPROTO_IP, ws::IP_ECN, &ecn.to_ne_bytes());
        }
        if let Some(segment) = datagram.extras.segment.filter(|_| tells_segments) {
            let size = (segment as u32).to_ne_bytes();
            push(&mut control, ws::IPPROTO_UDP, ws::UDP_COALESCED_INFO as i32, &size);
        }
        control
    }

    /// The datagrams that arrive of one that is to be taken apart: one, if the receiver
    /// wants them together.
    pub fn segments(&mut self, receiver: Id, datagram: Datagram) -> Vec<Datagram> {
        let option = (ws::IPPROTO_UDP, ws::UDP_RECV_MAX_COALESCED_SIZE);
        let coalesces = self.socket(receiver).and_then(|socket| socket.options.get(&option));
        let together = coalesces.is_some_and(|value| value.iter().any(|byte| *byte != 0));
        match datagram.extras.segment {
            Some(size) if size > 0 && !together => {
                let extras = Extras { segment: None, ..datagram.extras };
                let segment = |data: &[u8]| Datagram { data: data.to_vec(), extras, ..datagram };
                datagram.data.chunks(size).map(segment).collect()
            }
            _ => vec![datagram],
        }
    }
}
