//! Random programs on completion ports: many handles, connections, threads,
//! buffers, cancels, closes, drops and forgets, in any order. Whatever comes out
//! is compared with a model of what may.
//!
//! `COMPLETION_PORT_RANDOM_PROGRAMS` is how many programs each test runs. One
//! that fails is made smaller and printed, with its number:
//! `COMPLETION_PORT_RANDOM_PROGRAM` set to that runs this one first.
#![cfg(windows)]
#![allow(clippy::result_large_err, reason = "what is refused comes back by value")]

mod buffer;
mod connections;
mod ends;
mod kernel;
mod log;
mod model;
mod operation;
mod pending;
mod program;
mod run;
mod strangers;
#[path = "../support/mod.rs"]
mod support;
mod worker;

use std::cell::Cell;
use std::env;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use program::{Shape, program};

const PROGRAMS: &str = "COMPLETION_PORT_RANDOM_PROGRAMS";
const PROGRAM: &str = "COMPLETION_PORT_RANDOM_PROGRAM";

const STEPS: usize = if cfg!(miri) { 12 } else { 40 };

#[test]
fn what_one_thread_does_comes_out_as_the_model_says() {
    check(150, 2, Shape { threads: 1, steps: STEPS, forgets: false });
}

#[test]
fn what_several_threads_do_comes_out_as_the_model_says() {
    check(150, 2, Shape { threads: 3, steps: STEPS, forgets: false });
}

#[test]
#[cfg_attr(miri, ignore = "leaks on purpose")]
fn what_is_forgotten_is_lost_and_nothing_else() {
    check(100, 2, Shape { threads: 2, steps: STEPS, forgets: true });
}

/// Runs so many programs, or under Miri so few.
fn check(programs: u64, few: u64, shape: Shape) {
    let number = |variable| Some(env::var(variable).ok()?.parse().expect("a number"));
    let programs = number(PROGRAMS).unwrap_or(if cfg!(miri) { few } else { programs });
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros();
    let chosen = number(PROGRAM);
    let first = chosen.unwrap_or_else(|| now() as u64 % 1_000_000_000);
    // Past the test harness, which would lose it in a crash.
    let _ = writeln!(std::io::stderr(), "random programs from {PROGRAM}={first} on");
    for seed in first..first + programs {
        if chosen.is_some() {
            println!("{PROGRAM}={seed}");
        }
        check_program(seed, shape);
    }
}

fn check_program(seed: u64, shape: Shape) {
    let config = Config {
        cases: 1,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 4096,
        max_shrink_time: 120_000,
        ..Config::default()
    };
    let has_failed = Cell::new(false);
    let failed = TestRunner::new(config).run(&program(shape), |program| {
        // Threads may have to meet in the right way once more.
        let attempts = if has_failed.get() && shape.threads > 1 { 10 } else { 1 };
        for _ in 0..attempts {
            run::run(&program).map_err(|complaint| {
                has_failed.set(true);
                TestCaseError::fail(complaint)
            })?;
        }
        Ok(())
    });
    match failed {
        Ok(()) => {}
        Err(TestError::Abort(reason)) => panic!("{reason}"),
        Err(TestError::Fail(reason, program)) => {
            panic!("{reason}\n\n{program}\nTo run it again: {PROGRAM}={seed} {PROGRAMS}=1")
        }
    }
}
