//! Starting the programs of `programs/`, and the tools that drive them.
#![allow(clippy::missing_panics_doc, reason = "a test panics when anything is wrong")]
#![allow(clippy::must_use_candidate, reason = "what was asked for may not be all that counts")]

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A program that is running. It is ended when this is dropped.
pub struct Program {
    child: Child,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
}

/// One of the programs, to be started: on Linux by the runner of the `cargo xtask` that
/// runs this test.
pub fn program(name: &str) -> Command {
    let folder = env::var_os("COMPLETION_PORT_PROGRAMS").expect("run this by cargo xtask programs");
    let program = Path::new(&folder).join(format!("{name}.exe"));
    let mut command = match env::var_os("COMPLETION_PORT_RUNNER") {
        Some(runner) => Command::new(runner),
        None => return Command::new(program),
    };
    command.arg("runner").arg(program).env("COMPLETION_PORT_TIME_LIMIT", "120");
    command
}

/// Runs a program to its end.
pub fn run<A: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = A>) -> Output {
    program(name).args(args).stdin(Stdio::null()).output().expect("it starts")
}

impl Program {
    /// Starts a program.
    pub fn start<A: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = A>) -> Self {
        let mut command = program(name);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|it| sender.send(it))
        });
        let stderr = child.stderr.take().expect("a pipe");
        Self { child, lines, errors: Some(thread::spawn(|| read_all(stderr))) }
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> String {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(error) => {
                let _ = self.child.kill();
                let errors = self.errors.take().and_then(|errors| errors.join().ok());
                panic!("it prints no further line ({error}): {}", errors.unwrap_or_default());
            }
        }
    }

    /// The address that it says it listens on.
    pub fn address(&mut self) -> String {
        let line = self.line();
        let address = line.strip_prefix("listening on ");
        address.unwrap_or_else(|| panic!("no address: {line}")).to_owned()
    }

    /// How many handles it has open. Wine's own process has them, together with those of
    /// the other programs that run meanwhile, which have some tens each.
    #[cfg(target_os = "linux")]
    pub fn open_handles(&self) -> usize {
        let prefix = env::var_os("WINEPREFIX").expect("run this by cargo xtask programs");
        let is_ours = |process: &procfs::process::Process| {
            let is_server = process.stat().is_ok_and(|stat| stat.comm.starts_with("wineserver"));
            let environment = process.environ().unwrap_or_default();
            is_server && environment.get(OsStr::new("WINEPREFIX")) == Some(&prefix)
        };
        let processes = procfs::process::all_processes().expect("there is /proc");
        let server = processes.filter_map(Result::ok).find(is_ours).expect("Wine is running");
        server.fd_count().expect("it is running")
    }

    /// How many handles it has open.
    #[cfg(windows)]
    pub fn open_handles(&self) -> usize {
        let script = format!("(Get-Process -Id {}).HandleCount", self.child.id());
        let output = Command::new("powershell").args(["-NoProfile", "-Command", &script]).output();
        text(&output.expect("it starts")).trim().parse().expect("a number")
    }

    /// Ends it as Ctrl-C does, and returns the lines that it has printed at last. (On
    /// Windows, nobody can press Ctrl-C for another process alone.)
    #[cfg(unix)]
    pub fn interrupt(self) -> Vec<String> {
        use nix::sys::signal::{Signal, kill};
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a process"));
        kill(id, Signal::SIGINT).expect("it is running");
        self.end()
    }

    /// Ends its standard input, and returns the lines that it has printed at last.
    pub fn end_input(mut self) -> Vec<String> {
        drop(self.child.stdin.take());
        self.end()
    }

    /// Waits for its end, and returns the lines that it has printed at last.
    pub fn end(mut self) -> Vec<String> {
        let start = Instant::now();
        let status = loop {
            match self.child.try_wait().expect("it can be asked") {
                Some(status) => break status,
                None => assert!(start.elapsed() < PATIENCE, "it does not end"),
            }
            thread::sleep(Duration::from_millis(5));
        };
        let errors = self.errors.take().and_then(|errors| errors.join().ok()).unwrap_or_default();
        assert!(status.success(), "{status}: {errors}");
        self.lines.iter().collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        #[cfg(unix)]
        {
            use nix::sys::signal::{Signal, kill};
            // The runner ends the program, too.
            let id = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(0));
            let _ = matches!(self.child.try_wait(), Ok(None)).then(|| kill(id, Signal::SIGTERM));
        }
        #[cfg(windows)]
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking()
            && let Some(Ok(errors)) = self.errors.take().map(JoinHandle::join)
        {
            eprintln!("the program's errors: {errors}");
        }
    }
}

fn read_all(mut from: ChildStderr) -> String {
    let mut text = Vec::new();
    let _ = from.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// A tool of this machine's, if it has it. If not, the test is counted as skipped.
pub fn tool(names: &[&str]) -> Option<Command> {
    static KNOWN: Mutex<BTreeMap<String, bool>> = Mutex::new(BTreeMap::new());
    let is_there = |name: &&&str| {
        let mut known = KNOWN.lock().expect("no panic");
        *known.entry((**name).to_owned()).or_insert_with(|| {
            let mut probe = Command::new(name);
            probe.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            probe.status().is_ok_and(|status| status.success())
        })
    };
    let found = names.iter().find(is_there).map(Command::new);
    if found.is_none() {
        // Past the test harness, for `cargo xtask` to count.
        let _ = writeln!(std::io::stdout(), "skipped: this needs {}", names[0]);
    }
    found
}

/// Curl, quiet, with a time limit, and taking paths as they are.
pub fn curl() -> Option<Command> {
    let mut curl = tool(&["curl"])?;
    curl.args(["--silent", "--show-error", "--path-as-is", "--max-time", "30", "--noproxy", "*"]);
    Some(curl)
}

/// A script for Python's standard library, which gets `args`; what it prints.
pub fn python<A: AsRef<OsStr>>(script: &str, args: impl IntoIterator<Item = A>) -> Option<String> {
    let mut python = tool(&["python3", "python"])?;
    let output = python.args(["-c", script]).args(args).output().expect("it starts");
    Some(text(&output))
}

/// What a program has printed that has succeeded.
#[track_caller]
pub fn text(output: &Output) -> String {
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {stdout}{stderr}", output.status);
    stdout.into_owned()
}

/// Waits until `condition` holds, or panics.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A folder that is deleted when it is dropped, where the programs can see it.
pub fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("completion-port-programs-").tempdir().expect("a folder")
}

/// Writes a file of so many bytes that differ at every offset that could be mixed up.
pub fn write_pattern(path: &Path, length: usize) -> Vec<u8> {
    let bytes: Vec<u8> = (0..length).map(|i| (i ^ (i >> 8) ^ (i >> 16)).to_le_bytes()[0]).collect();
    std::fs::write(path, &bytes).expect("the disk has room");
    bytes
}

/// The SHA-256 of files, by a tool of this machine's.
pub fn sha256(files: &[PathBuf]) -> Option<Vec<String>> {
    let script = "import hashlib, sys\nfor path in sys.argv[1:]:\n \
                  print(hashlib.sha256(open(path, 'rb').read()).hexdigest())";
    python(script, files).map(|lines| lines.lines().map(str::to_owned).collect())
}
