//! Reading into pages in several places, and writing from them: `ReadFileScatter`
//! and `WriteFileGather`.

use super::on::File;
use super::transfer::{check_offset, parts};
use super::{Finish, SegmentRegion, Starter, Submitted};
use crate::buffer::PageList;
use crate::error::{Error, Facts, FactsOn};
use crate::operation::{Object, Operation};
use crate::sys;

/// Reads from a file into a list of pages, in order: `ReadFileScatter`.
///
/// Returns the pages. A file that ends in between fills them up to its end, and a read from
/// its end on transfers 0 bytes.
///
/// # Errors
///
/// The operation is refused with [`InvalidInput`](crate::ErrorKind::InvalidInput) if the
/// file was opened without `FILE_FLAG_NO_BUFFERING`, or if the offset is not that of a
/// sector; and with [`Unsupported`](crate::ErrorKind::Unsupported) on handles that
/// [skip the port](crate::Associated::skip_on_success).
///
/// ```
/// # use completion_port::fs::OpenOverlapped;
/// use completion_port::{Iocp, PageList, Pages, op};
/// # use std::fs::OpenOptions;
///
/// # let path = std::env::temp_dir().join(format!("completion-port-scatter-{}", std::process::id()));
/// # std::fs::write(&path, vec![b'x'; 3 * Pages::SIZE])?;
/// # let port = Iocp::new()?;
/// let file = OpenOptions::new().read(true).open_overlapped_with(&path, 0x2000_0000)?; // unbuffered
/// let file = port.add_handle(file, 1)?;
/// let list = PageList::new(vec![Pages::new(1), Pages::new(2)]);
/// port.initiate(&file, 2, op::ReadScatter::new(list).at(0))?;
/// let mut completion = port.get_completion()?;
/// completion.error_status?;
/// let list: PageList = completion.operation.output()?;
/// assert!(list.iter().all(|pages| pages.iter().all(|byte| *byte == b'x')));
/// # drop(file);
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct ReadScatter {
    pages: PageList,
    offset: Option<u64>,
}

/// Writes a list of pages to a file, in order: `WriteFileGather`.
///
/// Returns the pages, like [`ReadScatter`].
#[derive(Debug)]
#[must_use]
pub struct WriteGather {
    pages: PageList,
    offset: Option<u64>,
}

macro_rules! transfers {
    ($($name:ident: $facts:ident, $call:ident, $new:literal, $at:literal;)*) => {$(
        impl $name {
            #[doc = $new]
            pub fn new(pages: PageList) -> Self {
                Self { pages, offset: None }
            }

            #[doc = $at]
            pub fn at(self, offset: u64) -> Self {
                Self { offset: Some(offset), ..self }
            }
        }

        impl Operation for $name {
            const FACTS: FactsOn = FactsOn::Handles(Facts::$facts);
            const FINISH: Finish<Self> = Finish::with(|pages, _| Some(pages));
            type On = File;
            type Memory = PageList;
            type Arguments = u64;
            type Output = PageList;

            fn split(self, on: &Object<'_>) -> Result<(u64, PageList), (Error, PageList)> {
                let Self { pages, offset } = self;
                parts(offset.unwrap_or(0), pages, check_offset(on, offset))
            }

            fn start(
                offset: u64,
                pages: SegmentRegion,
                starter: Starter<'_, Self>,
            ) -> Submitted<'_> {
                starter
                    .at(offset)
                    .call_with(|file, overlapped, _| sys::$call(file, offset, &pages, overlapped))
            }
        }
    )*};
}

transfers! {
    ReadScatter: ReadFileScatter, read_scatter, "Reads into `pages`.", "Reads from `offset` on, in bytes.";
    WriteGather: WriteFileGather, write_gather, "Writes `pages`.", "Writes from `offset` on, in bytes.";
}
