//! `cargo xtask sabotage`: breaks the library on purpose, one line at a time,
//! to see that the tests notice.
//!
//! All happens in copies of the workspace below the target folder, which are kept for the
//! next time, so that the builds are short. A mutation is caught if its test fails, crashes,
//! or takes several times as long as it does on the library as it is; one that survives is a
//! missing test.

mod mutations;
mod workbench;

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::cargo;
use crate::runtime::Runtime;
use mutations::{MUTATIONS, Mutation, Program};
use workbench::Workbench;

/// How many mutations are tried out at a time. One alone leaves processors idle: most of a
/// small build is done by one thread, and a test that hangs only waits.
const WORKBENCHES: usize = 2;

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
    let unnoticed = try_out(&mutations)?;
    let (all, minutes) = (mutations.len(), start.elapsed().as_secs_f64() / 60.0);
    println!("\n{} of {all} mutations caught ({minutes:.1} minutes)", all - unnoticed.len());
    if unnoticed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("\nNot noticed, or not compiled:");
    unnoticed.into_iter().for_each(Mutation::describe);
    Ok(ExitCode::FAILURE)
}

/// Tries out all mutations, a program of tests at a time on each workbench; those that no
/// test has noticed.
fn try_out(mutations: &[&'static Mutation]) -> Result<Vec<&'static Mutation>> {
    let mut programs: BTreeMap<Program, Vec<&Mutation>> = BTreeMap::new();
    for &mutation in mutations {
        programs.entry(mutation.test.0).or_default().push(mutation);
    }
    let mut programs: Vec<_> = programs.into_iter().collect();
    programs.sort_by_key(|(_, mutations)| mutations.len());

    let runtime = Runtime::start()?;
    let benches: Vec<_> = (1..=WORKBENCHES)
        .map(|number| Workbench::new(runtime.another()?, number))
        .collect::<Result<_>>()?;
    // The largest are the last, and taken first.
    let programs = Mutex::new(programs);
    let waiting = || programs.lock().expect("no panic");
    let work = |mut bench: Workbench| -> Result<Vec<&'static Mutation>> {
        let mut unnoticed = Vec::new();
        let next = || waiting().pop();
        while let Some((program, mutations)) = next() {
            let found = try_out_on(&mut bench, program, &mutations);
            unnoticed.extend(found.inspect_err(|_| waiting().clear())?);
        }
        Ok(unnoticed)
    };
    let work = &work;
    let unnoticed: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> =
            benches.into_iter().map(|bench| scope.spawn(move || work(bench))).collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).collect()
    });
    Ok(unnoticed.into_iter().collect::<Result<Vec<_>>>()?.concat())
}

/// Tries out the mutations that are for one program of tests to notice.
fn try_out_on(
    bench: &mut Workbench,
    program: Program,
    mutations: &[&'static Mutation],
) -> Result<Vec<&'static Mutation>> {
    let begin = Instant::now();
    let limits = bench.check(program, mutations)?;
    let seconds = begin.elapsed().as_secs_f64();
    println!("passed    {seconds:4.1} s  {program}, {} tests, as they are", limits.len());
    let mut unnoticed = Vec::new();
    for &mutation in mutations {
        let begin = Instant::now();
        let verdict = bench.try_out(mutation, &limits)?;
        let seconds = begin.elapsed().as_secs_f64();
        println!("{verdict:9} {seconds:4.1} s  {} ({})", mutation.name, mutation.test);
        if !verdict.is_good() {
            unnoticed.push(mutation);
        }
    }
    Ok(unnoticed)
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
