//! Wine for Debian-like machines whose own Wine is too old: a small root
//! folder with Wine 10 from Debian 13 (trixie) and the libraries it needs.
//!
//! Nothing is installed on the machine. The folder is entered by chroot, in a
//! mount namespace of its own; see `session.rs`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::packages;
use super::session;
use super::setup::{Wine, advice};

/// Changed whenever what `make` makes changes.
const VERSION: &str = "1";

/// All that a Windows program without windows needs.
const PACKAGES: [&str; 7] =
    ["libc6", "libgcc-s1", "libunwind8", "liblzma5", "zlib1g", "libwine", "wine64"];

/// Files of the machine that take the place of empty ones in the root folder.
pub const SETTINGS: [&str; 5] = ["passwd", "group", "hosts", "resolv.conf", "nsswitch.conf"];

const LOADER: &str = "/usr/lib/wine/wine64";
const SERVER: &str = "/usr/lib/wine/wineserver64";
const DLLS: &str = "/usr/lib/x86_64-linux-gnu/wine/x86_64-windows";

/// The Wine in `folder`, if it is there and complete.
pub fn find(folder: &Path) -> Option<Wine> {
    let root = folder.join("wine");
    let version = fs::read_to_string(root.join("complete")).ok()?;
    let wine =
        Wine { root: Some(root), loader: LOADER.into(), server: SERVER.into(), dlls: DLLS.into() };
    let parts = [wine.loader.clone(), wine.server.clone(), wine.dlls.join("ntdll.dll")];
    let whole = version == VERSION && parts.iter().all(|part| wine.outside(part).is_file());
    whole.then_some(wine)
}

/// Makes the root folder in `folder`, in place of an incomplete or older one.
pub fn make(folder: &Path) -> Result<()> {
    let mirror = packages::mirror().with_context(advice)?;
    session::check_can_enter().with_context(advice)?;

    let root = folder.join("wine");
    let partial = folder.join("wine.partial");
    let downloads = folder.join("downloads");
    for old in [&root, &partial, &downloads] {
        remove(old)?;
    }

    packages::fetch("Wine 10 (112 MB)", &PACKAGES, &mirror, &downloads, &partial)?;
    complete(&partial)?;
    fs::write(partial.join("complete"), VERSION)?;
    fs::rename(partial, root)?;
    remove(&downloads)
}

/// Removes what an earlier set-up left, but never through a mount: what is
/// mounted in there is a part of the real machine.
fn remove(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let inside = fs::canonicalize(folder)?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mounted =
        |line: &str| line.split(' ').nth(4).is_some_and(|at| Path::new(at).starts_with(&inside));
    if mounts.lines().any(mounted) {
        bail!("something is mounted in {}: unmount it first", folder.display());
    }
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}

/// What a whole Debian has from packages that we do not need.
fn complete(root: &Path) -> Result<()> {
    for name in ["bin", "lib", "lib64", "sbin"] {
        if !root.join(name).exists() {
            symlink(Path::new("usr").join(name), root.join(name))?;
        }
    }
    fs::create_dir_all(root.join("etc"))?;
    for name in SETTINGS {
        fs::write(root.join("etc").join(name), "")?;
    }
    Ok(())
}
