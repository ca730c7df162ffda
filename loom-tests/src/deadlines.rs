//! Deadlines against the end of their operations.

use loom::thread;

use crate::explore;
use crate::model::{Port, TRANSFER};

#[test]
fn a_deadline_that_is_set_while_its_operation_ends_is_left_to_nobody() {
    explore::two_threads(|| {
        let port = Port::new(1);
        let pending = port.launch(port.allocate().unwrap(), 7);
        let dequeuer = port.clone();
        let there = thread::spawn(move || drop(dequeuer.dequeue().expect("a packet")));
        pending.set_deadline();
        drop(pending);
        if let Some(index) = port.allocate() {
            assert!(!port.has_deadlines(), "it is another operation's cell");
            port.free(index);
        }
        there.join().unwrap();
        assert!(!port.has_deadlines());
        port.assert_all_free();
    });
}

#[test]
fn who_finds_a_deadline_due_cancels_its_operation_or_none() {
    for waits in [false, true] {
        explore::three_threads(move || {
            let port = Port::new(1);
            let pending = port.launch_cancellable(port.allocate().unwrap(), 7);
            pending.set_deadline();
            let pending = waits.then_some(pending);
            let turner = port.clone();
            let turns = thread::spawn(move || turner.turn());
            port.end_unless_cancelled();
            let completion = port.dequeue().expect("its packet");
            if let Some(pending) = pending {
                assert!(!pending.is_in_flight());
            }
            if port.has_expired() {
                drop(completion);
            } else {
                assert_eq!(completion.take_and_release(), Some(7 + TRANSFER));
            }
            // The next operation of the cell has no deadline.
            let index = port.allocate().expect("the cell is free");
            let next = port.launch_cancellable(index, 8);
            turns.join().unwrap();
            port.turn();
            port.end_unless_cancelled();
            let expired_before = port.has_expired();
            assert_eq!(port.dequeue().expect("its packet").take_and_release(), Some(8 + TRANSFER));
            assert_eq!(port.has_expired(), expired_before);
            drop(next);
            port.assert_all_free();
        });
    }
}

#[test]
fn what_expires_while_it_is_dequeued_has_timed_out_only_if_it_was_cancelled_for_that() {
    explore::three_threads(|| {
        let port = Port::new(1);
        let pending = port.launch_cancellable(port.allocate().unwrap(), 7);
        pending.set_deadline();
        let turner = port.clone();
        let turns = thread::spawn(move || turner.turn());
        let kernel = port.clone();
        let ends = thread::spawn(move || kernel.end_unless_cancelled());
        let mut completion = port.dequeue();
        turns.join().unwrap();
        ends.join().unwrap();
        let completion = completion.take().or_else(|| port.dequeue()).expect("its packet");
        drop(completion);
        assert!(!port.has_deadlines());
        let data = pending.take_buffer();
        assert_eq!(data, Some(if port.has_expired() { 7 } else { 7 + TRANSFER }));
        drop(pending);
        port.assert_all_free();
    });
}

#[test]
fn what_was_cancelled_before_its_deadline_was_found_due_has_not_timed_out() {
    explore::two_threads(|| {
        let port = Port::new(1);
        let pending = port.launch_cancellable(port.allocate().unwrap(), 7);
        pending.set_deadline();
        let turner = port.clone();
        let turns = thread::spawn(move || turner.turn());
        let is_cancelled = port.cancel(1);
        turns.join().unwrap();
        drop(port.dequeue().expect("its packet"));
        assert_eq!(port.has_expired(), !is_cancelled);
        drop(pending);
        port.assert_all_free();
    });
}
