//! One measurement of one row on one peer.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use measure::{Report, START};
use procfs::process::Process;

use super::Programs;
use super::cpu::{Processors, run_all_on};
use super::plan::{Job, Peer, Row};
use crate::runtime::Runtime;

pub struct Sample {
    pub report: Report,
    /// Microseconds of processor time for each message: of the peer, and of
    /// the wineserver.
    pub process: f64,
    pub server: f64,
    /// Bytes.
    pub memory: u64,
}

impl Sample {
    pub fn take(
        runtime: &Runtime,
        programs: &Programs,
        processors: &Processors,
        row: &Row,
        peer: &Peer,
        seconds: f64,
    ) -> Result<Self> {
        let program = programs.get(peer.program).context("its program was not built")?;
        let mut command = runtime.wine(program);
        let seconds = seconds.to_string();
        match row.job {
            Job::Echo { .. } | Job::Connect { .. } => command.arg("echo"),
            Job::File { depth } => command.arg("file").arg(depth.to_string()).arg(&seconds),
            Job::Pipe => command.arg("pipe").arg(&seconds),
            Job::Posts { threads } => command.arg("posts").arg(threads.to_string()).arg(&seconds),
        };
        if matches!(row.job, Job::Posts { .. }) {
            // No clients: the threads have all processors.
            run_all_on(processors.all())?;
        }
        let peer = Running::start(&mut command);
        run_all_on(processors.server())?;
        let mut peer = peer?;
        let clocks = [peer.process()?, runtime.server()?];
        let (Job::Echo { connections, size } | Job::Connect { connections, size }) = row.job else {
            return watch(&mut peer.lines, &clocks);
        };

        let mut load = Command::new(&programs["load"]);
        load.arg(peer.line()?).args(["--seconds", &seconds]);
        load.arg("--connections").arg(connections.to_string());
        load.arg("--size").arg(size.to_string());
        if matches!(row.job, Job::Connect { .. }) {
            load.arg("--reconnect");
        }
        run_all_on(processors.client())?;
        let load = Running::start(&mut load);
        run_all_on(processors.server())?;
        watch(&mut load?.lines, &clocks)
    }
}

/// A program that is killed in the end, and its output.
struct Running {
    child: Child,
    lines: Lines,
}

type Lines = std::io::Lines<BufReader<ChildStdout>>;

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("it has no output")?;
        Ok(Self { child, lines: BufReader::new(output).lines() })
    }

    fn line(&mut self) -> Result<String> {
        next(&mut self.lines)
    }

    fn process(&self) -> Result<Process> {
        Ok(Process::new(i32::try_from(self.child.id())?)?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn next(lines: &mut Lines) -> Result<String> {
    Ok(lines.next().context("it ended too early")??)
}

/// Reads the clocks when the measurement starts and when it is over.
fn watch(lines: &mut Lines, clocks: &[Process; 2]) -> Result<Sample> {
    let line = next(lines)?;
    if line != START {
        bail!("{line}");
    }
    let before = [ticks(&clocks[0])?, ticks(&clocks[1])?];
    let early = memory(&clocks[0]);
    let line = next(lines)?;
    let after = [ticks(&clocks[0])?, ticks(&clocks[1])?];
    // A peer that measures itself may have ended meanwhile.
    let memory = memory(&clocks[0]).or(early).context("Linux does not tell its memory")?;
    let Ok(report) = serde_json::from_str::<Report>(&line) else { bail!("{line}") };
    let second = procfs::ticks_per_second() as f64;
    let micros = |clock: usize| {
        (after[clock] - before[clock]) as f64 / second * 1e6 / report.messages.max(1) as f64
    };
    Ok(Sample { process: micros(0), server: micros(1), memory, report })
}

/// The most memory of a process that was resident, in bytes.
fn memory(process: &Process) -> Option<u64> {
    process.status().ok()?.vmhwm.map(|kibibytes| kibibytes * 1024)
}

/// The processor time that a process has used.
fn ticks(process: &Process) -> Result<u64> {
    let stat = process.stat()?;
    Ok(stat.utime + stat.stime)
}
