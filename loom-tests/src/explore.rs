//! How far the exploration goes.

use loom::model::Builder;

/// Runs `test` in every order there is.
pub fn all(test: impl Fn() + Send + Sync + 'static) {
    run(None, test);
}

/// Runs `test` in every order in which the threads interrupt one another at
/// most `interruptions` times: for tests whose orders are too many.
pub fn with_interruptions(interruptions: usize, test: impl Fn() + Send + Sync + 'static) {
    run(Some(interruptions), test);
}

fn run(bound: Option<usize>, test: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = bound;
    builder.check(test);
}
