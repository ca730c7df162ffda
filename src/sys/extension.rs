//! Extension functions, which a socket's provider has and Winsock has not.

use std::ptr;
use std::sync::OnceLock;

use windows_sys::Win32::Networking::WinSock as ws;
use windows_sys::core::GUID;

use super::Handle;
use super::last_winsock_error;
use crate::error::{Cause, Facts, refusal};

/// The Winsock provider of a socket: its entry in the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provider(pub(super) u32);

impl Provider {
    /// That of no socket.
    pub(crate) const NONE: Self = Self(0);
}

/// An extension function, as far as it has been looked up. "The function pointer [...] must
/// be obtained at run time" and is that of the provider
/// (<https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-acceptex>).
pub(super) struct Extension {
    id: GUID,
    /// Of more providers than these it is looked up each time.
    known: [OnceLock<(Provider, Function)>; 8],
}

/// Where a function is.
#[derive(Clone, Copy)]
struct Function(*const ());

// SAFETY: Code does not change, and is there for all threads.
unsafe impl Send for Function {}
// SAFETY: Code does not change, and is there for all threads.
unsafe impl Sync for Function {}

impl Extension {
    pub const fn new(id: GUID) -> Self {
        Self { id, known: [const { OnceLock::new() }; 8] }
    }

    /// The function of this socket's provider.
    pub fn of(&self, socket: Handle, provider: Provider) -> Result<*const (), Cause> {
        let mut known = self.known.iter().filter_map(OnceLock::get);
        if let Some((_, Function(function))) = known.find(|known| known.0 == provider) {
            return Ok(*function);
        }
        let function = look_up(socket, self.id)?;
        keep_providers();
        for place in &self.known {
            if place.set((provider, Function(function))).is_ok() {
                break;
            }
        }
        Ok(function)
    }
}

/// Asks the provider, without waiting.
fn look_up(socket: Handle, id: GUID) -> Result<*const (), Cause> {
    let mut function: *const () = ptr::null();
    let mut returned = 0;
    // SAFETY: Input and output are locals of the given sizes. A null OVERLAPPED makes the
    // call synchronous, and no packet comes of it.
    let result = unsafe {
        ws::WSAIoctl(
            socket.0,
            ws::SIO_GET_EXTENSION_FUNCTION_POINTER,
            (&raw const id).cast(),
            size_of::<GUID>() as u32,
            (&raw mut function).cast(),
            size_of::<*const ()>() as u32,
            &raw mut returned,
            ptr::null_mut(),
            None,
        )
    };
    if result == 0 {
        return Ok(function);
    }
    Err(match last_winsock_error() as i32 {
        ws::WSAEINVAL | ws::WSAEOPNOTSUPP => Cause::UsageError(&refusal::NO_EXTENSION),
        code => Cause::Call { facts: Facts::WSAIoctl, code: code as u32 },
    })
}

/// Keeps the providers' libraries loaded. "There must be a call to `WSACleanup` for each
/// successful call to `WSAStartup`. Only the final [one] performs the actual cleanup"
/// (<https://learn.microsoft.com/windows/win32/api/winsock/nf-winsock-wsacleanup>), and to
/// this there is none.
fn keep_providers() {
    let mut data = ws::WSADATA::default();
    // SAFETY: `data` is a local.
    unsafe { ws::WSAStartup(0x0202, &raw mut data) };
}
