//! Directories that are watched, and whose changes the test makes up.

use std::collections::VecDeque;
use std::fs::File;
use std::os::windows::io::{AsRawHandle, FromRawHandle};

use windows_sys::Win32::Foundation::{ERROR_INVALID_HANDLE, ERROR_INVALID_PARAMETER, HANDLE};
use windows_sys::Win32::System::IO::{LPOVERLAPPED_COMPLETION_ROUTINE, OVERLAPPED};

use crate::behaviour::Chance;
use crate::handle::fail;
use crate::kernel::{Kernel, enter};
use crate::object::{Body, Object};
use crate::operation::{Kind, Operation, Outcome, pending_code, start};
use crate::status::{STATUS_NOTIFY_ENUM_DIR, STATUS_SUCCESS, note, win32_code};

/// The lists that were not told yet: `None` for more changes than the system could
/// take note of.
#[derive(Default)]
pub struct Directory(VecDeque<Option<Vec<u8>>>);

/// Opens a directory of the model's.
#[must_use]
pub fn open() -> File {
    let mut kernel = enter();
    let id = kernel.add(Object::new(Body::Directory(Directory::default())));
    let handle = kernel.open_token(id);
    // SAFETY: The handle is new.
    unsafe { File::from_raw_handle(handle) }
}

/// Makes a directory tell of changes: of a list, as the system writes it, or of too many.
///
/// # Panics
///
/// If the handle is not one of the model's directories.
pub fn change(directory: &impl AsRawHandle, list: Option<&[u8]>) {
    let mut kernel = enter();
    let id = kernel.resolve(directory.as_raw_handle().addr()).expect("a directory");
    let Body::Directory(Directory(lists)) = &mut kernel.objects[id].body else {
        panic!("not a directory")
    };
    lists.push_back(list.map(<[u8]>::to_vec));
    kernel.look(id);
}

impl Kernel {
    pub fn watch(&mut self, id: crate::kernel::Id, operation: &Operation) -> Option<Outcome> {
        let Body::Directory(Directory(lists)) = &mut self.objects.get_mut(id)?.body else {
            unreachable!("a directory")
        };
        match lists.pop_front()? {
            Some(list) if list.len() <= operation.length => Some(Outcome::read(list)),
            // It is told in one of two ways.
            _ => {
                let is_status = self.random.draw(Chance::Sometimes);
                let status = if is_status { STATUS_NOTIFY_ENUM_DIR } else { STATUS_SUCCESS };
                Some(Outcome::read_with(status, Vec::new()))
            }
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn ReadDirectoryChangesW(
    directory: HANDLE,
    buffer: *mut core::ffi::c_void,
    length: u32,
    _subtree: i32,
    filter: u32,
    _returned: *mut u32,
    overlapped: *mut OVERLAPPED,
    routine: LPOVERLAPPED_COMPLETION_ROUTINE,
) -> i32 {
    assert!(routine.is_none() && filter != 0);
    assert_eq!(buffer.addr() % 4, 0, "the buffer's alignment");
    let mut kernel = enter();
    let refused = match kernel.resolve(directory.addr()) {
        None => Err(ERROR_INVALID_HANDLE),
        Some(id) if !matches!(kernel.objects[id].body, Body::Directory(_)) => {
            Err(ERROR_INVALID_PARAMETER)
        }
        Some(_) if kernel.behaviour.is_share && length > 65_536 => Err(ERROR_INVALID_PARAMETER),
        Some(id) => kernel.behaviour.refuse.pop_front().map_or(Ok(id), Err),
    };
    let id = match refused {
        Ok(id) => id,
        Err(code) => {
            drop(kernel);
            return fail(code, 0);
        }
    };
    // SAFETY: As the caller promises.
    let operation =
        unsafe { Operation::new(Kind::Watch, buffer.cast(), length as usize, overlapped) };
    match start(kernel, id, operation) {
        // What pends is a success of the call.
        Ok(_) => 1,
        Err(status) if status == crate::status::STATUS_PENDING => 1,
        Err(status) => {
            note(status);
            fail(pending_code(status, win32_code), 0)
        }
    }
}
