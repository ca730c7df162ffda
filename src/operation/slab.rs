//! Where cells live: one reserved stretch of address space for each port,
//! committed as it is needed and never moved.
//!
//! Whether a packet's pointer is one of ours is a range check here, which
//! follows no pointer. Free cells form a stack whose head carries a tag
//! against reuse under a slow reader's eyes (the ABA problem); a cell is
//! allocated and freed with one compare-and-swap each.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicIsize, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::cell::Cell;
use crate::error::{Error, Result, refusal};
use crate::sys;

/// How many cells are committed at a time: 64 KiB.
const COMMIT_STEP: u32 = (64 * 1024 / size_of::<Cell>()) as u32;

/// The index that no operation uses: its address marks the packets that wake
/// threads when the port closes, and its number means "no more free cells".
const RESERVED: u32 = 0;

/// The most cells that the head of the free list can number.
pub(crate) const MAX_OPERATIONS: u32 = (1 << INDEX_BITS) - 2;

/// What a port is built for unless it is told: 128 MiB of address space, or 8
/// where that is scarce.
pub(crate) const DEFAULT_OPERATIONS: u32 =
    if cfg!(target_pointer_width = "64") { 1_048_575 } else { 65_535 };

const INDEX_BITS: u32 = 24;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;
const CLOSED: u64 = 1 << INDEX_BITS;
/// One step of the tag, which fills the bits above; it wraps after 5 * 10^11
/// allocations.
const TAG: u64 = CLOSED << 1;

#[derive(Debug)]
pub(crate) struct Slab {
    base: NonNull<Cell>,
    capacity: u32,
    /// Index of the first free cell, closed bit, tag.
    free: AtomicU64,
    /// The cells from here on have never been used.
    fresh: AtomicU32,
    /// How many cells have memory behind them.
    committed: Mutex<u32>,
    /// Once closed: the cells that are still held, as far as they are counted.
    held: AtomicIsize,
}

// SAFETY: The cells are shared by the protocol of `State` and of the free
// list; the rest is atomic or locked.
unsafe impl Send for Slab {}
// SAFETY: As above.
unsafe impl Sync for Slab {}

impl Slab {
    /// Reserves room for `operations` cells. The slab lives until
    /// [`close`](Self::close) and the end of the last cell.
    pub fn reserve(operations: u32) -> Result<NonNull<Slab>> {
        let capacity = operations + 1;
        let base = sys::reserve(capacity as usize * size_of::<Cell>())?;
        let slab = Box::new(Self {
            base: base.cast(),
            capacity,
            free: AtomicU64::new(u64::from(RESERVED)),
            fresh: AtomicU32::new(RESERVED + 1),
            committed: Mutex::new(0),
            held: AtomicIsize::new(0),
        });
        Ok(NonNull::from(Box::leak(slab)))
    }

    /// A cell that nobody else holds.
    #[inline]
    pub fn allocate(&self) -> Result<NonNull<Cell>> {
        let mut head = self.free.load(Ordering::Acquire);
        loop {
            let index = (head & INDEX_MASK) as u32;
            if index == RESERVED {
                return self.allocate_fresh();
            }
            let cell = self.cell(index);
            // SAFETY: Memory of a cell that has been used stays committed. If
            // another thread takes this cell first, what is read here may be
            // out of date, and the tag makes the exchange fail.
            let next = unsafe { cell.as_ref() }.next_free.load(Ordering::Relaxed);
            let rest = (head & !INDEX_MASK).wrapping_add(TAG) | u64::from(next);
            match self.free.compare_exchange_weak(head, rest, Ordering::Acquire, Ordering::Acquire)
            {
                Ok(_) => return Ok(cell),
                Err(now) => head = now,
            }
        }
    }

    /// A cell that has never been used.
    #[cold]
    fn allocate_fresh(&self) -> Result<NonNull<Cell>> {
        let mut committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        let index = self.fresh.load(Ordering::Relaxed);
        if index == self.capacity {
            return Err(Error::misuse(&refusal::TOO_MANY_OPERATIONS));
        }
        if index >= *committed {
            let count = COMMIT_STEP.min(self.capacity - *committed);
            let start = self.cell(*committed).cast();
            // SAFETY: The range lies within the reservation, which is released
            // only with the slab.
            unsafe { sys::commit(start, count as usize * size_of::<Cell>()) }?;
            *committed += count;
        }
        let cell = self.cell(index);
        // SAFETY: The memory is committed, zeroed, aligned, and nobody else's
        // until `fresh` is stored.
        unsafe { Cell::initialize(cell, NonNull::from(self)) };
        self.fresh.store(index + 1, Ordering::Release);
        Ok(cell)
    }

    /// Takes back a cell that has no holders and nothing in it. The cell, and
    /// the slab itself, may be gone afterwards.
    ///
    /// # Safety
    ///
    /// The cell is of this slab, the caller owns it alone, and uses neither it
    /// nor the slab afterwards, unless something else keeps the slab open.
    #[inline]
    pub unsafe fn free(slab: NonNull<Slab>, cell: NonNull<Cell>) {
        // SAFETY: The cell keeps the slab alive until it is on the list.
        let this = unsafe { slab.as_ref() };
        let index = this.index(cell.addr().get()).expect("a cell of this slab");
        let mut head = this.free.load(Ordering::Relaxed);
        loop {
            if head & CLOSED != 0 {
                // SAFETY: As the caller promises.
                return unsafe { Self::free_after_close(slab) };
            }
            let next = (head & INDEX_MASK) as u32;
            // SAFETY: The caller owns the cell.
            unsafe { cell.as_ref() }.next_free.store(next, Ordering::Relaxed);
            let with = head & !INDEX_MASK | u64::from(index);
            match this.free.compare_exchange_weak(head, with, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// The port is gone: no more cells are allocated. The memory goes when the
    /// last holder of a cell has let go of it, which may be now. Cells that
    /// the kernel never gives back keep it forever, because the kernel may
    /// still write to it.
    ///
    /// # Safety
    ///
    /// Nobody allocates any more, and the caller does not use the slab
    /// afterwards.
    pub unsafe fn close(slab: NonNull<Slab>) {
        // SAFETY: The slab is not closed yet, so it exists.
        let this = unsafe { slab.as_ref() };
        let mut index = (this.free.fetch_or(CLOSED, Ordering::AcqRel) & INDEX_MASK) as u32;
        let used = this.fresh.load(Ordering::Acquire) - (RESERVED + 1);
        let mut held = used as isize;
        while index != RESERVED {
            held -= 1;
            // SAFETY: The list is closed: its cells stay as they are.
            index = unsafe { this.cell(index).as_ref() }.next_free.load(Ordering::Relaxed);
        }
        // Cells that were freed since then have been counted below zero.
        if this.held.fetch_add(held, Ordering::AcqRel) + held == 0 {
            // SAFETY: Nobody holds a cell, and the caller was the last user.
            unsafe { Self::destroy(slab) };
        }
    }

    /// # Safety
    ///
    /// As for [`free`](Self::free), of a slab that is closed.
    #[cold]
    unsafe fn free_after_close(slab: NonNull<Slab>) {
        // SAFETY: The caller's cell is counted as held until here.
        let before = unsafe { slab.as_ref() }.held.fetch_sub(1, Ordering::AcqRel);
        if before == 1 {
            // SAFETY: That was the last cell of a closed slab. While `close`
            // is still counting, the number is 0 or less before this.
            unsafe { Self::destroy(slab) };
        }
    }

    /// # Safety
    ///
    /// The slab is closed, no cell of it is held, and nobody else knows it.
    unsafe fn destroy(slab: NonNull<Slab>) {
        // SAFETY: By the caller's word nobody else knows the slab any more.
        let this = unsafe { Box::from_raw(slab.as_ptr()) };
        for cell in this.used_cells() {
            // SAFETY: The cell is free.
            unsafe { Cell::release_spill(cell) };
        }
        // SAFETY: No cell is in use, by the kernel either.
        unsafe { sys::release(this.base.cast()) };
    }

    /// The cell whose `OVERLAPPED` is at `address`, if that is the address of
    /// one of ours that the kernel holds. Follows no foreign pointer.
    #[inline]
    pub fn in_flight(&self, address: usize) -> Option<NonNull<Cell>> {
        let index = self.index(address)?;
        if index == RESERVED || index >= self.fresh.load(Ordering::Acquire) {
            return None;
        }
        let cell = self.cell(index);
        // SAFETY: Cells below `fresh` are initialised.
        unsafe { cell.as_ref() }.state.is_in_flight().then_some(cell)
    }

    /// The address that the packets carry which wake threads from a port that
    /// is being closed.
    pub fn close_marker(&self) -> usize {
        self.base.addr().get()
    }

    /// All cells that the kernel holds at the time they are asked for.
    pub fn all_in_flight(&self) -> impl Iterator<Item = NonNull<Cell>> + '_ {
        // SAFETY: Cells below `fresh` are initialised.
        self.used_cells().filter(|cell| unsafe { cell.as_ref() }.state.is_in_flight())
    }

    fn used_cells(&self) -> impl Iterator<Item = NonNull<Cell>> + '_ {
        (RESERVED + 1..self.fresh.load(Ordering::Acquire)).map(|index| self.cell(index))
    }

    #[inline]
    fn index(&self, address: usize) -> Option<u32> {
        let offset = address.wrapping_sub(self.base.addr().get());
        let index = offset / size_of::<Cell>();
        (offset % size_of::<Cell>() == 0 && index < self.capacity as usize).then_some(index as u32)
    }

    #[inline]
    fn cell(&self, index: u32) -> NonNull<Cell> {
        debug_assert!(index < self.capacity);
        // SAFETY: The index is within the reservation.
        unsafe { self.base.add(index as usize) }
    }
}
