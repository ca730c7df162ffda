//! What the system has, of what the library has no operation for yet.

use std::io;
use std::mem;
use std::ptr;

use windows_sys::Win32::Foundation::{CloseHandle, HANDLE};
use windows_sys::Win32::Networking::WinSock as ws;
use windows_sys::Win32::System::Threading::{
    CREATE_WAITABLE_TIMER_HIGH_RESOLUTION, CreateWaitableTimerExW, TIMER_ALL_ACCESS,
};

use crate::kernel::{Raw, extension, function, new_socket, streams};
use crate::{Answer, Question};

const ASSUMES: &str = "nothing";
const OTHERWISE: &str = "yes";

pub const QUESTIONS: &[Question] = &[
    Question {
        ask: "wait completion packets",
        answer: || Ok(wait_completion_packets()),
        assumes: ASSUMES,
        otherwise: OTHERWISE,
    },
    Question {
        ask: "high-resolution timers",
        answer: || Ok(high_resolution_timers()),
        assumes: ASSUMES,
        otherwise: OTHERWISE,
    },
    Question {
        ask: "`TransmitPackets`",
        answer: || {
            let (client, _server) = streams()?;
            Ok(there_is(extension(&client, ws::WSAID_TRANSMITPACKETS).is_some()))
        },
        assumes: ASSUMES,
        otherwise: OTHERWISE,
    },
    Question {
        ask: "`AF_UNIX`",
        answer: || Ok(there_is(new_socket(ws::AF_UNIX).is_ok())),
        assumes: ASSUMES,
        otherwise: OTHERWISE,
    },
    Question {
        ask: "registered I/O",
        answer: registered_io,
        assumes: ASSUMES,
        otherwise: OTHERWISE,
    },
    Question {
        ask: "`ProcessSocketNotifications`",
        answer: || Ok(there_is(function("ws2_32.dll", "ProcessSocketNotifications").is_some())),
        assumes: ASSUMES,
        otherwise: OTHERWISE,
    },
    Question {
        ask: "`ReadDirectoryChangesExW`",
        answer: || Ok(there_is(function("kernel32.dll", "ReadDirectoryChangesExW").is_some())),
        assumes: ASSUMES,
        otherwise: OTHERWISE,
    },
];

fn there_is(it: bool) -> String {
    if it { "yes" } else { "no" }.to_owned()
}

fn wait_completion_packets() -> String {
    type Create = unsafe extern "system" fn(*mut HANDLE, u32, *const u8) -> i32;

    const MAXIMUM_ALLOWED: u32 = 0x0200_0000;

    let Some(create) = function("ntdll.dll", "NtCreateWaitCompletionPacket") else {
        return there_is(false);
    };
    // SAFETY: It is documented like this.
    let create = unsafe { mem::transmute::<*const (), Create>(create) };
    let mut packet = ptr::null_mut();
    // SAFETY: The out-parameter is a local; there are no attributes.
    let status = unsafe { create(&raw mut packet, MAXIMUM_ALLOWED, ptr::null()) };
    if status < 0 { format!("no: {status:#010x}") } else { there_is(true) }
}

fn high_resolution_timers() -> String {
    let flags = CREATE_WAITABLE_TIMER_HIGH_RESOLUTION;
    // SAFETY: Without attributes and name.
    let timer =
        unsafe { CreateWaitableTimerExW(ptr::null(), ptr::null(), flags, TIMER_ALL_ACCESS) };
    if timer.is_null() {
        return format!("no: {}", io::Error::last_os_error());
    }
    // SAFETY: The timer is ours.
    unsafe { CloseHandle(timer) };
    there_is(true)
}

fn registered_io() -> Answer {
    let (client, _server) = streams()?;
    let (mut table, mut returned) = (ws::RIO_EXTENSION_FUNCTION_TABLE::default(), 0);
    let (id, size) = (ws::WSAID_MULTIPLE_RIO, size_of::<ws::RIO_EXTENSION_FUNCTION_TABLE>());
    // SAFETY: Input and output are locals of the given sizes.
    let result = unsafe {
        ws::WSAIoctl(
            client.raw().addr(),
            ws::SIO_GET_MULTIPLE_EXTENSION_FUNCTION_POINTER,
            (&raw const id).cast(),
            size_of_val(&id) as u32,
            (&raw mut table).cast(),
            size as u32,
            &raw mut returned,
            ptr::null_mut(),
            None,
        )
    };
    Ok(there_is(result == 0))
}
