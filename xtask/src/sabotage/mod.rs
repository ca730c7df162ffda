//! `cargo xtask sabotage`: breaks the library on purpose, one line at a time,
//! to see that the tests notice.
//!
//! All happens in a copy of the workspace below the target folder, which is
//! kept for the next time, so that the builds are short. A mutation is caught
//! if its test fails, crashes, or hangs; one that survives is a missing test.

mod mutations;
mod workbench;

use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::cargo;
use mutations::{MUTATIONS, Mutation};
use workbench::{Verdict, Workbench};

#[derive(clap::Args)]
pub struct Args {
    /// Only the mutations with one of these in their names
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Show the mutations and what has to catch them, and do nothing
    #[arg(long)]
    list: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let fits = |mutation: &Mutation, part: &String| mutation.name.contains(part.as_str());
    for part in &args.only {
        if !MUTATIONS.iter().any(|mutation| fits(mutation, part)) {
            bail!("no mutation is named like {part:?}: see `cargo xtask sabotage --list`");
        }
    }
    let chosen = |mutation: &&Mutation| {
        args.only.is_empty() || args.only.iter().any(|part| fits(mutation, part))
    };
    let mutations: Vec<_> = MUTATIONS.iter().filter(chosen).collect();
    if args.list {
        mutations.into_iter().for_each(Mutation::describe);
        return Ok(ExitCode::SUCCESS);
    }

    let start = Instant::now();
    check_texts(&mutations)?;
    let mut workbench = Workbench::new()?;
    println!("Each test alone, on the library as it is:");
    workbench.check_tests(&mutations)?;
    println!("All pass. Now with a line changed:");

    let mut survivors = Vec::new();
    for &mutation in &mutations {
        let begin = Instant::now();
        let verdict = workbench.try_out(mutation)?;
        let seconds = begin.elapsed().as_secs_f64();
        println!("{verdict:9} {:4.1} s  {} ({})", seconds, mutation.name, mutation.test);
        if verdict == Verdict::Survived {
            survivors.push(mutation);
        }
    }

    let (all, minutes) = (mutations.len(), start.elapsed().as_secs_f64() / 60.0);
    println!("\n{} of {all} mutations caught ({minutes:.1} minutes)", all - survivors.len());
    if survivors.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("\nNot noticed:");
    survivors.into_iter().for_each(Mutation::describe);
    Ok(ExitCode::FAILURE)
}

/// Fails unless each mutation of the table has one place in the library to go to.
pub fn check_table() -> Result<()> {
    check_texts(&MUTATIONS.iter().collect::<Vec<_>>())
}

fn check_texts(mutations: &[&Mutation]) -> Result<()> {
    let mut problems = Vec::new();
    for Mutation { name, file, before, .. } in mutations {
        let text = fs::read_to_string(cargo::workspace().join(file))?;
        let count = text.matches(before).count();
        if count != 1 {
            problems.push(format!("{name}: {count} times in {file}: {before}"));
        }
    }
    if !problems.is_empty() {
        bail!("the table has fallen behind the library:\n{}", problems.join("\n"));
    }
    Ok(())
}
