//! Many operations in flight, and many idle handles, on the library and by
//! hand: what memory they take, and whether one more operation costs the same.
//!
//! `cargo xtask memory` runs it, and counts the instructions between the marks.
//! It prints a line for the handles and one for each depth: what it is, the
//! bytes of each by hand, and on the library.
#![cfg_attr(not(all(windows, target_arch = "x86_64")), allow(unused))]

#[cfg(all(windows, target_arch = "x86_64"))]
mod by_hand;
#[cfg(all(windows, target_arch = "x86_64"))]
mod heap;
#[cfg(all(windows, target_arch = "x86_64"))]
mod library;
#[cfg(all(windows, target_arch = "x86_64"))]
mod space;

use std::fmt::Display;

/// How many operations are in flight.
const DEPTHS: [usize; 6] = [1, 10, 100, 1_000, 10_000, 100_000];

/// How many handles are idle.
const HANDLES: usize = 1_000;

/// How often an operation is counted at each depth, after as many that are not.
const COUNTED: usize = 5;

fn main() {
    #[cfg(all(windows, target_arch = "x86_64"))]
    {
        let print = |about: &dyn Display, by_hand: usize, library: usize, count| {
            println!("{about},{},{}", by_hand.div_ceil(count), library.div_ceil(count));
        };
        print(&"handle", by_hand::idle(HANDLES), library::idle(HANDLES), HANDLES);
        for (depth, region) in DEPTHS.into_iter().zip((0..).step_by(2)) {
            let (by_hand, library) =
                (by_hand::in_flight(depth, region), library::in_flight(depth, region + 1));
            print(&depth, by_hand, library, depth);
        }
    }
}

/// Counts the dequeueing of an operation and the start of another.
#[cfg(all(windows, target_arch = "x86_64"))]
fn measure(region: usize, mut operation: impl FnMut()) {
    for _ in 0..COUNTED {
        operation();
    }
    for _ in 0..COUNTED {
        cost::marks::begin(region);
        operation();
        cost::marks::end();
    }
}
