//! The operations, by what they are done on: each a short statement of what is
//! called with what.

mod listener;
mod stream;
mod transfer;

pub use stream::unconnected_stream;
pub(crate) use transfer::{read_file, receive, send, write_file};

use crate::error::Rejected;
use crate::handle::{Associated, Mode};
use crate::operation::{Payload, Target};
use crate::port::Iocp;
use crate::sys::{Answer, LentOverlapped, LentRegion};

impl<C: Send + 'static> Iocp<C> {
    /// Launches one operation and delivers it the way its handle wants.
    #[inline(always)]
    fn start<H, M: Mode, P: Payload>(
        &self,
        handle: &Associated<H, M>,
        target: Target,
        context: C,
        payload: P,
        call: impl FnOnce(&LentRegion, LentOverlapped) -> Answer,
    ) -> Result<M::Started<P::Output, C>, Rejected<(C, P::Given)>> {
        let shared = self.shared();
        let admit = || handle.admit(&shared.gate);
        let launched = shared.cells.launch(target, false, context, payload, admit, call)?;
        M::deliver(launched, handle, shared)
    }
}
