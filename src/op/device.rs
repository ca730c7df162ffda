//! Devices and file systems: `DeviceIoControl`.

use super::on::Handle;
use super::{ControlCode, Finish, Overwrites, Region, RegionMut, Sends, Starter, Submitted};
use crate::buffer::{IoBuf, IoBufMut};
use crate::error::Error;
use crate::operation::{Object, Operation};
use crate::sys;
use crate::sys::{Facts, FactsOn};

/// Asks a driver or a file system for something: `DeviceIoControl`.
///
/// It returns input and output. The initialised bytes of the output are overwritten:
/// `vec![0; 64]` has room for 64 bytes. The completion's byte count says how many of
/// them there are.
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
