//! Memory that belongs to the kernel until a packet gives it back.

use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::os::windows::io::RawHandle;
use std::ptr;

use windows_sys::Win32::Foundation::GetLastError;
use windows_sys::Win32::Networking::WinSock as ws;
use windows_sys::Win32::System::IO::OVERLAPPED;

use super::{Answer, Handle};
use crate::operation::Target;

/// An `OVERLAPPED` that the kernel may write until the operation's packet is
/// dequeued. Not `Copy`: one call, one `OVERLAPPED`.
#[derive(Debug)]
pub(crate) struct LentOverlapped(*mut OVERLAPPED);

impl LentOverlapped {
    /// # Safety
    ///
    /// The `OVERLAPPED` is initialised, stays where it is, and nobody forms a
    /// reference to it until its packet has been dequeued or the call has
    /// answered that no packet will come.
    pub unsafe fn new(overlapped: *mut OVERLAPPED) -> Self {
        Self(overlapped)
    }

    pub(super) fn into_raw(self) -> *mut OVERLAPPED {
        self.0
    }
}

/// A stretch of memory that the kernel may read or write for as long as the
/// `OVERLAPPED` that it is passed with.
#[derive(Debug)]
pub struct LentRegion {
    start: *mut u8,
    length: u32,
}

impl LentRegion {
    /// Lengths over `u32::MAX` are cut to that, because the kernel's are 32
    /// bits wide; the operation then transfers less than was asked for, which
    /// every operation may.
    ///
    /// # Safety
    ///
    /// The region is valid for what the call does with it, reads or writes,
    /// and nobody else touches it (for a call that only reads: writes to it),
    /// until the packet has been dequeued or the call has answered that no
    /// packet will come.
    #[inline]
    #[must_use]
    pub unsafe fn new(start: *mut u8, length: usize) -> Self {
        Self { start, length: u32::try_from(length).unwrap_or(u32::MAX) }
    }

    /// Where it starts.
    #[inline]
    #[must_use]
    pub fn start(&self) -> *mut u8 {
        self.start
    }

    /// How many bytes it has.
    #[inline]
    #[must_use]
    pub fn length(&self) -> u32 {
        self.length
    }
}

/// Room for a socket address, and for its length.
#[derive(Clone)]
#[repr(C)]
pub(crate) struct SocketAddress {
    storage: ws::SOCKADDR_IN6,
    length: i32,
}

impl Default for SocketAddress {
    fn default() -> Self {
        Self { storage: ws::SOCKADDR_IN6::default(), length: size_of::<ws::SOCKADDR_IN6>() as i32 }
    }
}

impl SocketAddress {
    pub fn get(&self) -> Option<SocketAddr> {
        super::socket::address_of(&self.storage)
    }
}

impl fmt::Debug for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// Where the kernel writes a socket address, and its length.
#[derive(Debug)]
pub struct LentAddress(*mut SocketAddress);

impl LentAddress {
    /// # Safety
    ///
    /// As for [`LentRegion::new`].
    pub(crate) unsafe fn new(address: *mut SocketAddress) -> Self {
        Self(address)
    }

    /// A `SOCKADDR`, which has room for an IPv6 address, and an `int`.
    #[must_use]
    pub fn into_raw(self) -> (*mut u8, *mut i32) {
        // SAFETY: Projections within the value, which is there.
        unsafe { ((&raw mut (*self.0).storage).cast(), &raw mut (*self.0).length) }
    }
}

/// The right to make one call, that which starts an operation.
///
/// `'l` is this operation's alone: no other's [`Called`] can be passed off as
/// its. `O` is its type: it cannot be started as an operation of another, of whose
/// call other things are known.
pub struct Starter<'l, O> {
    target: Target,
    is_socket: bool,
    overlapped: LentOverlapped,
    operation: PhantomData<fn(O)>,
    brand: PhantomData<fn(&'l ()) -> &'l ()>,
}

/// That the call was made, and what it has answered.
#[derive(Debug)]
#[must_use]
pub struct Called<'l> {
    answer: Answer,
    brand: PhantomData<fn(&'l ()) -> &'l ()>,
}

/// What a call gets; see [`Starter::call`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Arguments {
    /// The handle, or the socket.
    pub handle: RawHandle,
    /// The `OVERLAPPED`.
    pub overlapped: *mut c_void,
    /// Where the call is to tell how many bytes it has transferred, if at all.
    pub count: *mut u32,
}

impl<'l, O> Starter<'l, O> {
    #[inline(always)]
    pub(crate) fn new(target: Target, is_socket: bool, overlapped: LentOverlapped) -> Self {
        Self { target, is_socket, overlapped, operation: PhantomData, brand: PhantomData }
    }

    /// Whether the handle is a socket.
    #[inline(always)]
    #[must_use]
    pub fn is_socket(&self) -> bool {
        self.is_socket
    }

    /// Makes the call. It says whether the function succeeded; the error code is
    /// asked for here, as [`Call::codes`](crate::op::Call::codes) tells.
    ///
    /// # Safety
    ///
    /// 1. `call` makes one call, of the function that
    ///    [`CALLS`](crate::Operation::CALLS) has for this kind of handle, with
    ///    this handle and this `OVERLAPPED`, on this thread, without a completion
    ///    routine, and changes neither `hEvent` nor anything else in it.
    /// 2. It returns whether the function succeeded, with the function's error
    ///    code as the thread's last one. (One that could not be called at all
    ///    sets an error code, and `false`.)
    /// 3. What `CALLS` says of the function is true: when a packet comes of a
    ///    call, and when none does.
    /// 4. What the system uses after the function has returned, the memory that
    ///    it was given by pointer, is what [`Lend::lend`](crate::op::Lend::lend)
    ///    has returned for this operation, within its bounds, written only if the
    ///    part is one for writing. What is used during the call alone may be
    ///    anywhere.
    /// 5. The byte count that the operation ends with says how many bytes it has
    ///    put into the [`Fills`](crate::op::Fills) of its memory, which are full
    ///    in the order of their [`filled`](crate::op::Lend::filled); if not, there
    ///    are none.
    #[inline(always)]
    pub unsafe fn call(self, call: impl FnOnce(Arguments) -> bool) -> Called<'l> {
        let mut count = 0;
        let counter = if self.target.skips { &raw mut count } else { ptr::null_mut() };
        let succeeded = call(Arguments {
            handle: self.target.handle.raw(),
            overlapped: self.overlapped.into_raw().cast(),
            count: counter,
        });
        let answer = if succeeded {
            Answer::Finished(count)
        } else if self.is_socket {
            Answer::Code(super::socket::last_code())
        } else {
            // SAFETY: Reads the calling thread's last error.
            Answer::Code(unsafe { GetLastError() })
        };
        Called { answer, brand: PhantomData }
    }

    /// The same for a function of this crate.
    #[inline(always)]
    pub(crate) fn call_with(
        self,
        call: impl FnOnce(Handle, LentOverlapped, bool) -> Answer,
    ) -> Called<'l> {
        let Self { target, overlapped, .. } = self;
        Called { answer: call(target.handle, overlapped, target.skips), brand: PhantomData }
    }
}

impl Called<'_> {
    #[inline(always)]
    pub(crate) fn answer(self) -> Answer {
        self.answer
    }
}
