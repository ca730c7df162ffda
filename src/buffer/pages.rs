//! Memory in whole pages.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::slice;

use windows_sys::Win32::Storage::FileSystem::FILE_SEGMENT_ELEMENT;

use super::{IoBuf, IoBufMut};

/// A buffer of whole pages of memory, zeroed at first, for files that are opened with
/// `FILE_FLAG_NO_BUFFERING`.
///
/// Such files want address, length and offset of a transfer to be multiples of the
/// disk's sector, which is 512 or 4096 bytes. A read overwrites the pages from the
/// first one on.
///
/// ```
/// use completion_port::fs::OpenOverlapped;
/// use completion_port::{Iocp, Pages, op};
/// use std::fs::OpenOptions;
///
/// # let path = std::env::temp_dir().join(format!("completion-port-pages-{}", std::process::id()));
/// # std::fs::write(&path, "hello")?;
/// const FILE_FLAG_NO_BUFFERING: u32 = 0x2000_0000;
/// let port = Iocp::new()?;
/// let file = OpenOptions::new().read(true).open_overlapped_with(&path, FILE_FLAG_NO_BUFFERING)?;
/// let file = port.add_handle(file, 1)?;
/// port.initiate(&file, 2, op::Read::new(Pages::new(16)).at(0))?;
/// let mut completion = port.get_completion()?;
/// completion.error_status?;
/// let pages: Pages = completion.operation.output()?;
/// assert_eq!(&pages[..completion.bytes_transferred as usize], b"hello");
/// # drop(file);
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Pages(Box<[Page]>);

#[derive(Clone)]
#[repr(C, align(4096))]
struct Page([u8; Pages::SIZE]);

impl Pages {
    /// The size of a page in bytes, on every processor that Windows runs on.
    pub const SIZE: usize = 4096;

    /// Allocates `count` pages, one after the other.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self(vec![Page([0; Self::SIZE]); count].into_boxed_slice())
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: A page is nothing but so many bytes.
        unsafe { slice::from_raw_parts(self.0.as_ptr().cast(), size_of_val(&*self.0)) }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: A page is nothing but so many bytes.
        unsafe { slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), size_of_val(&*self.0)) }
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pages").field(&self.0.len()).finish()
    }
}

// SAFETY: All bytes are initialised, and stay where they are until the value is
// used mutably or dropped.
unsafe impl IoBuf for Pages {
    fn initialized(&self) -> (*const u8, usize) {
        (self.as_ptr(), self.len())
    }
}

// SAFETY: All bytes are initialised, stay where they are, and are its own.
unsafe impl IoBufMut for Pages {
    fn initialized_mut(&mut self) -> (*mut u8, usize) {
        (self.as_mut_ptr(), self.len())
    }

    fn writable(&mut self) -> (*mut u8, usize) {
        self.initialized_mut()
    }

    unsafe fn advance(&mut self, _bytes: usize) {}

    const FIXED: bool = true;
}

/// A list of [`Pages`], which one [`op::ReadScatter`](crate::op::ReadScatter) fills or one
/// [`op::WriteGather`](crate::op::WriteGather) writes, in order.
///
/// Keep it for the next operation, which then allocates nothing.
///
/// ```
/// use completion_port::{PageList, Pages};
///
/// let mut list = PageList::new(vec![Pages::new(1), Pages::new(15)]);
/// list[0].fill(b'x');
/// assert_eq!(list.iter().map(|pages| pages.len()).sum::<usize>(), 16 * Pages::SIZE);
/// ```
#[derive(Default)]
pub struct PageList {
    runs: Vec<Pages>,
    /// Where the pages are, as the system wants to know it.
    segments: Vec<FILE_SEGMENT_ELEMENT>,
}

// SAFETY: The pointers are to memory of its own, and only used when it is lent.
unsafe impl Send for PageList {}
// SAFETY: Nothing is done with them through a shared reference.
unsafe impl Sync for PageList {}

impl PageList {
    /// Creates a list of `runs`, in this order.
    #[must_use]
    pub fn new(runs: Vec<Pages>) -> Self {
        let pages: usize = runs.iter().map(|run| run.0.len()).sum();
        Self { runs, segments: Vec::with_capacity(pages + 1) }
    }

    /// Returns the pages that the list was made of.
    #[must_use]
    pub fn into_inner(self) -> Vec<Pages> {
        self.runs
    }

    pub(crate) fn length(&self) -> usize {
        self.runs.iter().map(|run| run.len()).sum()
    }
}

impl Deref for PageList {
    type Target = [Pages];

    fn deref(&self) -> &[Pages] {
        &self.runs
    }
}

impl DerefMut for PageList {
    fn deref_mut(&mut self) -> &mut [Pages] {
        &mut self.runs
    }
}

impl fmt::Debug for PageList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.runs).finish()
    }
}

impl PageList {
    /// The array of segments that the system wants, of all pages, and their length. It
    /// stays where it is until the list is used mutably or dropped.
    pub(crate) fn segments(&mut self) -> (*const FILE_SEGMENT_ELEMENT, usize) {
        let pages = self.runs.iter_mut().flat_map(|run| {
            let start: *mut Page = run.0.as_mut_ptr();
            // Each page's pointer is good for the page.
            (0..run.0.len()).map(move |index| start.wrapping_add(index))
        });
        self.segments.clear();
        self.segments.extend(pages.map(|page| {
            // All 64 bits of the element count.
            let mut segment = FILE_SEGMENT_ELEMENT { Alignment: 0 };
            segment.Buffer = page.cast();
            segment
        }));
        // "The array must contain enough elements to store nNumberOfBytesToRead bytes
        // of data, plus one element for the terminating NULL".
        self.segments.push(FILE_SEGMENT_ELEMENT { Alignment: 0 });
        (self.segments.as_ptr(), self.length())
    }
}
