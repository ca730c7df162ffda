//! What the compiler is that measured programs are built by.

use anyhow::Result;

use crate::cargo;

/// What the compiler says that it is.
pub fn compiler() -> Result<String> {
    let output = cargo::rustc().arg("--version").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
