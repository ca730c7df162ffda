//! Buffers of several types, each with a token that says whose it is, and
//! counts its drop.

use std::sync::Arc;

use completion_port::op::{Address, Datagram, Fills, Sends};
use completion_port::{Finished, IoBuf, IoBufMut, Slice};

use crate::operation::{Operation, Token, What};
use crate::program::Kind;

/// What a buffer holds that was not read or written.
pub const FILL: u8 = 0xEE;

/// A buffer, and whose it is.
#[derive(Debug)]
pub struct Marked<B> {
    bytes: B,
    token: Token,
}

// SAFETY: What the inner buffer vouches for; it moves as this does.
unsafe impl<B: IoBuf> IoBuf for Marked<B> {
    fn initialized(&self) -> (*const u8, usize) {
        self.bytes.initialized()
    }
}

// SAFETY: As above.
unsafe impl<B: IoBufMut> IoBufMut for Marked<B> {
    fn initialized_mut(&mut self) -> (*mut u8, usize) {
        self.bytes.initialized_mut()
    }

    fn writable(&mut self) -> (*mut u8, usize) {
        self.bytes.writable()
    }

    unsafe fn advance(&mut self, bytes: usize) {
        // SAFETY: The caller's promise.
        unsafe { self.bytes.advance(bytes) };
    }
}

/// The types of buffers that are used here.
pub trait Bytes: IoBuf + AsRef<[u8]> + Send + Sized + 'static {
    /// Whether the bytes stay where they are when the buffer moves.
    const STAYS: bool = true;

    /// A buffer with these bytes to be written.
    fn with(content: &[u8]) -> Self;
}

/// Those that can be read into.
pub trait Room: Bytes + IoBufMut {
    /// A buffer with room for so many bytes, and so many before them.
    fn with_room(length: usize, held: usize) -> Self;
}

impl Bytes for Vec<u8> {
    fn with(content: &[u8]) -> Self {
        content.to_vec()
    }
}

impl Room for Vec<u8> {
    fn with_room(length: usize, held: usize) -> Self {
        let mut bytes = Vec::with_capacity(held + length);
        bytes.resize(held, FILL);
        bytes
    }
}

impl Bytes for Box<[u8]> {
    fn with(content: &[u8]) -> Self {
        content.into()
    }
}

impl Room for Box<[u8]> {
    fn with_room(length: usize, _held: usize) -> Self {
        vec![FILL; length].into()
    }
}

impl<const N: usize> Bytes for [u8; N] {
    const STAYS: bool = false;

    fn with(content: &[u8]) -> Self {
        content.try_into().expect("as many bytes as the array has")
    }
}

impl<const N: usize> Room for [u8; N] {
    fn with_room(_length: usize, _held: usize) -> Self {
        [FILL; N]
    }
}

impl Bytes for Slice<Vec<u8>> {
    fn with(content: &[u8]) -> Self {
        [&[FILL], content, &[FILL]].concat().slice(1..=content.len())
    }
}

impl Room for Slice<Vec<u8>> {
    fn with_room(length: usize, _held: usize) -> Self {
        Self::with(&vec![FILL; length])
    }
}

impl Bytes for Arc<[u8]> {
    fn with(content: &[u8]) -> Self {
        content.into()
    }
}

pub const SMALL: usize = 8;
pub const LARGE: usize = 96;

/// Runs a block with `$B` as the type of a kind of buffer; another one where
/// that can only be written.
macro_rules! with_room {
    ($kind:expr, $B:ident => $block:expr, $shared:expr) => {
        match $kind {
            Kind::Vector => {
                type $B = Vec<u8>;
                $block
            }
            Kind::Boxed | Kind::Pieces | Kind::WithSender => {
                type $B = Box<[u8]>;
                $block
            }
            Kind::SmallArray => {
                type $B = [u8; $crate::buffer::SMALL];
                $block
            }
            Kind::LargeArray => {
                type $B = [u8; $crate::buffer::LARGE];
                $block
            }
            Kind::Sliced => {
                type $B = completion_port::Slice<Vec<u8>>;
                $block
            }
            Kind::Shared => $shared,
        }
    };
}
pub(crate) use with_room;

/// Runs a block with `$B` as the type of a kind of buffer.
macro_rules! with_type {
    ($kind:expr, $B:ident => $block:expr) => {
        $crate::buffer::with_room!($kind, $B => $block, {
            type $B = std::sync::Arc<[u8]>;
            $block
        })
    };
}
pub(crate) use with_type;

/// A buffer that has come back.
pub struct Taken {
    pub bytes: Vec<u8>,
    pub address: Option<usize>,
    pub token: Token,
}

impl<B: Bytes> Marked<B> {
    /// The buffer of an operation, which will know it by its address.
    pub fn new(bytes: B, operation: &Arc<Operation>) -> Self {
        let marked = Self { bytes, token: Token(Arc::clone(operation)) };
        operation.facts().address = marked.address();
        marked
    }

    /// Where the bytes are, if they stay there.
    pub fn address(&self) -> Option<usize> {
        B::STAYS.then(|| self.bytes.initialized().0.addr())
    }
}

/// What comes back, and has a buffer: what an operation returns, or its memory where it
/// was refused.
pub trait Open {
    fn open(self) -> Taken;
}

impl<B: Bytes> Open for Marked<B> {
    fn open(self) -> Taken {
        let address = self.address();
        Taken { bytes: self.bytes.as_ref().to_vec(), address, token: self.token }
    }
}

impl<O: Open> Open for Fills<O> {
    fn open(self) -> Taken {
        self.0.open()
    }
}

impl<O: Open> Open for Sends<O> {
    fn open(self) -> Taken {
        self.0.open()
    }
}

impl<O: Open> Open for (O, Address) {
    fn open(self) -> Taken {
        self.0.open()
    }
}

impl<O: Open> Open for Datagram<O> {
    fn open(self) -> Taken {
        self.buffer.open()
    }
}

/// What vectored operations have.
pub type Pieces = (Marked<Box<[u8]>>, Box<[u8]>);

/// Cuts the bytes of an operation into two buffers.
pub fn cut(bytes: Box<[u8]>, operation: &Arc<Operation>) -> Pieces {
    let mut first = Vec::from(bytes);
    let second = first.split_off(first.len() / 2);
    (Marked::new(first.into(), operation), second.into())
}

impl Open for Pieces {
    fn open(self) -> Taken {
        let (first, second) = self;
        let mut taken = first.open();
        taken.bytes.extend(second);
        taken
    }
}

impl Open for (Fills<Marked<Box<[u8]>>>, Fills<Box<[u8]>>) {
    fn open(self) -> Taken {
        (self.0.0, self.1.0).open()
    }
}

impl Open for (Sends<Marked<Box<[u8]>>>, Sends<Box<[u8]>>) {
    fn open(self) -> Taken {
        (self.0.0, self.1.0).open()
    }
}

/// Asks the completion of an operation for its buffer.
pub fn take(operation: &Operation, finished: &mut Finished) -> Option<Taken> {
    match (operation.kind.unwrap_or(Kind::Vector), operation.what) {
        (Kind::Pieces, _) => finished.take::<Pieces>().map(Open::open),
        (Kind::WithSender, What::Read { .. }) => {
            finished.take::<Datagram<Marked<Box<[u8]>>>>().map(Open::open)
        }
        (kind, _) => with_type!(kind, B => finished.take_buffer::<Marked<B>>().map(Open::open)),
    }
}
