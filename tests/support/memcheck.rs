//! Tells Valgrind's memcheck which memory is in use: `cargo xtask memcheck`.
//!
//! What is freed is not given out again, so that whoever writes to it later is
//! found out: this program, or Wine for an operation that was not over.

use std::alloc::{GlobalAlloc, Layout, System};
use std::arch::asm;
use std::num::NonZero;
use std::ptr;

use windows_sys::Win32::System::IO::OVERLAPPED;

#[global_allocator]
static ANNOUNCED: Announced = Announced;

/// The system's allocator, whose blocks Valgrind knows.
struct Announced;

/// What lies before and behind each block and is nobody's to touch.
const MARGIN: usize = 64;

// SAFETY: The system's blocks, each of which is larger than the block within it
// that is given out. Nothing is freed.
unsafe impl GlobalAlloc for Announced {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: The caller's promise; the size has only grown.
        within(layout, |layout| unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: As above.
        within(layout, |layout| unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        retract(block.addr(), MARGIN);
    }
}

/// A block within one that `allocate` makes, with margins on both sides.
fn within(layout: Layout, allocate: impl FnOnce(Layout) -> *mut u8) -> *mut u8 {
    let margin = MARGIN.max(layout.align());
    let Ok(larger) = Layout::from_size_align(layout.size() + 2 * margin, margin) else {
        return ptr::null_mut();
    };
    let start = allocate(larger);
    if start.is_null() {
        return start;
    }
    let block = start.wrapping_add(margin);
    announce(block.addr(), layout.size(), MARGIN);
    block
}

/// The library is about to use this cell: its `OVERLAPPED` is at its start. The first word
/// may be looked at in free cells, too: it says that there is no status to be taken.
#[unsafe(no_mangle)]
extern "Rust" fn memcheck_cell_in_use(cell: NonZero<usize>) {
    announce(cell.get() + STATUS, size_of::<OVERLAPPED>() - STATUS, 0);
}

/// The library has got this cell back.
#[unsafe(no_mangle)]
extern "Rust" fn memcheck_cell_free(cell: NonZero<usize>) {
    retract(cell.get() + STATUS, 0);
}

/// What the status takes of an `OVERLAPPED`.
const STATUS: usize = size_of::<usize>();

/// `VALGRIND_MALLOCLIKE_BLOCK`: these bytes may be used.
fn announce(block: usize, size: usize, margin: usize) {
    request([0x1301, block, size, margin, 0, 0]);
}

/// `VALGRIND_FREELIKE_BLOCK`: they may not any more.
fn retract(block: usize, margin: usize) {
    request([0x1302, block, margin, 0, 0, 0]);
}

/// A client request. The rotations leave the register as it was, and the
/// exchange does nothing; Valgrind knows the sequence (`valgrind.h`).
fn request(words: [usize; 6]) {
    // SAFETY: Nothing changes but the two registers that are said to.
    unsafe {
        asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") words.as_ptr(),
            inout("rdx") 0_usize => _,
            inout("rdi") 0_usize => _,
            options(nostack),
        );
    }
}
