//! What is broken, and which test has to notice.

use std::fmt;

/// One line of the library, made wrong.
pub struct Mutation {
    pub name: &'static str,
    pub file: &'static str,
    /// What stands there: a line, or as much of it as is unique in the file.
    pub before: &'static str,
    pub after: &'static str,
    /// What is wrong then.
    pub why: &'static str,
    pub test: Test,
}

/// The test that has to notice.
pub struct Test(pub Program, pub &'static str);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// The library's own tests.
    Unit,
    /// `cargo xtask loom`.
    Loom,
    /// A file in `tests`.
    Integration(&'static str),
    /// `tests/simulated.rs`, under Miri.
    Simulated,
}

const fn unit(name: &'static str) -> Test {
    Test(Program::Unit, name)
}

const fn loom(name: &'static str) -> Test {
    Test(Program::Loom, name)
}

const fn integration(file: &'static str, name: &'static str) -> Test {
    Test(Program::Integration(file), name)
}

const fn simulated(name: &'static str) -> Test {
    Test(Program::Simulated, name)
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit => f.write_str("unit tests"),
            Self::Loom => f.write_str("loom-tests"),
            Self::Integration(file) => write!(f, "tests/{file}.rs"),
            Self::Simulated => f.write_str("tests/simulated.rs"),
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0, self.1)
    }
}

impl Mutation {
    pub fn describe(&self) {
        let Self { name, file, before, after, why, test } = self;
        println!("{name}: {why}\n  {file}\n  - {before}\n  + {after}\n  {test}\n");
    }
}

#[rustfmt::skip] // A line each, however long the code on it is.
pub const MUTATIONS: &[Mutation] = &[
    // Who holds a cell.
    Mutation {
        name: "completing-publishes-nothing",
        file: "src/operation/state.rs",
        before: "self.0.fetch_xor(KERNEL | BUSY | COMPLETION, Ordering::AcqRel);",
        after: "self.0.fetch_xor(KERNEL | BUSY | COMPLETION, Ordering::Relaxed);",
        why: "the `Pending` may see the end of the operation before its bytes",
        test: loom("operations::the_buffer_goes_to_one_of_pending_and_completion"),
    },
    Mutation {
        name: "completing-evicts-the-pending",
        file: "src/operation/state.rs",
        before: "(self.0.load(Ordering::Acquire) & !(SCOPE | DROPS) == KERNEL).then_some(Alone(()))",
        after: "(self.0.load(Ordering::Acquire) & KERNEL != 0).then_some(Alone(()))",
        why: "a `Pending` that goes at the same time is not noticed",
        test: loom("operations::the_last_of_pending_and_completion_frees_the_cell_once"),
    },
    Mutation {
        name: "completing-holds-nothing",
        file: "src/operation/state.rs",
        before: "self.0.fetch_xor(KERNEL | BUSY | COMPLETION, Ordering::AcqRel);",
        after: "self.0.fetch_and(!(KERNEL | BUSY), Ordering::AcqRel);",
        why: "a `Pending` that goes frees the cell under the completion",
        test: loom("operations::the_last_of_pending_and_completion_frees_the_cell_once"),
    },
    Mutation {
        name: "looking-synchronises-nothing",
        file: "src/operation/state.rs",
        before: "self.0.load(Ordering::Acquire) & KERNEL != 0",
        after: "self.0.load(Ordering::Relaxed) & KERNEL != 0",
        why: "the result is read before it is known to be there",
        test: loom("operations::a_result_that_can_be_seen_is_the_operations_own"),
    },
    Mutation {
        name: "being-alone-synchronises-nothing",
        file: "src/operation/state.rs",
        before: "self.0.load(Ordering::Acquire) == holder as u32",
        after: "self.0.load(Ordering::Relaxed) == holder as u32",
        why: "the next operation fills the cell while the holder before still reads it",
        test: loom("operations::a_pending_that_is_gone_is_done_with_the_cell"),
    },
    Mutation {
        name: "claiming-alone-synchronises-nothing",
        file: "src/operation/state.rs",
        before: "(self.0.load(Ordering::Acquire) & !(SCOPE | DROPS) == KERNEL)",
        after: "(self.0.load(Ordering::Relaxed) & !(SCOPE | DROPS) == KERNEL)",
        why: "the next operation fills the cell while a `Pending` that goes still reads it",
        test: loom("operations::a_pending_that_is_gone_is_done_with_the_cell"),
    },
    Mutation {
        name: "leaving-synchronises-nothing",
        file: "src/operation/state.rs",
        before: "self.0.fetch_sub(bit, Ordering::AcqRel)",
        after: "self.0.fetch_sub(bit, Ordering::Relaxed)",
        why: "the last holder empties the cell while the one before still reads it",
        test: loom("operations::a_pending_that_takes_and_goes_leaves_nothing_to_the_completion"),
    },
    Mutation {
        name: "two-are-the-last",
        file: "src/operation/state.rs",
        before: "self.0.fetch_sub(bit, Ordering::AcqRel) & (HOLDERS ^ bit) == 0",
        after: "self.0.fetch_sub(bit, Ordering::AcqRel) & bit != 0",
        why: "every holder that leaves frees the cell",
        test: loom("operations::the_last_of_pending_completion_and_scope_frees_the_cell_once"),
    },
    Mutation {
        name: "taken-is-not-checked",
        file: "src/operation/state.rs",
        before: "self.0.fetch_or(TAKEN, Ordering::AcqRel) & TAKEN == 0",
        after: "self.0.fetch_or(TAKEN, Ordering::AcqRel) != 0",
        why: "`Pending` and completion both get the buffer",
        test: integration("buffer", "a_buffer_is_given_out_once_whoever_asks_first"),
    },
    Mutation {
        name: "alone-although-taken",
        file: "src/operation/state.rs",
        before: "self.0.load(Ordering::Acquire) == holder as u32",
        after: "self.0.load(Ordering::Acquire) & HOLDERS == holder as u32",
        why: "the completion takes a buffer that a `Pending` took before it went",
        test: loom("operations::a_completion_that_is_left_alone_takes_nothing_twice"),
    },
    Mutation {
        name: "withdrawn-and-not-told",
        file: "src/operation/state.rs",
        before: "self.take_from_kernel(|_| STALE | BUSY)",
        after: "self.take_from_kernel(|_| BUSY)",
        why: "the packet of a call that failed is taken for a foreign one",
        test: loom("operations::a_packet_of_a_call_that_failed_wins_or_is_swallowed"),
    },
    Mutation {
        name: "withdrawn-and-free-at-once",
        file: "src/operation/state.rs",
        before: "self.take_from_kernel(|_| STALE | BUSY)",
        after: "self.take_from_kernel(|_| STALE)",
        why: "a stray packet frees the cell while context and buffer are moved out of it",
        test: loom("operations::a_packet_of_a_call_that_failed_wins_or_is_swallowed"),
    },

    Mutation {
        name: "completing-evicts-the-scope",
        file: "src/operation/state.rs",
        before: "self.0.store(state ^ (KERNEL | COMPLETION), Ordering::Release);",
        after: "self.0.store(state & 0 | COMPLETION, Ordering::Release);",
        why: "a scope that is still there is no longer counted as a holder",
        test: loom("operations::a_scope_that_sees_the_end_sees_the_bytes"),
    },
    Mutation {
        name: "completing-alone-publishes-nothing",
        file: "src/operation/state.rs",
        before: "self.0.store(state ^ (KERNEL | COMPLETION), Ordering::Release);",
        after: "self.0.store(state ^ (KERNEL | COMPLETION), Ordering::Relaxed);",
        why: "the scope may see the end of the operation before its bytes",
        test: loom("operations::a_scope_that_sees_the_end_sees_the_bytes"),
    },

    // The free cells at hand.
    Mutation {
        name: "keeping-publishes-nothing",
        file: "src/operation/at_hand.rs",
        before: "self.0.store(first, Ordering::Release);",
        after: "self.0.store(first, Ordering::Relaxed);",
        why: "the next user fills the cell while the last one still empties it",
        test: loom("cells::two_threads_that_take_and_put_back_lose_no_cell"),
    },
    Mutation {
        name: "seizing-synchronises-nothing",
        file: "src/operation/at_hand.rs",
        before: "self.0.swap(BUSY, Ordering::Acquire)",
        after: "self.0.swap(BUSY, Ordering::Relaxed)",
        why: "the next user fills the cell while the last one still empties it",
        test: loom("cells::two_threads_that_take_and_put_back_lose_no_cell"),
    },
    Mutation {
        name: "anothers-chain-is-put-back",
        file: "src/operation/at_hand.rs",
        before: "if first != BUSY {",
        after: "if first != NONE {",
        why: "the chain is busy for ever, and its cells are lost",
        test: loom("cells::two_threads_that_take_and_put_back_lose_no_cell"),
    },
    Mutation {
        name: "a-busy-chain-seems-open",
        file: "src/operation/at_hand.rs",
        before: "first & BUSY == 0",
        after: "first <= BUSY || is_cell(first)",
        why: "two threads have the chain, and one loses the other's cells",
        test: loom("cells::two_threads_that_take_and_put_back_lose_no_cell"),
    },
    Mutation {
        name: "one-is-kept-over-another",
        file: "src/operation/slab.rs",
        before: "Cell::put_before(cell, first);",
        after: "Cell::put_before(cell, at_hand::NONE);",
        why: "the cells that were at hand are lost",
        test: integration("batch", "an_undrained_batch_frees_everything_in_it"),
    },
    Mutation {
        name: "a-busy-chain-seems-empty",
        file: "src/operation/slab.rs",
        before: "Err(_) if first == BUSY => {}",
        after: "Err(_) if first == BUSY && false => {}",
        why: "an operation is refused though a cell is free",
        test: unit("operation::slab::tests::the_last_cell_is_found_though_a_thread_has_the_chain"),
    },
    Mutation {
        name: "a-busy-chain-is-waited-for",
        file: "src/operation/slab.rs",
        before: "if first != BUSY || patience == 0 {",
        after: "if first != BUSY {",
        why: "a thread that is put to sleep keeps all others from starting operations",
        test: unit("operation::slab::tests::nobody_is_kept_waiting_by_a_thread_that_has_the_chain"),
    },
    Mutation {
        name: "kept-after-the-end",
        file: "src/operation/at_hand.rs",
        before: "self.put_back(CLOSED);",
        after: "self.put_back(NONE);",
        why: "a cell that comes back after the port is gone is not counted",
        test: loom("port::the_memory_goes_once_with_the_last_cell"),
    },

    // The list of free cells.
    Mutation {
        name: "no-tag",
        file: "src/operation/free_list.rs",
        before: "wrapping_add(TAG + u64::from(place))",
        after: "wrapping_add(u64::from(place))",
        why: "the ABA problem: a cell that came back brings its old successor",
        test: loom("cells::a_cell_that_came_back_does_not_bring_its_old_successor"),
    },
    Mutation {
        name: "putting-back-publishes-nothing",
        file: "src/operation/free_list.rs",
        before: "compare_exchange_weak(head, with, Ordering::Release, Ordering::Relaxed)",
        after: "compare_exchange_weak(head, with, Ordering::Relaxed, Ordering::Relaxed)",
        why: "the next user fills the cell while the last one still empties it",
        test: loom("cells::two_threads_that_take_from_the_list_and_put_back_lose_no_cell"),
    },
    Mutation {
        name: "the-closed-bit-is-ignored",
        file: "src/operation/free_list.rs",
        before: "if head & CLOSED != 0 {",
        after: "if head & CLOSED == u64::MAX {",
        why: "cells that come back after the port is gone are not counted",
        test: loom("port::the_memory_goes_once_with_the_last_cell"),
    },
    Mutation {
        name: "free-cells-count-as-held",
        file: "src/operation/free_list.rs",
        before: "held -= 1;",
        after: "held -= 0;",
        why: "the memory of a port is never released",
        test: loom("port::a_port_without_operations_goes_at_once"),
    },
    Mutation {
        name: "gone-before-it-is-counted",
        file: "src/operation/free_list.rs",
        before: "self.held.fetch_sub(1, Ordering::AcqRel) == 1",
        after: "self.held.fetch_sub(1, Ordering::AcqRel) <= 1",
        why: "the memory is released while the port still counts its cells",
        test: loom("port::the_memory_goes_once_with_the_last_cell"),
    },
    Mutation {
        name: "the-last-cell-synchronises-nothing",
        file: "src/operation/free_list.rs",
        before: "self.held.fetch_sub(1, Ordering::AcqRel) == 1",
        after: "self.held.fetch_sub(1, Ordering::Relaxed) == 1",
        why: "the memory is released while another holder still empties its cell",
        test: loom("port::the_memory_goes_once_with_the_last_cell"),
    },

    // Whose a packet is.
    Mutation {
        name: "no-check-within-the-range",
        file: "src/operation/slab.rs",
        before: "offset.rotate_right(size_of::<Cell>().trailing_zeros())",
        after: "(offset / size_of::<Cell>())",
        why: "addresses within a cell are taken for the cell's",
        test: integration("foreign", "addresses_within_and_around_a_live_operation_are_foreign"),
    },
    Mutation {
        name: "one-place-too-many",
        file: "src/operation/slab.rs",
        before: "if number >= self.used.load(Ordering::Acquire) {",
        after: "if number > self.used.load(Ordering::Acquire) {",
        why: "the address behind the last operation is followed, to where there may be no memory",
        test: integration("foreign", "an_address_behind_the_last_operation_that_has_memory_is_foreign"),
    },
    Mutation {
        name: "no-range-check",
        file: "src/operation/slab.rs",
        before: "if number >= self.used.load(Ordering::Acquire) {",
        after: "if number == usize::MAX {",
        why: "any address is followed, to where there may be no memory",
        test: integration("foreign", "addresses_within_and_around_a_live_operation_are_foreign"),
    },
    Mutation {
        name: "every-completion-is-a-success",
        file: "src/operation/cell.rs",
        before: "((*overlapped).Internal as u32 == 0).then_some(bytes)",
        after: "((*overlapped).Internal as u32 != STATUS_PENDING).then_some(bytes)",
        why: "what the kernel says of an operation that failed is passed over",
        test: integration("cancel", "a_cancelled_read_completes_as_cancelled_though_nobody_tracks_it"),
    },
    Mutation {
        name: "nobody-watches",
        file: "src/operation/body.rs",
        before: "if Self::LONG_WAY { LONG_WAY } else { 0 }",
        after: "if Self::LONG_WAY && false { LONG_WAY } else { 0 }",
        why: "an accepted socket inherits nothing from its listener",
        test: unit("operation::launch::tests::a_payload_sees_its_completion_though_nobody_tracks_the_operation"),
    },
    Mutation {
        name: "no-state-check",
        file: "src/operation/cell.rs",
        before: "let is_ours = state.claim();",
        after: "let is_ours = state.claim() || !lacks_result;",
        why: "a packet with the address of an operation that is over completes it again",
        test: integration("foreign", "the_address_of_an_operation_that_is_over_is_foreign"),
    },
    Mutation {
        name: "a-refused-operation-leaves-its-mark",
        file: "src/operation/state.rs",
        before: "self.0.store(0, Ordering::Release);",
        after: "",
        why: "a foreign packet is lost, because it carries the address of a cell that is free",
        test: integration("foreign", "the_address_of_an_operation_that_was_refused_is_foreign"),
    },
    Mutation {
        name: "a-refused-post-stays-in-flight",
        file: "src/operation/launch.rs",
        before: "let parts = Body::remove(cell);",
        after: "return Body::remove(cell); let parts = Body::remove(cell);",
        why: "a foreign packet completes a post that came back to its caller",
        test: simulated("the_address_of_a_post_that_was_refused_is_foreign"),
    },
    Mutation {
        name: "a-foreign-packet-closes-the-port",
        file: "src/port/dequeue.rs",
        before: "if self.gate.is_closed() && packet.overlapped == self.cells.close_marker() {",
        after: "if packet.overlapped == self.cells.close_marker() {",
        why: "other code can make a port that is open seem closed",
        test: integration("foreign", "no_value_closes_a_port_that_is_open"),
    },
    Mutation {
        name: "closing-is-told-once",
        file: "src/port/dequeue.rs",
        before: "self.post_close_marker();",
        after: "let _ = Self::post_close_marker;",
        why: "of the threads that wait, one learns that the port is closed",
        test: integration("close", "all_threads_that_wait_are_woken"),
    },

    // From the start of an operation to its end.
    Mutation {
        name: "touched-after-the-call",
        file: "src/operation/launch.rs",
        before: "Verdict::PacketComes => Launched::InFlight(Pending::new(cell)),",
        after: "Verdict::PacketComes => { unsafe { Cell::set_result(cell, 0xC000_0120, 0) }; Launched::InFlight(Pending::new(cell)) }",
        why: "the cell is the kernel's, or another thread's, once the call has been made",
        test: integration("stream", "data_that_is_there_before_the_read_completes_it_once"),
    },
    Mutation {
        name: "the-scope-holds-nothing",
        file: "src/operation/launch.rs",
        before: "if scoped { Holder::Scope as u32 } else { 0 }",
        after: "if scoped { 0 } else { 0 }",
        why: "a scope looks at a cell that may be another operation's",
        test: integration("scope", "an_operation_in_the_place_of_one_that_is_over_is_not_the_scopes"),
    },
    Mutation {
        name: "a-failed-start-keeps-its-cell",
        file: "src/operation/launch.rs",
        before: "if may_leave_a_packet(&self.verdict, P::CALL, unsafe { Cell::handle(cell) }) {",
        after: "if may_leave_a_packet(&self.verdict, P::CALL, unsafe { Cell::handle(cell) }) || true {",
        why: "each failure to start takes up a place for good",
        test: integration("error", "a_failed_start_takes_up_no_place"),
    },
    Mutation {
        name: "two-packets-for-one-completion",
        file: "src/operation/launch.rs",
        before: "match port.post(key, bytes, Cell::address(self.cell)) {",
        after: "match port.post(key, bytes, Cell::address(self.cell)).and(port.post(key, bytes, Cell::address(self.cell))) {",
        why: "what completes once is dequeued twice",
        test: integration("stream", "a_stream_that_is_always_ready_comes_back_to_the_port_now_and_then"),
    },
    Mutation {
        name: "an-inline-completion-waits-for-its-pending",
        file: "src/operation/launch.rs",
        before: "self.cell.as_ref().state.complete_at_once();",
        after: "let _ = &self;",
        why: "the cell is held for a `Pending` that nobody got",
        test: integration("context", "inline_completions_give_their_place_back"),
    },
    Mutation {
        name: "the-port-cancels-nothing",
        file: "src/operation/launch.rs",
        before: "let _ = sys::cancel(handle, Cell::address(cell));",
        after: "let _ = handle;",
        why: "what is in flight when a port is dropped stays so",
        test: integration("context", "contexts_in_flight_are_dropped_with_the_port"),
    },
    Mutation {
        name: "low-offset-only",
        file: "src/operation/cell.rs",
        before: "OffsetHigh: (offset >> 32) as u32",
        after: "OffsetHigh: 0",
        why: "beyond 4 GiB the wrong part of the file is read and written",
        test: integration("file", "offsets_around_4_gib_are_not_cut_to_32_bits"),
    },
    Mutation {
        name: "done-before-it-begins",
        file: "src/operation/cell.rs",
        before: "(*overlapped).Internal = STATUS_PENDING as usize;",
        after: "(*overlapped).Internal = 0 * STATUS_PENDING as usize;",
        why: "an operation that the kernel says nothing about has succeeded",
        test: unit("operation::launch::tests::an_operation_is_pending_until_the_kernel_says_otherwise"),
    },
    Mutation {
        name: "an-event-is-set",
        file: "src/operation/cell.rs",
        before: "(*overlapped).Internal = STATUS_PENDING as usize;",
        after: "(*overlapped).hEvent = std::ptr::without_provenance_mut(1);",
        why: "an odd event keeps the packet from the port",
        test: integration("stream", "a_read_gets_what_the_peer_wrote"),
    },
    Mutation {
        name: "everything-fits-in-a-cell",
        file: "src/operation/body.rs",
        before: "mem::size_of::<C>() <= left && mem::align_of::<C>() <= ROOM_ALIGN",
        after: "left <= ROOM && mem::align_of::<C>() <= ROOM_ALIGN",
        why: "a large context is written over what stands before it",
        test: integration("context", "large_contexts_come_back_whole"),
    },
    Mutation {
        name: "context-and-payload-overlap",
        file: "src/operation/body.rs",
        before: "let left = ROOM - round_up(taken, ROOM_ALIGN);",
        after: "let left = ROOM - 0 * round_up(taken, ROOM_ALIGN);",
        why: "a context is written over the buffer next to it",
        test: integration("context", "contexts_and_buffers_of_all_sizes_do_not_overlap"),
    },
    Mutation {
        name: "a-spill-block-too-small",
        file: "src/operation/body.rs",
        before: "if spill.size as usize >= layout.size() && spill.align as usize >= layout.align() {",
        after: "if spill.size != 0 && spill.align as usize >= layout.align() {",
        why: "a large body is written past the end of the block of a smaller one",
        test: integration("buffer", "buffers_of_every_size_and_alignment_take_turns_in_the_same_memory"),
    },
    Mutation {
        name: "a-spill-block-out-of-line",
        file: "src/operation/body.rs",
        before: "if spill.size as usize >= layout.size() && spill.align as usize >= layout.align() {",
        after: "if spill.size as usize >= layout.size() {",
        why: "a body is placed where its alignment does not allow",
        test: integration("buffer", "an_over_aligned_buffer_takes_the_place_of_a_larger_one"),
    },
    Mutation {
        name: "spill-blocks-outlive-their-port",
        file: "src/operation/slab.rs",
        before: "unsafe { Cell::spill(cell) }.release();",
        after: "let _ = unsafe { Cell::spill(cell) };",
        why: "what large operations were kept in is never freed",
        test: integration("allocation", "a_port_leaves_no_memory_behind"),
    },
    Mutation {
        name: "large-spill-blocks-are-kept",
        file: "src/operation/body.rs",
        before: "self.size as usize > KEPT_SPILL",
        after: "self.size as usize > KEPT_SPILL << 20",
        why: "an idle cell pins the memory of the largest operation that it ever was",
        test: integration("allocation", "the_memory_of_a_large_operation_is_not_kept"),
    },
    Mutation {
        name: "large-operations-go-the-short-way",
        file: "src/operation/body.rs",
        before: "Some((layout, _)) => layout.size() > KEPT_SPILL",
        after: "Some((layout, _)) => layout.size() > KEPT_SPILL << 20",
        why: "nobody looks whether an idle cell pins much memory",
        test: integration("allocation", "the_memory_of_a_large_operation_is_not_kept"),
    },
    Mutation {
        name: "at-once-by-the-short-way",
        file: "src/operation/state.rs",
        before: "self.0.store(COMPLETION | state & (LONG_WAY | DROPS), Ordering::Relaxed)",
        after: "self.0.store(COMPLETION | state & 0, Ordering::Relaxed)",
        why: "nobody looks whether an operation that completed at once had much memory",
        test: integration("allocation", "the_memory_of_a_large_operation_that_completes_at_once_is_not_kept"),
    },
    Mutation {
        name: "what-nobody-takes-is-leaked",
        file: "src/operation/cell.rs",
        before: "if !cell.as_ref().state.is_taken() {",
        after: "if !cell.as_ref().state.is_taken() && false {",
        why: "a buffer that nobody asks for is never dropped",
        test: integration("buffer", "a_buffer_that_nobody_takes_is_dropped_with_the_last_who_could"),
    },
    Mutation {
        name: "what-was-taken-is-dropped",
        file: "src/operation/cell.rs",
        before: "if !cell.as_ref().state.is_taken() {",
        after: "if !cell.as_ref().state.is_taken() || true {",
        why: "a buffer that the program has is freed under it",
        test: integration("buffer", "a_buffer_that_is_taken_is_dropped_once_by_its_taker"),
    },
    Mutation {
        name: "more-bytes-than-there-is-room",
        file: "src/operation/payload.rs",
        before: "(bytes as usize).min(buffer.writable().1)",
        after: "(bytes as usize)",
        why: "a provider that reports too much makes the vector longer than its memory",
        test: simulated("more_bytes_than_were_asked_for_fill_the_buffer_and_no_more"),
    },

    // The packet rule.
    Mutation {
        name: "a-cut-datagram-has-no-packet",
        file: "src/operation/rule.rs",
        before: "(ERROR_MORE_DATA, Call::ReadFile) | (MESSAGE_TRUNCATED, Call::WSARecv) => {",
        after: "(ERROR_MORE_DATA, Call::ReadFile) => {",
        why: "a warning is taken for an error: the cell is freed before its packet comes",
        test: integration("datagram", "a_datagram_that_is_cut_keeps_its_bytes_when_it_came_first"),
    },
    Mutation {
        name: "a-cut-message-has-no-packet",
        file: "src/operation/rule.rs",
        before: "(ERROR_MORE_DATA, Call::ReadFile) | (MESSAGE_TRUNCATED, Call::WSARecv) => {",
        after: "(MESSAGE_TRUNCATED, Call::WSARecv) => {",
        why: "the same on a pipe",
        test: integration("pipe", "the_rest_of_a_message_that_was_there_already_comes_with_the_next_reads"),
    },
    Mutation {
        name: "a-long-message-has-a-packet",
        file: "src/operation/rule.rs",
        before: "(MESSAGE_TRUNCATED, Call::WSARecv) => {",
        after: "(MESSAGE_TRUNCATED, _) => {",
        why: "an error is taken for a warning: the operation never completes",
        test: unit("operation::rule::tests::a_message_too_long_to_send_is_an_error_not_a_warning"),
    },
    Mutation {
        name: "a-success-has-no-packet",
        file: "src/operation/rule.rs",
        before: "Answer::Finished(_) if !skips => Verdict::PacketComes,",
        after: "Answer::Finished(_) if skips => Verdict::PacketComes,",
        why: "the packet of an operation that succeeds at once comes all the same",
        test: unit("operation::rule::tests::an_inline_success_has_a_packet_unless_it_is_skipped"),
    },
    Mutation {
        name: "the-end-of-a-file-is-an-error",
        file: "src/operation/rule.rs",
        before: "(ERROR_HANDLE_EOF | ERROR_BROKEN_PIPE, Call::ReadFile) =>",
        after: "(ERROR_BROKEN_PIPE, Call::ReadFile) =>",
        why: "the end of a file that is found at once is not a completion",
        test: unit("operation::rule::tests::an_inline_end_of_file_is_finished_without_a_packet"),
    },
    Mutation {
        name: "every-failure-is-an-end",
        file: "src/operation/rule.rs",
        before: "(ERROR_HANDLE_EOF | ERROR_BROKEN_PIPE, Call::ReadFile) =>",
        after: "(_, Call::ReadFile) =>",
        why: "a read that could not be started looks like the end of the file",
        test: unit("operation::rule::tests::every_other_error_has_no_packet"),
    },

    // What the program holds.
    Mutation {
        name: "the-buffer-is-given-while-in-flight",
        file: "src/operation/pending.rs",
        before: "if state.is_in_flight() || !state.take() {",
        after: "if !state.take() {",
        why: "the program gets a buffer that the kernel writes to",
        test: integration("stream", "an_operation_is_over_when_its_packet_is_dequeued_and_not_before"),
    },
    Mutation {
        name: "cancelling-frees-the-cell",
        file: "src/operation/pending.rs",
        before: "match sys::cancel(handle, Cell::address(self.cell)) {",
        after: "match sys::cancel(handle, Cell::address(self.cell)).inspect(|_| unsafe { Cell::free(self.cell) }) {",
        why: "a cancelled operation is in flight until its packet is dequeued",
        test: integration("cancel", "a_cancelled_read_completes_as_cancelled_with_its_buffer"),
    },
    Mutation {
        name: "dropping-a-pending-frees-the-cell",
        file: "src/operation/pending.rs",
        before: "unsafe { Cell::leave(self.cell, Holder::Pending) };",
        after: "unsafe { self.cell.as_ref().state.leave(Holder::Pending); Cell::free(self.cell) };",
        why: "the kernel, or the completion, still has it",
        test: integration("cancel", "dropping_a_pending_does_not_cancel"),
    },
    Mutation {
        name: "dropping-a-pending-does-nothing",
        file: "src/operation/pending.rs",
        before: "unsafe { Cell::leave(self.cell, Holder::Pending) };",
        after: "let _ = Holder::Pending;",
        why: "no cell is ever free again",
        test: integration("buffer", "a_buffer_that_nobody_takes_is_dropped_with_the_last_who_could"),
    },
    Mutation {
        name: "dropping-a-completion-does-nothing",
        file: "src/operation/completion.rs",
        before: "unsafe { Cell::leave_last(cell) };",
        after: "let _ = cell;",
        why: "the cell of a completion that is not asked for its buffer is never free again",
        test: integration("buffer", "a_buffer_that_nobody_takes_is_dropped_with_the_last_who_could"),
    },
    Mutation {
        name: "a-buffer-of-any-type",
        file: "src/operation/completion.rs",
        before: "} else if vtable.returns::<B>() {",
        after: "} else if vtable.returns::<B>() || true {",
        why: "a buffer is read as what it is not",
        test: integration("buffer", "a_buffer_is_not_given_out_as_another_type"),
    },
    Mutation {
        name: "reads-tell-the-vector-nothing",
        file: "src/operation/body.rs",
        before: "Returns::ItselfFilled(_) => returned::<P::Output, FILLED>,",
        after: "Returns::ItselfFilled(_) => returned::<P::Output, ITSELF>,",
        why: "what was read is not in the vector",
        test: integration(
            "buffer",
            "buffers_of_every_size_and_alignment_take_turns_in_the_same_memory",
        ),
    },
    Mutation {
        name: "the-context-is-dropped-twice",
        file: "src/operation/completion.rs",
        before: "let Self { cell, status, bytes, .. } = *ManuallyDrop::new(self);",
        after: "let Self { cell, status, bytes, .. } = self;",
        why: "the completion's context is dropped while the program has it",
        test: integration("context", "a_context_that_is_taken_is_dropped_once_by_its_taker"),
    },
    Mutation {
        name: "the-context-is-not-dropped",
        file: "src/operation/completion.rs",
        before: "unsafe { (vtable.drop_context)(self.cell) };",
        after: "let _ = vtable.drop_context;",
        why: "contexts of completions that nobody gets are leaked",
        test: integration("context", "contexts_in_flight_are_dropped_with_the_port"),
    },
    Mutation {
        name: "a-failed-read-counts-its-bytes",
        file: "src/operation/cell.rs",
        before: "if is_error(status) { 0 } else { bytes }",
        after: "if is_error(status) && false { 0 } else { bytes }",
        why: "bytes that may not be there are counted",
        test: unit("operation::launch::tests::a_count_of_an_operation_that_failed_is_none"),
    },

    Mutation {
        name: "no-buffer-is-dropped",
        file: "src/operation/body.rs",
        before: "if mem::needs_drop::<P>() { DROPS } else { 0 }",
        after: "if mem::needs_drop::<P>() && false { DROPS } else { 0 }",
        why: "the buffer of a completion that is dropped is leaked",
        test: integration("buffer", "a_buffer_that_nobody_takes_is_dropped_with_the_last_who_could"),
    },
    Mutation {
        name: "every-failure-is-a-cancel",
        file: "src/operation/cell.rs",
        before: "Self::status(cell) == STATUS_CANCELLED",
        after: "Self::status(cell) != STATUS_PENDING",
        why: "a connection that was reset seems to have been cancelled",
        test: integration("stream", "a_reset_is_an_error_that_keeps_its_status_and_never_the_end"),
    },

    // Batches.
    Mutation {
        name: "a-strangers-packet-is-a-completion",
        file: "src/operation/arrivals.rs",
        before: "entry.note_status(NOTHING);",
        after: "entry.note_status(0);",
        why: "a pointer of other code's is followed",
        test: integration("batch", "a_strangers_packet_in_a_batch_does_not_lose_the_rest"),
    },
    Mutation {
        name: "what-is-not-kept-costs-another",
        file: "src/operation/arrivals.rs",
        before: "behind.rotate_left(1);",
        after: "",
        why: "where the close marker was in a batch, the last completion is lost",
        test: integration("batch", "what_is_queued_on_both_sides_of_the_close_marker_comes_in_order"),
    },
    Mutation {
        name: "what-was-kept-is-overwritten",
        file: "src/operation/arrivals.rs",
        before: "self.entries[..self.end].rotate_left(self.start);",
        after: "",
        why: "completions that were taken are taken again, and others lost",
        test: integration("batch", "what_was_not_taken_is_kept_and_comes_first"),
    },
    Mutation {
        name: "a-batch-that-is-dropped-frees-nothing",
        file: "src/operation/arrivals.rs",
        before: "let rest = Rest(self);",
        after: "if self.len() < usize::MAX { return; } let rest = Rest(self);",
        why: "cells of completions that nobody looks at are never free again",
        test: integration("batch", "an_undrained_batch_frees_everything_in_it"),
    },

    // Scopes.
    Mutation {
        name: "a-scope-does-not-wait",
        file: "src/operation/borrowed.rs",
        before: "while self.held().any(is_in_flight) {",
        after: "while self.held().any(is_in_flight) && false {",
        why: "the borrowed buffer is used by the kernel after it is gone",
        test: integration("scope", "what_is_in_flight_at_the_end_of_the_scope_is_cancelled_and_touches_the_buffer_no_more"),
    },
    Mutation {
        name: "a-scope-lets-go-of-what-the-kernel-has",
        file: "src/operation/borrowed.rs",
        before: "if !cell.as_ref().state.is_held_by_nobody_but(Holder::Scope, false) {",
        after: "if !cell.as_ref().state.is_held_by_nobody_but(Holder::Scope, false) && false {",
        why: "cells and borrowed buffers are given back while the kernel writes to them",
        test: integration("scope", "what_is_in_flight_at_the_end_of_the_scope_is_cancelled_and_touches_the_buffer_no_more"),
    },
    Mutation {
        name: "a-scope-does-not-cancel",
        file: "src/operation/borrowed.rs",
        before: "let _ = sys::cancel(handle, Cell::address(cell));",
        after: "let _ = handle;",
        why: "a scope whose operations never complete never ends",
        test: integration("scope", "what_is_in_flight_at_the_end_of_the_scope_is_cancelled_and_touches_the_buffer_no_more"),
    },
    Mutation {
        name: "a-scope-forgets-what-is-in-flight",
        file: "src/operation/borrowed.rs",
        before: "if is_in_flight(cell) {",
        after: "if is_in_flight(cell) && false {",
        why: "operations that are in flight are not waited for",
        test: integration("scope", "many_operations_are_cancelled_at_the_end_of_one_scope"),
    },
    Mutation {
        name: "a-scope-remembers-what-is-over",
        file: "src/operation/borrowed.rs",
        before: "if is_in_flight(cell) {",
        after: "if is_in_flight(cell) || true {",
        why: "a long scope keeps the memory of all its operations",
        test: integration("scope", "a_long_scope_uses_the_memory_of_operations_that_are_over_again"),
    },
    Mutation {
        name: "a-scope-swallows-others-packets",
        file: "src/port/scope.rs",
        before: "if borrowing.owns(packet.overlapped) {",
        after: "if borrowing.owns(packet.overlapped) || true {",
        why: "completions of other operations are lost",
        test: integration("scope", "completions_of_others_that_a_scope_finds_are_not_lost_or_doubled"),
    },

    // The port.
    Mutation {
        name: "a-short-time-out-is-none",
        file: "src/port/dequeue.rs",
        before: "timeout.as_nanos().div_ceil(1_000_000)",
        after: "timeout.as_nanos() / 1_000_000",
        why: "a wait of less than a millisecond spins",
        test: unit("port::dequeue::tests::a_timeout_is_rounded_up_and_never_infinite"),
    },
    Mutation {
        name: "a-long-time-out-is-forever",
        file: "src/port/dequeue.rs",
        before: "unwrap_or(INFINITE).min(INFINITE - 1)",
        after: "unwrap_or(INFINITE)",
        why: "a wait of 50 days never ends",
        test: unit("port::dequeue::tests::a_timeout_is_rounded_up_and_never_infinite"),
    },
    Mutation {
        name: "the-port-is-not-drained",
        file: "src/port/mod.rs",
        before: "self.drain();",
        after: "let _ = Self::drain;",
        why: "what is in flight when a port is dropped is never given back",
        test: integration("context", "contexts_in_flight_are_dropped_with_the_port"),
    },
    Mutation {
        name: "draining-counts-foreign-packets",
        file: "src/port/mod.rs",
        before: "if self.cells.claim(packet.overlapped).is_some() {",
        after: "if self.cells.claim(packet.overlapped).is_some() || true {",
        why: "a port that is dropped leaves operations behind",
        test: integration("foreign", "a_port_dropped_among_foreign_packets_gives_the_buffers_back"),
    },
    Mutation {
        name: "closing-wakes-nobody",
        file: "src/port/mod.rs",
        before: "if shared.gate.close() {",
        after: "if !shared.gate.close() {",
        why: "threads that wait are not told that the port is closed",
        test: integration("error", "closing_the_port_wakes_waits_of_every_length"),
    },
    Mutation {
        name: "failed-packets-are-no-packets",
        file: "src/sys/port.rs",
        before: "if !succeeded && self.overlapped.is_null() {",
        after: "if !succeeded {",
        why: "the packet of an operation that failed is lost",
        test: integration("foreign", "cancelling_everything_cancels_other_codes_receive_too"),
    },
    Mutation {
        name: "any-port-will-do",
        file: "src/port/gate.rs",
        before: "if handle.0 == self.open_to.load(Ordering::Relaxed) {",
        after: "if handle.0 != NOBODY && !self.is_closed() {",
        why: "the completion arrives at a port that does not know the operation",
        test: integration("error", "another_ports_handle_is_refused_with_everything_returned"),
    },
    Mutation {
        name: "dropping-a-handle-does-not-cancel",
        file: "src/handle/mod.rs",
        before: "CancelOnDrop(H::OWNS.then_some(raw))",
        after: "CancelOnDrop(H::OWNS.then_some(raw).filter(|_| false))",
        why: "a duplicate keeps operations in flight",
        test: integration("cancel", "dropping_the_handle_cancels_though_a_duplicate_keeps_it_open"),
    },
    Mutation {
        name: "no-inline-limit",
        file: "src/handle/mode.rs",
        before: "let goes_on = length < INLINE_LIMIT;",
        after: "let goes_on = length < u32::MAX;",
        why: "a stream that is always ready never comes back to the port",
        test: integration("stream", "a_stream_that_is_always_ready_comes_back_to_the_port_now_and_then"),
    },
    Mutation {
        name: "datagrams-skip-the-port",
        file: "src/handle/mode.rs",
        before: "Object::Datagram(_) => Err(Error::misuse(&refusal::SKIP_UNSAFE_MESSAGES)),",
        after: "Object::Datagram(0) => Err(Error::misuse(&refusal::SKIP_UNSAFE_MESSAGES)),",
        why: "whether a cut datagram has a packet is not known then",
        test: integration("datagram", "datagram_sockets_do_not_skip_the_port_and_go_on_without"),
    },
    Mutation {
        name: "inline-reads-do-not-count",
        file: "src/io/transfer.rs",
        before: "sys::receive(target.handle, region, overlapped, target.skips)",
        after: "sys::receive(target.handle, region, overlapped, false)",
        why: "a read that completes at once seems to have read nothing",
        test: integration("stream", "a_read_that_skips_has_its_buffer_at_once"),
    },

    // Buffers.
    Mutation {
        name: "lengths-are-cut-to-32-bits",
        file: "src/sys/lent.rs",
        before: "u32::try_from(length).unwrap_or(u32::MAX)",
        after: "length as u32",
        why: "a buffer of 4 GiB is one of no bytes",
        test: integration("buffer", "a_buffer_beyond_4_gib_is_sent_as_far_as_one_call_can"),
    },
    Mutation {
        name: "a-read-overwrites-the-length",
        file: "src/buffer/mod.rs",
        before: "self.set_len(self.len() + bytes)",
        after: "self.set_len(bytes)",
        why: "a vector loses what it held",
        test: integration("buffer", "a_read_appends_to_a_vector_and_keeps_what_it_held"),
    },
    Mutation {
        name: "full-vectors-are-read-into",
        file: "src/io/transfer.rs",
        before: "Ok(_) if buffer.is_full() =>",
        after: "Ok(_) if buffer.is_full() && false =>",
        why: "a read without room reports the end of the stream",
        test: integration("buffer", "a_read_into_a_full_vector_is_refused"),
    },
    Mutation {
        name: "slices-end-anywhere",
        file: "src/buffer/slice.rs",
        before: "assert!(end <= whole,",
        after: "assert!(end <= whole || true,",
        why: "the kernel is given memory past the end of a buffer",
        test: integration("buffer", "slices_out_of_bounds_panic"),
    },

    // What only the simulated kernel does when it is told to.
    Mutation {
        name: "a-stray-packet-completes-an-operation",
        file: "src/operation/cell.rs",
        before: "if lacks_result && !sys::is_wine() {",
        after: "if lacks_result && false {",
        why: "the buffer is given back while the kernel still writes to it",
        test: simulated("a_packet_that_should_have_been_skipped_does_not_complete_the_next_operation"),
    },
    Mutation {
        name: "the-result-of-a-call-is-looked-for",
        file: "src/operation/launch.rs",
        before: "unsafe { Cell::set_result(cell, status, bytes) };",
        after: "let _ = (status, bytes);",
        why: "what finished within its call seems to be pending still",
        test: simulated("the_calls_own_count_is_used_where_the_packet_is_skipped"),
    },
    Mutation {
        name: "the-cell-is-touched-after-the-call",
        file: "src/operation/launch.rs",
        before: "Verdict::PacketComes => Launched::InFlight(Pending::new(cell)),",
        after: "Verdict::PacketComes => { unsafe { Cell::set_result(cell, 0, 0) }; Launched::InFlight(Pending::new(cell)) }",
        why: "an operation that another thread has dequeued already loses its result",
        test: simulated("an_operation_can_be_over_before_its_start_returns"),
    },
    Mutation {
        name: "a-port-gives-up-at-once",
        file: "src/port/mod.rs",
        before: "Err(error) if error.is_dequeue_timeout() => {}",
        after: "Err(error) if error.is_dequeue_timeout() => return,",
        why: "what takes a while to be cancelled is never given back",
        test: simulated("a_port_that_is_dropped_waits_for_a_cancel_that_is_ignored_for_a_while"),
    },
    Mutation {
        name: "a-port-frees-what-the-kernel-has",
        file: "src/operation/slab.rs",
        before: "if this.free.close(used, |place| this.link(place)) {",
        after: "if this.free.close(used, |place| this.link(place)) || true {",
        why: "the kernel writes to memory that is others'",
        test: simulated("memory_that_the_kernel_keeps_outlives_the_port"),
    },
    Mutation {
        name: "a-close-without-room-wakes-nobody",
        file: "src/port/mod.rs",
        before: "while self.port.post(0, 0, self.cells.close_marker()).is_err() {",
        after: "while self.port.post(0, 0, self.cells.close_marker()).is_err() && false {",
        why: "where a post is refused, threads wait forever",
        test: simulated("closing_wakes_every_thread_though_posts_are_refused"),
    },
    Mutation {
        name: "a-scope-loses-what-it-cannot-put-back",
        file: "src/port/scope.rs",
        before: "while self.port.post(packet.key, packet.bytes, packet.overlapped).is_err() {",
        after: "while self.port.post(packet.key, packet.bytes, packet.overlapped).is_err() && false {",
        why: "where a post is refused, a completion is lost",
        test: simulated("what_a_scope_puts_back_is_not_lost_though_posts_are_refused"),
    },
    Mutation {
        name: "layered-sockets-skip-the-port",
        file: "src/sys/socket.rs",
        before: "information.dwServiceFlags1 & ws::XP1_IFS_HANDLES != 0",
        after: "information.dwServiceFlags1 & ws::XP1_IFS_HANDLES != 0 || true",
        why: "a provider that does not know the mode queues packets that nobody expects",
        test: simulated("a_socket_of_a_layered_provider_is_not_let_into_the_mode_that_skips"),
    },
];
