//! Making a Linux machine ready to build Windows programs and run them.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Uid;

use super::mini_root;
use super::progress::{quietly, step};
use super::target::Target;
use crate::cargo;

/// Names the folder in which the set-up keeps what it makes.
const FOLDER: &str = "COMPLETION_PORT_WINE_ROOT";

/// Programs made by today's Rust do not start on older ones.
const OLDEST_WINE: u32 = 9;

/// The program that keeps a session alive; see there.
const HOLD_SOURCE: &str = include_str!("../hold.c");

/// A Wine that can run the library's programs.
pub struct Wine {
    /// The folder that Wine sees as `/`, if it is not the machine's own.
    pub root: Option<PathBuf>,
    /// The program that starts Windows programs, as seen from its root.
    pub loader: PathBuf,
    /// The program that is Wine's kernel, as seen from its root.
    pub server: PathBuf,
    /// The folder with Wine's DLLs, as seen from its root.
    pub dlls: PathBuf,
}

impl Wine {
    /// Where `path`, seen from Wine's root, is on this machine.
    pub fn outside(&self, path: &Path) -> PathBuf {
        match (&self.root, path.strip_prefix("/")) {
            (Some(root), Ok(relative)) => root.join(relative),
            _ => path.to_owned(),
        }
    }
}

/// A machine that is ready.
pub struct Ready {
    pub target: &'static Target,
    pub wine: Wine,
    pub hold: PathBuf,
    /// Shared with other uses, and so keeping a set-up from changing what is used.
    _lock: Flock<File>,
}

/// Sees to it that programs for `target` can be built and run here.
pub fn ready(target: &'static Target) -> Result<Ready> {
    let folder = folder()?.join(target.folder);
    fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let lock = lock(&folder, FlockArg::LockShared)?;
    if let Some((wine, hold)) = what_is_there(&folder, target)? {
        return Ok(Ready { target, wine, hold, _lock: lock });
    }
    drop(lock);

    let lock = lock_for_set_up(&folder)?;
    if what_is_there(&folder, target)?.is_none() {
        set_up(&folder, target)?;
    }
    let lock = share(lock)?;
    match what_is_there(&folder, target)? {
        Some((wine, hold)) => Ok(Ready { target, wine, hold, _lock: lock }),
        None => bail!("the set-up in {} is not complete; try again", folder.display()),
    }
}

fn folder() -> Result<PathBuf> {
    if let Some(folder) = env::var_os(FOLDER) {
        return Ok(std::path::absolute(folder)?);
    }
    let cache = match env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => env::home_dir()
            .ok_or_else(|| anyhow!("no home folder is known: name a folder in {FOLDER}"))?
            .join(".cache"),
    };
    Ok(cache.join("completion-port"))
}

fn lock(folder: &Path, kind: FlockArg) -> Result<Flock<File>> {
    let path = folder.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
    Flock::lock(file, kind).map_err(|(_, error)| anyhow!("cannot lock {}: {error}", path.display()))
}

fn lock_for_set_up(folder: &Path) -> Result<Flock<File>> {
    if let Ok(lock) = lock(folder, FlockArg::LockExclusiveNonblock) {
        return Ok(lock);
    }
    step("waiting for another `cargo xtask` to end", || lock(folder, FlockArg::LockExclusive))
}

fn share(lock: Flock<File>) -> Result<Flock<File>> {
    lock.relock(FlockArg::LockShared).map_err(|error| anyhow!("cannot share the lock: {error}"))?;
    Ok(lock)
}

/// The Wine and the hold program, if nothing at all is missing.
fn what_is_there(folder: &Path, target: &Target) -> Result<Option<(Wine, PathBuf)>> {
    let hold = hold_program(folder);
    if !cargo::has_target(&mut cargo::rustc(), target.name)?
        || which::which(target.linker).is_err()
        || !hold.is_file()
    {
        return Ok(None);
    }
    let wine = installed_wine(target).ok().flatten();
    let wine = wine.or_else(|| mini_root::find(folder, &target.contents));
    Ok(wine.map(|wine| (wine, hold)))
}

fn set_up(folder: &Path, target: &Target) -> Result<()> {
    cargo::add_target(target.name)?;
    if which::which(target.linker).is_err() {
        let title = format!("installing the linker (package {})", target.linker_packages[0]);
        step(&title, || install_linker(target))?;
    }
    let contents = &target.contents;
    if installed_wine(target)?.is_none() && mini_root::find(folder, contents).is_none() {
        mini_root::make(folder, contents).with_context(|| advice(target))?;
    }
    if !hold_program(folder).is_file() {
        step("building the program that keeps Wine awake", || build_hold(folder, target))?;
    }
    Ok(())
}

fn install_linker(target: &Target) -> Result<()> {
    let [debian, fedora] = target.linker_packages;
    let advice = format!(
        "install the MinGW-w64 linker {} (Debian, Ubuntu: `apt-get install {debian}`; Fedora: \
         `dnf install {fedora}`; Arch: `pacman -S mingw-w64-gcc`)",
        target.linker
    );
    if which::which("apt-get").is_err() {
        bail!("{advice}");
    }
    let install = || {
        let mut apt = as_root("apt-get")?;
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        quietly(apt.args(["install", "-qq", "-y", "--no-install-recommends", debian]))
    };
    // The package lists of a new machine are empty or old.
    install()
        .or_else(|_| quietly(as_root("apt-get")?.args(["-qq", "update"])).and_then(|()| install()))
        .context(advice)
}

/// A call of `program` as root, by sudo where that is needed.
fn as_root(program: &str) -> Result<Command> {
    if Uid::effective().is_root() {
        return Ok(Command::new(program));
    }
    let mut sudo = Command::new(which::which("sudo").context("this needs root, or sudo")?);
    sudo.args(["-n", program]);
    Ok(sudo)
}

/// The Wine on the PATH, if it is there, new enough, and runs programs for `target`.
fn installed_wine(target: &Target) -> Result<Option<Wine>> {
    let Some(loader) = loader_on_path() else {
        return Ok(None);
    };
    if wine_version(&loader).is_none_or(|version| version < OLDEST_WINE) {
        return Ok(None);
    }
    let (Some(dlls), Some(server)) = (dll_folder(&loader), server_of(&loader)) else {
        bail!(
            "Wine is at {} but its DLLs or its wineserver were not found beside it",
            loader.display()
        );
    };
    let loader = behind_script(loader, &dlls);
    let wine = Wine { root: None, loader, server, dlls };
    Ok(target.is_for(&wine.dlls).then_some(wine))
}

fn loader_on_path() -> Option<PathBuf> {
    which::which("wine").or_else(|_| which::which("wine64")).ok()
}

/// Debian has a script in the place of Wine's loader. Valgrind and the tracer need
/// the loader itself.
fn behind_script(loader: PathBuf, dlls: &Path) -> PathBuf {
    let is_program = |path: &Path| {
        let mut start = [0; 4];
        let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
        read.is_ok() && start == *b"\x7fELF"
    };
    if is_program(&loader) {
        return loader;
    }
    let folders = dlls.ancestors().skip(1).take(3);
    folders
        .flat_map(|folder| ["wine", "wine64", "wine/wine64"].map(|name| folder.join(name)))
        .find(|path| is_program(path))
        .unwrap_or(loader)
}

/// What `wine --version` says, such as `wine-10.0 (Debian 10.0~repack-6)`.
fn wine_version(loader: &Path) -> Option<u32> {
    let output = Command::new(loader).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let number = text.trim_start().strip_prefix("wine-")?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Why no Wine is there, for a machine on which none can be made ready.
fn advice(target: &Target) -> String {
    let found = match loader_on_path() {
        Some(loader) => match wine_version(&loader) {
            Some(version) if version < OLDEST_WINE => {
                format!("{} is Wine {version}, which is too old", loader.display())
            }
            Some(_) => format!("{} has no folder {}", loader.display(), target.dlls),
            None => format!("{} does not tell its version", loader.display()),
        },
        None => "no Wine is installed".to_owned(),
    };
    format!(
        "{found}: install Wine {OLDEST_WINE} or later that runs programs for {}, and have `wine` \
         on the PATH",
        target.name
    )
}

/// Wine's 64-bit DLLs lie in a library folder beside the folder of its programs.
fn dll_folder(loader: &Path) -> Option<PathBuf> {
    let mut prefixes: Vec<PathBuf> = Vec::new();
    for path in [Some(loader.to_owned()), fs::canonicalize(loader).ok()].into_iter().flatten() {
        prefixes.extend(path.ancestors().skip(2).take(3).map(Path::to_owned));
    }
    let libraries = ["lib64", "lib", "lib/x86_64-linux-gnu", "x86_64-linux-gnu", ""];
    prefixes
        .iter()
        .flat_map(|prefix| libraries.iter().map(|library| prefix.join(library)))
        .map(|library| library.join("wine/x86_64-windows"))
        .find(|folder| folder.join("ntdll.dll").is_file())
}

fn server_of(loader: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(loader).ok()?;
    let beside = ["wineserver", "wineserver64"].map(|name| real.with_file_name(name));
    beside
        .into_iter()
        .find(|path| path.is_file())
        .or_else(|| which::which("wineserver").ok())
        .or_else(|| Some(PathBuf::from("/usr/lib/wine/wineserver64")).filter(|path| path.is_file()))
}

fn hold_program(folder: &Path) -> PathBuf {
    // The size changes with nearly every change of the source.
    folder.join(format!("hold-{}.exe", HOLD_SOURCE.len()))
}

fn build_hold(folder: &Path, target: &Target) -> Result<()> {
    let source = folder.join("hold.c");
    let built = folder.join("hold.exe.partial");
    fs::write(&source, HOLD_SOURCE)?;
    let mut linker = Command::new(target.linker);
    quietly(linker.args(["-O1", "-s", "-o"]).args([&built, &source]).arg("-lntdll"))?;
    fs::rename(built, hold_program(folder))?;
    Ok(())
}

/// The folder in which the wineserver of a prefix keeps its socket.
pub fn server_folder(prefix: &Path) -> Result<PathBuf> {
    // Debian's Wine makes one of its own for each, and notes it in the prefix.
    let noted = fs::read_to_string(prefix.join("wineserver")).unwrap_or_default();
    if noted.starts_with("wine-") && !noted.contains('/') {
        return Ok(Path::new("/tmp").join(noted.trim_end()));
    }
    let data = fs::metadata(prefix)?;
    let name = format!("server-{:x}-{:x}", data.dev(), data.ino());
    Ok(PathBuf::from(format!("/tmp/.wine-{}", Uid::current())).join(name))
}
