//! Marks for the tracer: prefetches at displacements that nothing else uses.
//! A prefetch never faults, so without a tracer they do nothing.

use std::arch::asm;

#[inline(never)]
pub fn begin(region: usize) {
    // SAFETY: A prefetch reads nothing that could be observed.
    unsafe { asm!("prefetchnta [rax + 0x0C0575A1]", in("rcx") region, options(nostack)) }
}

#[inline(never)]
pub fn end() {
    // SAFETY: As above.
    unsafe { asm!("prefetchnta [rax + 0x0C0575A2]", options(nostack)) }
}
