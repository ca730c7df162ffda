//! `cargo xtask miri`: the test suite under Miri, on the simulated kernel.
//!
//! Miri interprets the tests and finds what is undefined behaviour. It has no
//! completion ports, so the crate `simulated-kernel` stands in for the system.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::process::{Command, ExitCode, Output, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;
use std::{cmp, env, num};

use anyhow::{Context, Result, bail};
use clap::value_parser;

use crate::cargo::{WINDOWS_GNU, on_simulated_kernel, workspace};
use crate::results::{self, Results};

/// The kernel's handles are real files', so the tests may open some.
const ALWAYS: &str = "-Zmiri-disable-isolation";

/// The files that lend memory in the most ways: the short form.
const CORE: [&str; 4] = ["simulated", "cancel", "lifetime", "scope"];

/// How a test that leaks says so.
const LEAKS: &str = "leaks on purpose";

/// Tests that leak on purpose, by parts of their names.
pub const LEAKING: [&str; 3] = ["forgotten", "leak", "fixed_buffers"];

/// What tests are told by; see `tests/random_programs` and `tests/in_flight.rs`.
const VARIABLES: [&str; 3] = [
    "COMPLETION_PORT_RANDOM_PROGRAMS",
    "COMPLETION_PORT_RANDOM_PROGRAM",
    "COMPLETION_PORT_IN_FLIGHT",
];

#[derive(clap::Args)]
pub struct Args {
    /// Files of tests/ to run, in place of all
    files: Vec<String>,
    /// The short form: only the files that lend memory in the most ways
    #[arg(long, conflicts_with = "files")]
    quick: bool,
    /// In how many schedules
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=100_000))]
    seeds: u32,
    /// The first schedule
    #[arg(long, default_value_t = 0, value_parser = value_parser!(u32).range(..=1_000_000_000))]
    seed: u32,
    /// The rules of this model only
    #[arg(long, value_enum)]
    model: Option<Model>,
    /// What the programs are built for, such as `i686-pc-windows-gnu`, which has 32 bits
    #[arg(long, default_value = WINDOWS_GNU)]
    target: String,
    /// How many programs run at once [default: as many as there are processors]
    #[arg(long, value_parser = value_parser!(u32).range(1..=256))]
    jobs: Option<u32>,
    /// Passed to the test programs, such as a part of the tests' names
    #[arg(last = true)]
    tests: Vec<OsString>,
}

/// The two sets of rules that are proposed for what references may do.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Model {
    Tree,
    Stacked,
}

impl Model {
    fn flag(self) -> &'static str {
        match self {
            Self::Tree => "-Zmiri-tree-borrows",
            Self::Stacked => "",
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tree => "tree",
            Self::Stacked => "stacked",
        })
    }
}

/// One test program, by the rules of one model, in one schedule.
struct Job {
    file: String,
    model: Model,
    seed: u32,
    /// Only the tests that leak on purpose, without the leak check.
    leaks: bool,
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, model, seed, leaks } = self;
        let what = if *leaks { ", what leaks on purpose" } else { "" };
        write!(f, "{file} (--model {model} --seed {seed}){what}")
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    install()?;
    let jobs = plan(args)?;
    build(&args.target)?;
    let total = jobs.len();
    let processors = || thread::available_parallelism().map_or(1, num::NonZero::get);
    let workers = args.jobs.map_or_else(processors, |jobs| jobs as usize);
    let progress = Mutex::new(Progress {
        left: jobs.into(),
        done: 0,
        total,
        failed: Vec::new(),
        results: Results::default(),
    });
    let start = Instant::now();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(|| work(&progress, args))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no worker panics"))
    })?;
    let Progress { failed, results, .. } = progress.into_inner().expect("no worker panics");
    let seconds = start.elapsed().as_secs();
    if failed.is_empty() {
        results.check(&args.tests)?;
        println!("Miri found nothing in {total} runs ({seconds} s).");
        return Ok(ExitCode::SUCCESS);
    }
    println!("Miri stopped {} of {total} runs ({seconds} s). To see them again:", failed.len());
    for Job { file, model, seed, .. } in failed {
        let target = match &*args.target {
            WINDOWS_GNU => String::new(),
            target => format!(" --target {target}"),
        };
        println!("  cargo xtask miri {file} --model {model} --seed {seed}{target}");
    }
    Ok(ExitCode::FAILURE)
}

/// What to run, the longest first.
fn plan(args: &Args) -> Result<Vec<Job>> {
    let mut files = test_files()?;
    for name in &args.files {
        if !files.iter().any(|file| file.name == *name) {
            bail!("there is no file tests/{name}.rs");
        }
    }
    files.retain(|file| match &args.files[..] {
        [] => !args.quick || file.is_core(),
        wanted => wanted.contains(&file.name),
    });
    files.sort_by_key(|file| cmp::Reverse(file.text.len()));
    let models = match args.model {
        Some(model) => vec![model],
        None => vec![Model::Tree, Model::Stacked],
    };
    let mut jobs = Vec::new();
    for seed in args.seed..args.seed + args.seeds {
        for &model in &models {
            for file in &files {
                jobs.push(Job { file: file.name.clone(), model, seed, leaks: false });
                if file.text.contains(LEAKS) && args.tests.is_empty() {
                    jobs.push(Job { file: file.name.clone(), model, seed, leaks: true });
                }
            }
        }
    }
    Ok(jobs)
}

/// A file of tests/.
struct TestFile {
    name: String,
    text: String,
}

impl TestFile {
    fn is_core(&self) -> bool {
        CORE.contains(&&*self.name)
    }
}

/// The test programs that run under Miri.
fn test_files() -> Result<Vec<TestFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(workspace().join("tests"))? {
        let path = entry?.path();
        let main = if path.is_dir() { path.join("main.rs") } else { path.clone() };
        if let (Some(name), Ok(text)) = (path.file_stem(), fs::read_to_string(main)) {
            files.push(TestFile { name: name.to_string_lossy().into_owned(), text });
        }
    }
    files.retain(|file| !file.text.contains("#![cfg(not(simulated_kernel))]"));
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

struct Progress {
    left: VecDeque<Job>,
    done: usize,
    total: usize,
    failed: Vec<Job>,
    /// Of all of them together.
    results: Results,
}

/// Runs one job after the other, as long as there are any.
fn work(progress: &Mutex<Progress>, args: &Args) -> Result<()> {
    let locked = || progress.lock().expect("no worker panics");
    loop {
        let Some(job) = locked().left.pop_front() else { return Ok(()) };
        let start = Instant::now();
        let output = job.run(args)?;
        let mut progress = locked();
        progress.done += 1;
        let Progress { done, total, .. } = *progress;
        let seconds = start.elapsed().as_secs();
        println!("[{done}/{total}] {job}: {} ({seconds} s)", verdict(&output));
        progress.results.add(&output.stdout);
        let failed = !output.status.success();
        if failed || results::are_shown(&args.tests) {
            io::stdout().write_all(&output.stdout)?;
            io::stderr().write_all(&output.stderr)?;
        }
        if failed {
            progress.failed.push(job);
        }
    }
}

impl Job {
    fn run(&self, args: &Args) -> Result<Output> {
        let Self { file, model, seed, leaks } = self;
        let mut flags = format!("{} -Zmiri-seed={seed}", model.flag());
        if *leaks {
            flags.push_str(" -Zmiri-ignore-leaks");
        }
        let mut command = test(&args.target, &flags);
        // Miri has no terminal to ask about colours.
        command.args(["--test", file, "--", "--color", "never"]).args(&args.tests);
        if *leaks {
            command.arg("--ignored").args(LEAKING);
        }
        command.stdin(Stdio::null()).output().context("cannot run cargo miri")
    }
}

/// What the test program itself says of its tests.
fn verdict(output: &Output) -> String {
    if !output.status.success() {
        return "FAILED".into();
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let result = text.lines().find_map(|line| line.strip_prefix("test result: ok. "));
    let counts = result.and_then(|result| result.split("; 0 measured").next());
    counts.unwrap_or("no tests").into()
}

/// Builds everything first, so that the test programs do not wait for each
/// other.
fn build(target: &str) -> Result<()> {
    let status = test(target, "")
        .args(["--quiet", "--tests", "--no-run"])
        .status()
        .context("cannot run cargo miri")?;
    if !status.success() {
        bail!("the tests do not compile for Miri");
    }
    Ok(())
}

/// The library's tests for `target`, with these flags of Miri's.
fn test(target: &str, flags: &str) -> Command {
    let mut command = on_simulated_kernel(nightly("cargo"));
    command.args(["miri", "test", "--package", "completion-port", "--all-features"]);
    command.args(["--target", target]);
    let mut own = env::var("MIRIFLAGS").unwrap_or_default();
    // Programs have the environment that they were built in, but for this.
    for variable in VARIABLES {
        if let Ok(value) = env::var(variable) {
            own = format!("{own} -Zmiri-env-set={variable}={value}");
        }
    }
    command.env("MIRIFLAGS", format!("{ALWAYS} {flags} {own}"));
    command
}

/// A program of the nightly toolchain. What cargo has told this program of its
/// own toolchain would mislead it.
fn nightly(program: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", program]);
    for variable in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "RUSTDOC"] {
        command.env_remove(variable);
    }
    command
}

/// What Miri is made of.
const COMPONENTS: [&str; 2] = ["miri", "rust-src"];

/// Sees to it that Miri is there. A nightly Rust that is there is not upgraded:
/// it may be kept for something.
fn install() -> Result<()> {
    let [miri, source] = COMPONENTS;
    let mut which = rustup(&["which", "--toolchain", "nightly", "rustc"]);
    let is_there = which.output().context("Miri needs rustup")?.status.success();
    let (what, mut install) = if is_there {
        if has_components()? {
            return Ok(());
        }
        let what = "Miri for the nightly Rust that is here";
        (what, rustup(&["component", "add", "--toolchain", "nightly", miri, source]))
    } else {
        let mut install = rustup(&["toolchain", "install", "nightly", "--profile", "minimal"]);
        install.args(["--component", miri, "--component", source, "--no-self-update"]);
        ("a nightly Rust with Miri", install)
    };
    eprintln!("rustup: installing {what}");
    if !install.status().is_ok_and(|status| status.success()) {
        bail!("Miri is missing: rustup cannot install {what}");
    }
    Ok(())
}

/// Whether the nightly Rust has what Miri is made of.
fn has_components() -> Result<bool> {
    let mut list = rustup(&["component", "list", "--toolchain", "nightly", "--installed"]);
    let output = list.output().context("cannot run rustup")?;
    let installed = String::from_utf8_lossy(&output.stdout);
    // With the machine's name after them, but for the source.
    let has = |component| installed.lines().any(|line| line.starts_with(component));
    Ok(COMPONENTS.into_iter().all(has))
}

/// A call of rustup, which installs nothing by itself.
fn rustup(args: &[&str]) -> Command {
    let mut rustup = Command::new("rustup");
    rustup.args(args).env("RUSTUP_AUTO_INSTALL", "0");
    rustup
}
