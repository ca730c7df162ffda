//! How the commands call cargo.

use std::collections::HashMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// The target of every build that is run on Linux.
pub const WINDOWS_GNU: &str = "x86_64-pc-windows-gnu";

/// The cargo that runs this program.
pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The same for tests on the simulated kernel, which stands in for the system.
pub fn on_simulated_kernel(mut cargo: Command) -> Command {
    cargo.env("RUSTFLAGS", "--cfg simulated_kernel");
    cargo
}

/// The programs that cargo says it has made, as `--message-format=json` has it.
pub fn executables_in(messages: &str) -> impl Iterator<Item = PathBuf> {
    messages.lines().filter_map(|line| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        let (path, _) = rest.split_once('"')?;
        // JSON doubles the separators of Windows.
        Some(PathBuf::from(path.replace(r"\\", r"\")))
    })
}

/// The folder of the workspace.
pub fn workspace() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// The compiler that cargo uses.
pub fn rustc() -> Command {
    Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

/// Sees to it that the standard library for `target` is there.
pub fn add_target(target: &str) -> Result<()> {
    if has_target(&mut rustc(), target)? {
        return Ok(());
    }
    eprintln!("rustup: adding the Rust target {target}");
    let added = Command::new("rustup").args(["target", "add", target]).status();
    if !added.is_ok_and(|status| status.success()) {
        bail!("the Rust target {target} is missing: install it with `rustup target add {target}`");
    }
    Ok(())
}

/// Sees to it that a subcommand of cargo's is there: `cargo-NAME`, of this version.
pub fn install(name: &str, version: &str) -> Result<()> {
    let subcommand = name.trim_start_matches("cargo-");
    let mut asked = cargo();
    asked.args([subcommand, "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    if asked.status().is_ok_and(|status| status.success()) {
        return Ok(());
    }
    eprintln!("cargo: installing {name}");
    let installed = cargo().args(["install", "--locked", "--version", version, name]).status()?;
    if !installed.success() {
        bail!("{name} is missing: install it with `cargo install {name}`");
    }
    Ok(())
}

/// Whether the compiler `rustc` has the standard library for `target`.
pub fn has_target(rustc: &mut Command, target: &str) -> Result<bool> {
    let output = rustc.args(["--print", "sysroot"]).output().context("cannot run rustc")?;
    let sysroot = PathBuf::from(String::from_utf8(output.stdout)?.trim_end());
    let library = sysroot.join("lib/rustlib").join(target).join("lib");
    Ok(output.status.success() && library.is_dir())
}

/// Builds, and says where the programs are that were made, by name.
pub fn executables(build: &mut Command) -> Result<HashMap<String, PathBuf>> {
    build.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = build.output().context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo ended with {}", output.status);
    let messages = String::from_utf8(output.stdout)?;
    let named = |path: PathBuf| Some((path.file_stem()?.to_str()?.to_owned(), path));
    Ok(executables_in(&messages).filter_map(named).collect())
}
