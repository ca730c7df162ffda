//! Watching directories: `ReadDirectoryChangesW`.

use std::ops::BitOr;

use windows_sys::Win32::Storage::FileSystem as win;

use super::on::Directory;
use super::{Changes, Fills, Finish, RegionMut, Starter, Submitted};
use crate::error::{Error, Facts, FactsOn, STATUS_NOTIFY_ENUM_DIR};
use crate::operation::{Object, Operation};
use crate::sys;

/// Waits until something changes in a directory: `ReadDirectoryChangesW`.
///
/// Returns the [`Changes`], including those since the last watch. Each operation watches
/// once: start the next one with the same `Changes` when you have looked at them.
/// [`overflowed`](Changes::overflowed) says that there were too many to be listed.
///
/// The directory is opened by [`fs::open_directory`](crate::fs::open_directory). The first
/// watch on a handle decides whether subdirectories are watched, for which changes, and how
/// large a buffer the system collects changes in between two watches. Dropping the handle
/// ends the watch, which completes as [cancelled](crate::Error::is_cancelled).
///
/// # Errors
///
/// The operation is refused with [`InvalidInput`](crate::ErrorKind::InvalidInput) if the
/// `Changes` have no room or, on a network share, room for more than 65,536 bytes; and
/// with [`Unsupported`](crate::ErrorKind::Unsupported) where the file system does not tell
/// of changes, and on handles that [skip the port](crate::Associated::skip_on_success). It
/// fails with [`PermissionDenied`](crate::ErrorKind::PermissionDenied) when the
/// directory itself is deleted.
///
/// ```
/// use completion_port::{Iocp, fs, op};
///
/// # let path = std::env::temp_dir().join(format!("completion-port-watch-{}", std::process::id()));
/// # std::fs::create_dir(&path)?;
/// let port = Iocp::new()?;
/// let directory = port.add_handle(fs::open_directory(&path)?, 1)?;
/// let changes = op::Changes::with_capacity(65_536);
/// port.initiate(&directory, 2, op::WatchDirectory::new(changes).subtree(true))?;
/// std::fs::write(path.join("new"), "hello")?;
///
/// let mut completion = port.get_completion()?;
/// completion.error_status?;
/// let changes: op::Changes = completion.operation.output()?;
/// let first = changes.iter().next().unwrap()?;
/// assert_eq!((first.action(), first.path()), (op::Action::Added, "new".into()));
/// port.initiate(&directory, 2, op::WatchDirectory::new(changes).subtree(true))?;
/// # drop(directory);
/// # std::fs::remove_dir_all(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct WatchDirectory {
    changes: Changes,
    subtree: bool,
    filter: ChangeFilter,
}

/// The changes that a directory is watched for: one of these constants, or several joined by
/// `|`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChangeFilter(u32);

impl ChangeFilter {
    /// Files are created, deleted, renamed.
    pub const FILE_NAMES: Self = Self(win::FILE_NOTIFY_CHANGE_FILE_NAME);
    /// Directories are created, deleted, renamed.
    pub const DIRECTORY_NAMES: Self = Self(win::FILE_NOTIFY_CHANGE_DIR_NAME);
    /// Attributes are set.
    pub const ATTRIBUTES: Self = Self(win::FILE_NOTIFY_CHANGE_ATTRIBUTES);
    /// Files become longer or shorter, once that has reached the disk.
    pub const SIZE: Self = Self(win::FILE_NOTIFY_CHANGE_SIZE);
    /// Files are written to, once that has reached the disk.
    pub const LAST_WRITE: Self = Self(win::FILE_NOTIFY_CHANGE_LAST_WRITE);
    /// Files are read, if the file system takes note of it.
    pub const LAST_ACCESS: Self = Self(win::FILE_NOTIFY_CHANGE_LAST_ACCESS);
    /// The time of creation is set.
    pub const CREATION: Self = Self(win::FILE_NOTIFY_CHANGE_CREATION);
    /// Security descriptors are set.
    pub const SECURITY: Self = Self(win::FILE_NOTIFY_CHANGE_SECURITY);
}

impl BitOr for ChangeFilter {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl WatchDirectory {
    /// Waits for changes of names and contents in the directory itself.
    pub fn new(changes: Changes) -> Self {
        type Kind = ChangeFilter;
        let names = Kind::FILE_NAMES | Kind::DIRECTORY_NAMES;
        Self { changes, subtree: false, filter: names | Kind::SIZE | Kind::LAST_WRITE }
    }

    /// Sets whether the directories in it, and all that is in them, are watched, too.
    pub fn subtree(self, subtree: bool) -> Self {
        Self { subtree, ..self }
    }

    /// Waits for these changes instead.
    pub fn filter(self, filter: ChangeFilter) -> Self {
        Self { filter, ..self }
    }
}

impl Operation for WatchDirectory {
    const FACTS: FactsOn = FactsOn::Handles(Facts::ReadDirectoryChangesW);
    /// Both forms of overflow are a success without a change.
    const FINISH: Finish<Self> = Finish::with(|Fills(changes): Self::Memory, outcome| {
        let succeeded = [0, STATUS_NOTIFY_ENUM_DIR].contains(&outcome.status());
        Some(changes.with_overflow(succeeded && outcome.bytes() == 0))
    });
    type On = Directory;
    type Memory = Fills<Changes>;
    type Arguments = (bool, u32);
    type Output = Changes;

    fn split(self, _: &Object<'_>) -> Result<((bool, u32), Self::Memory), (Error, Self::Memory)> {
        Ok(((self.subtree, self.filter.0), Fills(self.changes.empty())))
    }

    fn start(
        (subtree, filter): (bool, u32),
        region: RegionMut,
        starter: Starter<'_, Self>,
    ) -> Submitted<'_> {
        starter.call_with(|directory, overlapped, _| {
            sys::watch_directory(directory, &region, subtree, filter, overlapped)
        })
    }
}
