//! Who runs on which processor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use thread_priority::ThreadPriority;
use thread_priority::unix::{
    NormalThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};

/// Those that this process may use.
pub struct Processors {
    all: Vec<usize>,
}

impl Processors {
    pub fn find() -> Result<Self> {
        let allowed = sched_getaffinity(Pid::this())?;
        let all: Vec<_> =
            (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false)).collect();
        all.first().context("no processor may be used")?;
        Ok(Self { all })
    }

    /// That of the peers and the wineserver: two processes that wait for each
    /// other are many times faster on one.
    pub fn server(&self) -> &[usize] {
        &self.all[..1]
    }

    pub fn all(&self) -> &[usize] {
        &self.all
    }

    /// That of the clients: another, if there is one.
    pub fn client(&self) -> &[usize] {
        &self.all[self.all.len() - 1..]
    }
}

/// Lets this thread, and the processes that it starts, run there only.
pub fn run_all_on(processors: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for &cpu in processors {
        set.set(cpu)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Keeps the processors from sleeping, until dropped.
pub struct Awake(Arc<AtomicBool>);

/// Waking a processor takes longer than an echo. What keeps it awake runs only
/// when it has nothing else to do.
pub fn keep_awake(processors: &Processors) -> Awake {
    let over = Arc::new(AtomicBool::new(false));
    for cpu in [processors.server(), processors.client()] {
        let (cpu, over) = (cpu.to_vec(), Arc::clone(&over));
        thread::spawn(move || {
            let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
            let lowest = ThreadPriority::Min;
            let ready = run_all_on(&cpu).is_ok()
                && set_thread_priority_and_policy(thread_native_id(), lowest, idle).is_ok();
            // Without the lowest priority it would be in the way.
            while ready && !over.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
    }
    Awake(over)
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
