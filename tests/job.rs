//! Jobs, and what they tell.
#![cfg(windows)]
#![cfg(not(simulated_kernel))] // which has no jobs and no processes

mod support;

use std::io::{self, Read};
use std::os::windows::io::{AsHandle, AsRawHandle};
use std::process::{ExitStatus, Stdio};

use completion_port::job::{Job, JobEvent};
use completion_port::process::{Child, Exit, SpawnOptions};
use completion_port::{Associated, Iocp};
use support::child::{self, is_child};
use support::{PATIENCE, complete, eventually, port, post_raw};

const JOB: usize = 100;
const STDIN: usize = 10;
const EXIT: usize = 2;

/// The next event of the job.
#[track_caller]
fn event(port: &Iocp, job: &Job) -> JobEvent {
    match port.get_completion_timeout(PATIENCE) {
        Ok(found) => panic!("no event, but {found:?}"),
        Err(error) => {
            let packet = error.foreign_packet().unwrap_or_else(|| panic!("{error}"));
            job.event(&packet).unwrap_or_else(|| panic!("{packet:?}"))
        }
    }
}

/// Starts a test as a child in the job, which ends when its standard input does.
fn spawn(port: &Iocp, job: &Job, name: &str) -> Child {
    let mut command = child::command(name);
    command.stdout(Stdio::null());
    SpawnOptions::new().stdin(STDIN).job(job).spawn(port, &mut command).unwrap()
}

fn read_to_end() {
    let _ = io::stdin().read(&mut [0; 1]);
}

#[test]
fn a_tree_of_processes_tells_of_each_and_of_the_end() {
    const NAME: &str = "a_tree_of_processes_tells_of_each_and_of_the_end";
    if is_child(NAME) {
        // The first thing that it does: none escapes.
        if std::env::var_os("GRANDCHILD").is_none() {
            let mut command = child::command(NAME);
            command.env("GRANDCHILD", "1").spawn().unwrap().wait().unwrap();
        }
        std::process::exit(0);
    }
    let port = port();
    let job = Job::new(&port, JOB).unwrap();
    assert_eq!((job.context(), job.active_processes()), (JOB, Ok(0)));
    for _ in 0..5 {
        let mut child = spawn(&port, &job, NAME);
        let JobEvent::ProcessStarted(first) = event(&port, &job) else { panic!("a start") };
        assert_eq!(first, child.process.id());
        let JobEvent::ProcessStarted(second) = event(&port, &job) else { panic!("another") };
        let mut ended = [event(&port, &job), event(&port, &job)];
        ended.sort_unstable_by_key(|event| *event != JobEvent::ProcessExited(first));
        assert_eq!(ended, [first, second].map(JobEvent::ProcessExited));
        assert_eq!(event(&port, &job), JobEvent::NoProcesses);
        assert_eq!(job.active_processes(), Ok(0));
        child.process.wait().unwrap();
    }
}

#[test]
fn a_job_that_is_closed_kills_its_processes_if_told_so() {
    const NAME: &str = "a_job_that_is_closed_kills_its_processes_if_told_so";
    if is_child(NAME) {
        read_to_end();
        std::process::exit(0);
    }
    for kills in [true, false] {
        let port = port();
        let job = Job::new(&port, JOB).unwrap();
        job.kill_on_close(true).unwrap();
        job.kill_on_close(kills).unwrap();
        let child = spawn(&port, &job, NAME);
        assert_eq!(event(&port, &job), JobEvent::ProcessStarted(child.process.id()));
        assert_eq!(job.active_processes(), Ok(1));
        let pending = port.initiate_wait(Exit::of(&child.process).unwrap(), EXIT).unwrap();
        drop(job);
        if !kills {
            assert!(!pending.is_completed());
            drop(child.stdin);
        }
        eventually("the process ends", || {
            // There may be packets of the job.
            port.try_get_completion().is_ok_and(|it| it.is_some_and(|it| it.context == EXIT))
        });
    }
}

#[test]
fn the_processes_of_a_job_can_be_killed_together() {
    const NAME: &str = "the_processes_of_a_job_can_be_killed_together";
    if is_child(NAME) {
        read_to_end();
        std::process::exit(0);
    }
    // That nobody sees the events makes no difference.
    let [port, unseen] = [(); 2].map(|()| port());
    let job = Job::new(&unseen, JOB).unwrap();
    let children = [spawn(&port, &job, NAME), spawn(&port, &job, NAME)];
    for child in &children {
        port.initiate_wait(Exit::of(&child.process).unwrap(), EXIT).unwrap();
    }
    job.kill(9).unwrap();
    for _ in &children {
        let mut completion = complete(&port);
        let status: ExitStatus = completion.operation.output().unwrap();
        assert_eq!(status.code(), Some(9));
    }
    assert_eq!(job.active_processes(), Ok(0));
}

#[test]
fn packets_are_told_by_their_key_and_never_followed() {
    let port = port();
    let job = Job::new(&port, JOB).unwrap();
    let live: Associated<_> = port.add_handle(support::pipe_pair(false).0, 7).unwrap();
    let rows = [
        (1, JobEvent::JobTimeLimit),
        (2, JobEvent::ProcessTimeLimit(40)),
        (3, JobEvent::ProcessLimit),
        (4, JobEvent::NoProcesses),
        (5, JobEvent::Other { message: 5, value: 40 }),
        (6, JobEvent::ProcessStarted(40)),
        (7, JobEvent::ProcessExited(40)),
        (8, JobEvent::ProcessCrashed(40)),
        (9, JobEvent::ProcessMemoryLimit(40)),
        (10, JobEvent::JobMemoryLimit(40)),
        (11, JobEvent::NotificationLimit(40)),
        (u32::MAX, JobEvent::Other { message: u32::MAX, value: 40 }),
    ];
    for (message, expected) in rows {
        post_raw(&port, message, JOB, 40);
        assert_eq!(event(&port, &job), expected);
    }
    for key in [JOB - 1, live.context(), 0] {
        post_raw(&port, 6, key, 40);
        let packet = port.get_completion().unwrap_err().foreign_packet().unwrap();
        assert_eq!(job.event(&packet), None);
    }
    for value in [0, 1, usize::MAX, support::own_address(&port)] {
        post_raw(&port, 6, JOB, value);
        assert_eq!(event(&port, &job), JobEvent::ProcessStarted(value as u32));
    }
}

#[test]
fn a_process_that_is_put_into_a_job_belongs_to_it() {
    const NAME: &str = "a_process_that_is_put_into_a_job_belongs_to_it";
    if is_child(NAME) {
        read_to_end();
        std::process::exit(0);
    }
    let port = port();
    let job = Job::new(&port, JOB).unwrap();
    let mut child = child::command(NAME);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    job.assign(&child).unwrap();
    assert_eq!(event(&port, &job), JobEvent::ProcessStarted(child.id()));
    drop(child.stdin.take());
    assert_eq!(event(&port, &job), JobEvent::ProcessExited(child.id()));
    assert_eq!(event(&port, &job), JobEvent::NoProcesses);
    child.wait().unwrap();
    assert!(job.assign(&child).is_err());
}

#[test]
fn a_command_that_was_started_in_a_job_can_be_started_again_without() {
    const NAME: &str = "a_command_that_was_started_in_a_job_can_be_started_again_without";
    if is_child(NAME) {
        std::process::exit(6);
    }
    let port = port();
    let job = Job::new(&port, JOB).unwrap();
    let mut command = child::command(NAME);
    command.stdout(Stdio::null());
    let mut child = SpawnOptions::new().job(&job).spawn(&port, &mut command).unwrap();
    assert_eq!(child.process.wait().unwrap().code(), Some(6));
    let mut child = command.spawn().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(6));
}

/// And leaves none behind.
#[test]
fn a_child_that_cannot_be_put_into_its_job_is_not_started() {
    const NAME: &str = "a_child_that_cannot_be_put_into_its_job_is_not_started";
    if let Some(started) = std::env::var_os("STARTED") {
        std::fs::write(started, "").unwrap();
        std::process::exit(0);
    }
    // In a process of its own, where nobody else gets the value of the handle.
    if !is_child(NAME) {
        return child::run(NAME);
    }
    let port = port();
    let job = Job::new(&port, JOB).unwrap();
    // Closed behind its back, so that nothing can be assigned to it.
    support::close_raw(job.as_handle().as_raw_handle());
    let started = std::env::temp_dir().join(support::unique("started"));
    let mut command = child::command(NAME);
    command.stdout(Stdio::null()).env("STARTED", &started);
    let error = SpawnOptions::new().job(&job).spawn(&port, &mut command).unwrap_err();
    std::mem::forget(job);
    assert!(error.to_string().contains("AssignProcessToJobObject"), "{error}");
    assert!(!started.exists());
}

#[test]
fn a_port_that_is_closed_gets_no_job() {
    let port = port();
    port.close();
    assert!(Job::new(&port, JOB).unwrap_err().is_closed());
}
