//! One session of Wine, for one invocation of `cargo xtask`: a prefix and a
//! wineserver of its own, and a process that keeps both awake.
//!
//! Wine's boot program and services are left out. They take seconds, and they
//! would inherit the outputs of the program that happens to start them.
//!
//! Where Wine has a root folder of its own, the session lives in a private
//! mount namespace: the machine's folders are mounted into the root folder for
//! this process and its children only, and are gone with the last of them.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid};
use procfs::process::Process;
use tempfile::TempDir;

use super::mini_root::SETTINGS;
use super::runner;
use super::setup::{self, Ready, Wine};
use super::supervise::start;
use super::target::Target;
use crate::cargo;

/// Folders of the machine that Wine's root folder has its own of.
const SYSTEM: [&str; 8] = ["bin", "etc", "lib", "lib32", "lib64", "libx32", "sbin", "usr"];

pub struct Session {
    ready: Ready,
    folder: TempDir,
    settings: BTreeMap<&'static str, OsString>,
    hold: Option<Child>,
}

impl Session {
    /// To be called after `enter_namespace`. The wineserver writes to `trace`
    /// what programs with `WINEDEBUG=+server` ask of it.
    pub fn start(ready: Ready, trace: Stdio) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("completion-port-wine-").tempdir()?;
        make_prefix(&prefix(&folder), &ready.wine)?;
        let settings = settings(&ready.wine, &prefix(&folder));
        let mut session = Self { ready, folder, settings, hold: None };
        session.start_hold(trace).context("Wine does not start")?;
        Ok(session)
    }

    pub fn wine(&self) -> &Wine {
        &self.ready.wine
    }

    pub fn target(&self) -> &'static Target {
        self.ready.target
    }

    /// Lets `command`, and cargo's runner under it, find the session.
    pub fn describe_to(&self, command: &mut Command) {
        command.envs(&self.settings);
        let target = self.ready.target.name.to_uppercase().replace('-', "_");
        let variable = format!("CARGO_TARGET_{target}_RUNNER");
        command.env(variable, format!("{} runner", this_program()));
    }

    /// Starts a process that lives as long as the session and, with it, the
    /// wineserver. No later program has to start the wineserver then, which
    /// would hold that program's outputs open.
    fn start_hold(&mut self, trace: Stdio) -> Result<()> {
        let program = self.ready.hold.clone();
        let mut command = self.enter(&self.ready.wine.loader, &[program.as_os_str()]);
        command.stderr(trace);
        self.hold = Some(start(&mut command)?);

        let sign = prefix(&self.folder).join("drive_c/ready");
        let deadline = Instant::now() + Duration::from_secs(60);
        while !sign.exists() {
            if let Some(status) = self.hold.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("its first program ended at once ({status}); try WINEDEBUG=+module");
            }
            if Instant::now() > deadline {
                bail!("its first program is not ready after a minute");
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// A Windows program, started by Wine itself.
    pub fn program(&self, program: &Path) -> Command {
        self.program_under(&[], program)
    }

    /// The same under a program of the machine's kind, such as a debugger.
    pub fn program_under(&self, tool: &[OsString], program: &Path) -> Command {
        let mut command = Command::new(this_program());
        command.arg("enter").args(tool).arg(&self.ready.wine.loader).arg(program);
        self.describe_to(&mut command);
        command
    }

    /// The same as cargo runs it, by our runner.
    pub fn program_by_runner(&self, program: &Path) -> Command {
        let mut command = Command::new(this_program());
        command.arg("runner").arg(program);
        self.describe_to(&mut command);
        command
    }

    /// The process that is this session's kernel.
    pub fn server(&self) -> Result<Process> {
        let wanted = prefix(&self.folder);
        let is_ours = |process: &Process| {
            let ours = process.environ().is_ok_and(|environment| {
                environment.get(OsStr::new("WINEPREFIX")).is_some_and(|found| found == &wanted)
            });
            ours && process.stat().is_ok_and(|stat| stat.comm.starts_with("wineserver"))
        };
        let mut processes = procfs::process::all_processes()?.filter_map(Result::ok);
        processes.find(is_ours).context("the wineserver is not running")
    }

    /// One of Wine's own programs, with no input or output.
    fn enter(&self, program: &Path, args: &[&OsStr]) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.arg("enter").arg(program).args(args).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.describe_to(&mut command);
        command
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let sockets = setup::server_folder(&prefix(&self.folder));
        // Ends the wineserver of this session, and with it all that is left.
        let _ = self.enter(&self.ready.wine.server, &["-k".as_ref()]).status();
        if let Some(mut hold) = self.hold.take() {
            let _ = hold.kill();
            let _ = hold.wait();
        }
        if let Ok(sockets) = sockets {
            let _ = fs::remove_dir_all(sockets);
        }
    }
}

/// This very program, even if it is built anew in the meantime; by number, because the
/// command may be started by another program.
fn this_program() -> String {
    format!("/proc/{}/exe", std::process::id())
}

fn prefix(folder: &TempDir) -> PathBuf {
    folder.path().join("prefix")
}

/// Makes a prefix without Wine's boot program: links to Wine's own DLLs.
fn make_prefix(prefix: &Path, wine: &Wine) -> Result<()> {
    let windows = prefix.join("drive_c/windows");
    fs::create_dir_all(windows.join("temp"))?;
    fs::create_dir_all(prefix.join("dosdevices"))?;
    symlink("../drive_c", prefix.join("dosdevices/c:"))?;
    symlink("/", prefix.join("dosdevices/z:"))?;
    link_all(&windows.join("system32"), &wine.dlls, wine)?;
    let for_32_bits = wine.dlls.with_file_name("i386-windows");
    if wine.outside(&for_32_bits).is_dir() {
        link_all(&windows.join("syswow64"), &for_32_bits, wine)?;
    }
    Ok(())
}

/// Makes a folder with links to all of Wine's DLLs in `dlls`.
fn link_all(folder: &Path, dlls: &Path, wine: &Wine) -> Result<()> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(wine.outside(dlls))? {
        let name = entry?.file_name();
        symlink(dlls.join(&name), folder.join(&name))?;
    }
    Ok(())
}

/// What Wine and the runner are told in the environment.
fn settings(wine: &Wine, prefix: &Path) -> BTreeMap<&'static str, OsString> {
    let debug = env::var_os("WINEDEBUG").unwrap_or_else(|| "-all".into());
    let mut settings = BTreeMap::from([
        // No boot program; and no debugger, so that a crash ends at once with
        // the right code.
        ("WINEDLLOVERRIDES", "wineboot.exe=d;winedbg.exe=d".into()),
        ("WINEDEBUG", debug),
        ("WINEPREFIX", prefix.into()),
        ("WINESERVER", wine.server.clone().into()),
        // Wine hands these to its programs as TEMP and TMP.
        ("WINETEMP", r"C:\windows\temp".into()),
        ("WINETMP", r"C:\windows\temp".into()),
        (runner::LOADER, wine.loader.clone().into()),
    ]);
    if let Some(root) = &wine.root {
        settings.insert(runner::ROOT, root.into());
    }
    settings
}

/// Whether this user can make a namespace and mount in it.
pub fn check_can_enter() -> Result<()> {
    let mut probe = Command::new("unshare");
    probe.args(["--mount", "--map-root-user", "true"]);
    if Uid::effective().is_root() || probe.output().is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    bail!("entering a folder with Wine needs root, or user namespaces");
}

/// Where Wine has a root folder of its own, moves this process into a mount
/// namespace in which that folder has the machine's folders.
///
/// To be called before the process has a second thread.
pub fn enter_namespace(wine: &Wine) -> Result<()> {
    match &wine.root {
        Some(root) => show_machine_in(root)
            .with_context(|| format!("cannot show Wine the machine in {}", root.display())),
        None => Ok(()),
    }
}

fn show_machine_in(root: &Path) -> Result<()> {
    let (user, group) = (Uid::effective(), Gid::effective());
    if user.is_root() {
        unshare(CloneFlags::CLONE_NEWNS)?;
    } else {
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
    }
    let everything_private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&Path>, "/", None::<&Path>, everything_private, None::<&Path>)?;

    for folder in folders_to_show(root)? {
        show(&folder, root)?;
    }
    for name in SETTINGS {
        let file = Path::new("/etc").join(name);
        if file.is_file() {
            bind(&file, &inside(root, &file))?;
        }
    }
    Ok(())
}

/// The machine's folders, but those of its system, and those in which we work
/// if they are in its system's.
fn folders_to_show(root: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir("/")? {
        let entry = entry?;
        let system = SYSTEM.iter().any(|name| entry.file_name() == *name);
        if entry.file_type()?.is_dir() && !system {
            folders.push(entry.path());
        }
    }
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let work = [
        Some(cargo::workspace().to_owned()),
        Some(env::temp_dir()),
        Some(env::current_dir()?),
        target,
    ];
    for folder in work.into_iter().flatten().filter(|folder| folder.is_dir()) {
        let folder = fs::canonicalize(folder)?;
        if !folders.iter().any(|shown| folder.starts_with(shown)) {
            folders.push(folder);
        }
    }
    // The one that `root` is in comes first, before anything is mounted there.
    folders.sort_by_key(|folder| !root.starts_with(folder));
    Ok(folders)
}

fn show(folder: &Path, root: &Path) -> Result<()> {
    let place = inside(root, folder);
    fs::create_dir_all(&place)?;
    bind(folder, &place)
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(from), to, None::<&Path>, flags, None::<&Path>)
        .with_context(|| format!("cannot mount {} at {}", from.display(), to.display()))
}
