//! Debian's packages, unpacked into a folder and not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, anyhow, bail};

use super::progress::{quietly, step};

/// Downloads `packages` of the release `suite`, whichever this machine has, into
/// the folder `downloads` and unpacks them into `root`.
pub fn fetch(
    title: &str,
    suite: &str,
    packages: &[&str],
    mirror: &str,
    downloads: &Path,
    root: &Path,
) -> Result<()> {
    step(&format!("{title}: reading the list of Debian's packages"), || {
        read_lists(downloads, mirror, suite)
    })?;
    step(&format!("{title}: downloading {} packages", packages.len()), || {
        quietly(apt(downloads).arg("download").args(packages).current_dir(downloads))
    })?;
    step(&format!("{title}: unpacking"), || unpack(downloads, root))
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

fn read_lists(downloads: &Path, mirror: &str, suite: &str) -> Result<()> {
    fs::create_dir_all(downloads.join("state/lists/partial"))?;
    fs::create_dir_all(downloads.join("cache/archives/partial"))?;
    fs::write(downloads.join("sources.list"), format!("deb {mirror} {suite} main\n"))?;
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
    Ok(())
}

/// The place from which this machine takes Debian's packages.
pub fn mirror() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| {
        let value = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.map(|value| value.trim_matches('"').to_owned())
    };
    let (Some("debian"), Some(codename)) = (field("ID").as_deref(), field("VERSION_CODENAME"))
    else {
        bail!("this can be made ready automatically on Debian only");
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
