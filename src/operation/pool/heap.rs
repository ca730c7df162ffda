//! What comes first of what each cell has one of: a heap in which cells know their places.

use crate::operation::cell::CellRef;

/// What is due, and which cell's it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// In ticks.
    pub due: u64,
    /// When the cell's timer goes off; [`NEVER`] if it is none, but has a deadline.
    pub fires: u64,
    pub cell: CellRef,
}

/// No tick.
pub(super) const NEVER: u64 = u64::MAX;

/// How many entries are behind each. Four of them are in two cache lines.
const WIDTH: usize = 4;

/// No entry is due before the one that it is behind. A cell that is in a heap has its place
/// there as its [number](crate::operation::cell::Cell::number).
#[derive(Debug, Default)]
pub(super) struct Heap(Vec<Entry>);

impl Heap {
    pub fn first(&self) -> Option<Entry> {
        self.0.first().copied()
    }

    /// Where the entry of a cell is, if there is one.
    pub fn find(&self, cell: CellRef) -> Option<usize> {
        let place = cell.number.place();
        self.0.get(place).is_some_and(|entry| entry.cell == cell).then_some(place)
    }

    pub fn entry(&self, place: usize) -> Entry {
        self.0[place]
    }

    pub fn push(&mut self, entry: Entry) {
        self.0.push(entry);
        self.rise(self.0.len() - 1);
    }

    pub fn remove(&mut self, place: usize) -> Entry {
        let removed = self.0.swap_remove(place);
        if place < self.0.len() {
            self.settle(place);
        }
        removed
    }

    pub fn set_due(&mut self, place: usize, due: u64) {
        self.0[place].due = due;
        self.settle(place);
    }

    fn settle(&mut self, place: usize) {
        if self.rise(place) == place {
            self.sink(place);
        }
    }

    /// Puts an entry before those that are due later; where that is.
    fn rise(&mut self, mut place: usize) -> usize {
        let entry = self.0[place];
        while let Some(above) = place.checked_sub(1).map(|before| before / WIDTH) {
            if self.0[above].due <= entry.due {
                break;
            }
            self.put(place, self.0[above]);
            place = above;
        }
        self.put(place, entry);
        place
    }

    /// Puts an entry behind those that are due before.
    fn sink(&mut self, mut place: usize) {
        let entry = self.0[place];
        loop {
            let first = place * WIDTH + 1;
            let behind = first..self.0.len().min(first + WIDTH);
            match behind.min_by_key(|behind| self.0[*behind].due) {
                Some(least) if self.0[least].due < entry.due => {
                    self.put(place, self.0[least]);
                    place = least;
                }
                _ => break,
            }
        }
        self.put(place, entry);
    }

    fn put(&mut self, place: usize, entry: Entry) {
        self.0[place] = entry;
        entry.cell.number.set_place(place);
    }
}
