//! Copies a file with many reads and writes in flight, and verifies the copy.
//!
//! One thread awaits the operations in order, while the system works on those behind
//! them. The copy gets its name when it is complete and verified; until then it has
//! `.partial` behind it, which a later run goes on with.
#![cfg(windows)]
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, value_parser};
use completion_port::fs::OpenOverlapped;
use completion_port::{Associated, Iocp, Pending};
use indicatif::{ProgressBar, ProgressStyle};
use programs::say;
use sha2::{Digest, Sha256};

/// Copy a file, and verify the copy by its SHA-256
#[derive(Parser)]
struct Arguments {
    /// The file to copy
    source: PathBuf,
    /// What the copy is to be named
    destination: PathBuf,
    /// How many reads are in flight at a time, and as many writes
    #[arg(long, value_name = "COUNT", default_value = "8")]
    #[arg(value_parser = value_parser!(u32).range(1..=256))]
    depth: u32,
    /// How many bytes are read at a time
    #[arg(long, value_name = "BYTES", default_value = "1048576")]
    #[arg(value_parser = value_parser!(u32).range(1..=67_108_864))]
    block: u32,
    /// Go on with a copy that was interrupted: what is there already is compared with the
    /// source, and written where it differs
    #[arg(long)]
    resume: bool,
    /// Replace the destination if it exists
    #[arg(long)]
    force: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let Arguments { source, destination, .. } = &arguments;
    let (from, to) = (source.display(), destination.display());
    if !arguments.force && destination.exists() {
        bail!("{to} exists already; --force replaces it");
    }
    let mut partial = destination.clone().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);

    let port = Iocp::<()>::typed()?;
    let source = OpenOptions::new().read(true).open_overlapped(source);
    let source = source.with_context(|| format!("cannot open {from}"))?;
    let target = open_target(&partial, arguments.resume)
        .with_context(|| format!("cannot create {}", partial.display()))?;
    let copy = Copy {
        source: port.add_handle(source, 0).with_context(|| format!("cannot read {from}"))?,
        target: port.add_handle(target, 0).with_context(|| format!("cannot write to {to}"))?,
        port,
        block: arguments.block as usize,
        depth: arguments.depth as usize,
    };
    let (length, written, hash) = copy.run()?;
    drop(copy);
    fs::rename(&partial, destination).with_context(|| format!("cannot name the copy {to}"))?;
    say(format_args!("{length} bytes, {written} of them written, SHA-256 {hash:x}"));
    Ok(())
}

fn open_target(path: &Path, resume: bool) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(!resume).open_overlapped(path)
}

struct Copy {
    port: Iocp<()>,
    source: Associated<File>,
    target: Associated<File>,
    block: usize,
    depth: usize,
}

type Hash = sha2::digest::Output<Sha256>;

impl Copy {
    /// Copies, and verifies. Returns the length, how many bytes had to be written, and the
    /// hash.
    fn run(&self) -> Result<(u64, u64, Hash)> {
        let length = self.source.metadata()?.len();
        let bar = progress("copying", length);
        let (written, hash) = self.port.block_on(self.copy(length, &bar))??;
        bar.finish();
        self.target.set_len(length)?;
        self.target.sync_all()?;

        let bar = progress("verifying", length);
        let found = self.port.block_on(self.hash_of_copy(length, &bar))??;
        bar.finish();
        ensure!(found == hash, "the copy differs: {found:x}, not {hash:x}");
        Ok((length, written, hash))
    }

    /// Copies what is not there yet: how much that was, and the hash of the source.
    async fn copy(&self, length: u64, bar: &ProgressBar) -> Result<(u64, Hash)> {
        let there = self.target.metadata()?.len().min(length);
        let mut source = self.reader(&self.source, length);
        let mut copy = self.reader(&self.target, there);
        let mut writes: VecDeque<Pending<Vec<u8>>> = VecDeque::new();
        let (mut hash, mut offset, mut written) = (Sha256::new(), 0, 0);
        while let Some(block) = source.next().await.context("cannot read the source")? {
            hash.update(&block);
            let bytes = block.len() as u64;
            let is_there = offset < there
                && copy.next().await.context("cannot read the copy")?.as_ref() == Some(&block);
            if !is_there {
                written += bytes;
                writes.push_back(self.port.initiate_write_at(&self.target, (), block, offset)?);
            }
            offset += bytes;
            bar.set_position(offset);
            finish(&mut writes, self.depth - 1).await?;
        }
        finish(&mut writes, 0).await?;
        ensure!(offset == length, "the source has changed: {offset} bytes, not {length}");
        Ok((written, hash.finalize()))
    }

    async fn hash_of_copy(&self, length: u64, bar: &ProgressBar) -> Result<Hash> {
        let mut copy = self.reader(&self.target, length);
        let mut hash = Sha256::new();
        while let Some(block) = copy.next().await.context("cannot read the copy")? {
            hash.update(&block);
            bar.inc(block.len() as u64);
        }
        Ok(hash.finalize())
    }

    fn reader<'c>(&'c self, file: &'c Associated<File>, length: u64) -> Reader<'c> {
        Reader { copy: self, file, length, offset: 0, reads: VecDeque::new() }
    }
}

/// Waits for the first of the writes, until at most so many are left.
async fn finish(writes: &mut VecDeque<Pending<Vec<u8>>>, left: usize) -> Result<()> {
    let over = writes.len().saturating_sub(left);
    for write in writes.drain(..over) {
        write.await.context("cannot write to the copy")?;
    }
    Ok(())
}

/// Reads the blocks of a file in order, ahead of who asks for them.
struct Reader<'c> {
    copy: &'c Copy,
    file: &'c Associated<File>,
    length: u64,
    /// What is read next, in bytes.
    offset: u64,
    reads: VecDeque<Pending<Vec<u8>>>,
}

impl Reader<'_> {
    /// The next block; none at the end.
    async fn next(&mut self) -> completion_port::Result<Option<Vec<u8>>> {
        while self.reads.len() < self.copy.depth && self.offset < self.length {
            let left = usize::try_from(self.length - self.offset).unwrap_or(usize::MAX);
            let block = self.copy.block.min(left);
            let buffer = Vec::with_capacity(block);
            let read = self.copy.port.initiate_read_at(self.file, (), buffer, self.offset)?;
            self.reads.push_back(read);
            self.offset += block as u64;
        }
        match self.reads.pop_front() {
            Some(read) => Ok(Some(read.await?.1)),
            None => Ok(None),
        }
    }
}

/// A bar on a terminal, and nothing elsewhere.
fn progress(what: &'static str, length: u64) -> ProgressBar {
    const TEMPLATE: &str =
        "{msg:9} {bar:40} {bytes}/{total_bytes} {binary_bytes_per_sec}, {eta} left";
    let style = ProgressStyle::with_template(TEMPLATE).expect("the template is right");
    ProgressBar::new(length).with_style(style).with_message(what)
}
