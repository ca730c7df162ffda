//! loom's atomics, each use of which is a place to change threads.
//!
//! loom tries another order only where two accesses to the same atomic
//! collide, and compares each with the last one alone: a thread's own load
//! hides the earlier one of another thread, and orders are left out. So every
//! access here goes by a turnstile first, which orders nothing, and where all
//! collide.

use std::ops::Deref;

use loom::sync::atomic;
pub use loom::sync::atomic::Ordering;

macro_rules! atomics {
    ($($name:ident: $integer:ty),*) => {
        $(
            #[derive(Debug, Default)]
            pub struct $name {
                turnstile: atomic::AtomicBool,
                value: atomic::$name,
            }

            impl $name {
                pub fn new(value: $integer) -> Self {
                    Self { turnstile: atomic::AtomicBool::default(), value: atomic::$name::new(value) }
                }
            }

            impl Deref for $name {
                type Target = atomic::$name;

                fn deref(&self) -> &Self::Target {
                    self.turnstile.swap(false, Ordering::Relaxed);
                    &self.value
                }
            }
        )*
    };
}

atomics!(AtomicIsize: isize, AtomicU32: u32, AtomicU64: u64, AtomicUsize: usize);

impl AtomicUsize {
    /// Whoever has the chain at hand puts it back with a plain store, while
    /// others swap. What a swap has read and what it writes are next to each
    /// other in the order of all writes, so that store comes after all swaps
    /// that have found the chain busy. loom loses track of that unless it is a
    /// swap, too, which is the same where nobody else stores.
    pub fn store(&self, value: usize, ordering: Ordering) {
        self.swap(value, ordering);
    }
}
