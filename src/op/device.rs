//! What drivers and file systems do: `DeviceIoControl`.

use super::on::Handle;
use super::{Call, Called, Calls, Codes, Fills, Operation, Outcome, Region, Sends, Starter};
use crate::buffer::{IoBuf, IoBufMut};

/// Asks a driver or a file system for something: a control code, its input and its
/// output.
///
/// It returns both. How many bytes of output there are, is what was transferred.
#[derive(Clone, Debug)]
pub struct DeviceControl<I, O> {
    code: u32,
    input: I,
    output: O,
}

impl<I: IoBuf, O: IoBufMut> DeviceControl<I, O> {
    /// # Safety
    ///
    /// Neither input nor output have pointers in them, to memory of this process
    /// that the driver uses, and what the code does disturbs nothing that safe code
    /// relies on.
    pub unsafe fn new(code: u32, input: I, output: O) -> Self {
        Self { code, input, output }
    }
}

static DEVICE_IO_CONTROL: Call = Call {
    name: "DeviceIoControl",
    codes: Codes::Win32,
    over: &[],
    // STATUS_BUFFER_OVERFLOW: a part of the output, and a packet.
    leaves_packet: &[234],
    asks_driver: true,
    ends: &[],
    means: &[],
};

impl<I: IoBuf + Send, O: IoBufMut + Send> Operation for DeviceControl<I, O> {
    const CALLS: Calls = Calls::handle(&DEVICE_IO_CONTROL);
    type On = Handle;
    type Memory = (Sends<I>, Fills<O>);
    type Arguments = u32;
    type Output = (I, O);
    type Given = (I, O);

    fn split(self) -> (u32, Self::Memory) {
        (self.code, (Sends(self.input), Fills(self.output)))
    }

    fn start(code: u32, lent: (Region, Region), starter: Starter<'_, Self>) -> Called<'_> {
        let (input, output) = lent;
        // SAFETY: The call is `DeviceIoControl`, which reads the one region and
        // writes the other, and counts what it has written.
        unsafe {
            starter.call(|call| {
                windows_sys::Win32::System::IO::DeviceIoControl(
                    call.handle,
                    code,
                    input.start().cast(),
                    input.length(),
                    output.start().cast(),
                    output.length(),
                    call.count,
                    call.overlapped.cast(),
                ) != 0
            })
        }
    }

    fn finish((Sends(input), Fills(output)): Self::Memory, _: Outcome) -> Option<(I, O)> {
        Some((input, output))
    }

    fn give_back((Sends(input), Fills(output)): Self::Memory) -> (I, O) {
        (input, output)
    }
}
