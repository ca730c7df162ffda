//! Free cells, from those at hand or on the list, and back.

use std::rc::Rc;

use loom::thread;

use crate::explore;
use crate::model::Port;

#[test]
fn a_cell_is_given_to_one_of_two_threads() {
    explore::two_threads(|| {
        let port = Port::new(1);
        let other = port.clone();
        let there = thread::spawn(move || other.allocate());
        let here = port.allocate();
        assert_eq!(there.join().unwrap().xor(here), Some(1));
    });
}

/// Two threads that take a cell each, and put it back.
fn take_and_put_back(port: &Rc<Port>) {
    let other = port.clone();
    let there = thread::spawn(move || {
        let index = other.allocate().expect("a cell for each");
        other.free(index);
    });
    let index = port.allocate().expect("a cell for each");
    port.free(index);
    there.join().unwrap();
    port.assert_all_free();
}

#[test]
fn two_threads_that_take_and_put_back_lose_no_cell() {
    explore::two_threads(|| take_and_put_back(&Port::new(3)));
}

#[test]
fn two_threads_that_take_from_the_list_and_put_back_lose_no_cell() {
    explore::two_threads(|| {
        let port = Port::with_list(2);
        let other = port.clone();
        let there = thread::spawn(move || {
            let index = other.allocate_from_list().expect("a cell for each");
            other.free_to_list(index);
        });
        let index = port.allocate_from_list().expect("a cell for each");
        port.free_to_list(index);
        there.join().unwrap();
        port.assert_all_free();
    });
}

/// The ABA problem: one thread looks at the first cell and what comes after
/// it; until it acts, the other takes both and puts the first back.
#[test]
fn a_cell_that_came_back_does_not_bring_its_old_successor() {
    explore::two_threads(|| {
        let port = Port::with_list(2);
        let other = port.clone();
        let there = thread::spawn(move || {
            let (first, second) = (other.allocate_from_list(), other.allocate_from_list());
            if let Some(first) = first {
                other.free_to_list(first);
            }
            second
        });
        let here = port.allocate_from_list();
        let held = [there.join().unwrap(), here];
        for index in held.into_iter().flatten() {
            port.free_to_list(index);
        }
        port.assert_all_free();
    });
}

/// Whoever finds the chain at hand busy goes to the list.
#[test]
fn cells_cache_and_on_the_list_are_not_mixed_up() {
    explore::two_threads(|| {
        let port = Port::with_list(2);
        port.free(port.allocate().expect("there are two"));
        take_and_put_back(&port);
    });
}

#[test]
fn three_threads_never_hold_the_same_cell() {
    explore::three_threads(|| {
        let port = Port::new(3);
        let threads = [port.clone(), port.clone()].map(|port| {
            thread::spawn(move || {
                if let Some(index) = port.allocate_in_haste() {
                    port.free(index);
                }
            })
        });
        if let Some(index) = port.allocate_in_haste() {
            port.free(index);
        }
        for thread in threads {
            thread.join().unwrap();
        }
        port.assert_all_free();
    });
}

/// A cell that goes from the list to the cache, while another goes the other way, is
/// in neither for who looks at one after the other.
#[test]
fn a_thread_finds_the_cell_that_is_left_to_it_wherever_it_goes_meanwhile() {
    explore::three_threads(|| {
        let port = Port::with_list(3);
        let taken = [port.allocate().unwrap(), port.allocate().unwrap()];
        let threads = taken.map(|index| {
            let other = port.clone();
            thread::spawn(move || {
                other.free(index);
                other.allocate().expect("the one it has just freed, or another");
            })
        });
        assert!(port.allocate().is_some(), "three cells, three threads, one each");
        for thread in threads {
            thread.join().unwrap();
        }
    });
}
