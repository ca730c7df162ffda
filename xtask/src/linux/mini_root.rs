//! Wine for Debian-like machines whose own Wine is too old: a small root
//! folder with Wine 10 from Debian 13 (trixie) and the libraries it needs.
//!
//! Nothing is installed on the machine. The folder is entered by chroot, in a
//! mount namespace of its own; see `session.rs`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use super::progress::{quietly, step};
use super::session;
use super::setup::{Wine, advice};

/// Changed whenever what `make` makes changes.
const VERSION: &str = "1";

const SUITE: &str = "trixie";

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
    let mirror = mirror().with_context(advice)?;
    session::check_can_enter().with_context(advice)?;

    let root = folder.join("wine");
    let partial = folder.join("wine.partial");
    let downloads = folder.join("downloads");
    for old in [&root, &partial, &downloads] {
        remove(old)?;
    }

    step("Wine 10: reading the list of Debian's packages", || read_lists(&downloads, &mirror))?;
    step("Wine 10: downloading 7 packages (112 MB)", || {
        quietly(apt(&downloads).arg("download").args(PACKAGES).current_dir(&downloads))
    })?;
    step("Wine 10: unpacking (0.7 GB)", || unpack(&downloads, &partial))?;
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

/// apt-get with package lists, and a cache, of our own.
fn apt(downloads: &Path) -> Command {
    let mut apt = Command::new("apt-get");
    let at = downloads.display();
    let options = [
        "APT::Architecture=amd64".to_owned(),
        "APT::Architectures=amd64".to_owned(),
        "APT::Sandbox::User=root".to_owned(),
        "Acquire::Languages=none".to_owned(),
        format!("Dir::Cache={at}/cache"),
        format!("Dir::Etc::sourcelist={at}/sources.list"),
        "Dir::Etc::sourceparts=/dev/null".to_owned(),
        format!("Dir::State={at}/state"),
        "Dir::State::status=/dev/null".to_owned(),
    ];
    apt.arg("-qq");
    for option in options {
        apt.args(["-o", &option]);
    }
    apt
}

fn read_lists(downloads: &Path, mirror: &str) -> Result<()> {
    fs::create_dir_all(downloads.join("state/lists/partial"))?;
    fs::create_dir_all(downloads.join("cache/archives/partial"))?;
    fs::write(downloads.join("sources.list"), format!("deb {mirror} {SUITE} main\n"))?;
    quietly(apt(downloads).arg("update"))
}

fn unpack(downloads: &Path, root: &Path) -> Result<()> {
    fs::create_dir_all(root)?;
    for entry in fs::read_dir(downloads)? {
        let package = entry?.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            quietly(Command::new("dpkg-deb").arg("-x").arg(package).arg(root))?;
        }
    }
    // The links that a whole Debian has from a package we do not need.
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

/// The place from which this machine takes Debian's packages.
fn mirror() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| {
        let value = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.map(|value| value.trim_matches('"').to_owned())
    };
    let (Some("debian"), Some(codename)) = (field("ID").as_deref(), field("VERSION_CODENAME"))
    else {
        bail!("Wine can be made ready automatically on Debian only");
    };
    sources()
        .iter()
        .find_map(|text| {
            mirror_in_stanzas(text, &codename).or_else(|| mirror_in_lines(text, &codename))
        })
        .ok_or_else(|| anyhow!("apt's sources name no mirror for {codename}"))
}

/// The texts of apt's sources, in both of their formats.
fn sources() -> Vec<String> {
    let listed = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.path()).collect();
    paths.push("/etc/apt/sources.list".into());
    paths.sort();
    paths.iter().filter_map(|path| fs::read_to_string(path).ok()).collect()
}

/// Stanzas have lines such as `URIs: …` and `Suites: bookworm bookworm-updates`.
fn mirror_in_stanzas(text: &str, codename: &str) -> Option<String> {
    text.split("\n\n").find_map(|stanza| {
        let words = |name: &str| {
            let line =
                stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            Some(line.split_whitespace().collect::<Vec<_>>())
        };
        let fits = words("Suites")?.contains(&codename) && words("Components")?.contains(&"main");
        fits.then(|| words("URIs")?.first().map(ToString::to_string)).flatten()
    })
}

/// Lines are such as `deb [signed-by=…] MIRROR bookworm main`.
fn mirror_in_lines(text: &str, codename: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        let words: Vec<_> = rest.split_whitespace().collect();
        let fits = words.len() > 2 && words[1] == codename && words[2..].contains(&"main");
        fits.then(|| words[0].to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_found_in_stanzas() {
        let text = "Types: deb\nURIs: http://other.example\nSuites: bookworm-security\n\
                    Components: main\n\nTypes: deb\nURIs: http://mirror.example/debian\n\
                    Suites: bookworm bookworm-updates\nComponents: main contrib\n";
        let mirror = mirror_in_stanzas(text, "bookworm");
        assert_eq!(mirror.as_deref(), Some("http://mirror.example/debian"));
        assert_eq!(mirror_in_stanzas(text, "sid"), None);
    }

    #[test]
    fn mirrors_are_found_in_lines() {
        let text = "# deb http://old.example bookworm main\n\
                    deb [signed-by=/a b=c] http://mirror.example/debian bookworm main\n";
        let mirror = mirror_in_lines(text, "bookworm");
        assert_eq!(mirror.as_deref(), Some("http://mirror.example/debian"));
        assert_eq!(mirror_in_lines(text, "sid"), None);
    }
}
