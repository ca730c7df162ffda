//! The copy of the workspace in which the library is broken and mended.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::mutations::{Mutation, Program, Test};
use crate::cargo;
use crate::runtime::Runtime;

/// What each test may take, and how many times what it takes on the library as it is.
const LEAST_LIMIT: Duration = Duration::from_secs(5);
const TIMES: u32 = 5;
/// For a build from nothing, and for a test on the library as it is.
const LONG_LIMIT: Duration = Duration::from_secs(900);

pub struct Workbench {
    runtime: Runtime,
    copy: PathBuf,
    target: PathBuf,
    /// What cargo and the tests said last.
    log: PathBuf,
    /// What cargo says that it has built.
    messages: PathBuf,
}

/// How long each test may take.
pub type Limits = BTreeMap<&'static str, Duration>;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The test failed or crashed.
    Caught,
    /// The test did not end, or was too slow.
    Hung,
    Survived,
    /// A library that does not compile proves nothing about its tests.
    NotCompiled,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Caught => "caught",
            Self::Hung => "hung",
            Self::Survived => "SURVIVED",
            Self::NotCompiled => "NO BUILD",
        })
    }
}

impl Verdict {
    pub fn is_good(self) -> bool {
        matches!(self, Self::Caught | Self::Hung)
    }
}

impl Workbench {
    /// Copies the workspace as it is now, or what has changed of it, for the workbench of
    /// this number.
    pub fn new(runtime: Runtime, number: usize) -> Result<Self> {
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => env::current_dir()?.join(folder),
            None => cargo::workspace().join("target"),
        };
        let folder = target.join("sabotage").join(number.to_string());
        let inside = |name| folder.join(name);
        copy_changed(cargo::workspace(), &inside("workspace"))?;
        fs::create_dir_all(inside("target"))?;
        Ok(Self {
            runtime,
            copy: inside("workspace"),
            target: inside("target"),
            log: inside("log.txt"),
            messages: inside("messages.txt"),
        })
    }

    /// Without a mutation all tests must be there and pass. How long each may take with one.
    pub fn check(&mut self, program: Program, mutations: &[&'static Mutation]) -> Result<Limits> {
        let Some(built) = self.build(program)? else {
            bail!("{program} does not compile: see {}", self.log.display())
        };
        let names: BTreeSet<_> = mutations.iter().map(|mutation| mutation.test.1).collect();
        let mut limits = Limits::new();
        for name in names {
            let start = Instant::now();
            let passed = self.test(program, &built, name, LONG_LIMIT)? == Some(true);
            limits.insert(name, LEAST_LIMIT.max(start.elapsed() * TIMES));
            if !fs::read_to_string(&self.log)?.contains(&format!("test {name} ...")) {
                bail!("there is no test {name} in {program}");
            }
            if !passed {
                bail!("{name} fails without a mutation: see {}", self.log.display());
            }
        }
        Ok(limits)
    }

    /// Applies one mutation, runs its test, and takes it back.
    pub fn try_out(&mut self, mutation: &Mutation, limits: &Limits) -> Result<Verdict> {
        let file = self.copy.join(mutation.file);
        let original = fs::read_to_string(&file)?;
        fs::write(&file, original.replacen(mutation.before, mutation.after, 1))?;
        let verdict = self.run(mutation, limits);
        fs::write(&file, original)?;
        verdict.with_context(|| format!("{} could not be tried out", mutation.name))
    }

    fn run(&mut self, mutation: &Mutation, limits: &Limits) -> Result<Verdict> {
        let Test(program, name) = mutation.test;
        let Some(built) = self.build(program)? else { return Ok(Verdict::NotCompiled) };
        Ok(match self.test(program, &built, name, limits[name])? {
            Some(true) => Verdict::Survived,
            Some(false) => Verdict::Caught,
            None => Verdict::Hung,
        })
    }

    /// Builds a program of tests; `None` if it does not compile.
    fn build(&mut self, program: Program) -> Result<Option<PathBuf>> {
        let mut cargo = match program {
            Program::Loom => {
                let mut cargo = cargo::cargo();
                cargo.args(["test", "--release", "--package", "loom-tests", "--lib"]);
                cargo
            }
            Program::Unit => {
                let mut cargo = self.runtime.cargo("test");
                cargo.args(["--package", "completion-port", "--lib"]);
                cargo
            }
            Program::Integration(file) => {
                let mut cargo = self.runtime.cargo("test");
                cargo.args(["--package", "completion-port", "--all-features", "--test", file]);
                cargo
            }
            Program::Streams(file) => {
                let mut cargo = self.runtime.cargo("test");
                cargo.args(["--package", "completion-port-io", "--features", "tokio"]);
                cargo.args(["--test", file]);
                cargo
            }
            Program::Simulated => {
                let mut cargo = cargo::on_simulated_kernel(self.runtime.cargo("test"));
                cargo.args(["--package", "completion-port", "--test", "simulated"]);
                cargo
            }
        };
        cargo.args(["--no-run", "--message-format=json-render-diagnostics"]);
        cargo.current_dir(&self.copy).env("CARGO_TARGET_DIR", &self.target);
        // What a mutation leaves as it is need not be compiled again, and nobody debugs it.
        cargo.env("CARGO_INCREMENTAL", "1").env("CARGO_PROFILE_DEV_DEBUG", "none");
        cargo.env_remove("CARGO_MANIFEST_DIR");
        cargo.stdout(File::create(&self.messages)?).stderr(File::create(&self.log)?);
        if self.runtime.run_within(&mut cargo, LONG_LIMIT)? != Some(true) {
            return Ok(None);
        }
        let built = cargo::executables_in(&fs::read_to_string(&self.messages)?).next();
        Ok(Some(built.context("cargo has built no program")?))
    }

    /// Whether one test of a program passes; `None` if it takes longer than it may.
    fn test(
        &mut self,
        program: Program,
        built: &Path,
        name: &str,
        limit: Duration,
    ) -> Result<Option<bool>> {
        let mut test = match program {
            Program::Loom => Command::new(built),
            _ => self.runtime.program(built),
        };
        test.args(["--exact", "--test-threads=1", name]).current_dir(&self.copy);
        let log = File::create(&self.log)?;
        test.stdout(log.try_clone()?).stderr(log);
        self.runtime.run_within(&mut test, limit)
    }
}

/// Makes `to` a copy of `from`. Files that are the same are left alone, so that
/// cargo does not build them again.
fn copy_changed(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if [".git", "target"].iter().any(|other| name == OsStr::new(other)) {
            continue;
        }
        let (source, copy) = (entry.path(), to.join(&name));
        if entry.file_type()?.is_dir() {
            copy_changed(&source, &copy)?;
        } else {
            let contents = fs::read(&source)?;
            if fs::read(&copy).ok().as_ref() != Some(&contents) {
                fs::write(&copy, contents)?;
            }
        }
        names.insert(name);
    }
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        if names.contains(&entry.file_name()) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
