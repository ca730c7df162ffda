//! `cargo xtask loom`: the library's lock-free protocols in all orders.

use std::process::ExitCode;

use anyhow::Result;

use crate::cargo;
use crate::results::{self, PassOn};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    pass_on: PassOn,
}

/// Needs neither Windows nor Wine. Optimised, because it is millions of runs.
pub fn run(args: &Args) -> Result<ExitCode> {
    let (options, tests) = args.pass_on.split();
    let mut cargo = cargo::cargo();
    cargo.args(["test", "--release", "--package", "loom-tests", "--lib"]);
    cargo.args(options).arg("--").args(tests);
    results::count([cargo], tests, |cargo| {
        let code = cargo.status()?.code().unwrap_or(1);
        Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
    })
}
