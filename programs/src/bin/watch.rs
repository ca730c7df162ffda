//! Prints what changes in a folder, and in all folders in it.
//!
//! One watch is in flight at a time. What changes between two watches is collected by the
//! system; if that is too much, it says so, and the program looks at the folder again.
#![cfg(windows)]
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Parser, value_parser};
use completion_port::{Associated, CompletionStatus, Error, ErrorKind, Iocp, op};
use programs::{on_ctrl_c, say};

/// Print what changes in a folder
#[derive(Parser)]
struct Arguments {
    /// The folder to watch
    folder: PathBuf,
    /// Leave out what happens in the folders in it
    #[arg(long)]
    flat: bool,
    /// Print the names only: which files are created, deleted and renamed
    #[arg(long)]
    names: bool,
    /// How much room there is for changes that were not printed yet
    #[arg(long, value_name = "BYTES", default_value = "65536")]
    #[arg(value_parser = value_parser!(u32).range(64..=1_048_576))]
    buffer: u32,
}

struct Watch {
    arguments: Arguments,
    port: Iocp,
    folder: Associated<File>,
    renames: op::Renames,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = arguments.folder.display();
    let port = Iocp::new()?;
    on_ctrl_c(&port, Iocp::close)?;
    let directory = completion_port::fs::open_directory(&arguments.folder)
        .with_context(|| format!("cannot open the folder {folder}"))?;
    let directory = port.add_handle(directory, 0)?;
    let changes = op::Changes::with_capacity(arguments.buffer as usize);
    let renames = op::Renames::new();
    let mut watch = Watch { renames, port: port.clone(), folder: directory, arguments };
    watch.start(changes)?;
    say(format_args!("watching {}", watch.arguments.folder.display()));
    port.try_run(|completion| watch.complete(completion))
}

impl Watch {
    fn start(&self, changes: op::Changes) -> Result<(), Error> {
        let mut watch = op::WatchDirectory::new(changes).subtree(!self.arguments.flat);
        if self.arguments.names {
            type Kind = op::ChangeFilter;
            watch = watch.filter(Kind::FILE_NAMES | Kind::DIRECTORY_NAMES);
        }
        self.port.initiate(&self.folder, 0, watch)?;
        Ok(())
    }

    fn complete(&mut self, mut completion: CompletionStatus) -> Result<()> {
        match completion.error_status {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                say("the folder is deleted");
                self.port.close();
                return Ok(());
            }
            result => result?,
        }
        let changes: op::Changes = completion.operation.output()?;
        self.print(&changes)?;
        Ok(self.start(changes)?)
    }

    fn print(&mut self, changes: &op::Changes) -> Result<()> {
        if changes.overflowed() {
            self.renames.flush().iter().for_each(print);
            say("too much has changed; this is what is there now:");
            let mut found = BTreeSet::new();
            let folder = &self.arguments.folder;
            list(folder, folder, !self.arguments.flat, &mut found)
                .with_context(|| format!("cannot list {}", folder.display()))?;
            for path in found {
                say(format_args!("found     {}", path.display()));
            }
        }
        for change in changes {
            for event in self.renames.join(&change?) {
                print(&event);
            }
        }
        Ok(())
    }
}

fn print(event: &op::Event) {
    match event {
        op::Event::Added(path) => say(format_args!("added     {}", path.display())),
        op::Event::Removed(path) => say(format_args!("removed   {}", path.display())),
        op::Event::Modified(path) => say(format_args!("modified  {}", path.display())),
        op::Event::Renamed { from, to } => {
            say(format_args!("renamed   {} -> {}", from.display(), to.display()));
        }
        other => say(format_args!("{other:?}")),
    }
}

/// Lists a folder, as seen from `root`. What goes meanwhile is left out.
fn list(root: &Path, folder: &Path, deep: bool, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        found.insert(path.strip_prefix(root).unwrap_or(&path).to_owned());
        if deep && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            match list(root, &path, deep, found) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}
