//! The targets whose programs run here, and what each needs.

use std::path::Path;

use anyhow::{Context, Result};

use super::mini_root::{self, Contents};
use crate::cargo;

pub struct Target {
    /// Its name to cargo.
    pub name: &'static str,
    pub linker: &'static str,
    /// The packages that have the linker, of Debian and of Fedora.
    pub linker_packages: [&'static str; 2],
    /// What Wine calls the folder with the DLLs for such programs.
    pub dlls: &'static str,
    /// What to put into a root folder with Wine.
    pub contents: Contents,
    /// Where in the folder of the set-up its own things are.
    pub folder: &'static str,
}

static TARGETS: [Target; 2] = [
    Target {
        name: cargo::WINDOWS_GNU,
        linker: "x86_64-w64-mingw32-gcc",
        linker_packages: ["gcc-mingw-w64-x86-64", "mingw64-gcc"],
        dlls: "x86_64-windows",
        contents: mini_root::TRIXIE,
        folder: "",
    },
    Target {
        name: "i686-pc-windows-gnu",
        linker: "i686-w64-mingw32-gcc",
        linker_packages: ["gcc-mingw-w64-i686-win32", "mingw32-gcc"],
        dlls: "i386-windows",
        contents: mini_root::SID,
        folder: "i686-pc-windows-gnu",
    },
];

impl Target {
    /// That of all commands that are not told another.
    pub fn usual() -> &'static Self {
        &TARGETS[0]
    }

    pub fn named(name: &str) -> Result<&'static Self> {
        let names = TARGETS.each_ref().map(|target| target.name).join(" and ");
        let target = TARGETS.iter().find(|target| target.name == name);
        target.with_context(|| format!("programs for {name} do not run here: {names} do"))
    }

    /// Whether a Wine with these DLLs runs programs for the target.
    pub fn is_for(&self, dlls: &Path) -> bool {
        dlls.with_file_name(self.dlls).join("ntdll.dll").is_file()
    }
}
