//! `TransmitPackets`.

use windows_sys::Win32::Networking::WinSock as ws;
use windows_sys::Win32::System::IO::OVERLAPPED;

use crate::operation::{Direction, Kind, Operation, Part, pending_code, start};
use crate::status::winsock_code;
use crate::winsock::{enter_for, finish};

pub unsafe extern "system" fn TransmitPackets(
    socket: ws::SOCKET,
    elements: *const ws::TRANSMIT_PACKETS_ELEMENT,
    count: u32,
    _send_size: u32,
    overlapped: *mut OVERLAPPED,
    flags: u32,
) -> i32 {
    assert_eq!(flags, 0, "the model has no flags here");
    let started = enter_for(socket).and_then(|(mut kernel, id)| {
        if let Some(code) = kernel.behaviour.refuse.pop_front() {
            return Err(code as i32);
        }
        if kernel.stream(id).is_none() {
            return Err(ws::WSAENOTCONN);
        }
        kernel.check_open(socket, Direction::Out)?;
        let (mut buffers, mut parts) = (Vec::new(), Vec::new());
        for index in 0..count as usize {
            // SAFETY: As the caller promises; which part of the union it is, the flags say.
            unsafe {
                let element = &*elements.add(index);
                let length = element.cLength as usize;
                assert!(length > 0, "no bytes are the whole file");
                match element.dwElFlags {
                    ws::TP_ELEMENT_MEMORY => {
                        buffers.push((element.Anonymous.pBuffer.cast(), length));
                        parts.push(Part::Memory(length));
                    }
                    ws::TP_ELEMENT_FILE => {
                        let part = element.Anonymous.Anonymous;
                        let offset = u64::try_from(part.nFileOffset).expect("not its position");
                        parts.push(Part::File(part.hFile.addr(), offset, length));
                    }
                    flags => panic!("an element is memory or a file, not {flags}"),
                }
            }
        }
        // SAFETY: As the caller promises.
        let operation = unsafe { Operation::scattered(Kind::Write(0), &buffers, overlapped) };
        let operation = operation.sends(parts);
        assert!(operation.most() < i32::MAX as usize, "the call is limited to 2^31 - 2 bytes");
        assert!(operation.most() > 0, "there is nothing to be sent");
        start(kernel, id, operation).map_err(|status| pending_code(status, winsock_code) as i32)
    });
    finish(started, std::ptr::null_mut())
}
