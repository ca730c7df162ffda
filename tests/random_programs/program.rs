//! What a random program is, and how one is drawn.
//!
//! Numbers that choose one of several things are taken modulo how many there
//! are, so every value is a valid choice, and smaller ones are simpler.

use std::fmt;

use proptest::prelude::*;

use crate::kernel::{Kernel, kernel};

/// How large programs are, and what is in them.
#[derive(Clone, Copy)]
pub struct Shape {
    pub threads: usize,
    pub steps: usize,
    /// `mem::forget` is used, so memory is lost.
    pub forgets: bool,
}

#[derive(Clone, Debug)]
pub struct Program {
    pub kernel: Kernel,
    pub links: Vec<Link>,
    /// What each thread does. It owns every so manieth end of a link.
    pub threads: Vec<Vec<Step>>,
    /// Threads that only dequeue, until the port is closed, and what they do
    /// with what they get, over and over.
    pub servers: Vec<Vec<Fate>>,
    /// After the threads are done, everything that was written is read.
    pub flush: bool,
    pub ending: Ending,
}

/// Two ends that are connected, two handles to one file, or two listeners.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub object: Object,
    /// Whether the ends skip the port, where they can.
    pub skips: [bool; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    Stream,
    BytePipe,
    MessagePipe,
    Datagrams,
    File,
    Listener,
}

impl Object {
    pub fn listens(self) -> bool {
        self == Self::Listener
    }

    /// Whether it can be read from and written to.
    pub fn transfers(self) -> bool {
        !self.listens()
    }
}

#[derive(Clone, Debug)]
pub enum Step {
    Read {
        end: usize,
        buffer: Buffer,
        offset: u64,
        hold: Hold,
    },
    Write {
        end: usize,
        buffer: Buffer,
        offset: u64,
        hold: Hold,
    },
    /// On a listener.
    Accept {
        end: usize,
        hold: Hold,
    },
    /// A new socket, to one of all listeners.
    Connect {
        end: usize,
        skips: bool,
        hold: Hold,
    },
    /// Closes a socket that was connected, or is going to be.
    Disconnect {
        which: usize,
        how: Closing,
    },
    /// Operations on borrowed buffers.
    Scope {
        end: usize,
        operations: Vec<Borrowed>,
        dequeues: Vec<Fate>,
    },
    Post {
        bytes: u32,
        handle_context: usize,
    },
    /// A timer, so many milliseconds from now.
    Timer {
        after: u64,
        hold: Hold,
    },
    /// Other code posts a packet.
    Foreign {
        which: usize,
    },
    Dequeue {
        how: Dequeue,
        fate: Fate,
    },
    /// Something with a `Pending` that was kept.
    Pending {
        which: usize,
        act: Act,
    },
    /// Something with a completion that was kept.
    Completion {
        which: usize,
        fate: Fate,
    },
    CancelAll {
        end: usize,
    },
    Close {
        end: usize,
        how: Closing,
    },
    ClosePort,
}

#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    pub kind: Kind,
    /// How many bytes it has room for, or has. Arrays have their own lengths.
    pub length: usize,
    /// How many bytes stand in a vector before what is read.
    pub held: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Vector,
    Boxed,
    /// Fits in a cell.
    SmallArray,
    /// Does not.
    LargeArray,
    Sliced,
    /// Can only be written; a read uses a boxed slice.
    Shared,
    /// Two boxed slices, by a vectored operation of a socket.
    Pieces,
    /// A boxed slice, and who has sent what is read.
    WithSender,
}

/// What becomes of a `Pending`, or of a completion that comes at once.
#[derive(Clone, Copy, Debug)]
pub enum Hold {
    Drop,
    Keep,
    /// Completions that come at once go into the batch.
    Push,
    Cancel,
    /// It is awaited, and kept.
    Await,
    /// It gets a deadline, so many milliseconds from now, and is kept.
    Deadline(u64),
    Forget,
}

#[derive(Clone, Copy, Debug)]
pub struct Borrowed {
    pub writes: bool,
    pub length: usize,
    pub offset: u64,
    pub hold: Hold,
}

#[derive(Clone, Copy, Debug)]
pub enum Dequeue {
    Try,
    Timeout,
    /// Takes so many out of the batch, and leaves the rest in it.
    Batch(usize),
}

/// What becomes of a completion.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    Take,
    Drop,
    Keep,
    Forget,
}

#[derive(Clone, Copy, Debug)]
pub enum Act {
    Cancel,
    Take,
    Ask,
    /// Awaits by reference, until the future is dropped.
    Await,
    /// The same, and forgets the future, which leaves its waker.
    Leave,
    /// Awaits by value, until the future is dropped, which cancels.
    Abandon,
    /// Sets a deadline, so many milliseconds from now, or none.
    Deadline(Option<u64>),
    Drop,
    Forget,
}

#[derive(Clone, Copy, Debug)]
pub enum Closing {
    Drop,
    IntoInner,
    /// The connection is reset, where that can be.
    Reset,
    /// The handle is closed behind the forgotten owner's back, at the end.
    Forget,
}

/// How everything ends.
#[derive(Clone, Debug)]
pub struct Ending {
    pub before: Before,
    /// What is dropped, in this order.
    pub order: Vec<Part>,
}

/// What comes before anything is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    Nothing,
    /// Everything is cancelled and dequeued.
    Drain,
    ShutDown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Handles,
    Pendings,
    Completions,
    Port,
}

impl fmt::Display for Program {
    /// A line for each step.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, links, threads, servers, flush, ending } = self;
        writeln!(f, "{kernel:?}")?;
        links.iter().try_for_each(|link| writeln!(f, "{link:?}"))?;
        for steps in threads {
            writeln!(f, "a thread:")?;
            steps.iter().try_for_each(|step| writeln!(f, "    {step:?}"))?;
        }
        servers.iter().try_for_each(|fates| writeln!(f, "a thread that dequeues: {fates:?}"))?;
        writeln!(f, "flush: {flush}, {ending:?}")
    }
}

impl Program {
    /// Room for all its operations, though none were given back.
    pub fn most_operations(&self) -> usize {
        let steps = self.threads.iter().flatten();
        let started: usize = steps
            .map(|step| match step {
                Step::Scope { operations, .. } => operations.len(),
                _ => 1,
            })
            .sum();
        // A read that finds the end has a second cell, and one that fails may
        // leave one behind; and then come those of the flush.
        2 * started + 4 * self.links.len() + 4
    }
}

/// Draws from a list in which each value stands so often; simpler ones first.
///
/// (`prop_oneof` prepares all other choices too, which is slow under Miri.)
fn weighted<T: Clone + fmt::Debug + 'static>(
    values: impl IntoIterator<Item = (usize, T)>,
) -> impl Strategy<Value = T> {
    let repeated = values.into_iter().flat_map(|(weight, value)| vec![value; weight]);
    prop::sample::select(repeated.collect::<Vec<_>>())
}

pub fn program(shape: Shape) -> impl Strategy<Value = Program> {
    let thread = prop::collection::vec(step(shape), 0..=shape.steps);
    let servers = if shape.threads > 1 { 2 } else { 0 };
    let server = prop::collection::vec(fate(shape), 1..4);
    (
        kernel(),
        prop::collection::vec(link(), 1..=3),
        prop::collection::vec(thread, 1..=shape.threads),
        prop::collection::vec(server, 0..=servers),
        prop::bool::weighted(0.7),
        ending(),
    )
        .prop_map(|(kernel, links, threads, servers, flush, ending)| Program {
            kernel,
            links,
            threads,
            servers,
            flush,
            ending,
        })
}

fn link() -> impl Strategy<Value = Link> {
    let object = weighted([
        (4, Object::Stream),
        (3, Object::BytePipe),
        (2, Object::MessagePipe),
        (2, Object::Datagrams),
        (2, Object::File),
        (4, Object::Listener),
    ]);
    (object, any::<[bool; 2]>()).prop_map(|(object, skips)| Link { object, skips })
}

fn step(shape: Shape) -> impl Strategy<Value = Step> {
    type Make = fn(Choices) -> Step;
    let make: [(usize, Make); 14] = [
        (20, |of| Step::Write { end: of.end, buffer: of.buffer, offset: of.offset, hold: of.hold }),
        (20, |of| Step::Read { end: of.end, buffer: of.buffer, offset: of.offset, hold: of.hold }),
        (20, |of| Step::Dequeue { how: of.how, fate: of.fate }),
        (8, |of| Step::Accept { end: of.end, hold: of.hold }),
        (8, |of| Step::Connect { end: of.end, skips: of.which % 2 == 1, hold: of.hold }),
        (2, |of| Step::Disconnect { which: of.which, how: of.closing }),
        (5, |of| Step::Post { bytes: of.offset as u32, handle_context: of.which }),
        (3, |of| Step::Timer { after: [0, 1, 2, 4][of.which % 4], hold: of.hold }),
        (3, |of| Step::Foreign { which: of.which }),
        (12, |of| Step::Pending { which: of.which, act: of.act }),
        (5, |of| Step::Completion { which: of.which, fate: of.fate }),
        (2, |of| Step::CancelAll { end: of.end }),
        (3, |of| Step::Close { end: of.end, how: of.closing }),
        (1, |_| Step::ClosePort),
    ];
    let numbers = (0..6usize, 0..300u64, 0..16usize, buffer());
    let choices = (hold(shape), how(), fate(shape), act(shape), closing(shape));
    let plain = (weighted(make), numbers, choices).prop_map(|(make, numbers, choices)| {
        let (end, offset, which, buffer) = numbers;
        let (hold, how, fate, act, closing) = choices;
        make(Choices { end, offset, which, buffer, hold, how, fate, act, closing })
    });
    prop_oneof![24 => plain, 1 => scope(shape)]
}

/// What a step is made from, though none needs all of it.
struct Choices {
    end: usize,
    offset: u64,
    which: usize,
    buffer: Buffer,
    hold: Hold,
    how: Dequeue,
    fate: Fate,
    act: Act,
    closing: Closing,
}

fn scope(shape: Shape) -> impl Strategy<Value = Step> {
    let borrowed = (any::<bool>(), length(), 0..300u64, hold(shape))
        .prop_map(|(writes, length, offset, hold)| Borrowed { writes, length, offset, hold });
    let operations = prop::collection::vec(borrowed, 1..4);
    let dequeues = prop::collection::vec(fate(shape), 0..4);
    (0..6usize, operations, dequeues).prop_map(|(end, operations, dequeues)| Step::Scope {
        end,
        operations,
        dequeues,
    })
}

fn buffer() -> impl Strategy<Value = Buffer> {
    let kind = weighted([
        (1, Kind::Vector),
        (1, Kind::Boxed),
        (1, Kind::SmallArray),
        (1, Kind::LargeArray),
        (1, Kind::Sliced),
        (1, Kind::Shared),
        (1, Kind::Pieces),
        (1, Kind::WithSender),
    ]);
    (kind, length(), 0..4usize).prop_map(|(kind, length, held)| Buffer { kind, length, held })
}

fn length() -> impl Strategy<Value = usize> {
    let long = if cfg!(miri) { [100, 200] } else { [300, 1500] };
    weighted([1, 2, 3, 0, 5, 8, 13, 21, 34, 55].into_iter().chain(long).map(|length| (1, length)))
}

fn hold(shape: Shape) -> impl Strategy<Value = Hold> {
    let forgets = 3 * usize::from(shape.forgets);
    weighted([
        (12, Hold::Drop),
        (18, Hold::Keep),
        (6, Hold::Push),
        (3, Hold::Cancel),
        (6, Hold::Await),
        (1, Hold::Deadline(0)),
        (1, Hold::Deadline(1)),
        (forgets, Hold::Forget),
    ])
}

fn how() -> impl Strategy<Value = Dequeue> {
    weighted([
        (3, Dequeue::Try),
        (3, Dequeue::Timeout),
        (1, Dequeue::Batch(0)),
        (1, Dequeue::Batch(1)),
        (2, Dequeue::Batch(4)),
    ])
}

fn fate(shape: Shape) -> impl Strategy<Value = Fate> {
    let forgets = usize::from(shape.forgets);
    weighted([(5, Fate::Take), (3, Fate::Drop), (2, Fate::Keep), (forgets, Fate::Forget)])
}

fn act(shape: Shape) -> impl Strategy<Value = Act> {
    let forgets = usize::from(shape.forgets);
    weighted([
        (2, Act::Drop),
        (4, Act::Cancel),
        (4, Act::Take),
        (2, Act::Ask),
        (3, Act::Await),
        (3, Act::Leave),
        (1, Act::Abandon),
        (1, Act::Deadline(Some(0))),
        (1, Act::Deadline(Some(1))),
        (1, Act::Deadline(Some(4))),
        (1, Act::Deadline(None)),
        (forgets, Act::Forget),
    ])
}

fn closing(shape: Shape) -> impl Strategy<Value = Closing> {
    let forgets = usize::from(shape.forgets);
    weighted([
        (4, Closing::Drop),
        (2, Closing::IntoInner),
        (2, Closing::Reset),
        (forgets, Closing::Forget),
    ])
}

fn ending() -> impl Strategy<Value = Ending> {
    let others = vec![Part::Handles, Part::Pendings, Part::Completions];
    // Only a port that is left to the last shows whether all its places are free.
    let port = weighted([(4, 3), (1, 0), (1, 1), (1, 2)]);
    let before = weighted([(3, Before::Nothing), (4, Before::Drain), (1, Before::ShutDown)]);
    (before, Just(others).prop_shuffle(), port).prop_map(|(before, mut order, port)| {
        order.insert(port, Part::Port);
        Ending { before, order }
    })
}
