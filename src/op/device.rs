//! Devices and file systems: `DeviceIoControl`.

use super::on::Handle;
use super::{ControlCode, Finish, Overwrites, Region, RegionMut, Sends, Starter, Submitted};
use crate::buffer::{IoBuf, IoBufMut};
use crate::error::{Error, Facts, FactsOn};
use crate::operation::{Object, Operation};
use crate::sys;

/// Sends a control code to a driver or a file system: `DeviceIoControl`.
///
/// Returns input and output. The initialised bytes of the output are overwritten:
/// `vec![0; 64]` has room for 64 bytes. The completion's byte count says how many of
/// them there are; output that has no room is cut, with
/// [`MoreData`](crate::ErrorKind::MoreData).
///
/// # Errors
///
/// The operation is refused with [`Unsupported`](crate::ErrorKind::Unsupported) on
/// sockets, and on handles that [skip the port](crate::Associated::skip_on_success).
///
/// ```
/// use completion_port::{Associated, Iocp, op};
/// use std::os::windows::io::OwnedHandle;
///
/// /// `FSCTL_PIPE_PEEK`: what is there to be read from a pipe.
/// // SAFETY: It uses no memory but its output, and changes nothing.
/// const PEEK: op::ControlCode = unsafe { op::ControlCode::new(0x0011_400C) };
///
/// fn available(port: &Iocp, pipe: &Associated<OwnedHandle>) -> completion_port::Result<u32> {
///     port.initiate(pipe, 1, op::DeviceControl::new(PEEK, [0; 0], [0; 16]))?;
///     let mut completion = port.get_completion()?;
///     let (_, output) = completion.operation.output::<([u8; 0], [u8; 16])>()?;
///     Ok(u32::from_ne_bytes([output[4], output[5], output[6], output[7]]))
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct DeviceControl<I, O> {
    code: ControlCode,
    input: I,
    output: O,
}

impl<I: IoBuf, O: IoBufMut> DeviceControl<I, O> {
    /// Sends `code` and `input`, and receives `output`.
    pub fn new(code: ControlCode, input: I, output: O) -> Self {
        Self { code, input, output }
    }
}

impl<I: IoBuf + Send, O: IoBufMut + Send> Operation for DeviceControl<I, O> {
    const FACTS: FactsOn = FactsOn::Handles(Facts::DeviceIoControl);
    const FINISH: Finish<Self> =
        Finish::with(|(Sends(input), Overwrites(output)), _| Some((input, output)));
    type On = Handle;
    type Memory = (Sends<I>, Overwrites<O>);
    type Arguments = ControlCode;
    type Output = (I, O);

    fn split(self, _: &Object<'_>) -> Result<(ControlCode, Self::Memory), (Error, Self::Memory)> {
        Ok((self.code, (Sends(self.input), Overwrites(self.output))))
    }

    fn start(
        code: ControlCode,
        (input, output): (Region, RegionMut),
        starter: Starter<'_, Self>,
    ) -> Submitted<'_> {
        starter.call_with(|device, overlapped, _| {
            sys::control_device(device, code, &input, &output, overlapped)
        })
    }
}
