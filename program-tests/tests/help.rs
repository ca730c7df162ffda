//! Every program says what it is for, and what it does not understand.

use std::fs;
use std::path::Path;

use program_tests::{run, text};

#[test]
fn every_program_helps() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../programs/src/bin");
    let mut count = 0;
    for entry in fs::read_dir(sources).expect("the programs are there") {
        let path = entry.expect("it can be listed").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("text");
        let help = text(&run(name, ["--help"]));
        assert!(help.contains(&format!("Usage: {name}.exe ")), "{help}");
        assert!(!help.starts_with("Usage"), "it does not say what it is for: {help}");
        let output = run(name, ["--no-such-option"]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains("--no-such-option"), "{errors}");
        count += 1;
    }
    assert!(count > 0, "there are no programs");
}
