//! The copy of the workspace in which the library is broken and mended.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::mutations::{Mutation, Program, Test};
use crate::cargo;
use crate::runtime::Runtime;

/// Much longer than any one of the tests takes on the library as it is.
const TEST_LIMIT: Duration = Duration::from_secs(25);
/// For a build from nothing, and for all tests together.
const LONG_LIMIT: Duration = Duration::from_secs(900);

pub struct Workbench {
    runtime: Runtime,
    copy: PathBuf,
    target: PathBuf,
    /// What cargo and the tests said last.
    log: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The test failed or crashed.
    Caught,
    /// The test did not end, or was too slow.
    Hung,
    Survived,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Caught => "caught",
            Self::Hung => "hung",
            Self::Survived => "SURVIVED",
        })
    }
}

impl Workbench {
    /// Copies the workspace as it is now, or what has changed of it.
    pub fn new() -> Result<Self> {
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => env::current_dir()?.join(folder),
            None => cargo::workspace().join("target"),
        };
        let folder = target.join("sabotage");
        let copy = folder.join("workspace");
        copy_changed(cargo::workspace(), &copy)?;
        let (target, log) = (folder.join("target"), folder.join("log.txt"));
        fs::create_dir_all(&target)?;
        Ok(Self { runtime: Runtime::start()?, copy, target, log })
    }

    /// Without a mutation all tests must be there and pass.
    pub fn check_tests(&mut self, mutations: &[&Mutation]) -> Result<()> {
        let mut programs: BTreeMap<Program, BTreeSet<&str>> = BTreeMap::new();
        for Mutation { test: Test(program, name), .. } in mutations {
            programs.entry(*program).or_default().insert(name);
        }
        for (program, names) in programs {
            let names: Vec<_> = names.into_iter().collect();
            println!("  {program}: {}", names.join(", "));
            self.build(program)?;
            let passed = self.test(program, &names, LONG_LIMIT)? == Some(true);
            let output = fs::read_to_string(&self.log)?;
            let missing = names.iter().find(|name| !output.contains(&format!("test {name} ...")));
            if let Some(missing) = missing {
                bail!("there is no test {missing} in {program}");
            }
            if !passed {
                bail!("a test fails without a mutation: see {}", self.log.display());
            }
        }
        Ok(())
    }

    /// Applies one mutation, runs its test, and takes it back.
    pub fn try_out(&mut self, mutation: &Mutation) -> Result<Verdict> {
        let file = self.copy.join(mutation.file);
        let original = fs::read_to_string(&file)?;
        fs::write(&file, original.replacen(mutation.before, mutation.after, 1))?;
        let verdict = self.run(mutation);
        fs::write(&file, original)?;
        verdict.with_context(|| format!("{} could not be tried out", mutation.name))
    }

    fn run(&mut self, mutation: &Mutation) -> Result<Verdict> {
        let Test(program, name) = mutation.test;
        self.build(program)?;
        Ok(match self.test(program, &[name], TEST_LIMIT)? {
            Some(true) => Verdict::Survived,
            Some(false) => Verdict::Caught,
            None => Verdict::Hung,
        })
    }

    /// A library that does not compile proves nothing about its tests.
    fn build(&mut self, program: Program) -> Result<()> {
        let mut cargo = self.cargo(program)?;
        if self.runtime.run_within(cargo.arg("--no-run"), LONG_LIMIT)? != Some(true) {
            bail!("this does not compile: see {}", self.log.display());
        }
        Ok(())
    }

    fn test(&mut self, program: Program, names: &[&str], limit: Duration) -> Result<Option<bool>> {
        let mut cargo = self.cargo(program)?;
        cargo.args(["--", "--exact", "--test-threads=1"]).args(names);
        self.runtime.run_within(&mut cargo, limit)
    }

    fn cargo(&self, program: Program) -> Result<Command> {
        let log = File::create(&self.log)?;
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
                cargo.args(["--package", "completion-port", "--test", file]);
                cargo
            }
            Program::Simulated => {
                let mut cargo = cargo::on_simulated_kernel(self.runtime.cargo("test"));
                cargo.args(["--package", "completion-port", "--test", "simulated"]);
                cargo
            }
        };
        cargo.current_dir(&self.copy).env("CARGO_TARGET_DIR", &self.target);
        cargo.env_remove("CARGO_MANIFEST_DIR").stdout(log.try_clone()?).stderr(log);
        Ok(cargo)
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
