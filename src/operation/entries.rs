//! Packets that have been dequeued together, and wait to be looked at.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::task::Waker;

use super::cell::CellRef;
use super::cells::Cells;
use super::completion::{CompletionStatus, Dequeued};
use crate::error::{Result, STATUS_PENDING};
use crate::panics;
use crate::sys::{Entry, Packet};

/// The storage of a batch: the system's own entries. What is found out about a
/// packet is put down in its place. To be emptied before it is dropped.
pub(crate) struct CompletionEntries<C> {
    entries: Box<[Entry]>,
    /// From here to the `end`, each entry is a completion, which holds its cell,
    /// whose context is a `C`; or it has the status `NOT_A_COMPLETION`.
    start: usize,
    end: usize,
    /// Of who waits for what was dequeued.
    wakers: Vec<Waker>,
    contexts: PhantomData<Dequeued<C>>,
}

/// The status of a packet that completes nothing. No operation that is over has
/// it.
const NOT_A_COMPLETION: u32 = STATUS_PENDING;

/// The status of a packet that is not kept. No operation that is over has it: it is what
/// a status word says that was taken.
const DISCARDED: u32 = 0xD000_0103;

/// Moves what is kept to the front, in order. How much that is.
#[cold]
fn compact(entries: &mut [Entry]) -> usize {
    let mut kept = 0;
    for index in 0..entries.len() {
        if entries[index].status() != DISCARDED {
            entries.swap(kept, index);
            kept += 1;
        }
    }
    kept
}

impl<C> CompletionEntries<C> {
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            entries: (0..capacity).map(|_| Entry::EMPTY).collect(),
            start: 0,
            end: 0,
            wakers: Vec::new(),
            contexts: PhantomData,
        }
    }

    pub fn capacity(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Lets `dequeue` put packets behind those that are here already, as far as
    /// there is room, and say how many. Those that complete nothing are kept if
    /// `is_foreign` says so of them. `false` if there was no room.
    pub fn fill(
        &mut self,
        cells: &Cells<C>,
        dequeue: impl FnOnce(&mut [Entry]) -> Result<usize>,
        mut is_foreign: impl FnMut(Packet) -> bool,
    ) -> Result<bool> {
        if self.len() > 0 {
            self.entries[..self.end].rotate_left(self.start);
        }
        (self.start, self.end) = (0, self.len());
        let room = &mut self.entries[self.end..];
        if room.is_empty() {
            return Ok(false);
        }
        let count = dequeue(room)?;
        let mut is_discarded = false;
        for entry in &mut room[..count] {
            if !try_complete(cells, entry, &mut self.wakers) {
                let packet = entry.packet();
                let is_foreign = is_foreign(packet);
                entry.store_status(if is_foreign { NOT_A_COMPLETION } else { DISCARDED });
                is_discarded |= !is_foreign;
            }
        }
        let kept = if is_discarded { compact(&mut room[..count]) } else { count };
        self.end += kept;
        Ok(true)
    }

    /// Wakes who waits for what was dequeued.
    #[inline]
    pub fn wake(&mut self) {
        if !self.wakers.is_empty() {
            panics::wake_all(&mut self.wakers);
        }
    }

    /// Takes out the first: a completion, or a packet that completes nothing.
    #[inline(always)]
    pub fn next(&mut self) -> Option<Result<CompletionStatus<C>, Packet>> {
        if self.start == self.end {
            return None;
        }
        // SAFETY: No rule of a cell's: it is before the end, which is in the storage, or
        // behind it.
        let entry = unsafe { self.entries.get_unchecked(self.start) };
        self.start += 1;
        // SAFETY: Rule 6: what has not the status `NOT_A_COMPLETION` is a completion,
        // which is moved out here.
        unsafe {
            match entry.status() {
                // Apart from the others, so that it is known to be a success.
                0 => Some(Ok(complete(entry, 0))),
                NOT_A_COMPLETION => Some(Err(entry.packet())),
                status => Some(Ok(complete(entry, status))),
            }
        }
    }
}

/// Finds the operation that a packet completes, and puts its completion down
/// in the packet's place.
#[inline(always)]
fn try_complete<C>(cells: &Cells<C>, entry: &mut Entry, wakers: &mut Vec<Waker>) -> bool {
    let Some(found) = cells.find(entry.overlapped().addr()) else { return false };
    let Err(taken) = found.try_complete_exclusive(|operation| operation.store_in(entry)) else {
        return true;
    };
    match found.try_complete(taken, entry.packet().bytes) {
        Some((operation, waker)) => {
            operation.store_in(entry);
            wakers.extend(waker);
            true
        }
        None => false,
    }
}

/// # Safety
///
/// Rules 5 and 6: the entry has a completion with this status, which is moved out; its
/// context is a `C`.
#[inline(always)]
unsafe fn complete<C>(entry: &Entry, status: u32) -> CompletionStatus<C> {
    let Packet { key, bytes, .. } = entry.packet();
    // SAFETY: Rules 5 and 6, by the caller's promise.
    unsafe {
        let cell = CellRef::new(NonNull::new_unchecked(entry.overlapped().cast()));
        Dequeued::new(cell, status, bytes).complete(key)
    }
}
