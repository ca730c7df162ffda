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
/// It can be sent what is documented for `DeviceIoControl`: drivers may take other codes, such
/// as those of pipes, by other functions only.
///
/// # Errors
///
/// The operation is refused with [`Unsupported`](crate::ErrorKind::Unsupported) on
/// sockets, and on handles that [skip the port](crate::Associated::skip_on_success).
///
/// ```
/// use completion_port::fs::OpenOverlapped;
/// use completion_port::{Associated, Iocp, op};
/// use std::fs::{File, OpenOptions};
///
/// /// `FSCTL_SET_SPARSE`: what is zero in a file need not take room on the disk.
/// // SAFETY: It uses no memory but its input, and no data changes.
/// const SET_SPARSE: op::ControlCode = unsafe { op::ControlCode::new(0x0009_00C4) };
///
/// fn set_sparse(port: &Iocp, file: &Associated<File>) -> completion_port::Result<()> {
///     let input = [1_u8]; // a `FILE_SET_SPARSE_BUFFER`
///     port.initiate(file, 2, op::DeviceControl::new(SET_SPARSE, input, [0_u8; 0]))?;
///     port.get_completion()?.error_status
/// }
///
/// # let path = std::env::temp_dir().join(format!("completion-port-sparse-{}", std::process::id()));
/// let port = Iocp::new()?;
/// let file = OpenOptions::new().write(true).create(true).open_overlapped(&path)?;
/// let file = port.add_handle(file, 1)?;
/// if let Err(error) = set_sparse(&port, &file) {
///     println!("this file system cannot do that: {error}");
/// }
/// # drop(file);
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
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
