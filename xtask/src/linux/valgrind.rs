//! Valgrind, for programs under Wine.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::packages;
use super::setup::Wine;

/// Valgrind, and the names that it needs of a C library that is stripped.
const PACKAGES: [&str; 2] = ["valgrind", "libc6-dbg"];

/// The release that the root folder is made of.
const SUITE: &str = "trixie";

/// Where it is in Wine's root folder, if there is one.
const FOLDER: &str = "/valgrind";

/// Where it looks for those names.
const NAMES: &str = "usr/lib/debug";

pub struct Valgrind {
    program: PathBuf,
    /// The folder with its parts, if that is not the one it was built for.
    parts: Option<PathBuf>,
}

impl Valgrind {
    /// Sees to it that there is one that `wine` can run under: a Wine in a root
    /// folder needs one of its own release, in there.
    pub fn ready(wine: &Wine) -> Result<Self> {
        let Some(root) = &wine.root else {
            let program =
                which::which("valgrind").context("install Valgrind (package valgrind)")?;
            return Ok(Self { program, parts: None });
        };
        if !root.join(NAMES).exists() {
            unpack_into(root)?;
        }
        let folder = Path::new(FOLDER);
        let parts = Some(folder.join("usr/libexec/valgrind"));
        Ok(Self { program: folder.join("usr/bin/valgrind.bin"), parts })
    }

    /// What stands before a program that is to run under it.
    pub fn command(&self, options: &[&str]) -> Vec<OsString> {
        let program = std::iter::once(self.program.clone().into());
        program.chain(options.iter().map(OsString::from)).collect()
    }

    /// What the program's environment has to have.
    pub fn describe_to(&self, command: &mut Command) {
        if let Some(parts) = &self.parts {
            command.env("VALGRIND_LIB", parts);
        }
        // Wine's loader would begin anew, out of Valgrind's sight.
        command.env("WINELOADERNOEXEC", "1");
    }
}

/// Others may do so at the same time. Whoever is first wins.
fn unpack_into(root: &Path) -> Result<()> {
    let mirror = packages::mirror()?;
    let scratch = tempfile::tempdir_in(root)?;
    let (downloads, unpacked) = (scratch.path().join("downloads"), scratch.path().join("valgrind"));
    packages::fetch("Valgrind (23 MB)", SUITE, &PACKAGES, &mirror, &downloads, &unpacked)?;
    // Fails if the folder is there already.
    let _ = fs::rename(unpacked, root.join("valgrind"));
    let _ = symlink("../../valgrind/usr/lib/debug", root.join(NAMES));
    if !root.join(NAMES).exists() {
        bail!("Valgrind cannot be unpacked into {}", root.display());
    }
    Ok(())
}
