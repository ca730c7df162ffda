//! Test programs: what is passed on to them, and what came of their tests.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};

use anyhow::{Result, bail};

use crate::output::PassedOn;

/// What a command passes on, as `cargo test` does.
#[derive(clap::Args)]
pub struct PassOn {
    /// Passed to `cargo test`, such as `--test FILE` or `--doc`
    #[arg(allow_hyphen_values = true)]
    cargo: Vec<OsString>,
    /// Passed to the test programs, such as a part of the tests' names
    #[arg(last = true)]
    tests: Vec<OsString>,
}

impl PassOn {
    /// What `cargo test` takes, and what the test programs take.
    pub fn split(&self) -> (&[OsString], &[OsString]) {
        split(&self.cargo, &self.tests)
    }
}

/// What stands before `--`, and what stands after it.
///
/// clap makes this distinction if `--` comes first. If something that may be an
/// option of another program stands before it, it is but another argument.
pub fn split<'a>(
    before: &'a [OsString],
    after: &'a [OsString],
) -> (&'a [OsString], &'a [OsString]) {
    match before.iter().position(|argument| argument == "--") {
        Some(end) => (&before[..end], &before[end + 1..]),
        None => (before, after),
    }
}

/// Runs calls of cargo that run tests, by `run`, until one fails, and tells how many
/// passed.
///
/// `tests` is what the calls have for the test programs. That no test is named
/// as it says is an error.
pub fn count(
    cargos: impl IntoIterator<Item = Command>,
    tests: &[OsString],
    mut run: impl FnMut(&mut Command) -> Result<ExitCode>,
) -> Result<ExitCode> {
    let (reader, writer) = io::pipe()?;
    let results = Arc::new(Mutex::new(Results::default()));
    let seen = Arc::clone(&results);
    let output = PassedOn::start(reader, io::stdout(), move |bytes| {
        seen.lock().expect("no panic").add(bytes);
    });
    let mut code = Ok(ExitCode::SUCCESS);
    for mut cargo in cargos {
        code = writer.try_clone().map_err(Into::into).and_then(|end| run(cargo.stdout(end)));
        if !matches!(code, Ok(ExitCode::SUCCESS)) {
            break;
        }
    }
    // This process's own end of the pipe.
    drop(writer);
    output.finish();

    let results = results.lock().expect("no panic");
    if results.programs > 0 {
        println!("{results}");
    }
    let code = code?;
    if code == ExitCode::SUCCESS {
        results.check(tests)?;
    }
    Ok(code)
}

/// What test programs say of their tests.
#[derive(Default)]
pub struct Results {
    /// Those that have begun.
    programs: usize,
    /// Those that have come to their ends.
    ended: usize,
    passed: usize,
    failed: usize,
    ignored: usize,
    /// Tests that found that something they need is not there, and passed.
    without: usize,
    /// Of the tests that were seen.
    names: BTreeSet<String>,
    /// A line that has begun.
    line: Vec<u8>,
}

impl Results {
    /// Reads what test programs have written.
    pub fn add(&mut self, output: &[u8]) {
        for part in output.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.add_line(String::from_utf8_lossy(&line).trim_end());
            }
        }
    }

    fn add_line(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            // `ok. 3 passed; 0 failed; 1 ignored; 0 measured; …`
            let count = |what| {
                let (before, _) = counts.split_once(what)?;
                before.trim_end().rsplit(' ').next()?.parse::<usize>().ok()
            };
            self.ended += 1;
            self.passed += count("passed").unwrap_or(0);
            self.failed += count("failed").unwrap_or(0);
            self.ignored += count("ignored").unwrap_or(0);
            return;
        }
        if line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test")) {
            self.programs += 1;
        }
        // By `skipped_without` of tests/support.
        if line.contains("skipped: this needs ") {
            self.without += 1;
        }
        // A test that is not captured may have written before it on the line.
        if let Some((before, _)) = line.split_once(" ... ")
            && let Some((_, name)) = before.split_once("test ")
        {
            self.names.insert(name.to_owned());
        }
    }

    /// Fails unless tests were run, and there are some for each name in `tests`.
    pub fn check(&self, tests: &[OsString]) -> Result<()> {
        if self.programs == 0 {
            // Nothing was to be run, but built or listed.
            return Ok(());
        }
        let filters = filters(tests);
        if self.passed + self.failed == 0 {
            bail!("no test was run{}", Named(&filters));
        }
        // Told to be quiet, or in the midst of what the tests themselves write.
        if self.names.len() < self.passed + self.failed + self.ignored {
            return Ok(());
        }
        let exact = tests.iter().any(|argument| argument == "--exact");
        let fits = |name: &str, filter: &str| match name.strip_prefix(filter) {
            // `NAME - should panic` is the test NAME.
            Some(rest) if exact => rest.is_empty() || rest.starts_with(" - "),
            _ => !exact && name.contains(filter),
        };
        let unknown: Vec<_> = filters
            .into_iter()
            .filter(|filter| !self.names.iter().any(|name| fits(name, filter)))
            .collect();
        if !unknown.is_empty() {
            bail!("there is no test{}", Named(&unknown));
        }
        Ok(())
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passed = self.passed - self.without.min(self.passed);
        // Where a program crashed, so did a test of its.
        let failed = self.failed + self.programs.saturating_sub(self.ended);
        let skipped = self.ignored + self.without;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// Says how tests would have been named.
struct Named<'a>(&'a [String]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, filter) in self.0.iter().enumerate() {
            let before = if place == 0 { " that is named like" } else { " or" };
            write!(f, "{before} {filter:?}")?;
        }
        Ok(())
    }
}

/// Whether the output of tests that pass is asked for.
pub fn are_shown(tests: &[OsString]) -> bool {
    let show = ["--nocapture", "--no-capture", "--show-output"];
    tests.iter().any(|argument| show.iter().any(|option| argument == option))
}

/// Options of the test harness that take a value, which may be the next argument.
const WITH_VALUE: [&str; 7] =
    ["--skip", "--test-threads", "--logfile", "--color", "--format", "--shuffle-seed", "-Z"];

/// The parts of names among a test program's arguments.
fn filters(tests: &[OsString]) -> Vec<String> {
    let mut filters = Vec::new();
    let mut arguments = tests.iter().map(|argument| argument.to_string_lossy());
    while let Some(argument) = arguments.next() {
        if WITH_VALUE.contains(&&*argument) {
            arguments.next();
        } else if !argument.starts_with('-') {
            filters.push(argument.into_owned());
        }
    }
    filters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &str) -> Vec<OsString> {
        words.split_whitespace().map(OsString::from).collect()
    }

    fn results(output: &str) -> Results {
        let mut results = Results::default();
        // In pieces, as they come from a pipe.
        output.as_bytes().chunks(7).for_each(|piece| results.add(piece));
        results
    }

    const OUTPUT: &str = "\nrunning 3 tests\ntest a::reads ... ok\ntest writes ... \
                          skipped: this needs tea\nok\ntest panics - should panic ... ok\n\n\
                          test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; \
                          4 filtered out; finished in 0.00s\n\n\
                          running 2 tests\nxtest waits ... FAILED\ntest sleeps ... ignored, slow\n\
                          test result: FAILED. 0 passed; 1 failed; 1 ignored; 0 measured; \
                          0 filtered out; finished in 0.00s\n";

    #[test]
    fn what_stands_after_the_dashes_is_for_the_test_programs() {
        let before = args("--test close -- --nocapture");
        assert_eq!(split(&before, &[]), (&before[..2], &before[3..]));
        let (before, after) = (args("--test close"), args("--nocapture"));
        assert_eq!(split(&before, &after), (&before[..], &after[..]));
        assert_eq!(split(&[], &after), (&[][..], &after[..]));
    }

    #[test]
    fn results_of_all_programs_are_added_up() {
        assert_eq!(results(OUTPUT).to_string(), "2 passed, 1 failed, 2 skipped");
    }

    #[test]
    fn a_program_that_crashed_has_a_test_that_failed() {
        let output = format!("{OUTPUT}running 1 test\ntest crashes ... ");
        assert_eq!(results(&output).to_string(), "2 passed, 2 failed, 2 skipped");
    }

    #[test]
    fn a_name_that_no_test_has_is_an_error() {
        let results = results(OUTPUT);
        for good in ["", "--nocapture", "reads", "reads write", "--skip none --test-threads 1"] {
            assert!(results.check(&args(good)).is_ok(), "{good}");
        }
        assert!(results.check(&args("--exact a::reads panics")).is_ok());
        for bad in ["swims", "reads swims", "--exact reads", "--test-threads=1 swims"] {
            assert!(results.check(&args(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn to_run_no_test_is_an_error_and_to_run_no_program_is_none() {
        let none = "running 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; \
                    9 filtered out; finished in 0.00s\n";
        let error = results(none).check(&args("swims dives")).unwrap_err();
        let text = "no test was run that is named like \"swims\" or \"dives\"";
        assert_eq!(error.to_string(), text);
        assert!(results(none).check(&[]).is_err());
        assert!(results("a: test\n\n1 test, 0 benchmarks\n").check(&[]).is_ok());
    }
}
