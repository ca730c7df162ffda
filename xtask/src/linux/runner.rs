//! Cargo's runner: runs one Windows program in the session of the `cargo xtask`
//! that called cargo.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, chroot};

use super::supervise::{Outcome, Supervisor, end, start};
use crate::limit::{TIME_LIMIT, time_limit};
use crate::output::PassedOn;

/// Names the folder that Wine sees as `/`, if it is not the machine's own.
pub const ROOT: &str = "COMPLETION_PORT_SESSION_ROOT";
/// Names the program that starts Windows programs.
pub const LOADER: &str = "COMPLETION_PORT_SESSION_LOADER";

/// Says that what the program writes goes to a terminal, which it does not see.
const TERMINAL: &str = "COMPLETION_PORT_TERMINAL";

const GRACE: Duration = Duration::from_secs(5);

/// Becomes `program`, which ends with the process that started it.
pub fn enter(program: &OsStr, args: &[OsString]) -> Result<ExitCode> {
    set_pdeathsig(Signal::SIGKILL)?;
    enter_root()?;
    let error = Command::new(program).args(args).exec();
    Err(anyhow!("cannot start {}: {error}", program.display()))
}

/// Runs a Windows program.
pub fn run(program: &OsStr, args: &[OsString]) -> Result<ExitCode> {
    let loader = env::var_os(LOADER)
        .context("this is the runner for cargo: use `cargo xtask test`, or another command")?;
    // A call of cargo that is killed takes its programs with it.
    set_pdeathsig(Signal::SIGTERM)?;
    enter_root()?;
    let limit = time_limit()?;
    let supervisor = Supervisor::new(GRACE)?;

    let mut command = Command::new(loader);
    command.arg(program).args(args);
    command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY").env_remove("LD_LIBRARY_PATH");
    // Rustdoc sets this only where it has no runner. With it, each example in
    // the documentation is run in a process of its own.
    command.env("RUSTDOC_DOCTEST_BIN_PATH", program);
    if io::stdout().is_terminal() {
        command.env(TERMINAL, "1");
    }
    let mut finish = run_once(&supervisor, &mut command, limit)?;
    if finish.never_began() {
        eprintln!("wine: {} ended with code 1 and no output; trying once more", program.display());
        finish = run_once(&supervisor, &mut command, limit)?;
    }
    if let (Outcome::TimedOut, Some(limit)) = (&finish.outcome, limit) {
        let (program, limit) = (program.display(), limit.as_secs());
        eprintln!("wine: {program} was killed after {limit} s, its time limit ({TIME_LIMIT})");
    }
    Ok(ExitCode::from(finish.outcome.exit_code()))
}

/// Makes the session's root folder the root of this process, which stays in
/// its working folder.
fn enter_root() -> Result<()> {
    let Some(root) = env::var_os(ROOT) else {
        return Ok(());
    };
    let folder = env::current_dir()?;
    chroot(Path::new(&root)).with_context(|| format!("cannot enter {}", root.display()))?;
    env::set_current_dir(&folder)
        .with_context(|| format!("{} cannot be seen by Wine", folder.display()))
}

struct Finish {
    outcome: Outcome,
    /// Whether it has written nothing at all.
    silent: bool,
}

impl Finish {
    /// Wine, very rarely, ends a program before its first instruction.
    fn never_began(&self) -> bool {
        self.silent && matches!(&self.outcome, Outcome::Ended(status) if status.code() == Some(1))
    }
}

fn run_once(
    supervisor: &Supervisor,
    command: &mut Command,
    limit: Option<Duration>,
) -> Result<Finish> {
    // Given a terminal, Wine would start a console of its own that redraws it.
    if io::stdin().is_terminal() {
        command.stdin(Stdio::null());
    }
    let mut child = start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let group = Pid::from_raw(i32::try_from(child.id())?);
    let written = Arc::new(AtomicBool::new(false));
    let look = || {
        let written = Arc::clone(&written);
        move |_: &[u8]| written.store(true, Ordering::Relaxed)
    };
    let outputs = [
        child.stdout.take().map(|from| PassedOn::start(from, io::stdout(), look())),
        child.stderr.take().map(|from| PassedOn::start(from, io::stderr(), look())),
    ];
    let outcome = supervisor.wait(child, limit)?;
    // What the program started and left behind.
    end(group, Signal::SIGKILL);
    let mut complete = true;
    for output in outputs.into_iter().flatten() {
        complete &= output.finish();
    }
    Ok(Finish { outcome, silent: complete && !written.load(Ordering::Relaxed) })
}
