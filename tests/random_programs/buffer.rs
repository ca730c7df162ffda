//! Buffers of several types, each with a token that says whose it is, and
//! counts its drop.

use std::sync::Arc;

use completion_port::{Finished, IoBuf, IoBufMut, Slice};

use crate::operation::Token;
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
            Kind::Boxed => {
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
    pub fn new(bytes: B, token: Token) -> Self {
        Self { bytes, token }
    }

    /// Where the bytes are, if they stay there.
    pub fn address(&self) -> Option<usize> {
        B::STAYS.then(|| self.bytes.initialized().0.addr())
    }

    pub fn open(self) -> Taken {
        let address = self.address();
        Taken { bytes: self.bytes.as_ref().to_vec(), address, token: self.token }
    }
}

/// Asks a completion for its buffer, which is of this kind.
pub fn take(kind: Kind, finished: &mut Finished) -> Option<Taken> {
    with_type!(kind, B => finished.take_buffer::<Marked<B>>().map(Marked::open))
}
