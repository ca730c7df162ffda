//! Locks of parts of files.

use std::path::PathBuf;
use std::ptr;

use windows_sys::Win32::Foundation::{
    ERROR_INVALID_FUNCTION, ERROR_INVALID_HANDLE, ERROR_NOT_LOCKED, HANDLE,
};
use windows_sys::Win32::Storage::FileSystem::{LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY};
use windows_sys::Win32::System::IO::OVERLAPPED;

use crate::handle::{fail, truth};
use crate::kernel::{Id, Kernel, enter};
use crate::object::Body;
use crate::operation::{Kind, Operation, Outcome, pending_code, start};
use crate::status::{STATUS_INVALID_LOCK_RANGE, STATUS_LOCK_NOT_GRANTED, note, win32_code};

/// A lock that was granted.
pub struct Lock {
    path: PathBuf,
    owner: Id,
    offset: u64,
    length: u64,
    is_exclusive: bool,
}

impl Lock {
    /// The first and the last byte, of one that has any.
    fn bytes(&self) -> Option<(u64, u64)> {
        Some((self.offset, self.offset + self.length.checked_sub(1)?))
    }

    fn excludes(&self, other: &Self) -> bool {
        let (Some((first, last)), Some((start, end))) = (self.bytes(), other.bytes()) else {
            return false;
        };
        let exclusive = self.is_exclusive || other.is_exclusive;
        exclusive && self.path == other.path && first <= end && start <= last
    }
}

impl Kernel {
    /// Grants a lock, if nobody has another in its place.
    pub fn try_lock(&mut self, id: Id, operation: &Operation) -> Option<Outcome> {
        let Kind::Lock { length, is_exclusive, waits } = operation.kind else {
            unreachable!("a lock")
        };
        let Body::File(file) = &self.objects.get(id)?.body else { unreachable!("a file") };
        let offset = operation.offset;
        if length > 0 && offset.checked_add(length - 1).is_none() {
            return Some(Outcome::status(STATUS_INVALID_LOCK_RANGE));
        }
        let path = file.path().to_owned();
        let lock = Lock { path, owner: id, offset, length, is_exclusive };
        if self.locks.iter().any(|granted| granted.excludes(&lock)) {
            return (!waits).then(|| Outcome::status(STATUS_LOCK_NOT_GRANTED));
        }
        self.locks.push(lock);
        Some(Outcome::wrote(0))
    }

    fn unlock(&mut self, id: Id, offset: u64, length: u64) -> Result<(), u32> {
        let is_it = |lock: &Lock| (lock.owner, lock.offset, lock.length) == (id, offset, length);
        let place = self.locks.iter().position(is_it).ok_or(ERROR_NOT_LOCKED)?;
        self.locks.remove(place);
        self.grant();
        Ok(())
    }

    /// The last handle of a file is closed.
    pub fn release_locks(&mut self, id: Id) {
        self.locks.retain(|lock| lock.owner != id);
        self.grant();
    }

    /// Looks after those that wait.
    fn grant(&mut self) {
        let files = self.objects.iter().filter(|(_, it)| matches!(it.body, Body::File(_)));
        let files: Vec<Id> = files.map(|(id, _)| id).collect();
        for id in files {
            self.look(id);
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn LockFileEx(
    file: HANDLE,
    flags: u32,
    _reserved: u32,
    length: u32,
    length_high: u32,
    overlapped: *mut OVERLAPPED,
) -> i32 {
    assert_eq!(flags & !(LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY), 0);
    let mut kernel = enter();
    let refused = match kernel.resolve(file.addr()) {
        None => Err(ERROR_INVALID_HANDLE),
        Some(id) if !matches!(kernel.objects[id].body, Body::File(_)) => {
            Err(ERROR_INVALID_FUNCTION)
        }
        Some(id) => kernel.behaviour.refuse.pop_front().map_or(Ok(id), Err),
    };
    let id = match refused {
        Ok(id) => id,
        Err(code) => {
            drop(kernel);
            return fail(code, 0);
        }
    };
    let kind = Kind::Lock {
        length: u64::from(length_high) << 32 | u64::from(length),
        is_exclusive: flags & LOCKFILE_EXCLUSIVE_LOCK != 0,
        waits: flags & LOCKFILE_FAIL_IMMEDIATELY == 0,
    };
    // SAFETY: As the caller promises.
    let operation = unsafe { Operation::new(kind, ptr::null_mut(), 0, overlapped) };
    match start(kernel, id, operation) {
        Ok(_) => 1,
        Err(status) => {
            note(status);
            fail(pending_code(status, win32_code), 0)
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn UnlockFileEx(
    file: HANDLE,
    _reserved: u32,
    length: u32,
    length_high: u32,
    overlapped: *mut OVERLAPPED,
) -> i32 {
    // SAFETY: As the caller promises.
    let place = unsafe { (*overlapped).Anonymous.Anonymous };
    let offset = u64::from(place.OffsetHigh) << 32 | u64::from(place.Offset);
    let length = u64::from(length_high) << 32 | u64::from(length);
    let mut kernel = enter();
    let answer = match kernel.resolve(file.addr()) {
        Some(id) => kernel.unlock(id, offset, length),
        None => Err(ERROR_INVALID_HANDLE),
    };
    drop(kernel);
    truth(answer)
}
