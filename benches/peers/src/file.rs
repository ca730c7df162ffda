//! Reading blocks of a file, and checking them.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use measure::Recorder;

use crate::BLOCK;

const BLOCKS: u64 = 256;

/// The job: `depth` reads are in flight at all times, each in a slot of its own.
pub struct FileReads {
    pub depth: usize,
    path: PathBuf,
    content: Vec<u8>,
    recorder: Recorder,
    count: AtomicU64,
}

/// One read.
#[derive(Clone, Copy)]
pub struct Read {
    pub slot: usize,
    pub offset: u64,
    started: Instant,
}

impl FileReads {
    pub(crate) fn new(depth: usize, duration: Duration) -> io::Result<Self> {
        let path = env::temp_dir().join(format!("completion-port-bench-{}", process::id()));
        let content: Vec<u8> = (0..BLOCKS * BLOCK as u64 / 8)
            .flat_map(|word| word.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes())
            .collect();
        fs::write(&path, &content)?;
        let recorder = Recorder::new(depth, duration);
        Ok(Self { depth, path, content, recorder, count: AtomicU64::new(0) })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next read of a slot, here and there in the file.
    pub fn next(&self, slot: usize) -> Read {
        let block = self.count.fetch_add(1, Ordering::Relaxed).wrapping_mul(101) % BLOCKS;
        Read { slot, offset: block * BLOCK as u64, started: Instant::now() }
    }

    /// Takes what was read; whether the slot shall go on.
    ///
    /// # Panics
    ///
    /// If it is not what is in the file.
    #[must_use]
    pub fn done(&self, read: &Read, block: &[u8]) -> bool {
        let start = read.offset as usize;
        assert!(block == &self.content[start..start + BLOCK], "a block with other bytes");
        self.recorder.record(read.slot, read.started)
    }

    /// To be called once all slots have ended.
    pub fn report(&self) {
        self.recorder.report();
    }
}

impl Drop for FileReads {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
