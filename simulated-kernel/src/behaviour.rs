//! What the kernel may decide one way or the other, and how a test decides it.

use std::collections::VecDeque;

use crate::kernel::enter;
use crate::status::STATUS_CANCELLED;

/// For cancels that are ignored until [`heed_cancels`].
pub const FOREVER: u32 = u32::MAX;

/// Whether something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chance {
    Never,
    Sometimes,
    Always,
}

/// What the kernel may do. The default is all that a sound kernel does, by
/// chance.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is independent of the others")]
pub struct Behaviour {
    /// Operations that can finish within their call do; sometimes means files'
    /// at times and all others always.
    pub inline: Chance,
    /// What fails within its call fails later, with a packet, instead.
    pub fail_late: Chance,
    /// A call that starts an operation that has a packet does not return
    /// before another thread has dequeued it (or a while has passed).
    pub dequeued_first: Chance,
    /// After an inline success without a packet the `OVERLAPPED` says that the
    /// operation is pending.
    pub leave_pending: Chance,
    /// Sockets are of a provider above the kernel's.
    pub layered: bool,
    /// A broken provider: after an inline success a packet is queued although
    /// the handle skips it.
    pub queue_skipped: bool,
    /// Result and data are written when the packet is dequeued: "the status
    /// block [...] is not updated until the packet is removed". If not, they are
    /// there before the packet is queued.
    pub written_at_dequeue: Chance,
    /// Operations that are over late get their packets in any order, as those on
    /// a disk may.
    pub any_order: bool,
    /// A cancel takes effect a little later, and data that comes until then is
    /// delivered all the same.
    pub cancel_loses: Chance,
    /// So many requests to cancel find something, and nothing happens yet.
    pub slow_cancels: u32,
    /// Until so many dequeues have begun, cancels are accepted, and nothing
    /// happens; closing a handle does not end its operations either. See
    /// [`heed_cancels`].
    pub ignore_cancels: u32,
    /// How many scheduling steps may pass before the kernel goes to work.
    pub delay: u32,
    /// The next operations are refused with these Win32 codes.
    pub refuse: VecDeque<u32>,
    /// The next operations that succeed late fail with these statuses instead.
    pub fail: VecDeque<u32>,
    /// The next reads that succeed, at once or late, do so with these statuses,
    /// which are no errors: what they have read is delivered.
    pub warn: VecDeque<u32>,
    /// Operations that end at once with a warning have no packet, and their
    /// `OVERLAPPED`s say that they are pending.
    pub warn_without_packet: bool,
    /// What operations end with when the last handle is closed on them.
    pub close_status: u32,
    /// So many of the next posts find no memory.
    pub refuse_posts: u32,
    /// So many of the next instances of pipes find no memory.
    pub refuse_pipes: u32,
    /// So many of the next sockets are one too many.
    pub refuse_sockets: u32,
    /// How many seconds ago sockets were connected, as they tell.
    pub connected_for: u32,
    /// So many of the next stretches of address space get no memory.
    pub refuse_memory: u32,
    /// So many of the next timers of the thread pool find no memory.
    pub refuse_timers: u32,
    /// So many of the next handles of threads find no memory.
    pub refuse_threads: u32,
    /// So many of the next procedure calls for threads find no memory.
    pub refuse_calls: u32,
    /// A broken provider: transfers that fill their buffers report so many bytes
    /// more.
    pub over_report: u32,
    /// A stream socket that is closed while a receive is pending resets its
    /// connection: what has not arrived is lost.
    pub close_resets: bool,
    /// Files are not buffered: a read from their end on has an invalid parameter.
    pub unbuffered: bool,
    /// There are sockets of the family `AF_UNIX`.
    pub has_unix: bool,
    /// Handles can leave their ports.
    pub replaces_ports: bool,
    /// Directories are on a network share.
    pub is_share: bool,
    /// Pipes do not tell whether they have messages.
    pub untold: bool,
    /// Datagrams that arrive as one do not tell how long each is.
    pub untold_segments: bool,
    /// A look at an object that does not wait finds it not signalled, because it is only
    /// thereafter.
    pub unseen_signals: Chance,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self::new()
    }
}

impl Behaviour {
    pub(crate) const fn new() -> Self {
        Self {
            inline: Chance::Sometimes,
            fail_late: Chance::Sometimes,
            dequeued_first: Chance::Never,
            leave_pending: Chance::Sometimes,
            layered: false,
            queue_skipped: false,
            written_at_dequeue: Chance::Sometimes,
            any_order: false,
            cancel_loses: Chance::Never,
            slow_cancels: 0,
            ignore_cancels: 0,
            delay: 8,
            refuse: VecDeque::new(),
            fail: VecDeque::new(),
            warn: VecDeque::new(),
            warn_without_packet: false,
            close_status: STATUS_CANCELLED,
            refuse_posts: 0,
            refuse_pipes: 0,
            refuse_sockets: 0,
            connected_for: 0,
            refuse_memory: 0,
            refuse_timers: 0,
            refuse_threads: 0,
            refuse_calls: 0,
            over_report: 0,
            close_resets: false,
            unbuffered: false,
            has_unix: true,
            replaces_ports: true,
            is_share: false,
            untold: false,
            untold_segments: false,
            unseen_signals: Chance::Sometimes,
        }
    }
}

/// The kernel behaves as it was told until this is dropped.
#[must_use]
#[derive(Debug)]
pub struct Behaving(());

/// Makes the kernel behave in a certain way.
pub fn behave(change: impl FnOnce(&mut Behaviour)) -> Behaving {
    change(&mut enter().behaviour);
    Behaving(())
}

impl Drop for Behaving {
    fn drop(&mut self) {
        enter().behaviour = Behaviour::new();
    }
}

/// Starts the kernel's chance from a number, in place of what Miri draws from
/// its own seed.
pub fn seed(seed: u64) {
    enter().random = Random::from_seed(seed);
}

/// Takes note of all cancels that were ignored, and ignores no more.
pub fn heed_cancels() {
    enter().heed_cancels();
}

/// Writes to the memory of all operations whose handles are closed and whose
/// cancels are ignored, from a thread of its own, and returns how many they are.
///
/// # Panics
///
/// If that thread does.
#[must_use]
pub fn scribble() -> usize {
    let write = || {
        let kernel = enter();
        kernel.hung.iter().for_each(|finished| finished.operation.scribble());
        kernel.hung.len()
    };
    std::thread::spawn(write).join().expect("the kernel's thread")
}

/// Chance, reproducible from Miri's seed.
pub(crate) struct Random(u64);

impl Random {
    pub const fn new() -> Self {
        Self(0)
    }

    fn from_seed(seed: u64) -> Self {
        // 0 stands for none.
        Self(seed << 1 | 1)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u32) -> u32 {
        if self.0 == 0 {
            // Miri draws addresses from its seed.
            let drawn = Box::new(0u64);
            *self = Self::from_seed((&raw const *drawn).addr() as u64);
        }
        // Knuth's multiplier; the high bits are the random ones.
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(limit.max(1))) as u32
    }

    pub fn draw(&mut self, chance: Chance) -> bool {
        match chance {
            Chance::Never => false,
            Chance::Sometimes => self.below(2) == 0,
            Chance::Always => true,
        }
    }
}
