//! Where cells live: one reserved stretch of address space for each port,
//! committed as it is needed and never moved.
//!
//! Whether a packet's pointer is one of ours is a range check here, which
//! follows no pointer. Of the cells that have been used and are free, most are
//! in the [`Cache`]; where threads get in each other's way, they use the
//! [`FreeList`].

mod cache;
mod free_list;
#[cfg(test)]
mod free_list_tests;
mod heap;
mod timers;

use std::collections::VecDeque;
use std::mem;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::atomic::{AtomicU32, AtomicUsize, Ordering};
use self::cache::{BUSY, Cache, is_cell, is_open};
use self::free_list::{FreeList, NONE};
use self::timers::Timers;
use super::cell::{Cell, CellRef, EmptyCell};
// For the files in here, too.
use super::{atomic, yield_now};
use crate::error::{Error, Result, refusal};
use crate::sys::{self, Waits};

/// What a cell takes. Its *index* is how far it is from the start, in bytes.
const SIZE: u32 = size_of::<Cell>() as u32;

/// How many cells are committed at a time: 64 KiB.
const COMMIT_STEP: u32 = 64 * 1024 / SIZE;

/// The index that no operation uses: its address marks the packets that wake
/// threads when the port closes.
const RESERVED: u32 = NONE;

/// So many cells that were in quarantine are not used again as long as there are others.
const KEPT_BACK: usize = 64;

/// How far the address of a stale cell's release marker is from the cell's: no
/// `OVERLAPPED` is there.
const RELEASE: usize = 1;

/// Where behind the close marker the marker of the clock is.
const CLOCK: usize = 2;

/// The most operations that a port is built for: 2 GiB of address space.
pub(crate) const MAX_OPERATIONS: u32 = (1 << 24) - 2;

/// What a port is built for unless it is told: 128 MiB of address space, or 8
/// where that is scarce.
pub(crate) const DEFAULT_OPERATIONS: u32 =
    if cfg!(target_pointer_width = "64") { 1_048_575 } else { 65_535 };

#[derive(Debug)]
pub(crate) struct Pool {
    /// The allocation's own pointer: whoever frees the last cell frees the pool
    /// through it, which a pointer made from a reference would not allow.
    own: NonNull<Pool>,
    base: NonNull<Cell>,
    /// The first cell that operations use.
    first: NonNull<Cell>,
    /// How many cells have been used, the first ones.
    used: AtomicUsize,
    cache: Cache,
    free: FreeList,
    capacity: u32,
    /// How many cells have memory behind them.
    committed: Mutex<u32>,
    reclaimed: Mutex<VecDeque<EmptyCell>>,
    waits: Arc<Waits>,
    pub timers: Timers,
}

// SAFETY: Rules 4, 6 and 7 share the cells; the rest is atomic or locked.
unsafe impl Send for Pool {}
// SAFETY: Rules 4, 6 and 7 share the cells; the rest is atomic or locked.
unsafe impl Sync for Pool {}

impl Pool {
    /// Reserves room for `operations` cells. The pool lives until
    /// [`close`](Self::close) and the end of the last cell.
    pub fn reserve(operations: u32) -> Result<NonNull<Pool>> {
        let capacity = operations + 1;
        let base = sys::reserve(capacity as usize * size_of::<Cell>())?.cast::<Cell>();
        let pool = Box::into_raw(Box::new(Self {
            own: NonNull::dangling(),
            base,
            // SAFETY: Rule 1: there is one operation at least, so this is a cell.
            first: unsafe { base.byte_add((RESERVED + SIZE) as usize) },
            used: AtomicUsize::new(0),
            cache: Cache::new(),
            free: FreeList::new(),
            capacity,
            committed: Mutex::new(0),
            reclaimed: Mutex::default(),
            waits: Arc::default(),
            timers: Timers::default(),
        }));
        // SAFETY: Rule 1: the allocation is new: not null, and nobody else's yet.
        unsafe {
            let own = NonNull::new_unchecked(pool);
            (*pool).own = own;
            Ok(own)
        }
    }

    /// The pool that a cell is of.
    #[inline(always)]
    fn of(cell: CellRef) -> *mut Pool {
        cell.pool().cast()
    }

    /// A cell that nobody else holds.
    #[inline]
    pub fn allocate(&self) -> Result<EmptyCell> {
        let first = self.cache.try_lock();
        let cell = if is_cell(first) {
            Ok(self.take_first(first))
        } else {
            self.allocate_elsewhere(first)
        };
        #[cfg(memcheck)]
        cell.iter().for_each(|cell| memcheck_cell_in_use(cell.cell().as_ptr().addr()));
        cell
    }

    /// Takes the first cell of the cache, which is locked.
    #[inline]
    fn take_first(&self, first: usize) -> EmptyCell {
        // SAFETY: Rule 7: the cells in the cache are empty, and who has locked it owns them.
        let cell = unsafe { EmptyCell::new(self.known(first)) };
        self.cache.unlock(cell.next_cached());
        cell
    }

    /// A cell where the cache is empty, or locked by somebody else.
    #[cold]
    #[inline(never)]
    fn allocate_elsewhere(&self, mut first: usize) -> Result<EmptyCell> {
        // Who has locked the cache does so for a short time, unless its thread is put to
        // sleep just then.
        let mut patience = 100;
        loop {
            let list = self.free.version();
            self.cache.unlock_unless_busy(first);
            if let Some(index) = self.free.pop(|index| self.link(index)) {
                // SAFETY: Rule 7: the cells on the list are empty.
                return Ok(unsafe { EmptyCell::new(self.used(index)) });
            }
            if first != BUSY || patience == 0 {
                let refused = match self.allocate_fresh() {
                    Err(refused) => refused,
                    allocated => return allocated,
                };
                first = self.cache.try_lock_again();
                // With nothing in the cache, and nothing on the list before and after that
                // was seen, there is none. If somebody has the cache, nobody can tell yet.
                if first == cache::NONE && self.free.version() == list {
                    self.cache.unlock(first);
                    return Err(refused);
                }
            } else {
                patience -= 1;
                first = self.cache.try_lock_again();
            }
            if is_cell(first) {
                return Ok(self.take_first(first));
            }
        }
    }

    /// A cell that has never been used.
    #[cold]
    fn allocate_fresh(&self) -> Result<EmptyCell> {
        let mut committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = self.take_reclaimed(KEPT_BACK) {
            return Ok(cell);
        }
        let index = self.used.load(Ordering::Relaxed) as u32 + 1;
        if index == self.capacity {
            // Those that late packets may still be of come last.
            if let Some(cell) = self.take_reclaimed(0) {
                return Ok(cell);
            }
            return Err(Error::usage(&refusal::TOO_MANY_OPERATIONS));
        }
        if index >= *committed {
            let count = COMMIT_STEP.min(self.capacity - *committed);
            let start = self.cell(*committed * SIZE).cast();
            // SAFETY: Rule 1: the range lies within the reservation, which is released
            // only with the pool.
            if let Err(error) = unsafe { sys::commit(start, (count * SIZE) as usize) } {
                return self.take_reclaimed(0).ok_or(error);
            }
            *committed += count;
        }
        let cell = self.cell(index * SIZE);
        // SAFETY: Rule 1: the memory is committed, zeroed, aligned, and nobody else's
        // until it counts as used.
        let cell = unsafe { CellRef::initialize(cell, self.own.cast()) };
        self.used.store(index as usize, Ordering::Release);
        Ok(cell)
    }

    /// Takes back a cell. The pool itself may be gone afterwards.
    #[inline]
    pub fn free(mut cell: EmptyCell) {
        #[cfg(memcheck)]
        memcheck_cell_free(cell.cell().as_ptr().addr());
        // SAFETY: Rule 7: the cell keeps the pool until it counts as free.
        let cache = unsafe { &(*Self::of(cell.cell())).cache };
        let first = cache.try_lock();
        if is_open(first) {
            cell.set_next_cached(first);
            cache.unlock(cell.cell().address());
        } else {
            Self::free_elsewhere(cell, first);
        }
    }

    #[cold]
    #[inline(never)]
    fn free_elsewhere(cell: EmptyCell, first: usize) {
        // SAFETY: Rule 7: the cell keeps the pool.
        unsafe { &(*Self::of(cell.cell())).cache }.unlock_unless_busy(first);
        Self::free_to_list(cell);
    }

    /// Takes back a cell whose operation was not started.
    pub fn free_unused(mut cell: EmptyCell) {
        cell.cell().state.clear();
        cell.overflow().shrink();
        Self::free(cell);
    }

    /// Takes back a cell where the cache is closed, or locked by somebody else.
    #[cold]
    #[inline(never)]
    fn free_to_list(cell: EmptyCell) {
        let cell = cell.into_cell();
        let pool = Self::of(cell);
        // SAFETY: Rule 7: the cell keeps the pool until it counts as free. If it was the
        // last cell of a closed pool, nobody else knows that.
        unsafe {
            if (*pool).free.push((*pool).index(cell), cell.number.next_free()) {
                Self::destroy(pool);
            }
        }
    }

    /// The one that was reclaimed first, if there are more than so many.
    fn take_reclaimed(&self, kept_back: usize) -> Option<EmptyCell> {
        let mut reclaimed = self.reclaimed();
        if reclaimed.len() > kept_back { reclaimed.pop_front() } else { None }
    }

    /// The cells that were in quarantine, which are used after many others.
    fn reclaimed(&self) -> MutexGuard<'_, VecDeque<EmptyCell>> {
        self.reclaimed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The port is gone: no more cells are allocated. The memory goes when the
    /// last holder of a cell has let go of it, which may be now. Cells that
    /// the kernel never gives back keep it forever, because the kernel may
    /// still write to it.
    ///
    /// # Safety
    ///
    /// Rule 7: nobody allocates any more, and the caller does not use the pool
    /// afterwards.
    pub unsafe fn close(pool: NonNull<Pool>) {
        // SAFETY: Rule 7: the pool is not closed yet, so it exists.
        let this = unsafe { pool.as_ref() };
        let mut address = this.cache.close();
        while address != cache::NONE {
            // SAFETY: Rule 7: it is empty, and nobody else takes it. The list is not
            // closed yet, so the pool stays.
            let cell = unsafe { EmptyCell::new(this.known(address)) };
            address = cell.next_cached();
            Self::free_to_list(cell);
        }
        let reclaimed = mem::take(&mut *this.reclaimed());
        reclaimed.into_iter().for_each(Self::free_to_list);
        let used = this.used.load(Ordering::Acquire) as u32;
        if this.free.close(used, |index| this.link(index)) {
            // SAFETY: Rule 7: nobody holds a cell, and the caller was the last user.
            unsafe { Self::destroy(pool.as_ptr()) };
        }
    }

    /// # Safety
    ///
    /// Rule 7: the pool is closed, no cell of it is held, and nobody else knows it.
    #[cold]
    unsafe fn destroy(pool: *mut Pool) {
        // SAFETY: Rule 7, by the caller's promise.
        let this = unsafe { Box::from_raw(pool) };
        for cell in this.used_cells() {
            // SAFETY: Rule 7: it is free.
            unsafe { EmptyCell::new(cell) }.overflow().release();
        }
        // SAFETY: Rule 7: no cell is in use, by the system either.
        unsafe { sys::release(this.base.cast()) };
    }

    /// Whether a packet with this address is one that is not to be seen: it is
    /// for a stale cell, or says that such a cell is of use again.
    pub fn discard_late_packet(&self, address: usize) -> bool {
        if self.is_late_packet(address) {
            return true;
        }
        let Some(cell) = self.find(address.wrapping_sub(RELEASE)) else { return false };
        if !cell.state.reclaim() {
            return false;
        }
        // SAFETY: Rule 7: it is empty, and the packets that were queued before this one
        // have been dequeued. A thread may still have one in hand: so it is used after
        // many others.
        self.reclaimed().push_back(unsafe { EmptyCell::new(cell) });
        true
    }

    /// Whether a packet with this address is one that comes too late, for a cell that
    /// waits for it.
    pub fn is_late_packet(&self, address: usize) -> bool {
        self.find(address).is_some_and(|cell| cell.state.awaits_late_packet())
    }

    /// The address that the packet carries which makes a stale cell of use
    /// again.
    pub fn release_marker(cell: CellRef) -> usize {
        cell.address() + RELEASE
    }

    /// Takes back the cells whose packets have not come. The port is closed:
    /// none will.
    pub fn reclaim_all(&self) {
        for cell in self.used_cells() {
            if cell.state.reclaim() {
                // SAFETY: Rule 7: it is empty.
                Self::free(unsafe { EmptyCell::new(cell) });
            }
        }
    }

    /// The cell whose `OVERLAPPED` is at `address`, if it is one that has been
    /// used. Follows no foreign pointer.
    #[inline]
    pub fn find(&self, address: usize) -> Option<CellRef> {
        let offset = address.wrapping_sub(self.first.addr().get());
        // One comparison asks for all: turned like this, an offset within a
        // cell is a huge number, as is one below the first cell.
        let number = offset.rotate_right(size_of::<Cell>().trailing_zeros());
        if number >= self.used.load(Ordering::Acquire) {
            return None;
        }
        Some(self.known(address))
    }

    /// The cell whose `OVERLAPPED` is at `address`: one that has been used.
    #[inline]
    fn known(&self, address: usize) -> CellRef {
        debug_assert_ne!(address, 0);
        // SAFETY: Rule 1: the address is that of a cell that has been used, so not null. Who
        // borrows the pool keeps it open.
        unsafe { CellRef::new(self.first.with_addr(NonZeroUsize::new_unchecked(address))) }
    }

    /// The waits that are registered.
    pub fn waits(&self) -> &Arc<Waits> {
        &self.waits
    }

    /// The waits of the pool that a cell is of.
    pub fn waits_of(cell: CellRef) -> Arc<Waits> {
        // SAFETY: Rule 7: who holds a cell, or borrows its pool, keeps that.
        Arc::clone(unsafe { &(*Self::of(cell)).waits })
    }

    /// Cancels a wait, if it is not over; whether it does so.
    #[cold]
    pub fn cancel_wait(cell: CellRef) -> Result<bool> {
        Self::waits_of(cell).cancel(cell.address())
    }

    /// The address that the packets carry which wake threads from a port that
    /// is being closed.
    pub fn close_marker(&self) -> usize {
        self.base.addr().get()
    }

    /// The address that the packets carry which say that a timer may be due.
    pub fn clock_marker(&self) -> usize {
        self.close_marker() + CLOCK
    }

    /// All cells that the kernel holds at the time they are asked for.
    pub fn all_in_flight(&self) -> impl Iterator<Item = CellRef> + '_ {
        self.used_cells().filter(|cell| cell.state.is_in_flight())
    }

    /// Where a cell that has been used keeps the index of the next free one.
    #[inline]
    fn link(&self, index: u32) -> &AtomicU32 {
        // SAFETY: Rule 1: memory of a cell that has been used stays committed.
        unsafe { self.cell(index).as_ref() }.number.next_free()
    }

    /// The cell at this index, which has been used.
    #[inline]
    fn used(&self, index: u32) -> CellRef {
        // SAFETY: Rule 1: who borrows the pool keeps it open.
        unsafe { CellRef::new(self.cell(index)) }
    }

    fn used_cells(&self) -> impl Iterator<Item = CellRef> + '_ {
        let used = self.used.load(Ordering::Acquire) as u32;
        (1..=used).map(|index| self.used(index * SIZE))
    }

    /// The index of one of our cells.
    #[inline]
    fn index(&self, cell: CellRef) -> u32 {
        (cell.address() - self.base.addr().get()) as u32
    }

    /// The cell at this index.
    #[inline]
    fn cell(&self, index: u32) -> NonNull<Cell> {
        debug_assert!(index % SIZE == 0 && index / SIZE < self.capacity);
        // SAFETY: Rule 1: the index is within the reservation.
        unsafe { self.base.byte_add(index as usize) }
    }
}

// The `OVERLAPPED` of a free cell is nobody's to touch.
// SAFETY: As tests/support/memcheck.rs defines them.
#[cfg(memcheck)]
unsafe extern "Rust" {
    safe fn memcheck_cell_in_use(cell: NonZeroUsize);
    safe fn memcheck_cell_free(cell: NonZeroUsize);
}

const _: () = assert!(SIZE.is_power_of_two() && RESERVED == 0);
const _: () = assert!(MAX_OPERATIONS < u32::MAX / SIZE, "the most places that there are");

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// A pool whose cells are freed before it is dropped.
    struct Open(NonNull<Pool>);

    // SAFETY: A pool is for all threads.
    unsafe impl Sync for Open {}

    impl Open {
        fn reserve(operations: u32) -> Self {
            Self(Pool::reserve(operations).unwrap())
        }

        fn pool(&self) -> &Pool {
            // SAFETY: It is closed when this is dropped.
            unsafe { self.0.as_ref() }
        }

        fn allocate(&self) -> Result<CellRef> {
            self.pool().allocate().map(|cell| cell.cell())
        }

        fn free(cell: CellRef) {
            // SAFETY: The tests free what they have allocated.
            Pool::free(unsafe { EmptyCell::new(cell) });
        }

        fn free_all(cells: &[CellRef]) {
            for cell in cells {
                Self::free(*cell);
            }
        }
    }

    impl Drop for Open {
        fn drop(&mut self) {
            // SAFETY: Nobody uses it any more.
            unsafe { Pool::close(self.0) };
        }
    }

    #[test]
    fn what_was_freed_last_is_used_first() {
        let open = Open::reserve(3);
        let cells = [(); 3].map(|()| open.allocate().unwrap());
        assert!(open.allocate().is_err());
        Open::free_all(&cells);
        let again = [(); 3].map(|()| open.allocate().unwrap());
        assert_eq!(again, [cells[2], cells[1], cells[0]]);
        Open::free_all(&again);
    }

    #[test]
    fn nobody_is_kept_waiting_by_a_thread_that_has_the_chain() {
        let open = Open::reserve(3);
        let cell = open.allocate().unwrap();
        Open::free(cell);
        let first = open.pool().cache.try_lock();
        let fresh = open.allocate().unwrap();
        assert_ne!(fresh, cell);
        // It goes to the list, and comes back from there.
        Open::free(fresh);
        assert_eq!(open.allocate(), Ok(fresh));
        open.pool().cache.unlock(first);
        assert_eq!(open.allocate(), Ok(cell));
        Open::free_all(&[cell, fresh]);
    }

    #[test]
    fn the_last_cell_is_found_though_a_thread_has_the_chain() {
        let open = Open::reserve(1);
        let cell = open.allocate().unwrap();
        Open::free(cell);
        for _ in 0..20 {
            let first = open.pool().cache.try_lock();
            let (starts, started) = mpsc::channel();
            thread::scope(|scope| {
                scope.spawn(|| {
                    starts.send(()).unwrap();
                    Open::free(open.allocate().expect("there is one"));
                });
                started.recv().unwrap();
                // Longer than the other thread is patient.
                (0..1000).for_each(|_| yield_now());
                open.pool().cache.unlock(first);
            });
        }
    }

    #[test]
    fn a_cell_that_was_in_quarantine_is_used_after_all_others() {
        let open = Open::reserve(3);
        let cells = [(); 2].map(|()| open.allocate().unwrap());
        // SAFETY: It was allocated here.
        unsafe { EmptyCell::new(cells[0]) }.into_quarantine();
        assert!(open.pool().discard_late_packet(Pool::release_marker(cells[0])));
        Open::free(cells[1]);
        let again = [(); 3].map(|()| open.allocate().unwrap());
        assert_eq!((again[0], again[2]), (cells[1], cells[0]), "the third was never used");
        assert!(open.allocate().is_err());
        Open::free_all(&again);
    }
}
