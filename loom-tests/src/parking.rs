//! A thread that parks in a port, and those that unpark it.

use std::rc::Rc;

use loom::thread;

use crate::atomic::{AtomicU32, Ordering};
use crate::explore;
use crate::park_state::{Park, ParkState};

/// A place to park, and how many procedure calls are queued for its thread.
#[derive(Default)]
struct Place {
    state: ParkState,
    calls: AtomicU32,
    /// What the thread is woken for.
    work: AtomicU32,
}

impl Place {
    /// `Parking::unpark` by a thread that has something for it.
    fn unpark(&self) {
        self.work.fetch_add(1, Ordering::Relaxed);
        if self.state.unpark() {
            self.calls.fetch_add(1, Ordering::Release);
        }
    }

    /// An alertable wait that is over at once: whether there was a call.
    fn let_in(&self) -> bool {
        self.calls.swap(0, Ordering::Acquire) > 0
    }

    /// `Parker::park`. Where nothing `completes`, it has no other end than to be woken.
    fn park(&self, completes: bool) {
        match self.state.begin() {
            Park::Wait if completes => {}
            Park::Wait => {
                while !self.let_in() {
                    thread::yield_now();
                }
                self.state.drained();
            }
            Park::Pass => {}
            Park::Drain => {
                self.let_in();
                self.state.drained();
            }
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
            place.park(false);
        }
        there.join().unwrap();
    });
}

#[test]
fn a_thread_is_woken_for_all_that_two_others_have() {
    explore::three_threads(|| {
        let place = Rc::new(Place::default());
        let others = [Rc::clone(&place), Rc::clone(&place)]
            .map(|place| thread::spawn(move || place.unpark()));
        while place.work.load(Ordering::Relaxed) < 2 {
            place.park(false);
        }
        for other in others {
            other.join().unwrap();
        }
    });
}

/// Other code of the thread may wait so that calls are let in.
#[test]
fn a_thread_is_woken_though_the_call_before_was_let_in_elsewhere() {
    explore::two_threads(|| {
        let place = Rc::new(Place::default());
        let other = Rc::clone(&place);
        let there = thread::spawn(move || {
            other.unpark();
            other.unpark();
        });
        place.park(true);
        place.let_in();
        while place.work.load(Ordering::Relaxed) < 2 {
            place.park(false);
        }
        there.join().unwrap();
    });
}
