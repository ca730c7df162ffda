//! Cancelling.

use windows_sys::Win32::Foundation::{ERROR_INVALID_HANDLE, ERROR_NOT_FOUND, HANDLE};
use windows_sys::Win32::System::IO::OVERLAPPED;

use crate::behaviour::FOREVER;
use crate::handle::truth;
use crate::kernel::{Id, Kernel, enter};
use crate::operation::Cancel;

#[unsafe(no_mangle)]
extern "system" fn CancelIoEx(handle: HANDLE, overlapped: *const OVERLAPPED) -> i32 {
    let mut kernel = enter();
    let answer = match kernel.resolve(handle.addr()) {
        None => Err(ERROR_INVALID_HANDLE),
        Some(id) if kernel.cancel(id, overlapped.addr()) => Ok(()),
        Some(_) => Err(ERROR_NOT_FOUND),
    };
    drop(kernel);
    truth(answer)
}

impl Kernel {
    /// Asks for one operation to be cancelled, or for all if the address is 0.
    fn cancel(&mut self, id: Id, address: usize) -> bool {
        // What is ready was faster.
        self.look(id);
        let ignores = self.ignores_cancels();
        let chance = self.behaviour.cancel_loses;
        let may_lose = !ignores && self.random.draw(chance);
        let mut any = false;
        for operation in self.objects[id].pending.iter_mut().flatten() {
            if address == 0 || operation.address() == address {
                operation.cancel = if ignores { Cancel::Ignored } else { Cancel::Heeded };
                any = true;
            }
        }
        let slow = &mut self.behaviour.slow_cancels;
        if any && *slow > 0 {
            *slow -= 1;
        } else if may_lose {
            self.cancel_later(id);
        } else if any && !ignores {
            self.end_cancelled(id);
        }
        any
    }

    /// Ends the operations of an object whose cancels are heeded.
    pub fn end_cancelled(&mut self, id: Id) {
        let Some(object) = self.objects.get_mut(id) else { return };
        let association = object.association;
        let pending = std::mem::take(&mut object.pending).into_iter().flatten();
        let (cancelled, left): (Vec<_>, Vec<_>) =
            pending.partition(|operation| operation.cancel == Cancel::Heeded);
        for operation in left {
            object.pending[operation.direction() as usize].push_back(operation);
        }
        for operation in cancelled {
            self.finish(operation.cancelled(association));
        }
        // There may be others behind, and at the other end one that waits for the
        // last of what was to be sent.
        self.look(id);
        if let Some(peer) = self.stream(id).and_then(|stream| stream.peer) {
            self.look(peer);
        }
    }

    pub fn ignores_cancels(&self) -> bool {
        self.behaviour.ignore_cancels > 0
    }

    /// A dequeue begins.
    pub fn count_dequeue(&mut self) {
        match self.behaviour.ignore_cancels {
            0 | FOREVER => {}
            1 => self.heed_cancels(),
            left => self.behaviour.ignore_cancels = left - 1,
        }
    }

    pub fn heed_cancels(&mut self) {
        self.behaviour.ignore_cancels = 0;
        for finished in std::mem::take(&mut self.hung) {
            self.finish(finished);
        }
        for (_, object) in self.objects.iter_mut() {
            for operation in object.pending.iter_mut().flatten() {
                if operation.cancel == Cancel::Ignored {
                    operation.cancel = Cancel::Heeded;
                }
            }
        }
        let ids: Vec<Id> = self.objects.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.end_cancelled(id);
        }
    }
}
