//! Packets of the program's own, which several threads post and dequeue.

use std::thread;
use std::time::{Duration, Instant};

use measure::Recorder;

/// The job: each thread posts a packet to the one port, and dequeues one, over
/// and over.
pub struct Posts {
    threads: usize,
    recorder: Recorder,
}

impl Posts {
    pub(crate) fn new(threads: usize, duration: Duration) -> Self {
        Self { threads, recorder: Recorder::new(threads, duration) }
    }

    /// Calls `post_and_dequeue` on all threads until it has been long enough,
    /// and reports.
    pub fn run(&self, post_and_dequeue: impl Fn() + Sync) {
        thread::scope(|scope| {
            for lane in 0..self.threads {
                let post_and_dequeue = &post_and_dequeue;
                scope.spawn(move || {
                    let mut goes_on = true;
                    while goes_on {
                        let started = Instant::now();
                        post_and_dequeue();
                        goes_on = self.recorder.record(lane, started);
                    }
                });
            }
        });
        self.recorder.report();
    }
}
