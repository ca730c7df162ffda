//! The end of a port whose operations are still held.

use loom::thread;

use crate::explore;
use crate::model::Port;

#[test]
fn a_port_without_operations_goes_at_once() {
    explore::two_threads(|| {
        let port = Port::new(3);
        port.close();
        assert!(port.is_destroyed());
    });
}

#[test]
fn the_memory_goes_once_with_the_last_cell() {
    explore::three_threads(|| {
        let port = Port::new(3);
        let threads = [(); 2].map(|()| {
            let (index, other) = (port.allocate().unwrap(), port.clone());
            thread::spawn(move || other.free(index))
        });
        port.close();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(port.is_destroyed());
    });
}

#[test]
fn a_cell_that_never_comes_back_keeps_the_memory() {
    explore::two_threads(|| {
        let port = Port::new(3);
        let kept = port.allocate().unwrap();
        let (index, other) = (port.allocate().unwrap(), port.clone());
        let there = thread::spawn(move || other.free(index));
        port.close();
        there.join().unwrap();
        assert!(!port.is_destroyed());
        port.free(kept);
        assert!(port.is_destroyed());
    });
}

#[test]
fn holders_outlive_their_port() {
    explore::three_threads(|| {
        let port = Port::new(2);
        let pending = port.launch(port.allocate().unwrap(), 7);
        let completion = port.dequeue().expect("a packet");
        let takes = thread::spawn(move || pending.take_buffer());
        let drops = thread::spawn(move || drop(completion));
        port.close();
        assert!(takes.join().unwrap().is_some());
        drops.join().unwrap();
        assert!(port.is_destroyed());
    });
}
