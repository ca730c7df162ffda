//! Locks of parts of files, and who gets them.
#![cfg(windows)]

mod support;

use std::fs::File;

use completion_port::{Associated, ErrorKind, Iocp, fs, op};
use support::{TempFile, complete, nothing_more, overlapped_file, port, temp_file};

const LOCK: usize = 1;

/// So many handles of one file.
fn handles<const N: usize>(port: &Iocp) -> (TempFile, [Associated<File>; N]) {
    let temp = temp_file("lock", "0123456789");
    let open = |_| port.add_handle(overlapped_file(temp.path(), true, true), 7).unwrap();
    let handles = std::array::from_fn(open);
    (temp, handles)
}

/// Whether a lock is granted at once.
#[track_caller]
fn gets(port: &Iocp, file: &Associated<File>, lock: op::Lock) -> bool {
    let result = match port.initiate(file, LOCK, lock.without_waiting()) {
        Ok(_) => {
            let completion = complete(port);
            assert_eq!((completion.context, completion.bytes_transferred), (LOCK, 0));
            completion.error_status
        }
        Err(rejected) => Err(rejected.error),
    };
    nothing_more(port);
    match result {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
            assert_eq!(error.call(), Some("LockFileEx"));
            false
        }
    }
}

#[test]
fn a_part_is_locked_for_one_handle_until_it_is_unlocked() {
    let port = port();
    let (_temp, [one, other]) = handles(&port);
    port.initiate(&one, LOCK, op::Lock::exclusive(2, 3)).unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
    nothing_more(&port);
    assert!(!gets(&port, &other, op::Lock::exclusive(4, 1)));
    assert!(!gets(&port, &other, op::Lock::shared(0, 100)));
    assert!(gets(&port, &other, op::Lock::exclusive(5, 1)));
    assert!(gets(&port, &other, op::Lock::exclusive(0, 2)));
    // Just this range, and only by who has it.
    assert_eq!(fs::unlock(&one, 2, 2).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(fs::unlock(&other, 2, 3).unwrap_err().kind(), ErrorKind::NotFound);
    fs::unlock(&one, 2, 3).unwrap();
    assert!(gets(&port, &other, op::Lock::exclusive(2, 3)));
}

#[test]
fn shared_locks_exclude_only_exclusive_ones() {
    let port = port();
    let (_temp, [one, other, third]) = handles(&port);
    assert!(gets(&port, &one, op::Lock::shared(0, 10)));
    assert!(gets(&port, &other, op::Lock::shared(5, 10)));
    assert!(!gets(&port, &third, op::Lock::exclusive(9, 1)));
    // Closing a handle unlocks.
    drop((one, other));
    assert!(gets(&port, &third, op::Lock::exclusive(9, 1)));
}

#[test]
fn offsets_and_lengths_have_64_bits() {
    const GIB4: u64 = 1 << 32;
    for (offset, length) in
        [(GIB4 - 1, 1), (GIB4, 1), (GIB4 + 1, 1), (1, GIB4), (GIB4 - 1, GIB4 + 1)]
    {
        let port = port();
        let (_temp, [one, other]) = handles(&port);
        assert!(gets(&port, &one, op::Lock::exclusive(offset, length)));
        let last = offset + length - 1;
        assert!(!gets(&port, &other, op::Lock::exclusive(offset, 1)), "{offset:#x}");
        assert!(!gets(&port, &other, op::Lock::exclusive(last, 1)), "{offset:#x}");
        assert!(gets(&port, &other, op::Lock::exclusive(offset - 1, 1)), "{offset:#x}");
        assert!(gets(&port, &other, op::Lock::exclusive(last + 1, 1)), "{offset:#x}");
        fs::unlock(&one, offset, length).unwrap();
        assert!(gets(&port, &other, op::Lock::exclusive(offset, length)));
    }
    let port = port();
    let (_temp, [one, other]) = handles(&port);
    assert!(gets(&port, &one, op::Lock::exclusive(0, u64::MAX)));
    assert!(!gets(&port, &other, op::Lock::exclusive(1 << 62, 1)));
    fs::unlock(&one, 0, u64::MAX).unwrap();
}

#[test]
fn a_range_that_ends_behind_the_largest_offset_is_refused_by_name() {
    let port = port();
    let (_temp, [one]) = handles(&port);
    for (offset, length) in [(2, u64::MAX), (u64::MAX, 2), (u64::MAX, u64::MAX)] {
        let rejected = port.initiate(&one, LOCK, op::Lock::shared(offset, length)).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::InvalidInput);
        assert!(rejected.error.to_string().contains("range"), "{}", rejected.error);
        assert_eq!(rejected.returned.0, LOCK);
    }
}

/// Wine tells nobody when a lock is granted: there, one that would wait is refused.
#[test]
fn a_lock_that_waits_is_granted_when_the_other_is_gone() {
    let port = port();
    let (_temp, [one, other]) = handles(&port);
    assert!(gets(&port, &one, op::Lock::exclusive(0, 10)));
    let pending = match port.initiate(&other, LOCK, op::Lock::shared(5, 10)) {
        Ok(pending) => pending,
        Err(rejected) => {
            assert_eq!(rejected.error.kind(), ErrorKind::Unsupported);
            assert_eq!(rejected.error.call(), Some("LockFileEx"));
            return support::skipped_without("a system that tells when a lock is granted");
        }
    };
    nothing_more(&port);
    fs::unlock(&one, 0, 10).unwrap();
    assert_eq!(complete(&port).error_status, Ok(()));
    drop(pending);
    assert!(!gets(&port, &one, op::Lock::exclusive(0, 10)));
    fs::unlock(&other, 5, 10).unwrap();
    assert!(gets(&port, &one, op::Lock::exclusive(0, 10)));
    nothing_more(&port);
}

/// And is never left behind: what was not granted excludes nobody.
#[test]
fn a_lock_that_is_cancelled_is_granted_or_not_as_its_completion_says() {
    let port = port();
    let (_temp, [one, other, third]) = handles(&port);
    for round in 0..support::few(40) {
        assert!(gets(&port, &one, op::Lock::exclusive(0, 10)));
        let Ok(pending) = port.initiate(&other, LOCK, op::Lock::exclusive(0, 10)) else {
            return support::skipped_without("a system that tells when a lock is granted");
        };
        if round % 2 == 0 {
            pending.cancel().unwrap();
            fs::unlock(&one, 0, 10).unwrap();
        } else {
            fs::unlock(&one, 0, 10).unwrap();
            pending.cancel().unwrap();
        }
        drop(pending);
        match complete(&port).error_status {
            Ok(()) => {
                assert!(!gets(&port, &third, op::Lock::exclusive(0, 10)));
                fs::unlock(&other, 0, 10).unwrap();
            }
            Err(error) => assert!(error.is_cancelled(), "{error}"),
        }
        assert!(gets(&port, &third, op::Lock::exclusive(0, 10)));
        fs::unlock(&third, 0, 10).unwrap();
    }
    nothing_more(&port);
}

#[test]
fn a_handle_that_is_dropped_gets_no_lock_any_more() {
    let port = port();
    let (_temp, [one, other, third]) = handles(&port);
    assert!(gets(&port, &one, op::Lock::exclusive(0, 10)));
    if port.initiate(&other, LOCK, op::Lock::exclusive(0, 10)).is_err() {
        return support::skipped_without("a system that tells when a lock is granted");
    }
    drop(other);
    drop(one);
    let completion = complete(&port);
    assert!(completion.error_status.unwrap_err().is_cancelled());
    assert!(gets(&port, &third, op::Lock::exclusive(0, 10)));
}

#[cfg(simulated_kernel)] // other kernels cannot be told
mod told {
    use simulated_kernel::{Chance, behave};

    use super::*;

    #[test]
    fn locks_wait_for_nobody_else_of_their_handle() {
        for inline in [Chance::Always, Chance::Never] {
            let port = port();
            let (_temp, [one, other]) = handles(&port);
            assert!(gets(&port, &one, op::Lock::exclusive(0, 1)));
            let _behaving = behave(|kernel| kernel.inline = inline);
            port.initiate(&other, 10, op::Lock::exclusive(0, 1)).unwrap();
            port.initiate(&other, 11, op::Lock::exclusive(1, 1)).unwrap();
            assert_eq!(complete(&port).context, 11);
            port.initiate_read_at(&other, 12, Vec::with_capacity(1), 0).unwrap();
            assert_eq!(complete(&port).context, 12);
            drop(one);
            assert_eq!(complete(&port).context, 10);
            nothing_more(&port);
        }
    }

    #[test]
    fn a_cancel_that_comes_too_late_leaves_the_lock() {
        let port = port();
        let (_temp, [one, other, third]) = handles(&port);
        assert!(gets(&port, &one, op::Lock::exclusive(0, 1)));
        let pending = port.initiate(&other, LOCK, op::Lock::exclusive(0, 1)).unwrap();
        let behaving = behave(|kernel| kernel.slow_cancels = 1);
        pending.cancel().unwrap();
        fs::unlock(&one, 0, 1).unwrap();
        assert_eq!(complete(&port).error_status, Ok(()));
        drop(behaving);
        assert!(!gets(&port, &third, op::Lock::exclusive(0, 1)));
        fs::unlock(&other, 0, 1).unwrap();
    }

    #[test]
    fn a_refusal_is_told_and_locks_nothing() {
        let port = port();
        let (_temp, [one, other]) = handles(&port);
        let behaving = behave(|kernel| kernel.refuse.push_back(1450));
        let rejected = port.initiate(&one, LOCK, op::Lock::exclusive(0, 1)).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::ResourceExhausted);
        drop(behaving);
        assert!(gets(&port, &other, op::Lock::exclusive(0, 1)));
    }
}
