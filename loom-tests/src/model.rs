//! The library around its protocols: what it does with a cell, step by step,
//! and nothing else. Each function names the one that it stands for.

use std::cell::Cell as Flag;
use std::rc::Rc;

use loom::cell::UnsafeCell;
use loom::sync::Mutex;

use crate::atomic::{AtomicU32, Ordering};
use crate::cache::{self, BUSY, Cache, is_cell, is_open};
use crate::free_list::{FreeList, NONE};
use crate::state::{DROPS, Holder, State};
use crate::status_word::StatusWord;

/// A port, its slab, and its queue.
pub struct Port {
    cache: Cache,
    free: FreeList,
    cells: Vec<Cell>,
    /// One packet at most. The kernel orders what comes before it is queued
    /// before what comes after it is dequeued.
    queue: AtomicU32,
    /// The cell that has a deadline, or `NONE`: one at most.
    timers: Mutex<u32>,
    /// The cell whose operation the kernel could cancel, or `NONE`.
    cancellable: Mutex<u32>,
    /// Whether the memory has been released. No part of the
    /// protocols, so not loom's, whose threads are all of one real thread.
    destroyed: Flag<bool>,
    /// Whether an operation was cancelled because its deadline had passed.
    expired: Flag<bool>,
    /// Who was woken last. No part of the protocols either.
    woken: Flag<u32>,
}

/// A cell. What its state protects is in `UnsafeCell`s.
pub struct Cell {
    state: State,
    word: StatusWord,
    next: AtomicU32,
    /// What to cancel on; here it is the cell's number. While the cell is at
    /// hand, the address of the one behind it.
    handle: UnsafeCell<u32>,
    /// Written by the dequeuer; here it is the operation's payload.
    result: UnsafeCell<u32>,
    /// What the kernel transfers into; `None` once moved out or dropped.
    payload: UnsafeCell<Option<u32>>,
    /// `None` once moved out.
    context: UnsafeCell<Option<u32>>,
    /// `None` while no waker is offered.
    waker: UnsafeCell<Option<u32>>,
}

/// A part in a cell: a `Pending`, a `Finished`, or a scope's `Held`.
pub struct Part {
    port: Rc<Port>,
    index: u32,
    holder: Holder,
    /// Whether it has let go already.
    gone: Flag<bool>,
}

/// `STATUS_CANCELLED`.
const CANCELLED: u32 = 0xC000_0120;

/// What the kernel adds to the payload.
pub const TRANSFER: u32 = 100;

impl Port {
    /// A port whose cells have all been used before.
    pub fn new(cells: u32) -> Rc<Self> {
        let cell = |_| Cell {
            state: State::default(),
            word: StatusWord::default(),
            next: AtomicU32::new(NONE),
            handle: UnsafeCell::new(0),
            result: UnsafeCell::new(0),
            payload: UnsafeCell::new(None),
            context: UnsafeCell::new(None),
            waker: UnsafeCell::new(None),
        };
        let port = Self {
            cache: Cache::new(),
            free: FreeList::new(),
            cells: (0..cells).map(cell).collect(),
            queue: AtomicU32::new(NONE),
            timers: Mutex::new(NONE),
            cancellable: Mutex::new(NONE),
            destroyed: Flag::new(false),
            expired: Flag::new(false),
            woken: Flag::new(0),
        };
        for index in (1..=cells).rev() {
            port.free(index);
        }
        Rc::new(port)
    }

    /// The same with all of them on the list.
    pub fn with_list(cells: u32) -> Rc<Self> {
        let port = Self::new(cells);
        for _ in 0..cells {
            let index = port.take_first(port.cache.try_lock());
            port.free_to_list(index);
        }
        port.cache.unlock(cache::NONE);
        port
    }

    pub fn cell(&self, index: u32) -> &Cell {
        assert!(!self.is_destroyed(), "the memory is gone");
        &self.cells[index as usize - 1]
    }

    /// Whether an operation that was dequeued has timed out.
    pub fn has_expired(&self) -> bool {
        self.expired.get()
    }

    /// The waker that was woken last, or 0.
    pub fn woken(&self) -> u32 {
        self.woken.get()
    }

    pub fn is_destroyed(&self) -> bool {
        self.destroyed.get()
    }

    /// `Pool::allocate`, where there are no fresh cells; the cell is nobody
    /// else's.
    pub fn allocate(&self) -> Option<u32> {
        let mut first = self.cache.try_lock();
        loop {
            if is_cell(first) {
                return Some(self.take_first(first));
            }
            let list = self.free.version();
            let index = self.allocate_elsewhere(first);
            if index.is_some() {
                return index;
            }
            if first == BUSY {
                first = self.cache.try_lock_again();
                continue;
            }
            first = self.cache.try_lock();
            if first == cache::NONE && self.free.version() == list {
                self.cache.unlock(first);
                return None;
            }
        }
    }

    /// `Pool::allocate`, where there are: no cell means a fresh one.
    pub fn allocate_in_haste(&self) -> Option<u32> {
        let first = self.cache.try_lock();
        if is_cell(first) { Some(self.take_first(first)) } else { self.allocate_elsewhere(first) }
    }

    /// Once around in `Pool::allocate_elsewhere`.
    fn allocate_elsewhere(&self, first: usize) -> Option<u32> {
        self.cache.unlock_unless_busy(first);
        self.allocate_from_list()
    }

    /// `Pool::take_first`.
    fn take_first(&self, first: usize) -> u32 {
        let index = at(first as u32);
        self.cache.unlock(read(&self.cell(index).handle) as usize);
        self.cell(index).own();
        index
    }

    /// The part of it that has to do with the list.
    pub fn allocate_from_list(&self) -> Option<u32> {
        let index = at(self.free.pop(|place| &self.cell(at(place)).next)?);
        self.cell(index).own();
        Some(index)
    }

    /// `Pool::free`.
    pub fn free(&self, index: u32) {
        self.cell(index).own();
        let first = self.cache.try_lock();
        if is_open(first) {
            self.cell(index).handle.with_mut(|handle| unsafe { *handle = first as u32 });
            self.cache.unlock(place(index) as usize);
        } else {
            // `Pool::free_elsewhere`.
            self.cache.unlock_unless_busy(first);
            self.free_to_list(index);
        }
    }

    /// `Pool::free_to_list`.
    pub fn free_to_list(&self, index: u32) {
        self.cell(index).own();
        if self.free.push(place(index), &self.cell(index).next) {
            self.destroy();
        }
    }

    /// `Pool::close`.
    pub fn close(&self) {
        let mut address = self.cache.close();
        while address != cache::NONE {
            let index = at(address as u32);
            address = read(&self.cell(index).handle) as usize;
            self.free_to_list(index);
        }
        if self.free.close(self.cells.len() as u32, |place| &self.cell(at(place)).next) {
            self.destroy();
        }
    }

    /// `Pool::destroy`: nobody uses any cell at this time or later.
    fn destroy(&self) {
        self.cells.iter().for_each(Cell::own);
        assert!(!self.destroyed.replace(true), "destroyed twice");
    }

    /// Takes all cells, to see that each is there once.
    pub fn assert_all_free(&self) {
        let mut found: Vec<_> = std::iter::from_fn(|| self.allocate()).collect();
        found.sort_unstable();
        assert_eq!(found, (1..=self.cells.len() as u32).collect::<Vec<_>>());
    }

    /// `Cells::start` of an operation that the kernel completes at once.
    pub fn launch(self: &Rc<Self>, index: u32, payload: u32) -> Part {
        self.begin(index, payload, Holder::Pending as u32 | DROPS);
        self.part(index, Holder::Pending)
    }

    /// `Cells::post`, which nobody tracks, and whose payload is nothing to drop.
    pub fn post(&self, index: u32, payload: u32) {
        self.begin(index, payload, 0);
    }

    /// `Borrowing::launch`.
    pub fn launch_scoped(self: &Rc<Self>, index: u32, payload: u32) -> (Part, Part) {
        self.begin(index, payload, Holder::Pending as u32 | Holder::Scope as u32);
        (self.part(index, Holder::Pending), self.part(index, Holder::Scope))
    }

    /// An operation that the kernel completes later; see [`end`](Self::end).
    pub fn launch_pending(self: &Rc<Self>, index: u32, payload: u32) -> Part {
        self.lend(index, payload, Holder::Pending as u32 | DROPS);
        self.part(index, Holder::Pending)
    }

    /// `Cells::start` up to its call.
    fn lend(&self, index: u32, payload: u32, others: u32) {
        let cell = self.cell(index);
        cell.handle.with_mut(|handle| unsafe { *handle = index });
        cell.word.reset();
        let before = replace(&cell.payload, Some(payload));
        assert_eq!(before, None, "a free cell with a payload in it");
        let before = replace(&cell.context, Some(payload));
        assert_eq!(before, None, "a free cell with a context in it");
        cell.state.begin(others);
    }

    /// The same, and it can be cancelled until [`end_unless_cancelled`](Self::end_unless_cancelled).
    pub fn launch_cancellable(self: &Rc<Self>, index: u32, payload: u32) -> Part {
        *self.cancellable.lock().unwrap() = index;
        self.launch_pending(index, payload)
    }

    /// The kernel completes the operation, unless that was cancelled.
    pub fn end_unless_cancelled(&self) {
        let mut cancellable = self.cancellable.lock().unwrap();
        let index = std::mem::replace(&mut *cancellable, NONE);
        if index != NONE {
            self.end(index);
        }
    }

    /// `CellRef::cancel`: whether there was something to cancel.
    pub fn cancel(&self, index: u32) -> bool {
        assert_eq!(read(&self.cell(index).handle), index, "another operation's handle");
        let mut cancellable = self.cancellable.lock().unwrap();
        if *cancellable != index {
            return false;
        }
        *cancellable = NONE;
        self.end_with(index, CANCELLED);
        true
    }

    /// `Timers::turn`, when all is due.
    pub fn turn(&self) {
        let mut timers = self.timers.lock().unwrap();
        let index = std::mem::replace(&mut *timers, NONE);
        if index != NONE {
            let state = &self.cell(index).state;
            if state.expire() && !self.cancel(index) {
                state.unexpire();
            }
        }
    }

    /// Whether a cell has a deadline.
    pub fn has_deadlines(&self) -> bool {
        *self.timers.lock().unwrap() != NONE
    }

    /// The kernel writes the result, and queues the packet.
    pub fn end(&self, index: u32) {
        self.end_with(index, 0);
    }

    fn end_with(&self, index: u32, status: u32) {
        self.cell(index).word.write(status);
        let before = self.queue.swap(index, Ordering::Release);
        assert_eq!(before, NONE, "the test has two packets");
    }

    fn begin(&self, index: u32, payload: u32, others: u32) {
        self.lend(index, payload, others);
        self.end(index);
    }

    fn part(self: &Rc<Self>, index: u32, holder: Holder) -> Part {
        Part { port: Rc::clone(self), index, holder, gone: Flag::new(false) }
    }

    /// `Cells::start` of an operation whose call fails, but whose packet comes
    /// all the same, perhaps before the call returns. If it was claimed first,
    /// the operation is in flight.
    pub fn launch_in_vain(self: &Rc<Self>, index: u32, payload: u32) -> Option<Part> {
        self.begin(index, payload, Holder::Pending as u32 | DROPS);
        let cell = self.cell(index);
        // `withdraw`
        if cell.word.take_for_certain(|| cell.state.is_in_flight()).is_none() {
            return Some(self.part(index, Holder::Pending));
        }
        cell.state.withdraw();
        assert_eq!(replace(&cell.payload, None), Some(payload), "what was given comes back");
        assert_eq!(replace(&cell.context, None), Some(payload), "what was given comes back");
        cell.state.quarantine();
        None
    }

    /// `CompletedInline::complete`, of an operation that is over at once, although its
    /// packet comes all the same: the completion, or the `Pending`.
    pub fn launch_at_once(self: &Rc<Self>, index: u32, payload: u32) -> Part {
        self.begin(index, payload, Holder::Pending as u32 | DROPS);
        let cell = self.cell(index);
        if cell.word.take_for_certain(|| cell.state.is_in_flight()).is_none() {
            return self.part(index, Holder::Pending);
        }
        cell.state.complete_at_once();
        self.complete(index)
    }

    /// `Pool::reclaim_all`.
    pub fn reclaim_all(&self) {
        for index in 1..=self.cells.len() as u32 {
            self.reclaim(index);
        }
    }

    fn reclaim(&self, index: u32) {
        if self.cell(index).state.reclaim() {
            self.free(index);
        }
    }

    /// Dequeues a packet, if there is one.
    pub fn dequeue(self: &Rc<Self>) -> Option<Part> {
        let index = self.queue.swap(NONE, Ordering::Acquire);
        if index == NONE { None } else { self.claim(index) }
    }

    /// `Found::try_complete_exclusive` and `Found::claim`, for a dequeued packet with this
    /// address, whoever has sent it.
    pub fn claim(self: &Rc<Self>, index: u32) -> Option<Part> {
        let Cell { state, word, .. } = self.cell(index);
        let taken = word.take();
        if state.is_exclusively_in_flight() && taken.is_success() {
            self.transfer(index);
            state.complete_exclusive();
            return Some(self.complete(index));
        }
        // `Found::try_complete_shared`
        if taken.is_success() {
            if let Some(simple) = state.simply_in_flight() {
                self.transfer(index);
                match state.complete_simply(simple) {
                    Some(true) => self.woken.set(self.cell(index).remove_waker()),
                    Some(false) => {}
                    None => self.complete_timed(index),
                }
                return Some(self.complete(index));
            }
        }
        // `CellRef::try_complete`
        let taken = if taken.is_status() && state.is_in_flight() {
            taken
        } else {
            word.restore(taken);
            word.take_for_certain(|| state.is_in_flight())?
        };
        if !taken.is_status() {
            word.restore(taken);
            return None;
        }
        match taken.status() {
            CANCELLED => {
                self.expired.set(state.is_expired());
                self.transfer_nothing(index);
            }
            _ => self.transfer(index),
        }
        self.complete_timed(index);
        Some(self.complete(index))
    }

    /// `CellRef::complete_timed`
    fn complete_timed(&self, index: u32) {
        let state = &self.cell(index).state;
        if state.complete() {
            self.woken.set(self.cell(index).remove_waker());
        }
        if state.is_timed() {
            // `Pool::forget_deadline`
            let mut timers = self.timers.lock().unwrap();
            if *timers == index {
                *timers = NONE;
            }
        }
    }

    /// What the kernel and the dequeuer write of the operation's result.
    fn transfer(&self, index: u32) {
        let cell = self.cell(index);
        let payload = replace(&cell.payload, None).expect("a payload in flight");
        replace(&cell.payload, Some(payload + TRANSFER));
        cell.result.with_mut(|result| unsafe { *result = payload });
    }

    /// The same of one that was cancelled.
    fn transfer_nothing(&self, index: u32) {
        let cell = self.cell(index);
        let payload = replace(&cell.payload, None).expect("a payload in flight");
        replace(&cell.payload, Some(payload));
        cell.result.with_mut(|result| unsafe { *result = payload.wrapping_sub(TRANSFER) });
    }

    /// `Dequeued::complete`.
    fn complete(self: &Rc<Self>, index: u32) -> Part {
        replace(&self.cell(index).context, None).expect("a context that nobody has moved out");
        self.part(index, Holder::Completion)
    }
}

/// A cell's place, and its address: no number that stands for something else.
fn place(index: u32) -> u32 {
    index * 4
}

fn at(place: u32) -> u32 {
    place / 4
}

fn replace(place: &UnsafeCell<Option<u32>>, value: Option<u32>) -> Option<u32> {
    // SAFETY: loom fails the test if anybody else uses the place.
    place.with_mut(|place| unsafe { std::mem::replace(&mut *place, value) })
}

fn read(place: &UnsafeCell<u32>) -> u32 {
    // SAFETY: loom fails the test if anybody else writes the place.
    place.with(|place| unsafe { *place })
}

impl Cell {
    /// Fails the test if anybody else uses the cell, but for a look at its word.
    fn own(&self) {
        self.handle.with_mut(|_| ());
        self.result.with_mut(|_| ());
        self.payload.with_mut(|_| ());
        self.context.with_mut(|_| ());
        self.waker.with_mut(|waker| assert_eq!(unsafe { *waker }, None, "a waker that stayed"));
    }

    fn remove_waker(&self) -> u32 {
        replace(&self.waker, None).expect("a waker that was offered")
    }
}

impl Part {
    fn cell(&self) -> &Cell {
        self.port.cell(self.index)
    }

    pub fn is_completion(&self) -> bool {
        self.holder == Holder::Completion
    }

    pub fn is_in_flight(&self) -> bool {
        self.cell().state.is_in_flight()
    }

    /// `Pending::take_buffer`.
    pub fn take_buffer(&self) -> Option<u32> {
        let state = &self.cell().state;
        (!state.is_in_flight() && state.take()).then(|| self.take_output())
    }

    /// `Finished::take_buffer`, which is `Cell::take_and_release`.
    pub fn take_and_release(self) -> Option<u32> {
        let state = &self.cell().state;
        let alone = state.is_exclusively_held_by(self.holder, true);
        let output = (alone || state.take()).then(|| self.take_output());
        if alone {
            self.gone.set(true);
            self.port.free(self.index);
        }
        output
    }

    /// `Cell::take_output`.
    fn take_output(&self) -> u32 {
        let output = replace(&self.cell().payload, None).expect("a payload that is there");
        assert_eq!(
            output,
            read(&self.cell().result).wrapping_add(TRANSFER),
            "another operation's result"
        );
        output
    }

    /// `Pending::result`: the operation's payload before the transfer.
    pub fn result(&self) -> Option<u32> {
        (!self.is_in_flight()).then(|| read(&self.cell().result))
    }

    /// `Pending::set_deadline`.
    pub fn set_deadline(&self) {
        if self.is_in_flight() {
            let mut timers = self.port.timers.lock().unwrap();
            *timers = self.index;
            if !self.cell().state.note_timed() {
                *timers = NONE;
            }
        }
    }

    /// `Pending::poll_completed`: whether the operation is over.
    pub fn poll(&self, waker: u32) -> bool {
        let Some(is_there) = self.cell().state.take_waker() else { return true };
        if is_there {
            self.cell().remove_waker();
        }
        // `EmptyPlace::put`
        assert_eq!(replace(&self.cell().waker, Some(waker)), None, "another waker's place");
        let is_offered = self.cell().state.offer_waker();
        if !is_offered {
            assert_eq!(self.cell().remove_waker(), waker);
        }
        !is_offered
    }

    /// `Pending::poll_end`.
    pub fn end(self) -> u32 {
        if self.cell().state.is_exclusively_pendings() {
            let output = self.take_output();
            self.gone.set(true);
            self.port.free(self.index);
            return output;
        }
        self.take_buffer().expect("it is over, and nobody has taken it")
    }

    /// `CellRef::take_waker`, as a future does that is dropped.
    pub fn take_waker(&self) -> Option<u32> {
        (self.cell().state.take_waker() == Some(true)).then(|| self.cell().remove_waker())
    }

    /// `cancel` of `Pending` and of `Borrowing`: on what.
    pub fn cancel(&self) {
        if self.is_in_flight() {
            assert_eq!(read(&self.cell().handle), self.index, "another operation's handle");
        }
    }

    /// The scope has ended, and its buffer is the program's again.
    pub fn use_buffer(&self) -> u32 {
        self.cell().payload.with(|payload| unsafe { (*payload).expect("it is only borrowed") })
    }
}

/// `Drop` of `Pending`, `Finished` and `Held`: `Cell::release_last`, but for the
/// first, and `Cell::finish`.
impl Drop for Part {
    fn drop(&mut self) {
        let Cell { state, payload, .. } = self.cell();
        let often_last = self.holder != Holder::Pending;
        if self.gone.get() {
            return;
        }
        // Alone, it does not look again.
        let alone = often_last && state.is_exclusively_held_by(self.holder, false);
        if alone || state.release(self.holder) {
            if alone || !state.is_taken() {
                replace(payload, None).expect("a payload that nobody has taken");
            }
            self.port.free(self.index);
        }
    }
}
