//! Memory and files that go to a socket together: `TransmitPackets`.

use std::os::windows::io::{AsHandle, AsRawHandle, RawHandle};

use super::on::Stream;
use super::stream::check_stream;
use super::transfer::parts;
use super::{Finish, Keeps, Lend, PacketsHeader, PacketsRegion, Region, Sends, Starter, Submitted};
use crate::buffer::IoBuf;
use crate::error::{Cause, Error, Facts, FactsOn};
use crate::operation::{Object, Operation};
use crate::sys::{self, MOST_PACKETS, MOST_TRANSMITTED, Provider};

/// Sends buffers and parts of files, in order, without reading the files into the program:
/// `TransmitPackets`.
///
/// An element is a buffer or a [`FileRange`]; a tuple or an array of elements is one again,
/// of 16 in all at the most. They come back in a [`TransmittedPackets`]; until then the files
/// stay open. Their own positions are neither used nor moved.
///
/// One operation sends [`MAX_LENGTH`](Self::MAX_LENGTH) bytes at the most. Client editions
/// of Windows work on two of these operations at a time, and let others wait. Use
/// [`TransmitFile`](super::TransmitFile), which more systems have, for a single file.
///
/// # Errors
///
/// The operation is refused with [`InvalidInput`](crate::ErrorKind::InvalidInput) if it is to
/// send more than that, or nothing, or if an offset in a file is greater than [`i64::MAX`];
/// with [`Unsupported`](crate::ErrorKind::Unsupported) where the socket's provider does not
/// have the function (Wine), on what is no stream socket, and on handles that
/// [skip the port](crate::Associated::skip_on_success). Of a file that ends too early, it
/// fails or says how much is [missing](TransmittedPackets::missing).
///
/// ```
/// use completion_port::{ErrorKind, Iocp, op};
/// use std::fs::File;
/// # use std::{io::Read, net::{TcpListener, TcpStream}};
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let mut client = TcpStream::connect(listener.local_addr()?)?;
/// # let (stream, _) = listener.accept()?;
/// # let path = std::env::temp_dir().join(format!("op-packets-{}", std::process::id()));
/// # std::fs::write(&path, "hello world")?;
///
/// let port = Iocp::new()?;
/// let stream = port.add_handle(stream, 1)?;
/// let range = op::FileRange::new(File::open(&path)?, 6, 5);
/// let elements = ("head, ", range, ", and tail");
/// match port.initiate(&stream, 2, op::TransmitPackets::new(elements)) {
///     Ok(_) => {
///         let completion = port.get_completion()?;
///         completion.error_status?;
///         println!("{} bytes sent", completion.bytes_transferred);
/// #       let mut received = [0; 21];
/// #       client.read_exact(&mut received)?;
/// #       assert_eq!(&received, b"head, world, and tail");
///     }
///     Err(rejected) => assert_eq!(rejected.error.kind(), ErrorKind::Unsupported),
/// }
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// What is neither is no element, and neither are too many:
///
/// ```compile_fail,E0277
/// # use completion_port::op;
/// let file = std::fs::File::open("file")?;
/// let whole = op::TransmitPackets::new(("head", file)); // which part of it?
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// ```compile_fail,E0080
/// let many = completion_port::op::TransmitPackets::new(["element"; 17]);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TransmitPackets<E> {
    elements: E,
}

/// The output of [`TransmitPackets`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransmittedPackets<E> {
    /// What was to be sent.
    pub elements: E,
    /// How many of the bytes that were to be sent have not been: all, of an operation that
    /// has failed, although some may have been. In a success, a file has
    /// [ended before](super::TransmitFile#files-that-become-shorter).
    pub missing: u64,
}

/// A part of a file that [`TransmitPackets`] sends.
///
/// `F` is a [`File`](std::fs::File), opened for overlapped I/O or not, an `Arc` of one, or an
/// [`OwnedHandle`](std::os::windows::io::OwnedHandle).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRange<F> {
    /// The file.
    pub file: F,
    /// Where the part starts, in bytes.
    pub offset: u64,
    /// How many bytes it has.
    pub length: u64,
}

impl<F: AsHandle> FileRange<F> {
    /// `length` bytes of `file`, from `offset` on.
    pub fn new(file: F, offset: u64, length: u64) -> Self {
        Self { file, offset, length }
    }
}

impl<E> TransmitPackets<E> {
    /// The most that one operation can send, in bytes.
    pub const MAX_LENGTH: u64 = MOST_TRANSMITTED as u64;
}

impl<E: PacketElements> TransmitPackets<E> {
    /// Sends `elements`.
    pub fn new(elements: E) -> Self {
        const { assert!(E::COUNT <= MOST_PACKETS, "one operation has 16 elements at the most") };
        Self { elements }
    }
}

impl<E: PacketElements> Operation for TransmitPackets<E> {
    const FACTS: FactsOn = FactsOn::Sockets(Facts::TransmitPackets);
    const FINISH: Finish<Self> = Finish::with(|(_, memory): Self::Memory, outcome| {
        let elements = E::join(memory);
        let missing = elements.length().saturating_sub(outcome.bytes().into());
        Some(TransmittedPackets { elements, missing })
    });
    type On = Stream;
    type Memory = (PacketsHeader, E::Memory);
    type Arguments = (Provider, E::Files);
    type Output = TransmittedPackets<E>;

    fn split(
        self,
        on: &Object<'_>,
    ) -> Result<(Self::Arguments, Self::Memory), (Error, Self::Memory)> {
        let (files, memory) = self.elements.split();
        parts((on.provider(), files), (PacketsHeader::empty(), memory), check_stream(on))
    }

    fn start(
        (provider, files): Self::Arguments,
        (mut packets, lent): <Self::Memory as Lend>::Lent,
        starter: Starter<'_, Self>,
    ) -> Submitted<'_> {
        E::add(files, lent, &mut packets);
        let checked = packets.check().map_err(Cause::UsageError);
        match checked.and_then(|()| sys::TransmitPackets::of(starter.handle(), provider)) {
            Ok(transmit_packets) => starter.call_with(|socket, overlapped, _| {
                sys::transmit_packets(transmit_packets, socket, &packets, overlapped)
            }),
            Err(cause) => starter.refuse(cause),
        }
    }
}

/// What [`TransmitPackets`] sends: a buffer, a [`FileRange`], or a tuple of two to four or an
/// array of elements.
///
/// The memory of an operation has buffers as [`Sends`] and ranges as [`Keeps`]: in arrays of
/// them, and in nested pairs, as in `(Sends<A>, (Keeps<B>, Sends<C>))`.
#[diagnostic::on_unimplemented(
    message = "a `{Self}` is no element of `TransmitPackets`",
    note = "buffers, `op::FileRange`s, and tuples and arrays of them are"
)]
pub trait PacketElements: sealed::Elements {}

impl<E: sealed::Elements> PacketElements for E {}

mod sealed {
    use super::{Lend, PacketsRegion};

    pub trait Elements: Sized {
        const COUNT: usize;
        type Memory: Lend + Send;
        /// Which files are sent, for the call alone.
        type Files;

        fn split(self) -> (Self::Files, Self::Memory);
        fn join(memory: Self::Memory) -> Self;
        fn add(files: Self::Files, lent: <Self::Memory as Lend>::Lent, to: &mut PacketsRegion);
        fn length(&self) -> u64;
    }
}

impl<B: IoBuf + Send> sealed::Elements for B {
    const COUNT: usize = 1;
    type Memory = Sends<B>;
    type Files = ();

    fn split(self) -> ((), Sends<B>) {
        ((), Sends(self))
    }

    fn join(Sends(buffer): Sends<B>) -> B {
        buffer
    }

    fn add((): (), region: Region, to: &mut PacketsRegion) {
        to.add_memory(&region);
    }

    fn length(&self) -> u64 {
        self.initialized().1 as u64
    }
}

impl<F: AsHandle + Send> sealed::Elements for FileRange<F> {
    const COUNT: usize = 1;
    type Memory = Keeps<Self>;
    type Files = (RawHandle, u64, u64);

    fn split(self) -> (Self::Files, Keeps<Self>) {
        ((self.file.as_handle().as_raw_handle(), self.offset, self.length), Keeps(self))
    }

    fn join(Keeps(range): Keeps<Self>) -> Self {
        range
    }

    fn add((file, offset, length): Self::Files, (): (), to: &mut PacketsRegion) {
        to.add_file(file, offset, length);
    }

    fn length(&self) -> u64 {
        self.length
    }
}

impl<A: PacketElements, B: PacketElements> sealed::Elements for (A, B) {
    const COUNT: usize = A::COUNT + B::COUNT;
    type Memory = (A::Memory, B::Memory);
    type Files = (A::Files, B::Files);

    fn split(self) -> (Self::Files, Self::Memory) {
        let ((files, memory), (others, rest)) = (self.0.split(), self.1.split());
        ((files, others), (memory, rest))
    }

    fn join((memory, rest): Self::Memory) -> Self {
        (A::join(memory), B::join(rest))
    }

    fn add(
        (files, others): Self::Files,
        (lent, rest): <Self::Memory as Lend>::Lent,
        to: &mut PacketsRegion,
    ) {
        A::add(files, lent, to);
        B::add(others, rest, to);
    }

    fn length(&self) -> u64 {
        self.0.length().saturating_add(self.1.length())
    }
}

impl<E: PacketElements, const N: usize> sealed::Elements for [E; N] {
    const COUNT: usize = N * E::COUNT;
    type Memory = [E::Memory; N];
    type Files = [E::Files; N];

    fn split(self) -> (Self::Files, Self::Memory) {
        let mut memory = [const { None }; N];
        let mut places = memory.iter_mut();
        let files = self.map(|element| {
            let (files, part) = element.split();
            places.next().expect("as many").replace(part);
            files
        });
        (files, memory.map(|part| part.expect("as many")))
    }

    fn join(memory: Self::Memory) -> Self {
        memory.map(E::join)
    }

    fn add(files: Self::Files, lent: [<E::Memory as Lend>::Lent; N], to: &mut PacketsRegion) {
        files.into_iter().zip(lent).for_each(|(files, lent)| E::add(files, lent, to));
    }

    fn length(&self) -> u64 {
        self.iter().map(E::length).fold(0, u64::saturating_add)
    }
}

/// A longer tuple is a pair of its first element and the rest.
macro_rules! tuple {
    ($A:ident $($B:ident)+) => {
        #[allow(non_snake_case, reason = "values have the names of their types")]
        impl<$A: PacketElements, $($B: PacketElements),+> sealed::Elements for ($A, $($B),+) {
            const COUNT: usize = <($A, ($($B),+)) as sealed::Elements>::COUNT;
            type Memory = <($A, ($($B),+)) as sealed::Elements>::Memory;
            type Files = <($A, ($($B),+)) as sealed::Elements>::Files;

            fn split(self) -> (Self::Files, Self::Memory) {
                let ($A, $($B),+) = self;
                sealed::Elements::split(($A, ($($B),+)))
            }

            fn join(memory: Self::Memory) -> Self {
                let ($A, ($($B),+)) = sealed::Elements::join(memory);
                ($A, $($B),+)
            }

            fn add(
                files: Self::Files,
                lent: <Self::Memory as Lend>::Lent,
                to: &mut PacketsRegion,
            ) {
                <($A, ($($B),+)) as sealed::Elements>::add(files, lent, to);
            }

            fn length(&self) -> u64 {
                let ($A, $($B),+) = self;
                [$A.length(), $($B.length()),+].into_iter().fold(0, u64::saturating_add)
            }
        }
    };
}

tuple!(A B C);
tuple!(A B C D);
