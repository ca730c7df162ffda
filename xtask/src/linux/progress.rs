//! Telling what a step that takes a while is about.

use std::io::IsTerminal;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// Does one step of the set-up and says so, with a clock where there is a terminal.
pub fn step<T>(title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let spinner = spinner(title);
    let result = work();
    spinner.finish_and_clear();
    let mark = if result.is_ok() { "done" } else { "failed" };
    eprintln!("set-up: {title}: {mark} in {:.1} s", start.elapsed().as_secs_f64());
    result
}

fn spinner(title: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        eprintln!("set-up: {title} ...");
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner().with_message(format!("set-up: {title}"));
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

/// Runs `command`, whose output is shown only if it fails.
pub fn quietly(command: &mut Command) -> Result<()> {
    let name = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!(
            "{name} failed ({})\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
