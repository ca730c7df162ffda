//! `cargo xtask test`: the library's whole test suite. `cargo xtask simulated`:
//! the same on the simulated kernel.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::check::LIBRARY;
use crate::results::{self, PassOn};
use crate::runtime::Runtime;
use crate::{cargo, programs};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    pass_on: PassOn,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let (options, tests) = args.pass_on.split();
    let (target, options) = target(options)?;
    let mut runtime = Runtime::start_for(target.as_deref())?;
    let mut library = runtime.cargo("test");
    library.args(LIBRARY).args(&options);
    let mut cargos = vec![library];
    // Options choose among the library's tests.
    if options.is_empty() {
        cargos.push(programs::test(&runtime)?);
    }
    for cargo in &mut cargos {
        cargo.arg("--").args(tests);
    }
    results::count(cargos, tests, |cargo| runtime.run(cargo))
}

pub fn run_simulated(args: &Args) -> Result<ExitCode> {
    let (options, tests) = args.pass_on.split();
    let (target, options) = target(options)?;
    let mut runtime = Runtime::start_for(target.as_deref())?;
    let mut cargo = cargo::on_simulated_kernel(runtime.cargo("test"));
    cargo.args(["--package", "completion-port", "--all-features"]).args(&options);
    if options.is_empty() {
        // Not the examples in the documentation, which know no other kernel.
        cargo.arg("--tests");
    }
    // There is one kernel in a program, and each test tells it what to do.
    cargo.args(["--", "--test-threads=1"]).args(tests);
    results::count([cargo], tests, |cargo| runtime.run(cargo))
}

/// The target among cargo's options, and the others.
fn target(options: &[OsString]) -> Result<(Option<String>, Vec<OsString>)> {
    let (mut target, mut others) = (None, Vec::new());
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let text = option.to_string_lossy();
        if text == "--target" {
            let name = options.next().context("--target names no target")?;
            target = Some(name.to_string_lossy().into_owned());
        } else if let Some(name) = text.strip_prefix("--target=") {
            target = Some(name.to_owned());
        } else {
            others.push(option.clone());
        }
    }
    Ok((target, others))
}
