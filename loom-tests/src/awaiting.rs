//! Who waits for an operation, and who wakes them.

use loom::thread;

use crate::explore;
use crate::model::{Port, TRANSFER};

#[test]
fn who_was_told_to_wait_is_woken() {
    explore::two_threads(|| {
        let port = Port::new(1);
        let pending = port.launch(port.allocate().unwrap(), 7);
        let dequeuer = port.clone();
        let there = thread::spawn(move || drop(dequeuer.dequeue().expect("a packet")));
        let is_over = pending.poll(1);
        if is_over {
            assert_eq!(pending.take_buffer(), Some(7 + TRANSFER));
        }
        there.join().unwrap();
        assert_eq!(port.woken(), u32::from(!is_over));
        assert!(pending.poll(2), "it is over");
        drop(pending);
        port.assert_all_free();
    });
}

#[test]
fn the_last_waker_is_the_one_that_is_woken() {
    explore::two_threads(|| {
        let port = Port::new(1);
        let pending = port.launch(port.allocate().unwrap(), 7);
        let dequeuer = port.clone();
        let there = thread::spawn(move || drop(dequeuer.dequeue().expect("a packet")));
        let is_over = pending.poll(1) || pending.poll(2);
        let taken = is_over.then(|| pending.take_buffer().expect("it is over"));
        there.join().unwrap();
        assert!(is_over || port.woken() == 2);
        assert_eq!(taken.or_else(|| pending.take_buffer()), Some(7 + TRANSFER));
        drop(pending);
        port.assert_all_free();
    });
}

/// A future that is dropped, and one that was forgotten.
#[test]
fn a_waker_that_is_taken_back_or_left_is_not_in_the_next_operations_way() {
    for takes_back in [true, false] {
        explore::two_threads(move || {
            let port = Port::new(1);
            let pending = port.launch(port.allocate().unwrap(), 7);
            let dequeuer = port.clone();
            let there = thread::spawn(move || drop(dequeuer.dequeue().expect("a packet")));
            let is_over = pending.poll(1);
            let taken = if takes_back { pending.take_waker() } else { None };
            drop(pending);
            if let Some(index) = port.allocate() {
                let next = port.launch(index, 8);
                assert!(!next.poll(2), "nobody has dequeued it");
                drop(port.dequeue().expect("its packet"));
                assert_eq!(port.woken(), 2);
                drop(next);
                there.join().unwrap();
            } else {
                there.join().unwrap();
                assert_eq!(port.woken(), u32::from(!is_over && taken.is_none()));
            }
            port.assert_all_free();
        });
    }
}

#[test]
fn a_task_that_moves_to_another_thread_takes_its_operation_along() {
    explore::three_threads(|| {
        let port = Port::new(1);
        let pending = port.launch(port.allocate().unwrap(), 7);
        let dequeuer = port.clone();
        let there = thread::spawn(move || dequeuer.dequeue().expect("a packet").take_and_release());
        let mut is_over = pending.poll(1);
        let pending = if is_over {
            pending
        } else {
            let polls = thread::spawn(move || (pending.poll(2), pending));
            let (polled, pending) = polls.join().unwrap();
            is_over = polled;
            pending
        };
        let taken = there.join().unwrap();
        assert!(is_over || port.woken() == 2);
        assert_eq!(pending.take_buffer().xor(taken), Some(7 + TRANSFER));
        drop(pending);
        port.assert_all_free();
    });
}

#[test]
fn a_future_that_ends_while_the_completion_goes_leaves_one_to_free_the_cell() {
    explore::two_threads(|| {
        let port = Port::new(1);
        let pending = port.launch(port.allocate().unwrap(), 7);
        let dequeuer = port.clone();
        let there = thread::spawn(move || drop(dequeuer.dequeue().expect("a packet")));
        if pending.poll(1) {
            assert_eq!(pending.end(), 7 + TRANSFER);
            there.join().unwrap();
        } else {
            there.join().unwrap();
            assert_eq!(port.woken(), 1);
            assert_eq!(pending.end(), 7 + TRANSFER);
        }
        port.assert_all_free();
    });
}

/// As long as its future waits, the operation takes the long way, even where the
/// `Pending` is gone.
#[test]
fn a_waker_that_was_left_by_a_pending_that_is_gone_is_woken() {
    explore::two_threads(|| {
        let port = Port::new(1);
        let pending = port.launch(port.allocate().unwrap(), 7);
        assert!(!pending.poll(1));
        let dequeuer = port.clone();
        let there = thread::spawn(move || drop(dequeuer.dequeue().expect("a packet")));
        drop(pending);
        there.join().unwrap();
        assert_eq!(port.woken(), 1);
        port.assert_all_free();
    });
}

#[test]
fn a_packet_without_a_result_wakes_nobody() {
    explore::two_threads(|| {
        let port = Port::new(1);
        let index = port.allocate().unwrap();
        let pending = port.launch_pending(index, 7);
        let other = port.clone();
        let there = thread::spawn(move || other.claim(index).map(drop).is_some());
        assert!(!pending.poll(1));
        assert!(!there.join().unwrap());
        assert_eq!(port.woken(), 0);
        port.end(index);
        drop(port.dequeue().expect("its packet"));
        assert_eq!(port.woken(), 1);
        drop(pending);
        port.assert_all_free();
    });
}
