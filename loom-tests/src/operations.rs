//! One operation between its holders.

use loom::thread;

use crate::explore;
use crate::model::{Part, Port, TRANSFER};
use crate::status_word::StatusWord;

#[test]
fn the_buffer_goes_to_one_of_pending_and_completion() {
    explore::two_threads(|| {
        let port = Port::new(1);
        let pending = port.launch(port.allocate().unwrap(), 7);
        let dequeuer = port.clone();
        let there = thread::spawn(move || dequeuer.dequeue().expect("a packet").take_and_release());
        let here = pending.take_buffer();
        let there = there.join().unwrap();
        assert_eq!(here.xor(there), Some(7 + TRANSFER));
        drop(pending);
        port.assert_all_free();
    });
}

#[test]
fn the_last_of_pending_and_completion_frees_the_cell_once() {
    explore::two_threads(|| {
        let port = Port::new(1);
        let pending = port.launch(port.allocate().unwrap(), 7);
        let dequeuer = port.clone();
        let there = thread::spawn(move || drop(dequeuer.dequeue().expect("a packet")));
        drop(pending);
        there.join().unwrap();
        port.assert_all_free();
    });
}

#[test]
fn a_pending_that_takes_and_goes_leaves_nothing_to_the_completion() {
    explore::two_threads(|| {
        let port = Port::new(1);
        let pending = port.launch(port.allocate().unwrap(), 7);
        let dequeuer = port.clone();
        let there = thread::spawn(move || drop(dequeuer.dequeue().expect("a packet")));
        let taken = pending.take_buffer();
        drop(pending);
        there.join().unwrap();
        assert!(taken.is_none_or(|taken| taken == 7 + TRANSFER));
        port.assert_all_free();
    });
}

#[test]
fn a_result_that_can_be_seen_is_the_operations_own() {
    explore::two_threads(|| {
        let port = Port::new(1);
        let pending = port.launch(port.allocate().unwrap(), 7);
        let dequeuer = port.clone();
        let there = thread::spawn(move || drop(dequeuer.dequeue()));
        assert!(pending.result().is_none_or(|result| result == 7));
        there.join().unwrap();
        assert_eq!(pending.result(), Some(7));
        assert_eq!(pending.take_buffer(), Some(7 + TRANSFER));
        assert_eq!(pending.take_buffer(), None);
    });
}

/// As long as the `Pending` is there, its cell is not another operation's.
#[test]
fn a_cancel_finds_its_own_operation_or_none() {
    explore::two_threads(|| {
        let port = Port::new(2);
        let pending = port.launch(port.allocate().unwrap(), 7);
        let dequeuer = port.clone();
        let there = thread::spawn(move || {
            drop(dequeuer.dequeue().expect("a packet"));
            // The other cell: there is no third.
            let next = dequeuer.launch(dequeuer.allocate().expect("a cell"), 8);
            assert_eq!(dequeuer.allocate(), None);
            drop(dequeuer.dequeue().expect("its packet"));
            drop(next);
        });
        pending.cancel();
        there.join().unwrap();
        drop(pending);
        port.assert_all_free();
    });
}

#[test]
fn a_cell_that_is_free_starts_another_operation_from_nothing() {
    explore::two_threads(|| {
        let port = Port::new(1);
        let pending = port.launch(port.allocate().unwrap(), 7);
        let dequeuer = port.clone();
        let there = thread::spawn(move || dequeuer.dequeue().expect("a packet").take_and_release());
        drop(pending);
        // Whichever thread was the last to let go: what it did comes before.
        if let Some(index) = port.allocate() {
            let next = port.launch(index, 8);
            assert_eq!(next.take_buffer(), None, "nobody has dequeued it");
            let completion = port.dequeue().expect("its packet");
            assert_eq!(completion.take_and_release(), Some(8 + TRANSFER));
        }
        assert_eq!(there.join().unwrap(), Some(7 + TRANSFER));
        port.assert_all_free();
    });
}

#[test]
fn a_cell_that_was_posted_is_free_once_its_completion_goes() {
    explore::two_threads(|| {
        let port = Port::new(2);
        port.post(port.allocate().unwrap(), 7);
        let dequeuer = port.clone();
        let there = thread::spawn(move || drop(dequeuer.dequeue().expect("a packet")));
        let kept = port.allocate().expect("the other cell");
        if let Some(index) = port.allocate() {
            port.post(index, 8);
            drop(port.dequeue().expect("its packet"));
        }
        there.join().unwrap();
        port.free(kept);
        port.assert_all_free();
    });
}

/// What it has looked at is the next operation's to change.
#[test]
fn a_pending_that_is_gone_is_done_with_the_cell() {
    explore::two_threads(|| {
        let port = Port::new(1);
        let pending = port.launch(port.allocate().unwrap(), 7);
        let there = thread::spawn(move || {
            pending.cancel();
            assert!(pending.result().is_none_or(|result| result == 7));
        });
        assert!(port.dequeue().expect("a packet").take_and_release().is_some());
        if let Some(index) = port.allocate() {
            let next = port.launch(index, 8);
            drop(port.dequeue().expect("its packet"));
            drop(next);
        }
        there.join().unwrap();
        port.assert_all_free();
    });
}

#[test]
fn a_dequeue_before_the_call_has_returned_is_no_different() {
    explore::two_threads(|| {
        let port = Port::new(1);
        let dequeuer = port.clone();
        let there = thread::spawn(move || {
            let result = dequeuer.dequeue()?.result();
            assert_eq!(result, Some(7));
            result
        });
        let pending = port.launch(port.allocate().unwrap(), 7);
        let here = port.dequeue().and_then(|completion| completion.result());
        assert_eq!(there.join().unwrap().xor(here), Some(7));
        assert_eq!(pending.take_buffer(), Some(7 + TRANSFER));
        drop(pending);
        port.assert_all_free();
    });
}

#[test]
fn a_scope_that_sees_the_end_sees_the_bytes() {
    explore::two_threads(|| {
        let port = Port::new(1);
        let (pending, scope) = port.launch_scoped(port.allocate().unwrap(), 7);
        // Leaked, or dropped long ago: the scope must do without it.
        drop(pending);
        let dequeuer = port.clone();
        let there = thread::spawn(move || drop(dequeuer.dequeue().expect("a packet")));
        scope.cancel();
        while scope.is_in_flight() {
            thread::yield_now();
        }
        assert_eq!(scope.use_buffer(), 7 + TRANSFER);
        drop(scope);
        there.join().unwrap();
        port.assert_all_free();
    });
}

#[test]
fn a_pending_that_goes_while_the_completion_takes_leaves_one_to_free_the_cell() {
    explore::two_threads(|| {
        let port = Port::new(1);
        let pending = port.launch(port.allocate().unwrap(), 7);
        let completion = port.dequeue().expect("a packet");
        let there = thread::spawn(move || completion.take_and_release());
        drop(pending);
        assert_eq!(there.join().unwrap(), Some(7 + TRANSFER));
        port.assert_all_free();
    });
}

#[test]
fn the_last_of_pending_completion_and_scope_frees_the_cell_once() {
    explore::three_threads(|| {
        let port = Port::new(1);
        let (pending, scope) = port.launch_scoped(port.allocate().unwrap(), 7);
        let dequeuer = port.clone();
        let completes = thread::spawn(move || drop(dequeuer.dequeue().expect("a packet")));
        let takes = thread::spawn(move || pending.take_buffer());
        // A scope stays until the operation is over.
        completes.join().unwrap();
        drop(scope);
        takes.join().unwrap();
        port.assert_all_free();
    });
}

/// Two operations on one cell after the other, each with its own holders.
#[test]
fn threads_that_pass_a_cell_on_keep_their_operations_apart() {
    explore::three_threads(|| {
        let port = Port::new(2);
        let pending = port.launch(port.allocate().unwrap(), 7);
        let completion = port.dequeue().expect("a packet");
        let takes = thread::spawn(move || pending.take_buffer());
        let drops = thread::spawn(move || drop(completion));
        let kept = port.allocate().expect("the other cell");
        if let Some(index) = port.allocate() {
            let next = port.launch(index, 8);
            drop(port.dequeue().expect("its packet"));
            assert_eq!(next.take_buffer(), Some(8 + TRANSFER));
        }
        assert_eq!(takes.join().unwrap(), Some(7 + TRANSFER));
        drops.join().unwrap();
        port.free(kept);
        port.assert_all_free();
    });
}

#[test]
fn a_completion_that_is_left_alone_takes_nothing_twice() {
    explore::two_threads(|| {
        let port = Port::new(1);
        let pending = port.launch(port.allocate().unwrap(), 7);
        let completion = port.dequeue().expect("a packet");
        let there = thread::spawn(move || pending.take_buffer());
        let here = completion.take_and_release();
        assert_eq!(there.join().unwrap().xor(here), Some(7 + TRANSFER));
        port.assert_all_free();
    });
}

/// A call that fails, and a packet that comes all the same: one of the two has
/// the operation, and there is no trace of the other.
#[test]
fn a_packet_of_a_call_that_failed_wins_or_is_late() {
    explore::two_threads(|| {
        let port = Port::new(1);
        let index = port.allocate().unwrap();
        let dequeuer = port.clone();
        let there = thread::spawn(move || dequeuer.dequeue().and_then(Part::take_and_release));
        let pending = port.launch_in_vain(index, 7);
        let early = there.join().unwrap();
        // The other thread may have looked before there was a packet.
        let late = port.dequeue().and_then(Part::take_and_release);
        let completed = early.or(late);
        match pending {
            Some(_) => assert_eq!(completed, Some(7 + TRANSFER)),
            None => assert_eq!(completed, None),
        }
        drop(pending);
        port.reclaim_all();
        port.assert_all_free();
    });
}

/// A provider that queues a packet although the call has succeeded at once.
#[test]
fn an_operation_that_is_over_at_once_is_completed_once_though_its_packet_comes() {
    explore::two_threads(|| {
        let port = Port::new(1);
        let index = port.allocate().unwrap();
        let dequeuer = port.clone();
        let there = thread::spawn(move || dequeuer.dequeue().map(drop).is_some());
        let started = port.launch_at_once(index, 7);
        let by_packet = there.join().unwrap();
        assert_eq!(started.is_completion(), !by_packet);
        drop(started);
        port.assert_all_free();
    });
}

/// Somebody has forged a packet, or sent one twice.
#[test]
fn of_two_packets_with_one_address_one_completes_the_operation() {
    for is_tracked in [false, true] {
        explore::two_threads(move || {
            let port = Port::new(1);
            let index = port.allocate().unwrap();
            let mut pending = Some(port.launch(index, 7));
            if !is_tracked {
                pending = None;
            }
            let other = port.clone();
            let there = thread::spawn(move || other.claim(index).map(drop).is_some());
            let here = port.dequeue().map(drop).is_some();
            assert!(here ^ there.join().unwrap());
            drop(pending);
            port.assert_all_free();
        });
    }
}

#[test]
fn an_operation_goes_on_though_a_packet_without_a_result_has_its_address() {
    for is_tracked in [false, true] {
        explore::two_threads(move || {
            let port = Port::new(1);
            let index = port.allocate().unwrap();
            let mut pending = Some(port.launch_pending(index, 7));
            if !is_tracked {
                pending = None;
            }
            let other = port.clone();
            let there = thread::spawn(move || other.claim(index).map(drop).is_some());
            port.end(index);
            let here = port.dequeue().map(drop).is_some();
            // The kernel may have written the result in between.
            assert!(here ^ there.join().unwrap());
            drop(pending);
            port.assert_all_free();
        });
    }
}

#[test]
fn a_packet_for_a_free_cell_does_not_complete_its_next_operation() {
    explore::two_threads(|| {
        let port = Port::new(1);
        let index = port.allocate().unwrap();
        drop(port.launch(index, 6));
        drop(port.dequeue().expect("its packet"));
        let other = port.clone();
        let there = thread::spawn(move || other.claim(index).map(drop));
        let index = port.allocate().expect("it is free");
        drop(port.launch_pending(index, 7));
        // Its kernel has not written anything.
        assert_eq!(there.join().unwrap(), None);
        port.end(index);
        assert_eq!(port.dequeue().expect("its packet").take_and_release(), Some(7 + TRANSFER));
        port.assert_all_free();
    });
}

/// Otherwise the operation would be in flight for ever.
#[test]
fn a_status_is_put_back_though_somebody_else_has_put_back_none() {
    explore::two_threads(|| {
        let word = StatusWord::default();
        word.reset();
        let nothing = word.take();
        word.write(0);
        let status = word.take();
        word.restore(nothing);
        word.restore(status);
        assert_eq!((nothing.is_status(), word.take()), (false, status));
    });
}
