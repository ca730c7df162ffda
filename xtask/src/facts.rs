//! `cargo xtask facts`: what the system at hand does where the library has to
//! assume something.

use std::process::{ExitCode, Stdio};

use anyhow::{Result, ensure};

use crate::page::Page;
use crate::runtime::Runtime;

#[derive(clap::Args)]
pub struct Args {
    /// Write the answers into docs/testing.md, which tells those of Wine
    #[arg(long)]
    write: bool,
}

/// Builds before it runs, so that the program's output is its own.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut runtime = Runtime::start()?;
    let mut build = runtime.cargo("build");
    let outcome = runtime.run(build.args(["--package", "facts"]))?;
    if outcome != ExitCode::SUCCESS {
        return Ok(outcome);
    }
    let mut run = runtime.cargo("run");
    run.args(["--package", "facts", "--quiet"]);
    #[cfg(target_os = "linux")]
    let _folder = give_fifo(&mut run)?;
    if !args.write {
        return runtime.run(&mut run);
    }
    let output = run.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the program ended with {}", output.status);
    let page = Page::new("testing.md", "cargo xtask facts --write");
    page.write(&String::from_utf8(output.stdout)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Makes a FIFO, which Wine takes for a file.
#[cfg(target_os = "linux")]
fn give_fifo(run: &mut std::process::Command) -> Result<tempfile::TempDir> {
    use nix::sys::stat::Mode;

    let folder = tempfile::tempdir()?;
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let path = fifo.display().to_string().replace('/', r"\");
    run.env("COMPLETION_PORT_FACTS_FIFO", format!(r"\\?\unix{path}"));
    Ok(folder)
}
