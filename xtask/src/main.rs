//! The everyday commands of completion-port, run as `cargo xtask COMMAND`.
//!
//! On Windows they run the library's programs as they are; on Linux they make
//! Wine ready first and run them under it.

mod behaviours;
mod cargo;
mod check;
mod dependencies;
mod facts;
mod limit;
mod loom;
mod miri;
mod mutants;
mod output;
mod page;
mod program;
mod programs;
mod results;
mod runtime;
mod sabotage;
mod test;
mod unsafe_report;

#[cfg(target_os = "linux")]
mod bench;
#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
mod cost;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod memcheck;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(windows)]
mod windows;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about, version = None)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const TARGET_HELP: &str = "`--target i686-pc-windows-gnu` tests the 32-bit build.";

#[derive(Subcommand)]
enum Command {
    /// Run all tests (on Linux under Wine)
    #[command(after_help = TARGET_HELP)]
    Test(test::Args),
    /// Run the tests on a simulated kernel, which does what others seldom do
    #[command(after_help = TARGET_HELP)]
    Simulated(test::Args),
    /// Build and run the echo demo (on Linux under Wine)
    #[command(disable_help_flag = true)]
    Demo {
        /// Passed to the demo as they are; --help lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Build and run one example, optimised (on Linux under Wine)
    RunExample {
        /// The example's name, as in examples/NAME.rs
        name: String,
        /// Passed to the example as they are
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Build and run a program of `programs/`, optimised (on Linux under Wine)
    RunProgram {
        /// The program's name, as in programs/src/bin/NAME.rs
        name: String,
        /// Passed to the program as they are; --help lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Test the programs of `programs/` with tools that others wrote
    Programs(programs::Args),
    /// Explore the library's lock-free protocols in all orders
    Loom(loom::Args),
    /// Run the tests on the simulated kernel under Miri
    Miri(miri::Args),
    /// Run the tests under Valgrind, to see that nobody writes late
    #[cfg(target_os = "linux")]
    Memcheck(memcheck::Args),
    /// Do random work for a long time (on Linux under Wine)
    #[command(disable_help_flag = true)]
    Soak {
        /// Passed to the program as they are; --help lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Ask the system what the library assumes of it (on Linux that is Wine)
    Facts(facts::Args),
    /// Break the library one line at a time, to see that the tests notice
    Sabotage(sabotage::Args),
    /// Break the rest of the library as cargo-mutants does (hours)
    Mutants(mutants::Args),
    /// Compare what docs/testing.md says is not tested with the tests
    Behaviours(behaviours::Args),
    /// Check format, lints, documentation, the oldest Rust and all targets
    Check,
    /// Check licences, sources and advisories of dependencies (installs cargo-deny: minutes)
    Deny(dependencies::Deny),
    /// Compare the public interface with a revision's (installs cargo-semver-checks: minutes)
    Semver(dependencies::Semver),
    /// List every use of `unsafe` in the library and why it is sound
    UnsafeReport,
    /// Count the instructions of each operation, on the library and by hand
    #[cfg(target_os = "linux")]
    Cost(cost::Args),
    /// Count the system calls of each operation, on the library and by hand
    #[cfg(target_os = "linux")]
    Calls(calls::Args),
    /// Count what operations in flight and idle handles take, on the library and by hand
    #[cfg(target_os = "linux")]
    Memory(memory::Args),
    /// Measure throughput and latency, on the library, by hand and on its peers
    #[cfg(target_os = "linux")]
    Bench(bench::Args),
    /// Make this machine ready for the other commands, which also do so themselves
    Setup,
    /// Run a Windows program (on Linux under Wine) within its time limit: cargo's runner
    #[command(hide = true, disable_help_flag = true)]
    Runner {
        program: OsString,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Become one of Wine's own programs, inside Wine's root folder
    #[cfg(target_os = "linux")]
    #[command(hide = true, disable_help_flag = true)]
    Enter {
        program: OsString,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Test(args) => test::run(&args),
        Command::Simulated(args) => test::run_simulated(&args),
        Command::Demo { args } => program::run_demo(&args),
        Command::RunExample { name, args } => program::run_example(&name, &args),
        Command::RunProgram { name, args } => program::run_program(&name, &args),
        Command::Programs(args) => programs::run(&args),
        Command::Loom(args) => loom::run(&args),
        Command::Miri(args) => miri::run(&args),
        #[cfg(target_os = "linux")]
        Command::Memcheck(args) => memcheck::run(&args),
        Command::Soak { args } => program::run_soak(&args),
        Command::Facts(args) => facts::run(&args),
        Command::Sabotage(args) => sabotage::run(&args),
        Command::Behaviours(args) => behaviours::run(&args),
        Command::Mutants(args) => mutants::run(&args),
        Command::Check => check::run(),
        Command::Deny(args) => dependencies::deny(&args),
        Command::Semver(args) => dependencies::semver(&args),
        Command::UnsafeReport => unsafe_report::run(),
        #[cfg(target_os = "linux")]
        Command::Cost(args) => cost::run(&args),
        #[cfg(target_os = "linux")]
        Command::Calls(args) => calls::run(&args),
        #[cfg(target_os = "linux")]
        Command::Memory(args) => memory::run(&args),
        #[cfg(target_os = "linux")]
        Command::Bench(args) => bench::run(&args),
        Command::Setup => runtime::prepare(),
        #[cfg(target_os = "linux")]
        Command::Runner { program, args } => linux::runner::run(&program, &args),
        #[cfg(windows)]
        Command::Runner { program, args } => {
            windows::run(&program, &args).map(|never| match never {})
        }
        #[cfg(target_os = "linux")]
        Command::Enter { program, args } => linux::runner::enter(&program, &args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
