//! The file system of named pipes, where clients wait for free instances.

use core::ffi::c_void;
use std::os::windows::io::{FromRawHandle, OwnedHandle};

use windows_sys::Wdk::Storage::FileSystem::FSCTL_PIPE_WAIT;
use windows_sys::Win32::Foundation::{
    HANDLE, STATUS_INVALID_DEVICE_REQUEST, STATUS_INVALID_HANDLE, STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_SUCCESS,
};
use windows_sys::Win32::System::IO::{IO_STATUS_BLOCK, PIO_APC_ROUTINE};

use crate::kernel::{Id, Kernel, enter};
use crate::object::{Body, Object};
use crate::operation::{Kind, Operation, Outcome, start};
use crate::pipe::PipeEnd;

/// Opens it, as `CreateFileW` does, which is Miri's under Miri.
#[must_use]
pub fn open() -> OwnedHandle {
    // SAFETY: The handle is new.
    unsafe { OwnedHandle::from_raw_handle(open_raw()) }
}

pub fn open_raw() -> HANDLE {
    let mut kernel = enter();
    let id = kernel.add(Object::new(Body::PipeFileSystem));
    kernel.pipe_waits += 1;
    kernel.open_token(id)
}

impl Kernel {
    /// Whether there is a free instance; `None` while all are in use.
    pub fn find_instance(&mut self, name: &str) -> Option<Outcome> {
        if self.instances(name).any(PipeEnd::is_free) {
            return Some(Outcome::wrote(0));
        }
        let is_gone = self.instances(name).next().is_none();
        is_gone.then(|| Outcome::status(STATUS_OBJECT_NAME_NOT_FOUND as u32))
    }

    /// Something about instances has changed.
    pub fn look_for_instances(&mut self) {
        if self.pipe_waits == 0 {
            return;
        }
        let is_waiting = |object: &Object| matches!(object.body, Body::PipeFileSystem);
        let waiting: Vec<Id> =
            self.objects.iter().filter(|(_, object)| is_waiting(object)).map(|it| it.0).collect();
        for id in waiting {
            self.look(id);
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn NtFsControlFile(
    handle: HANDLE,
    event: HANDLE,
    routine: PIO_APC_ROUTINE,
    context: *const c_void,
    status_block: *mut IO_STATUS_BLOCK,
    code: u32,
    input: *const c_void,
    input_length: u32,
    output: *mut c_void,
    output_length: u32,
) -> i32 {
    assert!(event.is_null() && routine.is_none(), "the model has neither events nor APCs");
    assert_eq!(context, status_block.cast_const().cast(), "the packet carries the OVERLAPPED");
    assert!(code == FSCTL_PIPE_WAIT && output.is_null() && output_length == 0);
    // SAFETY: As the caller promises.
    let question = unsafe { std::slice::from_raw_parts(input.cast::<u8>(), input_length as usize) };
    let (head, name) = question.split_at(14);
    assert_eq!(u32::from_ne_bytes(head[8..12].try_into().expect("four")) as usize, name.len());
    assert_eq!(head[12], 1, "the time-out counts");
    let units = name.chunks_exact(2).map(|unit| u16::from_ne_bytes([unit[0], unit[1]]));
    let name = String::from_utf16_lossy(&units.collect::<Vec<_>>());

    let mut kernel = enter();
    kernel.sweep();
    let Some(id) = kernel.resolve(handle.addr()) else { return STATUS_INVALID_HANDLE };
    if !matches!(kernel.objects[id].body, Body::PipeFileSystem) {
        return STATUS_INVALID_DEVICE_REQUEST;
    }
    if let Some(status) = kernel.behaviour.refuse.pop_front() {
        return status as i32;
    }
    let kind = Kind::AwaitInstance(format!(r"\\.\pipe\{name}"));
    // SAFETY: As the caller promises; the OVERLAPPED begins with the status block.
    let operation = unsafe { Operation::new(kind, std::ptr::null_mut(), 0, status_block.cast()) };
    match start(kernel, id, operation) {
        Ok(_) => STATUS_SUCCESS,
        Err(status) => status as i32,
    }
}
