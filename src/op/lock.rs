//! Locking parts of files: `LockFileEx`.

use super::on::File;
use super::transfer::parts;
use super::{Finish, Starter, Submitted};
use crate::error::{Error, Facts, FactsOn, refusal};
use crate::operation::{Object, Operation};
use crate::sys;

/// Locks a part of a file for this handle: `LockFileEx`.
///
/// Returns nothing. Other handles, also those of this process, can neither write to a part
/// that is locked, nor read it if the lock is exclusive: they get
/// [`Locked`](crate::ErrorKind::Locked). The lock lasts until
/// [`fs::unlock`](crate::fs::unlock) of this range, or until the handle is closed.
///
/// The lock may be acquired although the operation is being cancelled. Then the completion is
/// a success: unlock it.
///
/// # Errors
///
/// The operation is refused with [`InvalidInput`](crate::ErrorKind::InvalidInput) if the
/// range ends behind the largest offset, with [`Unsupported`](crate::ErrorKind::Unsupported)
/// on handles that [skip the port](crate::Associated::skip_on_success), and with
/// [`Locked`](crate::ErrorKind::Locked) if another handle has the range and it was told [not
/// to wait](Self::without_waiting). Wine does not say when a lock that waits is acquired:
/// there, a lock that would have to wait is refused with
/// [`Unsupported`](crate::ErrorKind::Unsupported).
///
/// ```
/// # use completion_port::{Iocp, fs, fs::OpenOverlapped, op};
/// # let path = std::env::temp_dir().join(format!("completion-port-lock-{}", std::process::id()));
/// # std::fs::write(&path, "0123456789")?;
/// # let port = Iocp::new()?;
/// # let file = std::fs::OpenOptions::new().read(true).write(true).open_overlapped(&path)?;
/// let file = port.add_handle(file, 1)?;
/// port.initiate(&file, 2, op::Lock::exclusive(0, u64::MAX))?; // the whole file
/// port.get_completion()?.error_status?;
/// // What others do not see before all of it is done.
/// fs::unlock(&file, 0, u64::MAX)?;
/// # drop(file);
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Lock {
    offset: u64,
    length: u64,
    exclusive: bool,
    waits: bool,
}

impl Lock {
    /// Locks `length` bytes from `offset` on against writing by other handles.
    pub fn shared(offset: u64, length: u64) -> Self {
        Self { offset, length, exclusive: false, waits: true }
    }

    /// Locks `length` bytes from `offset` on against reading and writing by other handles.
    pub fn exclusive(offset: u64, length: u64) -> Self {
        Self { exclusive: true, ..Self::shared(offset, length) }
    }

    /// Fails instead of waiting if another handle has locked a part of the range.
    pub fn without_waiting(self) -> Self {
        Self { waits: false, ..self }
    }
}

impl Operation for Lock {
    const FACTS: FactsOn = FactsOn::Handles(Facts::LockFileEx);
    const FINISH: Finish<Self> = Finish::with(|(), _| Some(()));
    type On = File;
    type Memory = ();
    type Arguments = Self;
    type Output = ();

    fn split(self, _: &Object<'_>) -> Result<(Self, ()), (Error, ())> {
        let last = self.offset.checked_add(self.length.saturating_sub(1));
        parts(self, (), last.map(drop).ok_or(&refusal::LOCK_RANGE))
    }

    fn start(lock: Self, (): (), starter: Starter<'_, Self>) -> Submitted<'_> {
        let Self { offset, length, exclusive, waits } = lock;
        starter.at(offset).call_with(|file, overlapped, _| {
            sys::lock_file(file, length, exclusive, waits, overlapped)
        })
    }
}
