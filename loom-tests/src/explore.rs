//! How far the exploration goes.

use loom::model::Builder;

/// Runs `test` in every order in which two threads interrupt each other at most
/// four times, with every value that a load may return; or as many times as
/// `LOOM_MAX_PREEMPTIONS` says.
pub fn two_threads(test: impl Fn() + Send + Sync + 'static) {
    run(4, test);
}

/// The same for three threads, and three interruptions.
pub fn three_threads(test: impl Fn() + Send + Sync + 'static) {
    run(3, test);
}

fn run(interruptions: usize, test: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound.get_or_insert(interruptions);
    builder.max_branches = 10_000;
    builder.check(test);
}
