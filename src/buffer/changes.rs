//! The changes of a directory, as the system lists them.

use std::ffi::OsString;
use std::fmt;
use std::iter::FusedIterator;
use std::os::windows::ffi::OsStringExt;
use std::path::PathBuf;
use std::slice;

use windows_sys::Win32::Storage::FileSystem::{
    FILE_ACTION_ADDED, FILE_ACTION_MODIFIED, FILE_ACTION_REMOVED, FILE_ACTION_RENAMED_NEW_NAME,
    FILE_ACTION_RENAMED_OLD_NAME,
};

use super::{IoBuf, IoBufMut};
use crate::error::{Error, Result, refusal};

/// The changes that [`WatchDirectory`](crate::op::WatchDirectory) returns, and the buffer
/// that they are in.
///
/// Pass it on to the next watch, which then allocates nothing.
#[derive(Default)]
pub struct Changes {
    /// The system wants memory that is aligned to 32 bits.
    words: Box<[u32]>,
    /// So many bytes of it.
    filled: usize,
    overflowed: bool,
}

impl Changes {
    /// Creates a buffer of `bytes` bytes. A change takes 12, and two for each UTF-16 unit of
    /// its name. A network share takes at most 65,536, which is a good size elsewhere, too.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let words = vec![0; bytes.div_ceil(size_of::<u32>())].into_boxed_slice();
        Self { words, filled: 0, overflowed: false }
    }

    /// Returns `true` if there were more changes than the system could list. Then it lists
    /// none: look at the directory again.
    ///
    /// "When the buffer overflows, the entire contents of the buffer are discarded"
    /// (<https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-readdirectorychangesw>).
    /// The next watch tells of what comes from then on.
    #[must_use]
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Returns an iterator over the changes, in order.
    ///
    /// What the system has written is checked: a list that is malformed ends with an
    /// error.
    #[must_use]
    pub fn iter(&self) -> ChangesIter<'_> {
        ChangesIter { left: Some(&self.bytes()[..self.filled]) }
    }

    pub(crate) fn empty(mut self) -> Self {
        (self.filled, self.overflowed) = (0, false);
        self
    }

    pub(crate) fn with_overflow(mut self, overflowed: bool) -> Self {
        self.overflowed = overflowed;
        self
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: Integers are bytes, too.
        unsafe { slice::from_raw_parts(self.words.as_ptr().cast(), size_of_val(&*self.words)) }
    }
}

impl<'a> IntoIterator for &'a Changes {
    type Item = Result<Change<'a>>;
    type IntoIter = ChangesIter<'a>;

    fn into_iter(self) -> ChangesIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes: Vec<_> = self.iter().collect();
        f.debug_struct("Changes")
            .field("overflowed", &self.overflowed)
            .field("changes", &changes)
            .finish_non_exhaustive()
    }
}

// SAFETY: All bytes are initialised, and stay where they are until the value is used
// mutably or dropped.
unsafe impl IoBuf for Changes {
    fn initialized(&self) -> (*const u8, usize) {
        (self.words.as_ptr().cast(), size_of_val(&*self.words))
    }
}

// SAFETY: All bytes are initialised, stay where they are, and are its own.
unsafe impl IoBufMut for Changes {
    fn initialized_mut(&mut self) -> (*mut u8, usize) {
        (self.words.as_mut_ptr().cast(), size_of_val(&*self.words))
    }

    fn writable(&mut self) -> (*mut u8, usize) {
        self.initialized_mut()
    }

    unsafe fn advance(&mut self, bytes: usize) {
        self.filled = bytes;
    }
}

/// A change in a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    action: Action,
    /// In UTF-16, as it stands there.
    name: &'a [u8],
}

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// It was created, or moved there.
    Added,
    /// It was deleted, or moved away.
    Removed,
    /// Its contents or attributes have changed.
    Modified,
    /// It was renamed, and this is the name that it had.
    RenamedFrom,
    /// It was renamed, and this is the name that it has.
    RenamedTo,
    /// Something else, with the system's number for it.
    Other(u32),
}

impl Change<'_> {
    /// The kind of a change.
    #[must_use]
    pub fn action(&self) -> Action {
        self.action
    }

    /// Returns the path of what has changed, relative to the watched directory. It is the
    /// short name if the program that made the change has used that.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        let units = self.name.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
        OsString::from_wide(&units.collect::<Vec<_>>()).into()
    }
}

impl fmt::Debug for Change<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Change").field(&self.action).field(&self.path()).finish()
    }
}

/// An iterator over [`Changes`].
#[derive(Clone, Debug)]
pub struct ChangesIter<'a> {
    /// From the next entry on.
    left: Option<&'a [u8]>,
}

impl<'a> Iterator for ChangesIter<'a> {
    type Item = Result<Change<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let left = self.left.take().filter(|left| !left.is_empty())?;
        let Some((change, rest)) = parse(left) else {
            return Some(Err(Error::usage(&refusal::MALFORMED_CHANGES)));
        };
        self.left = rest;
        Some(Ok(change))
    }
}

impl FusedIterator for ChangesIter<'_> {}

/// The first entry of a list, and the others, if there are any: the distance to the next
/// entry, the action, the length of the name, and the name. (The distance is a multiple
/// of 4, "aligned on a DWORD boundary"; Wine's is not.)
fn parse(list: &[u8]) -> Option<(Change<'_>, Option<&[u8]>)> {
    let (&distance, entry) = list.split_first_chunk()?;
    let (&action, entry) = entry.split_first_chunk()?;
    let (&length, entry) = entry.split_first_chunk()?;
    let [distance, action, length] = [distance, action, length].map(u32::from_le_bytes);
    let name = entry.get(..length as usize).filter(|name| name.len() % 2 == 0)?;
    let rest = match distance {
        0 => None,
        // No entry begins within another.
        _ if (distance as usize) < list.len() - entry.len() + name.len() => return None,
        _ => Some(list.get(distance as usize..).filter(|rest| !rest.is_empty())?),
    };
    let action = match action {
        FILE_ACTION_ADDED => Action::Added,
        FILE_ACTION_REMOVED => Action::Removed,
        FILE_ACTION_MODIFIED => Action::Modified,
        FILE_ACTION_RENAMED_OLD_NAME => Action::RenamedFrom,
        FILE_ACTION_RENAMED_NEW_NAME => Action::RenamedTo,
        other => Action::Other(other),
    };
    Some((Change { action, name }, rest))
}

/// Joins the two changes that a rename consists of, which may be in two lists, into one
/// event.
///
/// ```
/// use completion_port::op::{Changes, Event, Renames};
///
/// fn print(renames: &mut Renames, changes: &Changes) -> completion_port::Result<()> {
///     for change in changes {
///         for event in renames.join(&change?) {
///             match event {
///                 Event::Renamed { from, to } => println!("{from:?} is {to:?} now"),
///                 event => println!("{event:?}"),
///             }
///         }
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug, Default)]
pub struct Renames {
    from: Option<PathBuf>,
}

/// A change of a file or directory, whose path is relative to the watched one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// It was created, or moved there.
    Added(PathBuf),
    /// It was deleted, or moved away.
    Removed(PathBuf),
    /// Its contents or attributes have changed.
    Modified(PathBuf),
    /// It was renamed.
    Renamed {
        /// The name that it had.
        from: PathBuf,
        /// The name that it has.
        to: PathBuf,
    },
    /// Something else, with the system's number for it.
    Other(u32, PathBuf),
}

impl Renames {
    /// Creates one that has seen no change.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next change and returns the events that it completes: none after the first
    /// half of a rename, two if the second half did not follow.
    pub fn join(&mut self, change: &Change<'_>) -> impl Iterator<Item = Event> + use<> {
        let path = change.path();
        let from = self.from.take();
        let events = match (change.action, from) {
            (Action::RenamedTo, Some(from)) => [None, Some(Event::Renamed { from, to: path })],
            (action, from) => [
                from.map(Event::Removed),
                match action {
                    Action::Added | Action::RenamedTo => Some(Event::Added(path)),
                    Action::Removed => Some(Event::Removed(path)),
                    Action::Modified => Some(Event::Modified(path)),
                    Action::Other(number) => Some(Event::Other(number, path)),
                    Action::RenamedFrom => {
                        self.from = Some(path);
                        None
                    }
                },
            ],
        };
        events.into_iter().flatten()
    }

    /// Returns the first half of a rename whose second half will not come, because the [list
    /// overflowed](Changes::overflowed) or the watch has ended.
    pub fn flush(&mut self) -> Option<Event> {
        self.from.take().map(Event::Removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(distance: u32, action: u32, name: &[u16]) -> Vec<u8> {
        let header = [distance, action, 2 * name.len() as u32].map(u32::to_le_bytes).concat();
        let name = name.iter().flat_map(|unit| unit.to_le_bytes());
        header.into_iter().chain(name).collect()
    }

    fn changes(list: &[u8]) -> Changes {
        let mut changes = Changes::with_capacity(list.len());
        let (start, _) = changes.initialized_mut();
        // SAFETY: There is room for so many bytes.
        unsafe { start.copy_from_nonoverlapping(list.as_ptr(), list.len()) };
        changes.filled = list.len();
        changes
    }

    /// How many changes a list has, and whether it is well-formed.
    fn count(list: &[u8]) -> (usize, bool) {
        let changes = changes(list);
        let all: Vec<_> = changes.iter().collect();
        let good = all.iter().filter(|change| change.is_ok()).count();
        assert!(all.len() - good <= 1, "no change comes after an error");
        assert!(all[..good].iter().all(Result::is_ok));
        (good, good == all.len())
    }

    #[test]
    fn a_list_has_the_changes_that_it_has() {
        let name = [b'a'.into(), 0xD800, b'b'.into()];
        let list = [entry(20, 1, &name), vec![0; 2], entry(0, 99, &[])].concat();
        let changes = changes(&list);
        let all: Vec<_> = changes.iter().map(Result::unwrap).collect();
        assert_eq!(all[0].action(), Action::Added);
        // Half of a surrogate pair is a part of a name, too.
        assert_eq!(all[0].path(), PathBuf::from(OsString::from_wide(&name)));
        assert_eq!((all[1].action(), all[1].path()), (Action::Other(99), PathBuf::new()));
        assert_eq!(all.len(), 2);
        assert_eq!(count(&[]), (0, true));
        // As Wine puts them: one right behind the other.
        assert_eq!(count(&[entry(18, 1, &name), entry(0, 1, &name)].concat()), (2, true));
    }

    #[test]
    fn a_malformed_list_ends_with_an_error() {
        let name = [b'a'.into(); 3];
        for (list, good) in [
            (entry(0, 1, &name)[..17].to_vec(), 0), // a name that is cut
            (entry(0, 1, &[])[..11].to_vec(), 0),   // a header that is cut
            ([entry(12, 1, &name), entry(0, 1, &[])].concat(), 0), // within the name
            (entry(1, 1, &[]), 0),                  // within the header
            (entry(18, 1, &name), 0),               // at the end
            (entry(u32::MAX, 1, &name), 0),         // far behind it
            ([entry(18, 1, &name), vec![1; 5]].concat(), 1),
            ([[0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0].to_vec(), vec![7; 3]].concat(), 0), // half a unit
            ([[0, 0, 0, 0, 1, 0, 0, 0].to_vec(), vec![0xFF; 4]].concat(), 0), // a name without end
        ] {
            assert_eq!(count(&list), (good, false), "{list:?}");
        }
    }

    #[test]
    fn no_bytes_whatever_make_the_walk_go_astray() {
        // Knuth's multiplier; a small range of values makes entries that are nearly good.
        let mut random = 1_u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) as u32
        };
        for _ in 0..if cfg!(miri) { 50 } else { 20_000 } {
            let length = next() % 80;
            let list: Vec<u8> = (0..length)
                .map(
                    |at| if at % 4 == 0 { (next() % 40) as u8 } else { (next() % 200 / 199) as u8 },
                )
                .collect();
            let (good, _) = count(&list);
            assert!(good <= list.len() / 12);
            let _ = format!("{:?}", changes(&list));
        }
    }

    #[test]
    fn the_halves_of_a_rename_are_joined_and_others_are_not() {
        let path = |name: &str| PathBuf::from(name);
        let mut renames = Renames::new();
        let mut join = |action, name: &str| -> Vec<Event> {
            let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
            renames.join(&Change { action, name: &name }).collect()
        };
        assert_eq!(join(Action::Modified, "a"), [Event::Modified(path("a"))]);
        assert_eq!(join(Action::RenamedFrom, "a"), []);
        let renamed = Event::Renamed { from: path("a"), to: path("b") };
        assert_eq!(join(Action::RenamedTo, "b"), [renamed]);
        assert_eq!(join(Action::RenamedTo, "c"), [Event::Added(path("c"))]);
        assert_eq!(join(Action::RenamedFrom, "d"), []);
        assert_eq!(join(Action::RenamedFrom, "e"), [Event::Removed(path("d"))]);
        let both = [Event::Removed(path("e")), Event::Added(path("f"))];
        assert_eq!(join(Action::Added, "f"), both);
        assert_eq!(join(Action::RenamedFrom, "g"), []);
        assert_eq!(renames.flush(), Some(Event::Removed(path("g"))));
        assert_eq!(renames.flush(), None);
    }
}
