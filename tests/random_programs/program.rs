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

/// Two ends that are connected, or two handles to one file.
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
}

/// What becomes of a `Pending`, or of a completion that comes at once.
#[derive(Clone, Copy, Debug)]
pub enum Hold {
    Drop,
    Keep,
    /// Completions that come at once go into the batch.
    Push,
    Cancel,
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
    /// Everything is cancelled and dequeued before anything is dropped.
    pub drains: bool,
    /// What is dropped, in this order.
    pub order: Vec<Part>,
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
    let object = prop_oneof![
        4 => Just(Object::Stream),
        3 => Just(Object::BytePipe),
        2 => Just(Object::MessagePipe),
        2 => Just(Object::Datagrams),
        2 => Just(Object::File),
    ];
    (object, any::<[bool; 2]>()).prop_map(|(object, skips)| Link { object, skips })
}

fn step(shape: Shape) -> impl Strategy<Value = Step> {
    let end = 0..6usize;
    let transfer = || (0..6usize, buffer(), 0..300u64, hold(shape));
    let borrowed = (any::<bool>(), length(), 0..300u64, hold(shape))
        .prop_map(|(writes, length, offset, hold)| Borrowed { writes, length, offset, hold });
    let scope = (
        end.clone(),
        prop::collection::vec(borrowed, 1..4),
        prop::collection::vec(fate(shape), 0..4),
    );
    prop_oneof![
        20 => transfer().prop_map(|(end, buffer, offset, hold)| Step::Read { end, buffer, offset, hold }),
        20 => transfer().prop_map(|(end, buffer, offset, hold)| Step::Write { end, buffer, offset, hold }),
        4 => scope.prop_map(|(end, operations, dequeues)| Step::Scope { end, operations, dequeues }),
        5 => (0..1000u32, 0..1000usize)
            .prop_map(|(bytes, handle_context)| Step::Post { bytes, handle_context }),
        20 => (dequeue(), fate(shape)).prop_map(|(how, fate)| Step::Dequeue { how, fate }),
        12 => (0..16usize, act(shape)).prop_map(|(which, act)| Step::Pending { which, act }),
        5 => (0..16usize, fate(shape)).prop_map(|(which, fate)| Step::Completion { which, fate }),
        2 => end.clone().prop_map(|end| Step::CancelAll { end }),
        3 => (end, closing(shape)).prop_map(|(end, how)| Step::Close { end, how }),
        1 => Just(Step::ClosePort),
    ]
}

fn buffer() -> impl Strategy<Value = Buffer> {
    let kind = prop_oneof![
        Just(Kind::Vector),
        Just(Kind::Boxed),
        Just(Kind::SmallArray),
        Just(Kind::LargeArray),
        Just(Kind::Sliced),
        Just(Kind::Shared),
    ];
    (kind, length(), 0..4usize).prop_map(|(kind, length, held)| Buffer { kind, length, held })
}

fn length() -> impl Strategy<Value = usize> {
    let long = if cfg!(miri) { 200usize } else { 3000 };
    prop_oneof![2 => Just(0usize), 10 => 1..40usize, 4 => 40usize..long]
}

fn hold(shape: Shape) -> impl Strategy<Value = Hold> {
    prop_oneof![
        4 => Just(Hold::Drop),
        6 => Just(Hold::Keep),
        2 => Just(Hold::Push),
        1 => Just(Hold::Cancel),
        u32::from(shape.forgets) => Just(Hold::Forget),
    ]
}

fn dequeue() -> impl Strategy<Value = Dequeue> {
    prop_oneof![
        3 => Just(Dequeue::Try),
        2 => Just(Dequeue::Timeout),
        3 => (0..5usize).prop_map(Dequeue::Batch),
    ]
}

fn fate(shape: Shape) -> impl Strategy<Value = Fate> {
    prop_oneof![
        5 => Just(Fate::Take),
        3 => Just(Fate::Drop),
        2 => Just(Fate::Keep),
        u32::from(shape.forgets) => Just(Fate::Forget),
    ]
}

fn act(shape: Shape) -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Cancel),
        4 => Just(Act::Take),
        2 => Just(Act::Ask),
        2 => Just(Act::Drop),
        u32::from(shape.forgets) => Just(Act::Forget),
    ]
}

fn closing(shape: Shape) -> impl Strategy<Value = Closing> {
    prop_oneof![
        4 => Just(Closing::Drop),
        2 => Just(Closing::IntoInner),
        2 => Just(Closing::Reset),
        u32::from(shape.forgets) => Just(Closing::Forget),
    ]
}

fn ending() -> impl Strategy<Value = Ending> {
    let parts = vec![Part::Handles, Part::Pendings, Part::Completions, Part::Port];
    (any::<bool>(), Just(parts).prop_shuffle()).prop_map(|(drains, order)| Ending { drains, order })
}
