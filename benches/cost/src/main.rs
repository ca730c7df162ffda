//! Each row of the cost table, on the library and by hand, between two marks.
//!
//! The program does little of its own: `cargo xtask cost` runs it under a
//! tracer, which counts the instructions between the marks that belong to this
//! program's image. Region `2 * row` is by hand, `2 * row + 1` the library.
#![cfg_attr(not(all(windows, target_arch = "x86_64")), allow(unused))]

/// Runs one row: first uncounted, then between the marks. A macro, so that it
/// is one loop around one place, as in the programs that it stands for.
#[cfg(all(windows, target_arch = "x86_64"))]
macro_rules! measure {
    ($region:expr, $operation:block) => {
        for round in 0..$crate::WARM_UP + $crate::COUNTED {
            let counted = round >= $crate::WARM_UP;
            if counted {
                $crate::marks::begin($region);
            }
            $operation
            if counted {
                $crate::marks::end();
            }
        }
    };
}

#[cfg(all(windows, target_arch = "x86_64"))]
mod by_hand;
#[cfg(all(windows, target_arch = "x86_64"))]
mod library;

#[cfg(all(windows, target_arch = "x86_64"))]
use cost::{marks, objects};

/// What is compared, in the order of the table, and how many operations it is.
const ROWS: [(&str, usize); 10] = [
    ("post + dequeue", 1),
    ("socket send + receive", 2),
    ("file read", 1),
    ("pipe round trip", 4),
    ("cancel", 1),
    ("typed context", 1),
    ("batch of 64", 64),
    ("scope read", 1),
    ("file read into a Vec", 1),
    ("awaited file read", 1),
];

/// How often a row runs before it is counted, and how often it is counted.
const WARM_UP: usize = 100;
const COUNTED: usize = 5;

fn main() {
    // The tracer reads the names here, so that they stand in one place.
    for (row, operations) in ROWS {
        println!("{row},{operations}");
    }
    #[cfg(all(windows, target_arch = "x86_64"))]
    {
        by_hand::run();
        library::run();
    }
}
