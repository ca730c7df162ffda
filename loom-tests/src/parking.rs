//! A thread that parks in a port, and those that unpark it.

use std::rc::Rc;

use loom::thread;

use crate::atomic::{AtomicU32, Ordering};
use crate::explore;
use crate::park_state::{ParkState, Wakes};

/// A place to park, and how many of its packets are queued.
#[derive(Default)]
struct Place {
    state: ParkState,
    queued: AtomicU32,
    /// What the thread is woken for.
    work: AtomicU32,
}

impl Place {
    /// `Parking::unpark` by another thread, which has something for it.
    fn unpark(&self) {
        self.work.fetch_add(1, Ordering::Relaxed);
        if self.state.unpark(|| false) == Wakes::Packet {
            assert_eq!(self.queued.fetch_add(1, Ordering::Release), 0, "two packets");
        }
    }

    /// Dequeues a packet, if there is one: `Parkers::arrived`.
    fn dequeue(&self) -> bool {
        let is_there = self.queued.swap(0, Ordering::Acquire) == 1;
        if is_there {
            self.state.packet_came();
        }
        is_there
    }

    /// `Parker::park`, without an end if it is not woken.
    fn park(&self) {
        if self.state.begin(false) {
            while !self.dequeue() {
                thread::yield_now();
            }
        } else {
            self.dequeue();
        }
        self.state.end();
    }
}

#[test]
fn a_thread_that_parks_is_woken_for_all_that_there_is_to_do() {
    explore::two_threads(|| {
        let place = Rc::new(Place::default());
        let other = Rc::clone(&place);
        let there = thread::spawn(move || {
            other.unpark();
            other.unpark();
        });
        while place.work.load(Ordering::Relaxed) < 2 {
            place.park();
        }
        there.join().unwrap();
    });
}

#[test]
fn a_thread_that_two_others_unpark_gets_one_packet_at_a_time() {
    explore::three_threads(|| {
        let place = Rc::new(Place::default());
        let others = [Rc::clone(&place), Rc::clone(&place)]
            .map(|place| thread::spawn(move || place.unpark()));
        while place.work.load(Ordering::Relaxed) < 2 {
            place.park();
        }
        for other in others {
            other.join().unwrap();
        }
    });
}

#[test]
fn a_thread_that_leaves_knows_whether_a_packet_is_left() {
    explore::two_threads(|| {
        let place = Rc::new(Place::default());
        let other = Rc::clone(&place);
        let there = thread::spawn(move || other.unpark());
        // Something completes, so that it does not wait.
        place.state.begin(false);
        place.dequeue();
        place.state.end();
        let is_left = place.state.leave();
        there.join().unwrap();
        assert_eq!(place.queued.load(Ordering::Relaxed) == 1, is_left);
        assert_eq!(place.dequeue(), is_left);
    });
}
