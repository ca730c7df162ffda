//! `supervise`, of programs that are beside it.

use std::fs;
use std::net::UdpSocket;

use program_tests::{Program, eventually, folder, run, text};
use tempfile::TempDir;

/// It says where it listens, and does not end with its input.
const STUBBORN: &str = "udp_echo --listen 127.0.0.1:0";

/// Supervises what is in a file of these lines.
fn supervise(commands: &str, options: &[&str]) -> (Program, TempDir) {
    let folder = folder();
    let file = folder.path().join("commands");
    fs::write(&file, commands).unwrap();
    let args = [&[file.to_str().expect("text")], options].concat();
    (Program::start("supervise", args), folder)
}

/// The next line that contains this.
fn line_with(program: &mut Program, part: &str) -> String {
    loop {
        let line = program.line();
        if line.contains(part) {
            return line;
        }
    }
}

/// Waits until something listens, and returns where.
fn address(program: &mut Program) -> String {
    let line = line_with(program, "listening on ");
    line.rsplit_once(' ').expect("an address").1.to_owned()
}

/// Waits until nobody listens there any more.
fn is_over(address: &str) {
    eventually("it has ended", || UdpSocket::bind(address).is_ok());
}

#[test]
fn what_programs_print_is_told_and_that_they_have_ended() {
    let (program, _folder) =
        supervise("# comment\n\n  copy.exe --help\n\"copy.exe\" --help\n", &[]);
    let lines = program.end();
    let help = text(&run("copy", ["--help"]));
    for name in ["1 copy.exe", "2 copy.exe"] {
        let prefix = format!("{name}: ");
        let said: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix(&prefix)).collect();
        assert_eq!(said, help.lines().collect::<Vec<_>>());
        assert!(lines.contains(&format!("{name} has ended, exit code: 0")), "{lines:?}");
    }
    assert_eq!(lines.last().unwrap(), "all have ended");
}

#[test]
fn what_comes_fast_is_told_line_by_line() {
    // The system's `sort` writes all at once.
    let folder = folder();
    let file = folder.path().join("lines");
    let lines: Vec<_> = (1..=20_000).map(|number| format!("line {number:05}")).collect();
    fs::write(&file, lines.join("\r\n") + "\r\n").unwrap();
    let path = file.to_str().expect("text").replace('/', "\\");
    let (program, _folder) = supervise(&format!("sort.exe {path}"), &[]);
    let all = program.end();
    let said: Vec<_> = all.iter().filter_map(|line| line.strip_prefix("1 sort.exe: ")).collect();
    assert_eq!(said, lines);
}

#[test]
fn what_fails_is_started_again_after_pauses_that_grow() {
    let (mut program, _folder) = supervise("copy --no-such-option", &["--pause", "10"]);
    for pause in ["10ms", "20ms", "40ms"] {
        line_with(&mut program, "1 copy has started as process ");
        line_with(&mut program, "1 copy has ended, exit code: 2");
        let line = program.line();
        assert_eq!(line, format!("1 copy is started again in {pause}"));
    }
    assert_eq!(program.end_input().last().unwrap(), "all have ended");
}

#[test]
fn programs_stop_at_the_end_of_their_input_and_what_does_not_is_killed() {
    let folder = folder();
    let inner = folder.path().join("inner");
    fs::write(&inner, STUBBORN).unwrap();
    // Wine knows this machine's paths by such names, too.
    let inner = inner.to_str().expect("text").replace('/', "\\");
    for (inner_patience, patience, lines) in [
        (
            "0",
            "60",
            &["1 supervise: what is left is killed", "1 supervise has ended, exit code: 0"],
        ),
        ("60", "0", &["what is left is killed", "1 supervise has ended, exit code: 1"]),
    ] {
        let command = format!("supervise --patience {inner_patience} \"{inner}\"");
        let (mut program, _folder) = supervise(&command, &["--patience", patience]);
        let address = address(&mut program);
        let last = program.end_input();
        assert!(lines.iter().all(|line| last.iter().any(|said| said == line)), "{last:?}");
        let is_killed = last.iter().any(|said| said == "what is left is killed");
        assert_eq!(is_killed, patience == "0", "{last:?}");
        is_over(&address);
    }
}

/// On Linux the runner ends all that it has started.
#[cfg(windows)]
#[test]
fn programs_end_with_it_however_it_ends() {
    let (mut program, _folder) = supervise(STUBBORN, &[]);
    let address = address(&mut program);
    drop(program);
    is_over(&address);
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_all() {
    let (mut program, _folder) = supervise(STUBBORN, &["--patience", "0"]);
    let address = address(&mut program);
    assert_eq!(program.interrupt().last().unwrap(), "all have ended");
    is_over(&address);
}

#[test]
fn mistakes_are_explained() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("empty"), "# nothing\n").unwrap();
    fs::write(path("unknown"), "no-such-program at all").unwrap();
    for (name, message) in [
        ("missing", format!("cannot read {}", path("missing"))),
        ("empty", format!("there are no command lines in {}", path("empty"))),
        ("unknown", "cannot start 1 no-such-program".to_owned()),
    ] {
        let output = run("supervise", [path(name)]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(&message), "{errors}");
    }
}
