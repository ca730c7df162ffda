//! `cargo xtask memcheck`: the behaviour suite under Valgrind's memcheck, on
//! Wine.
//!
//! Miri sees all of the library and a model of the system. Memcheck sees what
//! the system really writes: Wine, which lives in the program's own process, and
//! the system calls that Wine makes. The tests are built with `cfg(memcheck)`:
//! they tell Valgrind of each block of the heap and of each cell
//! (tests/support/memcheck.rs), and what is given back is nobody's to write to.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::value_parser;

use crate::cargo;
use crate::linux::supervise::{Outcome, Supervisor};
use crate::results::{self, Results};
use crate::runtime::Runtime;

/// What Wine does to stacks, and to memory that it has not initialised, looks
/// wrong and is not. A search for leaks takes longer than Wine gives a program
/// to end.
const OPTIONS: [&str; 7] = [
    "--tool=memcheck",
    "--leak-check=no",
    "--undef-value-errors=no",
    "--max-stackframe=4096",
    "--error-limit=no",
    "--num-callers=20",
    "--fair-sched=yes",
];

/// In a report, if it is about a block that the tests told of.
const OURS: &str = "a block of size";

/// The tests that do what must not be done, and what has to be reported then:
/// of a buffer, and of the `OVERLAPPED` in a cell, without the status.
const PROBES: &str = "memcheck";
const TO_BE_SEEN: [&str; 2] =
    ["inside a block of size 1,234 free'd", "inside a block of size 24 free'd"];

/// How many programs run at a time.
const JOBS: usize = 2;

/// How long an interrupted program may take to end in order.
const GRACE: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub struct Args {
    /// Seconds that each program may take
    #[arg(long, default_value_t = 600, value_parser = value_parser!(u64).range(1..=86_400))]
    limit: u64,
    /// Only the tests in these files, as in tests/FILE.rs
    #[arg(value_name = "FILE")]
    files: Vec<String>,
    /// Passed to the test programs, such as a part of the tests' names
    #[arg(last = true)]
    tests: Vec<OsString>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let start = Instant::now();
    let runtime = Runtime::start()?;
    let folder = tempfile::tempdir()?;
    let mut programs = Vec::new();
    for path in test_programs(&runtime, &args.files)? {
        programs.push(Program::new(&runtime, &path, folder.path())?);
    }
    let limit = Duration::from_secs(args.limit);

    let Some(probes) = programs.iter().position(|program| program.name == PROBES) else {
        bail!("there is no tests/{PROBES}.rs")
    };
    programs.swap_remove(probes).check_that_it_is_seen(limit)?;

    let results = Mutex::new(Results::default());
    let programs = Mutex::new(programs);
    let waiting = || programs.lock().expect("no panic");
    let next = || waiting().pop();
    let work = || -> Result<bool> {
        let mut good = true;
        while let Some(mut program) = next() {
            program.command.args(&args.tests);
            // No more of them once one was interrupted.
            let findings = program.run(limit).inspect_err(|_| waiting().clear())?;
            good &= findings.tell(&program.name, results::are_shown(&args.tests));
            results.lock().expect("no panic").add(findings.output.as_bytes());
        }
        Ok(good)
    };
    let verdicts: Vec<Result<bool>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..JOBS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).collect()
    });
    let good = verdicts.into_iter().collect::<Result<Vec<bool>>>()?.into_iter().all(|good| good);
    if good {
        results.into_inner().expect("no panic").check(&args.tests)?;
    }
    let minutes = start.elapsed().as_secs_f64() / 60.0;
    let verdict = if good { "no write to what was given back" } else { "FAILED: see above" };
    println!("\nmemcheck: {verdict} ({minutes:.1} minutes)");
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The test programs, built with `cfg(memcheck)`; optimised, because Valgrind is
/// slow.
fn test_programs(runtime: &Runtime, files: &[String]) -> Result<Vec<PathBuf>> {
    let mut cargo = runtime.cargo("test");
    cargo.args(["--package", "completion-port", "--release", "--no-run"]);
    let all = ["*".to_owned()];
    for file in if files.is_empty() { &all } else { files } {
        cargo.args(["--test", file]);
    }
    cargo.args(["--test", PROBES]).env("RUSTFLAGS", "--cfg memcheck");
    Ok(cargo::executables(&mut cargo)?.into_values().collect())
}

/// A test program that is ready to run.
struct Program {
    name: String,
    command: Command,
    /// What Valgrind says.
    log: PathBuf,
    /// What the program says.
    output: PathBuf,
}

/// What came of a program.
struct Findings {
    outcome: Outcome,
    time: Duration,
    output: String,
    reports: Vec<String>,
}

impl Program {
    fn new(runtime: &Runtime, path: &Path, folder: &Path) -> Result<Self> {
        // `NAME-HASH.exe`
        let file = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let name = file.rsplit_once('-').map_or(file, |(name, _)| name).to_owned();
        let log = folder.join(format!("{name}.log"));
        let output = folder.join(format!("{name}.txt"));
        let option = format!("--log-file={}", log.display());
        let mut command = runtime.valgrind(&[&OPTIONS[..], &[&option]].concat(), path)?;
        command.arg("--test-threads=2").stdin(Stdio::null());
        Ok(Self { name, command, log, output })
    }

    fn run(&mut self, limit: Duration) -> Result<Findings> {
        let output = File::create(&self.output)?;
        self.command.stdout(output.try_clone()?).stderr(output);
        let start = Instant::now();
        let outcome = Supervisor::new(GRACE)?.run(&mut self.command, Some(limit))?;
        let time = start.elapsed();
        if let Outcome::Interrupted(signal, _) = outcome {
            bail!("interrupted by {signal}");
        }
        let read = |path: &Path| -> Result<String> {
            Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
        };
        let reports = reports(&read(&self.log)?);
        Ok(Findings { outcome, time, output: read(&self.output)?, reports })
    }

    /// What finds nothing has to be able to find something.
    fn check_that_it_is_seen(&mut self, limit: Duration) -> Result<()> {
        let findings = self.run(limit)?;
        let reports = findings.reports.concat();
        if let Some(unseen) = TO_BE_SEEN.iter().find(|text| !reports.contains(*text)) {
            bail!("of tests/{PROBES}.rs, this was not seen: {unseen}\n{}", findings.output);
        }
        println!("{PROBES}: what is wrong on purpose is seen");
        Ok(())
    }
}

impl Findings {
    /// Prints what there is to say, and all that was written if `all`; whether
    /// all is well.
    fn tell(&self, name: &str, all: bool) -> bool {
        let passed = self.outcome.exit_code() == 0;
        let good = passed && self.reports.is_empty();
        let result = self.output.lines().rfind(|line| line.starts_with("test result: "));
        let result = result.unwrap_or("it did not end");
        let seconds = self.time.as_secs_f64();
        let mut text = format!("{name}: {seconds:.0} s, {} reports, {result}", self.reports.len());
        if !passed {
            text = format!("{text}, exit code {}", self.outcome.exit_code());
        }
        if all || !passed {
            text = format!("{text}\n{}", self.output);
        }
        for report in &self.reports {
            text = format!("{text}\n{report}");
        }
        println!("{text}");
        good
    }
}

/// Those of Valgrind's reports that are about our blocks. Its log has a line
/// with nothing but the process's number between them.
fn reports(log: &str) -> Vec<String> {
    let mut reports = vec![String::new()];
    for line in log.lines() {
        let text = line.trim_start_matches(|c: char| c == '=' || c.is_ascii_digit());
        match reports.last_mut() {
            Some(report) if !text.trim().is_empty() => report.extend([text, "\n"]),
            _ => reports.push(String::new()),
        }
    }
    reports.retain(|report| report.contains(OURS));
    reports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_other_blocks_are_left_out() {
        let log = "==12== Memcheck\n==12== \n==12== Invalid write of size 8\n==12==    at 0x1\n\
                   ==12==  Address 0x5 is on thread 1's stack\n==12== \n\
                   ==12== Invalid write of size 4\n==12==    at 0x2\n\
                   ==12==  Address 0x6 is 0 bytes inside a block of size 32 free'd\n==12== \n";
        let expected = " Invalid write of size 4\n    at 0x2\n  \
                        Address 0x6 is 0 bytes inside a block of size 32 free'd\n";
        assert_eq!(reports(log), [expected]);
    }
}
