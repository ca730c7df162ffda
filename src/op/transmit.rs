//! Files that go to a socket: `TransmitFile`.

use std::os::windows::io::{AsHandle, AsRawHandle, RawHandle};

use super::on::Stream;
use super::stream::check_stream;
use super::transfer::parts;
use super::{Finish, Keeps, Lend, Region, Sends, Starter, Submitted, TransmitHeader};
use crate::buffer::IoBuf;
use crate::error::{Cause, Facts, FactsOn};
use crate::error::{Error, refusal};
use crate::operation::{Object, Operation};
use crate::sys::{self, MOST_TRANSMITTED, Provider};

/// Sends a part of a file, without reading it into the program: `TransmitFile`.
///
/// Returns a [`Transmitted`], with the file. `F` is a [`File`](std::fs::File), opened for
/// overlapped I/O or not, an `Arc` of one, or an
/// [`OwnedHandle`](std::os::windows::io::OwnedHandle). It stays open until the operation is
/// over, and its own position is neither used nor moved.
///
/// One operation sends at most [`MAX_LENGTH`](Self::MAX_LENGTH) bytes; see [`pieces`] for
/// more. Client editions of Windows work on two of these operations at a time, and let others
/// wait.
///
/// # Files that become shorter
///
/// Of a file that has fewer bytes than it is to send, or that is shortened meanwhile, the
/// system sends what there is and says that it has succeeded, or sends something and fails.
/// In both cases [`missing`](Transmitted::missing) is more than 0, and the peer waits in vain
/// for the rest: **a success is whole only if nothing is missing**. Nothing is sent in place
/// of what is missing, but the tail is. Close the connection then, unless the peer can be told
/// otherwise, because it takes the next bytes for the rest.
///
/// ```
/// use completion_port::{CompletionStatus, op};
/// use std::fs::File;
///
/// /// Whether the connection can go on.
/// fn is_whole(completion: &mut CompletionStatus) -> completion_port::Result<bool> {
///     let transmitted: op::Transmitted<File> = completion.operation.output()?;
///     Ok(completion.error_status.is_ok() && transmitted.missing == 0)
/// }
/// ```
///
/// # Errors
///
/// The operation is refused with [`InvalidInput`](crate::ErrorKind::InvalidInput) if it is
/// to send more than that; with [`Unsupported`](crate::ErrorKind::Unsupported) on what is
/// no stream socket, and on handles that
/// [skip the port](crate::Associated::skip_on_success).
///
/// ```
/// use completion_port::{Iocp, op};
/// use std::fs::File;
/// # use std::{io::Read, net::{TcpListener, TcpStream}};
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let mut client = TcpStream::connect(listener.local_addr()?)?;
/// # let (stream, _) = listener.accept()?;
/// # let path = std::env::temp_dir().join(format!("op-transmit-{}", std::process::id()));
/// # std::fs::write(&path, "hello world")?;
///
/// let port = Iocp::new()?;
/// let stream = port.add_handle(stream, 1)?;
/// let file = File::open(&path)?;
/// let length = file.metadata()?.len() - 6;
/// let head = format!("content-length: {length}\r\n\r\n");
/// port.initiate(&stream, 2, op::TransmitFile::new(file, 6, length).head(head))?;
/// # let mut received = [0; 26];
/// # client.read_exact(&mut received[..24])?;
/// # assert_eq!(&received[..24], b"content-length: 5\r\n\r\nwor");
/// let completion = port.get_completion()?;
/// completion.error_status?;
/// println!("{} bytes sent", completion.bytes_transferred);
/// # drop(completion.operation);
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TransmitFile<F, H = (), T = ()> {
    file: F,
    offset: u64,
    length: u64,
    head: H,
    tail: T,
}

/// The output of [`TransmitFile`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transmitted<F, H = (), T = ()> {
    /// The file.
    pub file: F,
    /// What was sent before it: `()`, or a buffer.
    pub head: H,
    /// What was sent after it: `()`, or a buffer.
    pub tail: T,
    /// The number of bytes that were not sent. After a failure, all count as not sent, although
    /// some may have been. After a success, the file has
    /// [ended early](TransmitFile#files-that-become-shorter).
    pub missing: u64,
}

/// Returns the offsets and lengths of the pieces of a file that one [`TransmitFile`] each can
/// send.
///
/// Send the head with the first and the tail with the last. Start the next when one has
/// completed.
///
/// ```
/// use completion_port::op;
///
/// let pieces: Vec<(u64, u64)> = op::pieces(100, 5 << 30).collect();
/// assert_eq!(pieces.len(), 5);
/// assert_eq!(pieces[4], (100 + (4 << 30), 1 << 30));
/// ```
pub fn pieces(offset: u64, length: u64) -> impl Iterator<Item = (u64, u64)> {
    const PIECE: u64 = 1 << 30;
    let starts = (0..length.div_ceil(PIECE)).map(|index| index * PIECE);
    starts.map(move |start| (offset.saturating_add(start), PIECE.min(length - start)))
}

impl<F: AsHandle> TransmitFile<F> {
    /// The most bytes that one operation can send, head and tail included.
    pub const MAX_LENGTH: u64 = MOST_TRANSMITTED as u64;

    /// Sends `length` bytes of `file`, from `offset` on.
    pub fn new(file: F, offset: u64, length: u64) -> Self {
        Self { file, offset, length, head: (), tail: () }
    }
}

impl<F, T> TransmitFile<F, (), T> {
    /// Sends `head` before the file.
    pub fn head<B: IoBuf>(self, head: B) -> TransmitFile<F, Sends<B>, T> {
        let Self { file, offset, length, tail, .. } = self;
        TransmitFile { file, offset, length, head: Sends(head), tail }
    }
}

impl<F, H> TransmitFile<F, H> {
    /// Sends `tail` after the file.
    pub fn tail<B: IoBuf>(self, tail: B) -> TransmitFile<F, H, Sends<B>> {
        let Self { file, offset, length, head, .. } = self;
        TransmitFile { file, offset, length, head, tail: Sends(tail) }
    }
}

/// What is sent before or after the file: nothing (`()`), or a buffer.
///
/// It is sealed.
pub trait Beside: sealed::Beside {}

impl Beside for () {}
impl<B: IoBuf + Send> Beside for Sends<B> {}

mod sealed {
    use super::{IoBuf, Lend, Region, Sends};

    pub trait Beside: Lend + Send {
        type Buffer;

        fn region(lent: Self::Lent) -> Option<Region>;
        fn into_buffer(self) -> Self::Buffer;
        fn length(&self) -> u64;
    }

    impl Beside for () {
        type Buffer = ();

        fn region((): ()) -> Option<Region> {
            None
        }

        fn into_buffer(self) {}

        fn length(&self) -> u64 {
            0
        }
    }

    impl<B: IoBuf + Send> Beside for Sends<B> {
        type Buffer = B;

        fn region(lent: Region) -> Option<Region> {
            Some(lent)
        }

        fn into_buffer(self) -> B {
            self.0
        }

        fn length(&self) -> u64 {
            self.0.initialized().1 as u64
        }
    }
}

impl<F: AsHandle + Send, H: Beside, T: Beside> Operation for TransmitFile<F, H, T> {
    const FACTS: FactsOn = FactsOn::Sockets(Facts::TransmitFile);
    type On = Stream;
    /// The file, how much of it is to be sent, and what goes with it.
    type Memory = (Keeps<(F, u64)>, (TransmitHeader, (H, T)));
    type Arguments = (Provider, RawHandle, u64, u64);
    type Output = Transmitted<F, H::Buffer, T::Buffer>;

    fn split(
        self,
        on: &Object<'_>,
    ) -> Result<(Self::Arguments, Self::Memory), (Error, Self::Memory)> {
        let Self { file, offset, length, head, tail } = self;
        let handle = file.as_handle().as_raw_handle();
        let memory = (Keeps((file, length)), (TransmitHeader::empty(), (head, tail)));
        parts((on.provider(), handle, offset, length), memory, check_stream(on))
    }

    fn start(
        (provider, file, offset, length): Self::Arguments,
        ((), (header, (head, tail))): <Self::Memory as Lend>::Lent,
        starter: Starter<'_, Self>,
    ) -> Submitted<'_> {
        let (head, tail) = (H::region(head), T::region(tail));
        let beside = [&head, &tail].map(|part| part.as_ref().map_or(0, Region::length).into());
        let whole = beside.iter().fold(length, |sum, part: &u64| sum.saturating_add(*part));
        if whole > MOST_TRANSMITTED.into() {
            return starter.refuse(Cause::UsageError(&refusal::TRANSMITS_TOO_MUCH));
        }
        match sys::TransmitFile::of(starter.handle(), provider) {
            Ok(transmit_file) => starter.at(offset).call_with(|socket, overlapped, _| {
                let (file, beside) = ((file, length as u32), (head.as_ref(), tail.as_ref()));
                sys::transmit_file(transmit_file, socket, file, header, beside, overlapped)
            }),
            Err(cause) => starter.refuse(cause),
        }
    }

    const FINISH: Finish<Self> = Finish::with(|memory: Self::Memory, outcome| {
        let (Keeps((file, length)), (_, (head, tail))) = memory;
        let wanted = length.saturating_add(head.length()).saturating_add(tail.length());
        let missing = wanted.saturating_sub(outcome.bytes().into());
        let (head, tail) = (head.into_buffer(), tail.into_buffer());
        Some(Transmitted { file, head, tail, missing })
    });
}
