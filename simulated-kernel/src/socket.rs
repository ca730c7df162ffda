//! Sockets: what they are, and what operations on them come to.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use windows_sys::Win32::Networking::WinSock as ws;

use crate::address;
use crate::kernel::{Id, Kernel};
use crate::message::{self, Datagram, Extras};
use crate::object::{Body, Object};
use crate::operation::{Kind, Operation, Outcome};
use crate::status::{
    STATUS_BUFFER_OVERFLOW, STATUS_CONNECTION_INVALID, STATUS_CONNECTION_REFUSED,
    STATUS_INVALID_PARAMETER, STATUS_PORT_UNREACHABLE, STATUS_SUCCESS,
};
use crate::stream::Stream;

pub struct Socket {
    pub family: i32,
    pub local: Option<SocketAddr>,
    pub peer: Option<SocketAddr>,
    pub role: Role,
    pub is_nonblocking: bool,
    pub context: Context,
    pub options: BTreeMap<(i32, i32), Vec<u8>>,
    /// It was disconnected to be used again.
    pub is_reusable: bool,
    /// The listener whose accept waits for what comes first.
    pub accepted_at: Option<Id>,
}

/// What a socket knows of itself: if it was connected by an extension function,
/// not all before it is told to update its context.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// Everything.
    Whole,
    /// Only where it is bound.
    Bound,
    /// Nothing.
    Unknown,
}

pub enum Role {
    /// A stream socket that is not connected.
    Fresh,
    Listener(VecDeque<Id>),
    Stream(Stream),
    Datagram(Datagrams),
}

#[derive(Default)]
pub struct Datagrams {
    incoming: VecDeque<Datagram>,
    /// What was sent last had no receiver.
    is_unreachable: bool,
    /// Nobody wants to know.
    pub ignores_unreachable: bool,
}

pub struct Received {
    pub data: Vec<u8>,
    pub from: Option<SocketAddr>,
    pub is_cut: bool,
    /// As far as the socket was asked to tell.
    pub control: Vec<u8>,
}

pub const LONGEST_DATAGRAM: usize = 65507;
const MOST_DATAGRAMS: usize = 64;

impl Socket {
    pub fn new(family: i32, kind: i32) -> Self {
        let role = match kind {
            ws::SOCK_DGRAM => Role::Datagram(Datagrams::default()),
            _ => Role::Fresh,
        };
        Self {
            family,
            local: None,
            peer: None,
            role,
            is_nonblocking: false,
            context: Context::Whole,
            options: BTreeMap::new(),
            is_reusable: false,
            accepted_at: None,
        }
    }

    pub fn is_listener(&self) -> bool {
        matches!(self.role, Role::Listener(_))
    }

    pub fn is_datagram(&self) -> bool {
        matches!(self.role, Role::Datagram(_))
    }

    /// An option's value that is a number.
    pub fn number(&self, option: i32) -> Option<u32> {
        let value = self.options.get(&(ws::SOL_SOCKET, option))?;
        Some(u32::from_ne_bytes(value.get(..4)?.try_into().ok()?))
    }

    pub fn receive_buffer(&self) -> usize {
        self.number(ws::SO_RCVBUF).unwrap_or(65536) as usize
    }

    pub fn send_buffer(&self) -> usize {
        self.number(ws::SO_SNDBUF).unwrap_or(65536) as usize
    }

    /// Whether it reaches no IPv4 addresses in IPv6 form, as is the default.
    pub fn is_v6_only(&self) -> bool {
        let option = self.options.get(&(ws::IPPROTO_IPV6, ws::IPV6_V6ONLY));
        option.is_none_or(|value| value.iter().any(|byte| *byte != 0))
    }

    /// The address that a connect to another goes to.
    pub fn destination(&self, to: SocketAddr) -> Result<SocketAddr, i32> {
        if to.is_ipv4() != self.unspecified().is_ipv4() {
            return Err(ws::WSAEAFNOSUPPORT);
        }
        let is_mapped = to.ip() != to.ip().to_canonical();
        if is_mapped && self.is_v6_only() || !self.is_datagram() && to.ip().is_unspecified() {
            return Err(ws::WSAEADDRNOTAVAIL);
        }
        Ok(to)
    }

    /// Closing it resets the connection.
    fn closes_hard(&self) -> bool {
        let linger = self.options.get(&(ws::SOL_SOCKET, ws::SO_LINGER));
        linger.is_some_and(|linger| linger[..2] != [0, 0] && linger[2..4] == [0, 0])
    }

    pub fn unspecified(&self) -> IpAddr {
        if self.family == i32::from(ws::AF_INET) {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        }
    }
}

/// The address that packets to `to` come from.
fn source_for(local: SocketAddr, to: SocketAddr) -> SocketAddr {
    if local.ip().is_unspecified() { SocketAddr::new(to.ip(), local.port()) } else { local }
}

impl Kernel {
    pub fn socket(&mut self, id: Id) -> Option<&mut Socket> {
        match &mut self.objects.get_mut(id)?.body {
            Body::Socket(socket) => Some(socket),
            _ => None,
        }
    }

    /// The socket that is bound to an address.
    fn bound(&self, address: SocketAddr, wanted: impl Fn(&Role) -> bool) -> Option<Id> {
        self.objects.iter().find_map(|(id, object)| {
            let Body::Socket(socket) = &object.body else { return None };
            let local = socket.local?;
            let matches = local.port() == address.port()
                && local.is_ipv4() == address.is_ipv4()
                && (local.ip() == address.ip()
                    || local.ip().is_unspecified()
                    || address.ip().is_unspecified());
            (matches && wanted(&socket.role)).then_some(id)
        })
    }

    /// Binds a socket; to a port of its own if that is 0.
    pub fn bind_socket(&mut self, id: Id, mut address: SocketAddr) -> Result<(), i32> {
        let socket = self.socket(id).ok_or(ws::WSAENOTSOCK)?;
        if socket.local.is_some() {
            return Err(ws::WSAEINVAL);
        }
        let is_datagram = socket.is_datagram();
        let is_rival = |role: &Role| match role {
            Role::Datagram(_) => is_datagram,
            Role::Fresh | Role::Listener(_) => !is_datagram,
            Role::Stream(_) => false,
        };
        if address.port() == 0 {
            let mut port = 49152 + self.random.below(8192) as u16;
            while self.bound(SocketAddr::new(address.ip(), port), |_| true).is_some() {
                port += 1;
            }
            address.set_port(port);
        } else if self.bound(address, is_rival).is_some() {
            return Err(ws::WSAEADDRINUSE);
        }
        self.socket(id).expect("a socket").local = Some(address);
        Ok(())
    }

    fn bind_if_unbound(&mut self, id: Id) {
        let socket = self.socket(id).expect("a socket");
        if socket.local.is_none() {
            let any = SocketAddr::new(socket.unspecified(), 0);
            self.bind_socket(id, any).expect("a free port");
        }
    }

    /// Connects a stream socket, or sets a datagram socket's peer.
    pub fn connect_socket(&mut self, id: Id, to: SocketAddr) -> Result<(), u32> {
        self.bind_if_unbound(id);
        let socket = self.socket(id).expect("a socket");
        let local = source_for(socket.local.expect("bound"), to);
        if socket.is_datagram() {
            socket.local = Some(local);
            socket.peer = Some(to);
            return Ok(());
        }
        // An IPv4 listener sees an IPv4 address.
        let canonical =
            |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let listener = self.bound(canonical(to), |role| matches!(role, Role::Listener(_)));
        let Some(listener) = listener else { return Err(STATUS_CONNECTION_REFUSED) };
        let family = self.socket(listener).expect("a socket").family;
        let mut server = Socket::new(family, ws::SOCK_STREAM);
        server.options = self.socket(listener).expect("a socket").options.clone();
        (server.local, server.peer) = (Some(canonical(to)), Some(canonical(local)));
        server.role = Role::Stream(Stream::new(id));
        let server = self.add(Object::new(Body::Socket(server)));
        let socket = self.socket(id).expect("a socket");
        (socket.local, socket.peer) = (Some(local), Some(to));
        socket.role = Role::Stream(Stream::new(server));
        if let Role::Listener(backlog) = &mut self.socket(listener).expect("a socket").role {
            backlog.push_back(server);
        }
        self.look(listener);
        Ok(())
    }

    /// The next connection that waits at a listener.
    pub fn next_connection(&mut self, listener: Id) -> Option<Id> {
        match &mut self.socket(listener)?.role {
            Role::Listener(backlog) => backlog.pop_front(),
            _ => None,
        }
    }

    /// Makes one socket into what another was.
    fn become_connection(&mut self, id: Id, connection: Id) {
        let Body::Socket(from) = self.objects.remove(connection).expect("an object").body else {
            unreachable!("connections are sockets");
        };
        if let Role::Stream(stream) = &from.role
            && let Some(peer) = stream.peer
            && let Some(peer) = self.stream(peer)
        {
            peer.peer = Some(id);
        }
        let socket = self.socket(id).expect("a socket");
        (socket.local, socket.peer, socket.role) = (from.local, from.peer, from.role);
        socket.context = Context::Unknown;
        socket.is_reusable = false;
        self.look(id);
    }

    pub fn transfer_socket(&mut self, id: Id, operation: &mut Operation) -> Option<Outcome> {
        match operation.kind {
            Kind::Read => {
                let Operation { length, flags, .. } = *operation;
                if flags & ws::MSG_WAITALL != 0 && !self.can_fill(id, length) {
                    return None;
                }
                let peeks = flags & ws::MSG_PEEK != 0;
                let received = match self.receive_from(id, length, peeks)? {
                    Ok(received) => received,
                    Err(status) => return Some(Outcome::status(status)),
                };
                if let Some(room) = operation.control_room() {
                    return Some(message::deliver(received, room));
                }
                let Received { data, from, is_cut, .. } = received;
                let status = if is_cut { STATUS_BUFFER_OVERFLOW } else { STATUS_SUCCESS };
                Some(Outcome { from, ..Outcome::read_with(status, data) })
            }
            Kind::Write(done) => self.write_socket(id, operation, done),
            Kind::Accept(socket, room) => self.accept(id, socket, room, operation.length - room),
            Kind::Connect(to) => {
                // The handshake may take a while.
                if self.random.below(2) == 0 {
                    self.look_later(id);
                    return None;
                }
                let connected = self.connect_socket(id, to);
                let socket = self.socket(id)?;
                socket.context = if connected.is_ok() { Context::Bound } else { Context::Whole };
                if let Err(status) = connected {
                    return Some(Outcome::status(status));
                }
                // As much of the data as there is room for.
                let count = self.room_to_send(id, operation.length)?.unwrap_or(0);
                if count > 0 {
                    self.send(id, &operation.source(0, count));
                }
                Some(Outcome::wrote(count))
            }
            Kind::Disconnect(reuses) => Some(self.disconnect(id, reuses)),
            Kind::Listen(_)
            | Kind::Control(_)
            | Kind::Transact(_)
            | Kind::Lock { .. }
            | Kind::AwaitInstance(_)
            | Kind::Watch => {
                unreachable!("sockets are no pipes")
            }
        }
    }

    fn accept(&mut self, id: Id, socket: Id, room: usize, addresses: usize) -> Option<Outcome> {
        if self.stream(socket).is_none() {
            let connection = self.next_connection(id)?;
            self.become_connection(socket, connection);
        }
        let mut data = Vec::new();
        if room > 0 {
            self.socket(socket)?.accepted_at = Some(id);
            match self.receive_from(socket, room, false)? {
                Ok(received) => data = received.data,
                Err(status) => return Some(Outcome::status(status)),
            }
            self.socket(socket)?.accepted_at = None;
        }
        let count = data.len();
        data.resize(room, 0);
        let socket = self.socket(socket).expect("a socket");
        for address in [socket.local, socket.peer] {
            let mut bytes = address::bytes(address.expect("connected"));
            bytes.resize(addresses / 2, 0);
            data.extend(bytes);
        }
        Some(Outcome { data, ..Outcome::wrote(count) })
    }

    fn write_socket(&mut self, id: Id, operation: &mut Operation, done: usize) -> Option<Outcome> {
        let length = operation.length;
        if self.socket(id)?.is_datagram() {
            let bytes = operation.source(0, length);
            let Ok((to, extras)) = operation.destination() else {
                return Some(Outcome::status(STATUS_INVALID_PARAMETER));
            };
            let sent = self.send_datagram(id, to, bytes, extras);
            return Some(sent.map_or_else(Outcome::status, |()| Outcome::wrote(length)));
        }
        if self.stream(id).is_none() {
            return Some(Outcome::status(STATUS_CONNECTION_INVALID));
        }
        let bytes = match operation.all_to_send(self) {
            Ok(bytes) => bytes,
            Err(status) => return Some(Outcome::status(status)),
        };
        let left = bytes.get(done..).unwrap_or_default();
        match self.room_to_send(id, left.len())? {
            Err(status) => Some(Outcome::status(status)),
            Ok(count) => {
                self.send(id, &left[..count]);
                operation.kind = Kind::Write(done + count);
                (count == left.len()).then(|| Outcome::wrote(done + count))
            }
        }
    }

    /// What there is to receive; `None` while there is nothing.
    pub fn receive_from(
        &mut self,
        id: Id,
        length: usize,
        peeks: bool,
    ) -> Option<Result<Received, u32>> {
        let has_ended = self.has_ended(id);
        let socket = self.socket(id)?;
        match &mut socket.role {
            Role::Stream(stream) => {
                let peer = stream.peer;
                let received = stream.receive(length, peeks);
                let received = received.or_else(|| has_ended.then(|| Ok(Vec::new())))?;
                if let Some(peer) = peer {
                    // There is room for more.
                    self.look(peer);
                }
                Some(received.map(|data| Received {
                    data,
                    from: None,
                    is_cut: false,
                    control: Vec::new(),
                }))
            }
            Role::Datagram(datagrams) => {
                if std::mem::take(&mut datagrams.is_unreachable) {
                    return Some(Err(STATUS_PORT_UNREACHABLE));
                }
                let mut datagram = if peeks {
                    datagrams.incoming.front()?.clone()
                } else {
                    datagrams.incoming.pop_front()?
                };
                let is_cut = datagram.data.len() > length;
                datagram.data.truncate(length);
                let control = self.control_for(id, &datagram);
                let Datagram { from, data, .. } = datagram;
                Some(Ok(Received { data, from: Some(from), is_cut, control }))
            }
            Role::Fresh | Role::Listener(_) => Some(Err(STATUS_CONNECTION_INVALID)),
        }
    }

    pub fn send_datagram(
        &mut self,
        id: Id,
        to: Option<SocketAddr>,
        data: Vec<u8>,
        extras: Extras,
    ) -> Result<(), u32> {
        self.bind_if_unbound(id);
        let socket = self.socket(id).expect("a socket");
        let to = to.or(socket.peer).ok_or(STATUS_CONNECTION_INVALID)?;
        let mut from = source_for(socket.local.expect("bound"), to);
        if let Some(source) = extras.source.filter(|source| !source.is_unspecified()) {
            from.set_ip(source);
        }
        let receiver = self.bound(to, |role| matches!(role, Role::Datagram(_)));
        let Some(receiver) = receiver else {
            let Role::Datagram(datagrams) = &mut self.socket(id).expect("a socket").role else {
                unreachable!("datagrams are sent by datagram sockets");
            };
            datagrams.is_unreachable = !datagrams.ignores_unreachable;
            self.look(id);
            return Ok(());
        };
        let arriving = self.segments(receiver, Datagram { from, at: to, data, extras });
        let socket = self.socket(receiver).expect("a socket");
        if socket.peer.is_none_or(|peer| peer == from)
            && let Role::Datagram(datagrams) = &mut socket.role
            && datagrams.incoming.len() < MOST_DATAGRAMS
        {
            datagrams.incoming.extend(arriving);
        }
        self.look(receiver);
        Ok(())
    }

    pub fn close_socket(&mut self, socket: Socket, resets: bool) {
        let resets = resets || socket.closes_hard();
        match socket.role {
            Role::Fresh | Role::Datagram(_) => {}
            Role::Stream(stream) => self.close_stream(&stream, resets),
            Role::Listener(backlog) => {
                for id in backlog {
                    if let Some(stream) = self.stream(id) {
                        // Nobody has read it.
                        stream.incoming.push_back(0);
                    }
                    self.destroy(id);
                }
            }
        }
    }
}
