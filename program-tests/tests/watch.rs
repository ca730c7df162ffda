//! `watch`, of a folder that this machine's own programs work in.

use std::fs;

use program_tests::{Program, folder, run};
use tempfile::TempDir;

fn watch(options: &[&str]) -> (Program, TempDir) {
    let folder = folder();
    let path = folder.path().to_str().expect("text").to_owned();
    let mut program = Program::start("watch", [&[path.as_str()], options].concat());
    assert_eq!(program.line(), format!("watching {path}"));
    (program, folder)
}

#[test]
fn names_come_and_change_and_go() {
    let (mut program, folder) = watch(&["--names"]);
    let path = |name: &str| folder.path().join(name);
    fs::write(path("one"), "hello").unwrap();
    assert_eq!(program.line(), "added     one");
    fs::rename(path("one"), path("two")).unwrap();
    assert_eq!(program.line(), "renamed   one -> two");
    fs::create_dir(path("inner")).unwrap();
    assert_eq!(program.line(), "added     inner");
    fs::remove_file(path("two")).unwrap();
    assert_eq!(program.line(), "removed   two");
}

#[test]
fn folders_in_it_are_watched_unless_it_is_flat() {
    for (options, line) in
        [(&["--names"][..], r"added     inner\deep"), (&["--names", "--flat"], "added     last")]
    {
        let (mut program, folder) = watch(options);
        // Wine sees into folders that come while it watches.
        fs::create_dir(folder.path().join("inner")).unwrap();
        assert_eq!(program.line(), "added     inner");
        fs::write(folder.path().join("inner/deep"), "hello").unwrap();
        fs::write(folder.path().join("last"), "hello").unwrap();
        assert_eq!(program.line(), line);
    }
}

#[test]
fn contents_change() {
    let (mut program, folder) = watch(&[]);
    fs::write(folder.path().join("file"), "hello").unwrap();
    assert_eq!(program.line(), "added     file");
    assert_eq!(program.line(), "modified  file");
}

#[test]
fn what_was_too_much_is_looked_at_again() {
    let (mut program, folder) = watch(&["--names", "--buffer", "64"]);
    for number in 0..500 {
        fs::write(folder.path().join(format!("a file with a long name {number:03}")), "").unwrap();
    }
    loop {
        let line = program.line();
        if line == "too much has changed; this is what is there now:" {
            break;
        }
        assert!(line.starts_with("added     a file with a long name "), "{line}");
    }
    assert!(program.line().starts_with("found     a file with a long name "));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_it() {
    let (program, _folder) = watch(&[]);
    assert!(program.interrupt().is_empty());
}

#[test]
fn mistakes_are_explained() {
    let file = folder();
    fs::write(file.path().join("file"), "").unwrap();
    for path in [file.path().join("file"), file.path().join("missing")] {
        let output = run("watch", [&path]);
        assert_eq!(output.status.code(), Some(1));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(&format!("cannot open the folder {}", path.display())), "{errors}");
    }
}
