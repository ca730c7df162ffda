//! What each kind of operation keeps in its cell while the kernel works.

use std::net::TcpStream;
use std::os::windows::io::OwnedSocket;
use std::sync::Arc;

use super::socket_guard::{Gone, SocketGuard};
use crate::buffer::{IoBuf, IoBufMut};
use crate::error::{Call, STATUS_CONNECTION_ABORTED, is_error};
use crate::sys;

/// What kind of operation a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OperationKind {
    /// `initiate_read` or `initiate_read_at`.
    Read,
    /// `initiate_write` or `initiate_write_at`.
    Write,
    /// `initiate_accept`.
    Accept,
    /// `initiate_connect`.
    Connect,
    /// [`Iocp::post`](crate::Iocp::post).
    Post,
}

/// The memory of one kind of operation, and what becomes of it.
///
/// # Safety
///
/// From the time that a value is placed until it is moved or dropped, the
/// memory that `region` returns may be read, and for calls that write to it
/// written, by anyone, and nobody else writes it, or, for calls that write to
/// it, reads it. A payload that is what it returns is transparent over it.
pub(crate) unsafe trait Payload: Sized {
    /// What the program gets when the operation is over.
    type Output: 'static;
    /// What the program gets back if the operation cannot be started.
    type Given;
    const CALL: Call;
    const KIND: OperationKind;
    const RETURNS: Returns<Self>;

    /// Where the kernel reads or writes, taken once the payload is at its
    /// final place.
    #[inline]
    fn region(&mut self) -> (*mut u8, usize) {
        (std::ptr::null_mut(), 0)
    }

    fn give_back(self) -> Self::Given;

    /// Whether `completed` does anything.
    const SEES_COMPLETION: bool = false;

    /// The packet has been dequeued, or the call finished without one.
    fn completed(&mut self, _status: &mut u32) {}
}

/// What a payload returns once its operation is over.
pub(crate) enum Returns<P: Payload> {
    /// Itself.
    Itself,
    /// Itself, after it has been told how many bytes the operation has put
    /// into it.
    ItselfFilled(unsafe fn(&mut P, u32)),
    /// What the function makes of it and the operation's status, if the payload
    /// [sees its completion](Payload::SEES_COMPLETION).
    Made(fn(P, u32) -> Option<P::Output>),
}

/// A buffer to be filled: by `WSARecv` if `SOCKET`, else by `ReadFile`.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Read<B, const SOCKET: bool>(pub B);

// SAFETY: What the buffer vouches for.
unsafe impl<B: IoBufMut + 'static, const SOCKET: bool> Payload for Read<B, SOCKET> {
    type Output = B;
    type Given = B;
    const CALL: Call = if SOCKET { Call::WSARecv } else { Call::ReadFile };
    const KIND: OperationKind = OperationKind::Read;
    const RETURNS: Returns<Self> = if B::FIXED {
        Returns::Itself
    } else {
        Returns::ItselfFilled(|Read(buffer), bytes| {
            // SAFETY: By the contract.
            unsafe { fill(buffer, bytes) };
        })
    };

    #[inline]
    fn region(&mut self) -> (*mut u8, usize) {
        self.0.writable()
    }

    fn give_back(self) -> B {
        self.0
    }
}

/// Tells a buffer how many bytes a read has put into it.
///
/// # Safety
///
/// It has, or says so: a broken layered provider may report more than was asked
/// for.
#[inline]
pub(super) unsafe fn fill(buffer: &mut impl IoBufMut, bytes: u32) {
    let filled = (bytes as usize).min(buffer.writable().1);
    // SAFETY: The operation put so many bytes there.
    unsafe { buffer.advance(filled) };
}

/// A buffer to be sent: by `WSASend` if `SOCKET`, else by `WriteFile`.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Write<B, const SOCKET: bool>(pub B);

// SAFETY: What the buffer vouches for.
unsafe impl<B: IoBuf + 'static, const SOCKET: bool> Payload for Write<B, SOCKET> {
    type Output = B;
    type Given = B;
    const CALL: Call = if SOCKET { Call::WSASend } else { Call::WriteFile };
    const KIND: OperationKind = OperationKind::Write;
    const RETURNS: Returns<Self> = Returns::Itself;

    #[inline]
    fn region(&mut self) -> (*mut u8, usize) {
        let (start, length) = self.0.initialized();
        (start.cast_mut(), length)
    }

    fn give_back(self) -> B {
        self.0
    }
}

/// A connection that is being accepted, and where its addresses go.
#[derive(Debug)]
pub(crate) struct Accept {
    socket: OwnedSocket,
    listener: Arc<SocketGuard>,
    addresses: [u8; 2 * sys::ADDRESS_SPACE],
}

impl Accept {
    pub fn new(socket: OwnedSocket, listener: Arc<SocketGuard>) -> Self {
        Self { socket, listener, addresses: [0; 2 * sys::ADDRESS_SPACE] }
    }
}

// SAFETY: The addresses are the payload's own.
unsafe impl Payload for Accept {
    type Output = TcpStream;
    type Given = ();
    const CALL: Call = Call::AcceptEx;
    const KIND: OperationKind = OperationKind::Accept;
    const RETURNS: Returns<Self> =
        Returns::Made(|accept, status| (!is_error(status)).then(|| accept.socket.into()));
    const SEES_COMPLETION: bool = true;

    fn region(&mut self) -> (*mut u8, usize) {
        (self.addresses.as_mut_ptr(), self.addresses.len())
    }

    fn give_back(self) {}

    fn completed(&mut self, status: &mut u32) {
        if is_error(*status) {
            return;
        }
        let accepted = sys::handle_of(&self.socket);
        let inherit = |listener| sys::update_accept_context(accepted, listener);
        if let Ok(Err(_)) = self.listener.while_open(inherit) {
            *status = STATUS_CONNECTION_ABORTED;
        }
        // A listener that is gone has nothing to pass on. The connection is
        // there all the same.
    }
}

/// A connection that is being made.
#[derive(Debug)]
pub(crate) struct Connect(pub Arc<SocketGuard>);

// SAFETY: There is no memory.
unsafe impl Payload for Connect {
    type Output = ();
    type Given = ();
    const CALL: Call = Call::ConnectEx;
    const KIND: OperationKind = OperationKind::Connect;
    const RETURNS: Returns<Self> = Returns::Made(|_, _| Some(()));
    const SEES_COMPLETION: bool = true;

    fn give_back(self) {}

    fn completed(&mut self, status: &mut u32) {
        if is_error(*status) {
            return;
        }
        match self.0.while_open(sys::update_connect_context) {
            Ok(Ok(())) | Err(Gone::Released) => {}
            // The connection has gone with its socket.
            Ok(Err(_)) | Err(Gone::Closed) => *status = STATUS_CONNECTION_ABORTED,
        }
    }
}

/// A payload of an operation that is over, which has been told already what was
/// put into it.
#[derive(Debug)]
#[repr(transparent)]
pub(super) struct Filled<P>(pub P);

// SAFETY: What the payload vouches for.
unsafe impl<P: Payload> Payload for Filled<P> {
    type Output = P::Output;
    type Given = P::Given;
    const CALL: Call = P::CALL;
    const KIND: OperationKind = P::KIND;
    const RETURNS: Returns<Self> = match P::RETURNS {
        Returns::Itself | Returns::ItselfFilled(_) => Returns::Itself,
        Returns::Made(_) => Returns::Made(|Self(payload), status| match P::RETURNS {
            Returns::Made(make) => make(payload, status),
            Returns::Itself | Returns::ItselfFilled(_) => None,
        }),
    };
    const SEES_COMPLETION: bool = P::SEES_COMPLETION;

    fn give_back(self) -> P::Given {
        self.0.give_back()
    }

    fn completed(&mut self, status: &mut u32) {
        self.0.completed(status);
    }
}

/// A packet of the program's own.
#[derive(Debug)]
pub(crate) struct Post;

// SAFETY: There is no memory.
unsafe impl Payload for Post {
    type Output = ();
    type Given = ();
    const CALL: Call = Call::PostQueuedCompletionStatus;
    const KIND: OperationKind = OperationKind::Post;
    const RETURNS: Returns<Self> = Returns::Made(|Post, _| Some(()));

    fn give_back(self) {}
}
