//! `copy`, looked at by the hashes that Python knows.

use std::fs;
use std::path::{Path, PathBuf};

use program_tests::{Program, eventually, folder, run, sha256, text, write_pattern};

/// Copies, and returns what it says.
fn copy(from: &Path, to: &Path, options: &[&str]) -> String {
    text(&run("copy", [&[from.to_str().unwrap(), to.to_str().unwrap()], options].concat()))
}

#[test]
fn a_copy_has_the_hash_that_it_says() {
    let folder = folder();
    let sizes = [0, 1, 65_536, 65_537, 3_000_001];
    let path = |kind: &str, size: &usize| folder.path().join(format!("{kind}-{size}"));
    let mut said = Vec::new();
    for size in &sizes {
        write_pattern(&path("source", size), *size);
        let options = ["--block", "65536", "--depth", "4"];
        let line = copy(&path("source", size), &path("copy", size), &options);
        let (counts, hash) = line.trim().rsplit_once(' ').expect("a hash");
        assert_eq!(counts, format!("{size} bytes, {size} of them written, SHA-256"));
        said.push(hash.to_owned());
        assert!(!path("copy", size).with_extension("partial").exists());
    }
    for kind in ["source", "copy"] {
        let files: Vec<PathBuf> = sizes.iter().map(|size| path(kind, size)).collect();
        let Some(hashes) = sha256(&files) else { return };
        assert_eq!(hashes, said, "{kind}");
    }
}

#[test]
fn a_copy_that_was_interrupted_is_completed() {
    let folder = folder();
    let (source, destination) = (folder.path().join("source"), folder.path().join("copy"));
    let partial = folder.path().join("copy.partial");
    let bytes = write_pattern(&source, 1_500_000);
    let args = [source.to_str().unwrap(), destination.to_str().unwrap(), "--block", "4096"];
    let program = Program::start("copy", args);
    eventually("there is something of the copy", || {
        fs::metadata(&partial).is_ok_and(|data| data.len() > 0) || destination.exists()
    });
    drop(program);
    copy(&source, &destination, &["--resume", "--force"]);
    assert!(fs::read(destination).unwrap() == bytes);
    assert!(!partial.exists());
}

#[test]
fn what_is_there_and_right_is_not_written_again() {
    let folder = folder();
    let (source, destination) = (folder.path().join("source"), folder.path().join("copy"));
    let bytes = write_pattern(&source, 500_000);
    // Four blocks of which one is wrong, and the beginning of another.
    let mut there = bytes[..4 * 65_536 + 1000].to_vec();
    there[70_000] ^= 1;
    fs::write(folder.path().join("copy.partial"), there).unwrap();
    let line = copy(&source, &destination, &["--resume", "--block", "65536"]);
    let written = 500_000 - 3 * 65_536;
    assert!(line.starts_with(&format!("500000 bytes, {written} of them written")), "{line}");
    assert!(fs::read(&destination).unwrap() == bytes);

    // What is longer than the source is cut.
    fs::write(folder.path().join("copy.partial"), [&bytes[..], b"more"].concat()).unwrap();
    let line = copy(&source, &destination, &["--resume", "--force"]);
    assert!(line.starts_with("500000 bytes, 0 of them written"), "{line}");
    assert!(fs::read(&destination).unwrap() == bytes);
}

#[test]
fn mistakes_are_explained() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("source"), "hello").unwrap();
    fs::write(path("there"), "precious").unwrap();
    for (from, to, message) in [
        ("source", "there", "exists already; --force replaces it"),
        ("missing", "copy", "cannot open"),
        ("source", "missing/copy", "cannot create"),
    ] {
        let output = run("copy", [path(from), path(to)]);
        assert_eq!(output.status.code(), Some(1), "{message}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(message), "{errors}");
    }
    assert_eq!(fs::read(path("there")).unwrap(), b"precious");
}
