//! Another port for a file object, or none.

use windows_sys::Wdk::Storage::FileSystem::{
    FILE_COMPLETION_INFORMATION, FILE_INFORMATION_CLASS, FileReplaceCompletionInformation,
};
use windows_sys::Win32::Foundation::{
    HANDLE, STATUS_DEVICE_BUSY, STATUS_INVALID_HANDLE, STATUS_INVALID_INFO_CLASS, STATUS_SUCCESS,
};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;

use crate::kernel::enter;
use crate::object::Body;

#[unsafe(no_mangle)]
unsafe extern "system" fn NtSetInformationFile(
    handle: HANDLE,
    _status_block: *mut IO_STATUS_BLOCK,
    information: *const core::ffi::c_void,
    length: u32,
    class: FILE_INFORMATION_CLASS,
) -> i32 {
    assert_eq!(class, FileReplaceCompletionInformation);
    assert_eq!(length as usize, size_of::<FILE_COMPLETION_INFORMATION>());
    // SAFETY: The structure is that of the class.
    let FILE_COMPLETION_INFORMATION { Port: port, Key: key } = unsafe { *information.cast() };
    let mut kernel = enter();
    if !kernel.behaviour.replaces_ports {
        return STATUS_INVALID_INFO_CLASS;
    }
    let Some(id) = kernel.resolve(handle.addr()) else { return STATUS_INVALID_HANDLE };
    let port = if port.is_null() {
        None
    } else {
        let found = kernel.find(port.addr());
        let is_port = |id: &_| matches!(kernel.objects[*id].body, Body::Port(_));
        let Some(port) = found.filter(is_port) else { return STATUS_INVALID_HANDLE };
        Some((port, key.addr()))
    };
    let object = &mut kernel.objects[id];
    if object.pending.iter().any(|operations| operations.front().is_some()) {
        return STATUS_DEVICE_BUSY;
    }
    object.association = port;
    STATUS_SUCCESS
}
