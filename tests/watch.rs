//! Directories that are watched.
#![cfg(windows)]
#![cfg_attr(simulated_kernel, allow(dead_code, unused_imports, reason = "its own make no changes"))]

mod support;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use completion_port::fs::open_directory;
use completion_port::{Associated, ErrorKind, Iocp, op};
use op::{Action, Changes, Event, Renames, WatchDirectory};
use support::{complete, few, nothing_more, port, port_of, unique};

const WATCH: usize = 1;

/// A directory that is deleted when this is dropped.
struct Tree(PathBuf);

impl Tree {
    fn new() -> Self {
        let path = std::env::temp_dir().join(unique("watch"));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str) {
        fs::write(self.0.join(name), "hello").unwrap();
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn watch(port: &Iocp, directory: &Associated<File>, changes: Changes) {
    port.initiate(directory, WATCH, WatchDirectory::new(changes).subtree(true)).unwrap();
}

/// What a watch that has succeeded tells.
#[track_caller]
fn changed(port: &Iocp) -> Changes {
    let mut completion = complete(port);
    assert_eq!((completion.context, completion.error_status), (WATCH, Ok(())));
    completion.operation.output().unwrap()
}

/// What has happened until `last` has, with the watch started again and again.
#[track_caller]
fn events_until(
    port: &Iocp,
    directory: &Associated<File>,
    mut changes: Changes,
    last: &Event,
) -> Vec<Event> {
    let (mut events, mut renames) = (Vec::new(), Renames::new());
    while !events.contains(last) {
        watch(port, directory, changes);
        changes = changed(port);
        assert!(!changes.overflowed());
        for change in &changes {
            events.extend(renames.join(&change.unwrap()));
        }
    }
    events
}

#[cfg(not(simulated_kernel))] // its directories do not change by themselves
mod real {
    use super::*;

    fn opened(port: &Iocp, tree: &Tree) -> Associated<File> {
        port.add_handle(open_directory(&tree.0).unwrap(), 7).unwrap()
    }

    #[test]
    fn what_happens_in_a_tree_is_told() {
        let port = port();
        let tree = Tree::new();
        let directory = opened(&port, &tree);
        // From the first watch on, the system takes note of changes.
        watch(&port, &directory, Changes::with_capacity(65_536));
        fs::create_dir(tree.0.join("inner")).unwrap();
        let changes = changed(&port);
        let all: Vec<_> = changes.iter().map(Result::unwrap).collect();
        assert_eq!((all[0].action(), all[0].path()), (Action::Added, "inner".into()));

        tree.write(r"inner\file");
        let from = Path::new("inner").join("file");
        events_until(&port, &directory, changes, &Event::Added(from.clone()));
        let changes = Changes::with_capacity(65_536);
        fs::rename(tree.0.join(&from), tree.0.join("moved")).unwrap();
        fs::rename(tree.0.join("moved"), tree.0.join("renamed")).unwrap();
        fs::remove_file(tree.0.join("renamed")).unwrap();
        let removed = Event::Removed("renamed".into());
        let events = events_until(&port, &directory, changes, &removed);
        let renamed = Event::Renamed { from: "moved".into(), to: "renamed".into() };
        assert!(events.contains(&renamed), "{events:?}");
    }

    #[test]
    fn a_short_name_after_a_long_one_is_short() {
        let port = port();
        let tree = Tree::new();
        let directory = opened(&port, &tree);
        let long = "a rather long name, which is to be seen no more once there is another";
        let mut changes = Changes::with_capacity(4096);
        for name in [long, "x", "yy"] {
            watch(&port, &directory, changes);
            fs::create_dir(tree.0.join(name)).unwrap();
            changes = changed(&port);
            let all: Vec<_> = changes.iter().map(Result::unwrap).collect();
            assert_eq!((all.len(), all[0].path()), (1, name.into()));
        }
    }

    #[test]
    fn more_changes_than_there_is_room_for_are_told_as_such() {
        let port = port();
        let tree = Tree::new();
        let directory = opened(&port, &tree);
        watch(&port, &directory, Changes::with_capacity(256));
        tree.write("first");
        let mut changes = changed(&port);
        for number in 0..300 {
            let name = format!("a name that is so long that few of them fit, number {number}");
            fs::create_dir(tree.0.join(name)).unwrap();
        }
        let mut overflows = 0;
        while overflows == 0 {
            watch(&port, &directory, changes);
            changes = changed(&port);
            assert_eq!(changes.overflowed(), changes.iter().count() == 0);
            overflows += u32::from(changes.overflowed());
        }
        // The watch goes on.
        loop {
            watch(&port, &directory, changes);
            fs::create_dir(tree.0.join(unique("after"))).unwrap();
            changes = changed(&port);
            if changes.iter().any(|it| it.unwrap().path().to_string_lossy().contains("after")) {
                break;
            }
        }
    }

    #[test]
    fn what_is_watched_can_be_renamed_and_deleted() {
        let port = port();
        let tree = Tree::new();
        tree.write("file");
        let directory = opened(&port, &tree);
        watch(&port, &directory, Changes::with_capacity(4096));
        fs::rename(tree.0.join("file"), tree.0.join("other")).unwrap();
        fs::remove_file(tree.0.join("other")).unwrap();
        let elsewhere = tree.0.with_extension("elsewhere");
        fs::rename(&tree.0, &elsewhere).unwrap();
        fs::remove_dir(&elsewhere).unwrap();
        let _ = complete(&port);
    }

    #[test]
    fn one_thread_adds_watches_and_closes_them_in_any_order() {
        let port = port_of::<Option<Associated<File>>>();
        let tree = Tree::new();
        for round in 0..few(300) {
            let open = || port.add_handle(open_directory(&tree.0).unwrap(), 7).unwrap();
            let (one, other) = (open(), open());
            let operation = || WatchDirectory::new(Changes::with_capacity(1024));
            // The context of one watch owns the handle of the other.
            port.initiate(&other, None, operation()).unwrap();
            port.initiate(&one, Some(other), operation()).unwrap();
            match round % 3 {
                0 => drop(one),
                1 => assert!(one.cancel_all().unwrap()),
                _ => fs::create_dir(tree.0.join(round.to_string())).unwrap(),
            }
            // Dropping a completion drops its context, in the midst of others.
            for _ in 0..2 {
                drop(complete(&port));
            }
            assert!(port.try_get_completion().unwrap().is_none());
        }
    }

    #[test]
    fn a_close_and_a_change_at_the_same_time_are_one_completion() {
        let port = port();
        let tree = Tree::new();
        let mut cancelled = 0;
        for round in 0..few(200) {
            let directory = opened(&port, &tree);
            watch(&port, &directory, Changes::with_capacity(1024));
            std::thread::scope(|scope| {
                scope.spawn(|| fs::create_dir(tree.0.join(round.to_string())).unwrap());
                scope.spawn(|| drop(directory));
            });
            let mut completion = complete(&port);
            let changes: Changes = completion.operation.output().unwrap();
            match completion.error_status {
                Ok(()) => assert_eq!(changes.iter().count() == 0, changes.overflowed()),
                Err(error) => {
                    assert!(error.is_cancelled(), "{error}");
                    assert!(!changes.overflowed());
                    cancelled += 1;
                }
            }
            nothing_more(&port);
        }
        println!("{cancelled} were cancelled");
    }

    #[test]
    fn a_file_is_no_directory_and_files_are_not_watched() {
        let port = port();
        let tree = Tree::new();
        tree.write("file");
        let path = tree.0.join("file");
        let error = open_directory(&path).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotADirectory);
        let file = port.add_handle(support::overlapped_file(&path, true, false), 7).unwrap();
        let operation = WatchDirectory::new(Changes::with_capacity(1024));
        port.initiate(&file, WATCH, operation).unwrap_err();
        let directory = opened(&port, &tree);
        let without_room = WatchDirectory::new(Changes::default());
        let rejected = port.initiate(&directory, WATCH, without_room).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
    }
}

#[cfg(simulated_kernel)] // other kernels cannot be told
mod told {
    use simulated_kernel::{Chance, behave, change, open_directory as open};

    use super::*;

    fn entry(distance: u32, action: u32, name: &str) -> Vec<u8> {
        let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let header = [distance, action, name.len() as u32].map(u32::to_le_bytes).concat();
        [header, name].concat()
    }

    fn list() -> Vec<u8> {
        [entry(16, 1, "ab"), entry(0, 3, "ab")].concat()
    }

    #[test]
    fn changes_that_came_before_or_come_later_are_told() {
        for inline in [Chance::Always, Chance::Never] {
            for written_at_dequeue in [Chance::Always, Chance::Never] {
                let port = port();
                let directory = port.add_handle(open(), 7).unwrap();
                let _behaving = behave(|kernel| {
                    kernel.inline = inline;
                    kernel.written_at_dequeue = written_at_dequeue;
                });
                let mut changes = Changes::with_capacity(64);
                for early in [false, true] {
                    let come = || change(&directory, Some(&list()));
                    if early {
                        come();
                    }
                    watch(&port, &directory, changes);
                    if !early {
                        nothing_more(&port);
                        come();
                    }
                    changes = changed(&port);
                    let actions: Vec<_> = changes.iter().map(|it| it.unwrap().action()).collect();
                    assert_eq!(actions, [Action::Added, Action::Modified]);
                }
                nothing_more(&port);
            }
        }
    }

    #[test]
    fn both_forms_of_overflow_are_told_and_the_watch_goes_on() {
        for inline in [Chance::Always, Chance::Never] {
            let port = port();
            let directory = port.add_handle(open(), 7).unwrap();
            let _behaving = behave(|kernel| kernel.inline = inline);
            let mut changes = Changes::with_capacity(64);
            // The model draws which of the two it is; and a list that is too long.
            for round in 0..few(20) {
                let too_long = vec![0; 65];
                change(&directory, if round % 2 == 0 { None } else { Some(&too_long) });
                watch(&port, &directory, changes);
                let mut completion = complete(&port);
                assert!(!completion.operation.is_at_end());
                assert_eq!((completion.error_status, completion.bytes_transferred), (Ok(()), 0));
                changes = completion.operation.output().unwrap();
                assert!(changes.overflowed());
                assert_eq!(changes.iter().count(), 0);

                watch(&port, &directory, changes);
                change(&directory, Some(&list()));
                changes = changed(&port);
                assert!(!changes.overflowed());
                assert_eq!(changes.iter().count(), 2);
            }
        }
    }

    #[test]
    fn a_watch_that_ended_otherwise_has_not_overflowed() {
        // STATUS_CANCELLED, STATUS_NOTIFY_CLEANUP (a success to the system), Wine's.
        for status in [0xC000_0120, 0x0000_010B, 0x8000_000A] {
            let port = port();
            let directory = port.add_handle(open(), 7).unwrap();
            let _behaving = behave(|kernel| {
                kernel.close_status = status;
                kernel.ignore_cancels = 1;
            });
            watch(&port, &directory, Changes::with_capacity(64));
            drop(directory);
            let mut completion = complete(&port);
            assert!(completion.error_status.unwrap_err().is_cancelled(), "{status:#x}");
            let changes: Changes = completion.operation.output().unwrap();
            assert!(!changes.overflowed(), "{status:#x}");
            assert_eq!(changes.iter().count(), 0);
        }
    }

    #[test]
    fn no_more_is_looked_at_than_there_is() {
        for inline in [Chance::Always, Chance::Never] {
            let port = port();
            let directory = port.add_handle(open(), 7).unwrap();
            let _behaving = behave(|kernel| {
                kernel.inline = inline;
                kernel.over_report = 1 << 20;
            });
            change(&directory, Some(&list()));
            watch(&port, &directory, Changes::with_capacity(list().len()));
            assert_eq!(changed(&port).iter().count(), 2);
            // A list that leads out of it.
            change(&directory, Some(&entry(16, 1, "ab")));
            watch(&port, &directory, Changes::with_capacity(16));
            let changes = changed(&port);
            let error = changes.iter().next().unwrap().unwrap_err();
            assert!(error.to_string().contains("malformed"), "{error}");
            assert_eq!(changes.iter().count(), 1);
        }
    }

    #[test]
    fn a_share_takes_no_more_than_64_kib_and_says_so() {
        let port = port();
        let directory = port.add_handle(open(), 7).unwrap();
        let _behaving = behave(|kernel| kernel.is_share = true);
        let operation = WatchDirectory::new(Changes::with_capacity(65_540));
        let rejected = port.initiate(&directory, WATCH, operation).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
        assert_eq!(rejected.returned.0, WATCH);
        watch(&port, &directory, Changes::with_capacity(65_536));
        change(&directory, Some(&list()));
        assert_eq!(changed(&port).iter().count(), 2);
    }

    #[test]
    fn a_refusal_and_a_failure_give_the_changes_back() {
        let port = port();
        let directory = port.add_handle(open(), 7).unwrap();
        let behaving = behave(|kernel| kernel.refuse.push_back(50));
        let operation = WatchDirectory::new(Changes::with_capacity(64));
        let rejected = port.initiate(&directory, WATCH, operation).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
        drop(behaving);
        watch(&port, &directory, rejected.returned.1.0);
        let _behaving = behave(|kernel| kernel.fail.push_back(0xC000_009A));
        change(&directory, Some(&list()));
        let mut completion = complete(&port);
        assert!(completion.error_status.is_err());
        let changes: Changes = completion.operation.output().unwrap();
        assert!(!changes.overflowed() && changes.iter().count() == 0);
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri's own CreateFileW opens no directories")]
    fn a_directory_is_opened_so_that_others_can_do_what_they_like() {
        let tree = Tree::new();
        open_directory(&tree.0).unwrap();
        let opened = simulated_kernel::opened(tree.0.to_str().unwrap());
        let [.., directory] = &opened[..] else { panic!("it was not opened") };
        assert_eq!(directory.share, 7);
        assert_eq!(directory.access, 1); // FILE_LIST_DIRECTORY
    }
}
