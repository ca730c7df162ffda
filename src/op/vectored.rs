//! Several buffers in one operation: `WSARecv` and `WSASend`.

use super::flags::{check_flags, receive_flags, send_flags};
use super::on::Socket;
use super::transfer::{check_message, parts};
use super::{Fills, Finish, Lend, Region, RegionMut, Sends, Starter, Submitted};
use crate::buffer::{IoBuf, IoBufMut};
use crate::error::Error;
use crate::error::{Facts, FactsOn};
use crate::operation::{Object, Operation};
use crate::sys::{self};

/// Receives into several buffers: `WSARecv`.
///
/// Returns the buffers, which are filled in order. The completion has the byte count of all
/// together. The operation is refused if no buffer has room.
///
/// ```
/// # use completion_port::{Iocp, op};
/// # use std::{io::Write, net::{TcpListener, TcpStream}};
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let mut client = TcpStream::connect(listener.local_addr()?)?;
/// # let (stream, _) = listener.accept()?;
/// let port = Iocp::new()?;
/// let stream = port.add_handle(stream, 1)?;
/// client.write_all(b"head, and body")?;
/// let buffers = ([0; 4], Vec::with_capacity(1024));
/// port.initiate(&stream, 2, op::ReadVectored::new(buffers))?;
/// let (head, body) = port.get_completion()?.operation.output::<([u8; 4], Vec<u8>)>()?;
/// assert_eq!((&head, &body[..]), (b"head", &b", and body"[..]));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ReadVectored<T> {
    buffers: T,
    flags: u32,
}

/// Sends several buffers, in order: `WSASend`.
///
/// Returns the buffers. The completion has the byte count of all together. On a datagram
/// socket they are one datagram.
///
/// ```
/// # use completion_port::{Iocp, op};
/// # use std::{io::Read, net::{TcpListener, TcpStream}};
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let mut client = TcpStream::connect(listener.local_addr()?)?;
/// # let (stream, _) = listener.accept()?;
/// let port = Iocp::new()?;
/// let stream = port.add_handle(stream, 1)?;
/// let body = String::from("body");
/// port.initiate(&stream, 2, op::WriteVectored::new(("head, and ", body)))?;
/// assert_eq!(port.get_completion()?.bytes_transferred, 14);
/// # let mut received = [0; 14];
/// # client.read_exact(&mut received)?;
/// # assert_eq!(&received, b"head, and body");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct WriteVectored<T> {
    buffers: T,
    flags: u32,
}

/// Several buffers that one operation fills: an array of one type of buffer, or a tuple
/// of two to four types. This crate sets no limit to arrays.
///
/// The memory of an operation has them as [`Fills`]: an array of those, or nested pairs,
/// as in `(Fills<A>, (Fills<B>, Fills<C>))`.
///
/// It is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a list of buffers that can be read into",
    note = "pass an array of one type of buffer, or a tuple of two to four buffers"
)]
pub trait BuffersMut: sealed::BuffersMut {}

/// Several buffers that one operation sends: an array of one type of buffer, or a tuple
/// of two to four types. This crate sets no limit to arrays.
///
/// The memory of an operation has them as [`Sends`]: an array of those, or nested pairs,
/// as in `(Sends<A>, (Sends<B>, Sends<C>))`.
///
/// It is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a list of buffers that can be written from",
    note = "pass an array of one type of buffer, or a tuple of two to four buffers"
)]
pub trait Buffers: sealed::Buffers {}

mod sealed {
    use super::{Lend, Region, RegionMut};

    pub trait BuffersMut: Sized {
        type Memory: Lend + Send;

        fn into_memory(self) -> Self::Memory;
        fn from_memory(memory: Self::Memory) -> Self;
        fn regions<T>(
            lent: <Self::Memory as Lend>::Lent,
            call: impl FnOnce(&[RegionMut]) -> T,
        ) -> T;
    }

    pub trait Buffers: Sized {
        type Memory: Lend + Send;

        fn into_memory(self) -> Self::Memory;
        fn from_memory(memory: Self::Memory) -> Self;
        fn regions<T>(lent: <Self::Memory as Lend>::Lent, call: impl FnOnce(&[Region]) -> T) -> T;
    }
}

/// Pairs of a part and the rest.
macro_rules! nested {
    ($part:ident<$a:ident>) => { $part<$a> };
    ($part:ident<$a:ident, $($b:ident),+>) => { ($part<$a>, nested!($part<$($b),+>)) };
    ($part:ident($a:ident)) => { $part($a) };
    ($part:ident($a:ident, $($b:ident),+)) => { ($part($a), nested!($part($($b),+))) };
    ($a:ident) => { $a };
    ($a:ident, $($b:ident),+) => { ($a, nested!($($b),+)) };
}

macro_rules! collections {
    ($trait:ident of $buffer:ident in $part:ident, $region:ident: $($types:ident)|+) => {
        impl<B: $buffer + Send, const N: usize> $trait for [B; N] {}

        impl<B: $buffer + Send, const N: usize> sealed::$trait for [B; N] {
            type Memory = [$part<B>; N];

            fn into_memory(self) -> Self::Memory {
                self.map($part)
            }

            fn from_memory(memory: Self::Memory) -> Self {
                memory.map(|$part(buffer)| buffer)
            }

            fn regions<T>(lent: [$region; N], call: impl FnOnce(&[$region]) -> T) -> T {
                call(&lent)
            }
        }

        $($types!($trait $buffer $part $region);)+
    };
}

macro_rules! tuple {
    ($trait:ident $buffer:ident $part:ident $region:ident $($B:ident)+) => {
        impl<$($B: $buffer + Send),+> $trait for ($($B,)+) {}

        #[allow(non_snake_case, reason = "values have the names of their types")]
        impl<$($B: $buffer + Send),+> sealed::$trait for ($($B,)+) {
            type Memory = nested!($part<$($B),+>);

            fn into_memory(self) -> Self::Memory {
                let ($($B,)+) = self;
                nested!($part($($B),+))
            }

            fn from_memory(memory: Self::Memory) -> Self {
                let nested!($part($($B),+)) = memory;
                ($($B,)+)
            }

            fn regions<T>(
                lent: <Self::Memory as Lend>::Lent,
                call: impl FnOnce(&[$region]) -> T,
            ) -> T {
                let nested!($($B),+) = lent;
                call(&[$($B),+])
            }
        }
    };
}

macro_rules! two {
    ($($names:ident)+) => { tuple!($($names)+ A B); };
}

macro_rules! three {
    ($($names:ident)+) => { tuple!($($names)+ A B C); };
}

macro_rules! four {
    ($($names:ident)+) => { tuple!($($names)+ A B C D); };
}

collections!(BuffersMut of IoBufMut in Fills, RegionMut: two | three | four);
collections!(Buffers of IoBuf in Sends, Region: two | three | four);

impl<T: BuffersMut> ReadVectored<T> {
    /// Receives into `buffers`.
    pub fn new(buffers: T) -> Self {
        Self { buffers, flags: 0 }
    }

    receive_flags!();
}

impl<T: Buffers> WriteVectored<T> {
    /// Sends the bytes of `buffers`.
    pub fn new(buffers: T) -> Self {
        Self { buffers, flags: 0 }
    }

    send_flags!();
}

impl<T: BuffersMut> Operation for ReadVectored<T> {
    const FACTS: FactsOn = FactsOn::Sockets(Facts::WSARecv);
    const FINISH: Finish<Self> = Finish::with(|memory, _| Some(T::from_memory(memory)));
    type On = Socket;
    type Memory = T::Memory;
    type Arguments = u32;
    type Output = T;

    fn split(self, on: &Object<'_>) -> Result<(u32, Self::Memory), (Error, Self::Memory)> {
        parts(self.flags, self.buffers.into_memory(), check_flags(on, self.flags))
    }

    fn start(
        flags: u32,
        lent: <T::Memory as Lend>::Lent,
        starter: Starter<'_, Self>,
    ) -> Submitted<'_> {
        T::regions(lent, |regions| {
            starter.call_with(|socket, overlapped, counts| {
                sys::receive(socket, regions, flags, overlapped, counts)
            })
        })
    }
}

impl<T: Buffers> Operation for WriteVectored<T> {
    const FACTS: FactsOn = FactsOn::Sockets(Facts::WSASend);
    const FINISH: Finish<Self> = Finish::with(|memory, _| Some(T::from_memory(memory)));
    type On = Socket;
    type Memory = T::Memory;
    type Arguments = u32;
    type Output = T;

    fn split(self, on: &Object<'_>) -> Result<(u32, Self::Memory), (Error, Self::Memory)> {
        parts(self.flags, self.buffers.into_memory(), check_flags(on, self.flags))
    }

    fn start(
        flags: u32,
        lent: <T::Memory as Lend>::Lent,
        starter: Starter<'_, Self>,
    ) -> Submitted<'_> {
        T::regions(lent, |regions| {
            let length = regions.iter().map(Region::length).fold(0, u32::saturating_add);
            match check_message(&starter, length) {
                Ok(()) => starter.call_with(|socket, overlapped, counts| {
                    sys::send(socket, regions, flags, overlapped, counts)
                }),
                Err(cause) => starter.refuse(cause),
            }
        })
    }
}
