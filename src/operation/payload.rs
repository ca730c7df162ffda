//! What each kind of operation keeps in its cell while the kernel works.

use std::any::TypeId;
use std::net::TcpStream;
use std::os::windows::io::OwnedSocket;

use crate::buffer::{IoBuf, IoBufMut};
use crate::error::{Call, STATUS_CONNECTION_ABORTED, is_error};
use crate::sys::{self, Handle};

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
/// it, reads it.
pub(crate) unsafe trait Payload: Sized {
    /// What the program gets back.
    type Output;
    const CALL: Call;
    const KIND: OperationKind;

    /// Where the kernel reads or writes, taken once the payload is at its
    /// final place.
    fn region(&mut self) -> (*mut u8, usize) {
        (std::ptr::null_mut(), 0)
    }

    /// Whether `completed` does anything.
    const SEES_COMPLETION: bool = false;

    /// The packet has been dequeued, or the call finished without one.
    fn completed(&mut self, _handle: Handle, _status: &mut u32) {}

    /// # Safety
    ///
    /// The operation has completed with this status and byte count.
    unsafe fn into_output(self, status: u32, bytes: u32) -> Option<Self::Output>;

    /// The type of the output, by which whoever dequeues the completion can ask
    /// for it.
    fn output_type() -> TypeId;
}

/// A buffer to be filled: by `WSARecv` if `SOCKET`, else by `ReadFile`.
#[derive(Debug)]
pub(crate) struct Read<B, const SOCKET: bool>(pub B);

// SAFETY: What the buffer vouches for.
unsafe impl<B: IoBufMut + 'static, const SOCKET: bool> Payload for Read<B, SOCKET> {
    type Output = B;
    const CALL: Call = if SOCKET { Call::WSARecv } else { Call::ReadFile };
    const KIND: OperationKind = OperationKind::Read;

    #[inline]
    fn region(&mut self) -> (*mut u8, usize) {
        self.0.writable()
    }

    #[inline]
    unsafe fn into_output(self, status: u32, bytes: u32) -> Option<B> {
        let mut buffer = self.0;
        if !is_error(status) {
            // A broken layered provider may report more than was asked for.
            let filled = (bytes as usize).min(buffer.writable().1);
            // SAFETY: The operation put so many bytes there.
            unsafe { buffer.advance(filled) };
        }
        Some(buffer)
    }

    fn output_type() -> TypeId {
        TypeId::of::<B>()
    }
}

/// A buffer to be sent: by `WSASend` if `SOCKET`, else by `WriteFile`.
#[derive(Debug)]
pub(crate) struct Write<B, const SOCKET: bool>(pub B);

// SAFETY: What the buffer vouches for.
unsafe impl<B: IoBuf + 'static, const SOCKET: bool> Payload for Write<B, SOCKET> {
    type Output = B;
    const CALL: Call = if SOCKET { Call::WSASend } else { Call::WriteFile };
    const KIND: OperationKind = OperationKind::Write;

    #[inline]
    fn region(&mut self) -> (*mut u8, usize) {
        let (start, length) = self.0.initialized();
        (start.cast_mut(), length)
    }

    #[inline]
    unsafe fn into_output(self, _status: u32, _bytes: u32) -> Option<B> {
        Some(self.0)
    }

    fn output_type() -> TypeId {
        TypeId::of::<B>()
    }
}

/// A connection that is being accepted, and where its addresses go.
#[derive(Debug)]
pub(crate) struct Accept {
    socket: OwnedSocket,
    addresses: [u8; 2 * sys::ADDRESS_SPACE],
}

impl Accept {
    pub fn new(socket: OwnedSocket) -> Self {
        Self { socket, addresses: [0; 2 * sys::ADDRESS_SPACE] }
    }
}

// SAFETY: The addresses are the payload's own.
unsafe impl Payload for Accept {
    type Output = TcpStream;
    const CALL: Call = Call::AcceptEx;
    const KIND: OperationKind = OperationKind::Accept;
    const SEES_COMPLETION: bool = true;

    fn region(&mut self) -> (*mut u8, usize) {
        (self.addresses.as_mut_ptr(), self.addresses.len())
    }

    fn completed(&mut self, listener: Handle, status: &mut u32) {
        let accepted = sys::handle_of(&self.socket);
        if !is_error(*status) && sys::update_accept_context(accepted, listener).is_err() {
            // The listener was closed in between, and has taken what it had
            // accepted with it.
            *status = STATUS_CONNECTION_ABORTED;
        }
    }

    unsafe fn into_output(self, status: u32, _bytes: u32) -> Option<TcpStream> {
        (!is_error(status)).then(|| self.socket.into())
    }

    fn output_type() -> TypeId {
        TypeId::of::<TcpStream>()
    }
}

/// A connection that is being made.
#[derive(Debug)]
pub(crate) struct Connect;

// SAFETY: There is no memory.
unsafe impl Payload for Connect {
    type Output = ();
    const CALL: Call = Call::ConnectEx;
    const KIND: OperationKind = OperationKind::Connect;
    const SEES_COMPLETION: bool = true;

    fn completed(&mut self, socket: Handle, status: &mut u32) {
        if !is_error(*status) && sys::update_connect_context(socket).is_err() {
            *status = STATUS_CONNECTION_ABORTED;
        }
    }

    unsafe fn into_output(self, _status: u32, _bytes: u32) -> Option<()> {
        Some(())
    }

    fn output_type() -> TypeId {
        TypeId::of::<()>()
    }
}

/// A packet of the program's own.
#[derive(Debug)]
pub(crate) struct Post;

// SAFETY: There is no memory.
unsafe impl Payload for Post {
    type Output = ();
    const CALL: Call = Call::PostQueuedCompletionStatus;
    const KIND: OperationKind = OperationKind::Post;

    unsafe fn into_output(self, _status: u32, _bytes: u32) -> Option<()> {
        Some(())
    }

    fn output_type() -> TypeId {
        TypeId::of::<()>()
    }
}
