//! Memory and files that go to a socket together: `TransmitPackets`.

use std::os::windows::io::RawHandle;
use std::{fmt, mem};

use windows_sys::Win32::Networking::WinSock as ws;
use windows_sys::Win32::System::IO::OVERLAPPED;

use super::extension::{Extension, Provider};
use super::socket::answer;
use super::transmit::MOST_TRANSMITTED;
use super::{Answer, Handle, InPlace, LentOverlapped, Region};
use crate::error::{Cause, UsageError, refusal};

/// How many elements one operation can have.
pub(crate) const MOST_PACKETS: usize = 16;

/// Says in the memory of an operation what is sent.
pub struct PacketsHeader([ws::TRANSMIT_PACKETS_ELEMENT; MOST_PACKETS]);

/// `TRANSMIT_PACKETS_ELEMENT`s, which the kernel may read for as long as the operation is in
/// flight: so many as were added, and what they are together.
#[derive(Debug)]
pub struct PacketsRegion {
    elements: *mut ws::TRANSMIT_PACKETS_ELEMENT,
    count: usize,
    bytes: u64,
    /// The greatest offset in a file.
    offset: u64,
}

// SAFETY: Its pointers are for the kernel alone, and lead to memory that is lent.
unsafe impl Send for PacketsHeader {}

impl PacketsHeader {
    pub(crate) fn empty() -> Self {
        Self([ws::TRANSMIT_PACKETS_ELEMENT::default(); MOST_PACKETS])
    }

    pub(crate) fn region(&mut self, _: &InPlace) -> PacketsRegion {
        PacketsRegion { elements: (&raw mut self.0).cast(), count: 0, bytes: 0, offset: 0 }
    }
}

impl fmt::Debug for PacketsHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketsHeader").finish_non_exhaustive()
    }
}

impl PacketsRegion {
    /// Whether one call can send this.
    pub(crate) fn check(&self) -> Result<(), &'static UsageError> {
        if self.bytes == 0 {
            Err(&refusal::TRANSMITS_NOTHING)
        } else if self.bytes > MOST_TRANSMITTED.into() {
            Err(&refusal::TRANSMITS_TOO_MANY)
        } else if self.offset > i64::MAX as u64 {
            // "When set to –1, transmission begins at the current byte offset."
            Err(&refusal::TRANSMITS_FROM_NOWHERE)
        } else {
            Ok(())
        }
    }

    /// Adds memory. The region is lent for as long as the elements are.
    pub(crate) fn add_memory(&mut self, region: &Region) {
        let start = region.start().cast_mut().cast();
        let place = ws::TRANSMIT_PACKETS_ELEMENT_0 { pBuffer: start };
        self.add(ws::TP_ELEMENT_MEMORY, place, region.length().into());
    }

    /// Adds a part of a file.
    pub(crate) fn add_file(&mut self, file: RawHandle, offset: u64, length: u64) {
        self.offset = self.offset.max(offset);
        let part = ws::TRANSMIT_PACKETS_ELEMENT_0_0 { nFileOffset: offset as i64, hFile: file };
        let place = ws::TRANSMIT_PACKETS_ELEMENT_0 { Anonymous: part };
        self.add(ws::TP_ELEMENT_FILE, place, length);
    }

    /// Leaves out what has no bytes: "The number of bytes to transmit. If zero, the entire
    /// file is transmitted"
    /// (<https://learn.microsoft.com/windows/win32/api/mswsock/ns-mswsock-transmit_packets_element>).
    fn add(&mut self, flags: u32, place: ws::TRANSMIT_PACKETS_ELEMENT_0, length: u64) {
        self.bytes = self.bytes.saturating_add(length);
        if length == 0 {
            return;
        }
        assert!(self.count < MOST_PACKETS, "more elements than there is room for");
        let length = length as u32; // or the whole is refused
        // SAFETY: There is room, where it was lent, and it is not the kernel's yet.
        unsafe {
            self.elements.add(self.count).write(ws::TRANSMIT_PACKETS_ELEMENT {
                dwElFlags: flags,
                cLength: length,
                Anonymous: place,
            });
        }
        self.count += 1;
    }
}

type TransmitPacketsFunction = unsafe extern "system" fn(
    ws::SOCKET,
    *const ws::TRANSMIT_PACKETS_ELEMENT,
    u32,
    u32,
    *mut OVERLAPPED,
    u32,
) -> i32;

/// The provider's `TransmitPackets`.
#[derive(Clone, Copy)]
pub(crate) struct TransmitPackets(TransmitPacketsFunction);

impl TransmitPackets {
    pub fn of(socket: Handle, provider: Provider) -> Result<Self, Cause> {
        static EXTENSION: Extension = Extension::new(ws::WSAID_TRANSMITPACKETS);
        let function = EXTENSION.of(socket, provider)?;
        // SAFETY: The provider gave this address for TransmitPackets.
        Ok(Self(unsafe { mem::transmute::<*const (), TransmitPacketsFunction>(function) }))
    }
}

/// Starts to send the elements, in order, in blocks of the system's choice.
pub(crate) fn transmit_packets(
    TransmitPackets(transmit_packets): TransmitPackets,
    socket: Handle,
    packets: &PacketsRegion,
    overlapped: LentOverlapped,
) -> Answer {
    let (elements, count) = (packets.elements, packets.count as u32);
    // SAFETY: The elements, what they point to and the OVERLAPPED are lent for the
    // operation's whole life; the files are looked up before the call returns.
    let succeeded =
        unsafe { transmit_packets(socket.0, elements, count, 0, overlapped.into_raw(), 0) };
    answer(succeeded != 0, 0)
}
