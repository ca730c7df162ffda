//! Wine for Debian-like machines whose own Wine is too old: a small root folder
//! with Wine 10 and the libraries it needs, from the packages of another Debian.
//!
//! Nothing is installed on the machine. The folder is entered by chroot, in a
//! mount namespace of its own; see `session.rs`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::packages;
use super::session;
use super::setup::Wine;

/// What a root folder with Wine is made of.
pub struct Contents {
    /// Changed whenever what `make` makes of it changes.
    version: &'static str,
    title: &'static str,
    suite: &'static str,
    /// All that a Windows program without windows needs.
    packages: &'static [&'static str],
    loader: &'static str,
    server: &'static str,
}

/// Debian 13's: a Wine that runs 64-bit programs.
pub const TRIXIE: Contents = Contents {
    version: "1",
    title: "Wine 10 (112 MB)",
    suite: "trixie",
    packages: &["libc6", "libgcc-s1", "libunwind8", "liblzma5", "zlib1g", "libwine", "wine64"],
    loader: "/usr/lib/wine/wine64",
    server: "/usr/lib/wine/wineserver64",
};

/// That of Debian's next release: a Wine that runs 32-bit programs, too.
pub const SID: Contents = Contents {
    version: "1",
    title: "Wine for 32-bit programs (199 MB)",
    suite: "sid",
    packages: &[
        "libc6",
        "libgcc-s1",
        "libunwind8",
        "liblzma5",
        "zlib1g",
        "libwine",
        "wine64",
        "wine",
        "wine-common",
    ],
    loader: "/usr/lib/x86_64-linux-gnu/wine/wine",
    server: "/usr/lib/x86_64-linux-gnu/wine/wineserver",
};

/// Files of the machine that take the place of empty ones in the root folder.
pub const SETTINGS: [&str; 5] = ["passwd", "group", "hosts", "resolv.conf", "nsswitch.conf"];

const DLLS: &str = "/usr/lib/x86_64-linux-gnu/wine/x86_64-windows";

/// The Wine in `folder`, if it is there and complete.
pub fn find(folder: &Path, contents: &Contents) -> Option<Wine> {
    let root = folder.join("wine");
    let version = fs::read_to_string(root.join("complete")).ok()?;
    let wine = Wine {
        root: Some(root),
        loader: contents.loader.into(),
        server: contents.server.into(),
        dlls: DLLS.into(),
    };
    let parts = [wine.loader.clone(), wine.server.clone(), wine.dlls.join("ntdll.dll")];
    let whole =
        version == contents.version && parts.iter().all(|part| wine.outside(part).is_file());
    whole.then_some(wine)
}

/// Makes the root folder in `folder`, in place of an incomplete or older one.
pub fn make(folder: &Path, contents: &Contents) -> Result<()> {
    let mirror = packages::mirror()?;
    session::check_can_enter()?;

    let root = folder.join("wine");
    let partial = folder.join("wine.partial");
    let downloads = folder.join("downloads");
    for old in [&root, &partial, &downloads] {
        remove(old)?;
    }

    let Contents { title, suite, packages, .. } = contents;
    packages::fetch(title, suite, packages, &mirror, &downloads, &partial)?;
    complete(&partial)?;
    fs::write(partial.join("complete"), contents.version)?;
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
