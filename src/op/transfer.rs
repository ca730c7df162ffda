//! Reading and writing: `WSARecv` and `WSASend` on sockets, `ReadFile` and
//! `WriteFile` on everything else.

use super::on::{Anything, Socket};
use super::{Call, Called, Calls, Fills, Operation, OperationKind, Outcome, Region, Returns};
use super::{Sends, Starter};
use crate::buffer::{IoBuf, IoBufMut};
use crate::error::{Error, Result, refusal};
use crate::handle::Object;
use crate::sys;

/// A read from a socket, pipe or device; see
/// [`Iocp::initiate_read`](crate::Iocp::initiate_read).
#[derive(Clone, Debug)]
pub struct Read<B> {
    buffer: B,
}

/// A read from a file; see
/// [`Iocp::initiate_read_at`](crate::Iocp::initiate_read_at).
#[derive(Clone, Debug)]
pub struct ReadAt<B> {
    buffer: B,
    offset: u64,
}

/// A write to a socket, pipe or device; see
/// [`Iocp::initiate_write`](crate::Iocp::initiate_write).
#[derive(Clone, Debug)]
pub struct Write<B> {
    buffer: B,
}

/// A write to a file; see
/// [`Iocp::initiate_write_at`](crate::Iocp::initiate_write_at).
#[derive(Clone, Debug)]
pub struct WriteAt<B> {
    buffer: B,
    offset: u64,
}

/// A receive into several buffers, which are filled in order.
#[derive(Clone, Debug)]
pub struct ReadVectored<B, const N: usize> {
    buffers: [B; N],
}

impl<B: IoBufMut> Read<B> {
    /// Into this buffer.
    #[inline(always)]
    pub fn new(buffer: B) -> Self {
        Self { buffer }
    }
}

impl<B: IoBufMut> ReadAt<B> {
    /// Into this buffer, from `offset` (in bytes) on.
    #[inline(always)]
    pub fn new(buffer: B, offset: u64) -> Self {
        Self { buffer, offset }
    }
}

impl<B: IoBuf> Write<B> {
    /// Of this buffer.
    #[inline(always)]
    pub fn new(buffer: B) -> Self {
        Self { buffer }
    }
}

impl<B: IoBuf> WriteAt<B> {
    /// Of this buffer, from `offset` (in bytes) on; [`u64::MAX`] appends.
    #[inline(always)]
    pub fn new(buffer: B, offset: u64) -> Self {
        Self { buffer, offset }
    }
}

impl<B: IoBufMut, const N: usize> ReadVectored<B, N> {
    /// Into these buffers.
    pub fn new(buffers: [B; N]) -> Self {
        Self { buffers }
    }
}

#[inline(always)]
fn check_room(buffer: &mut impl IoBufMut) -> Result<()> {
    if buffer.is_full() { Err(Error::misuse(&refusal::FULL_VECTOR)) } else { Ok(()) }
}

/// Files want an offset.
#[inline(always)]
fn check_stream(object: &Object<'_>) -> Result<()> {
    if object.is_file() { Err(Error::misuse(&refusal::NEEDS_OFFSET)) } else { Ok(()) }
}

#[inline(always)]
fn read<O>(region: Region, starter: Starter<'_, O>) -> Called<'_> {
    if starter.is_socket() {
        starter.call_with(|socket, overlapped, counts| {
            sys::receive(socket, region, overlapped, counts)
        })
    } else {
        starter
            .call_with(|file, overlapped, counts| sys::read_file(file, region, overlapped, counts))
    }
}

#[inline(always)]
fn write<O>(region: Region, starter: Starter<'_, O>) -> Called<'_> {
    if starter.is_socket() {
        starter
            .call_with(|socket, overlapped, counts| sys::send(socket, region, overlapped, counts))
    } else {
        starter
            .call_with(|file, overlapped, counts| sys::write_file(file, region, overlapped, counts))
    }
}

impl<B: IoBufMut + Send> Operation for Read<B> {
    const CALLS: Calls = Calls::either(Call::WSARecv, Call::ReadFile);
    const KIND: OperationKind = OperationKind::Read;
    const RETURNS: Returns<Self> = Returns::itself();
    type On = Anything;
    type Memory = Fills<B>;
    type Arguments = ();
    type Output = B;
    type Given = B;

    #[inline(always)]
    fn prepare(&mut self, on: &Object<'_>) -> Result<()> {
        check_stream(on)?;
        check_room(&mut self.buffer)
    }

    #[inline(always)]
    fn split(self) -> ((), Fills<B>) {
        ((), Fills(self.buffer))
    }

    #[inline(always)]
    fn start((): (), region: Region, starter: Starter<'_, Self>) -> Called<'_> {
        read(region, starter)
    }

    fn finish(Fills(buffer): Fills<B>, _: Outcome) -> Option<B> {
        Some(buffer)
    }

    fn give_back(Fills(buffer): Fills<B>) -> B {
        buffer
    }
}

impl<B: IoBufMut + Send> Operation for ReadAt<B> {
    const CALLS: Calls = Calls::handle(Call::ReadFile);
    const KIND: OperationKind = OperationKind::Read;
    const RETURNS: Returns<Self> = Returns::itself();
    type On = super::on::Handle;
    type Memory = Fills<B>;
    type Arguments = ();
    type Output = B;
    type Given = B;

    #[inline(always)]
    fn prepare(&mut self, _: &Object<'_>) -> Result<()> {
        check_room(&mut self.buffer)
    }

    #[inline(always)]
    fn offset(&self) -> u64 {
        self.offset
    }

    #[inline(always)]
    fn split(self) -> ((), Fills<B>) {
        ((), Fills(self.buffer))
    }

    #[inline(always)]
    fn start((): (), region: Region, starter: Starter<'_, Self>) -> Called<'_> {
        read(region, starter)
    }

    fn finish(Fills(buffer): Fills<B>, _: Outcome) -> Option<B> {
        Some(buffer)
    }

    fn give_back(Fills(buffer): Fills<B>) -> B {
        buffer
    }
}

impl<B: IoBuf + Send> Operation for Write<B> {
    const CALLS: Calls = Calls::either(Call::WSASend, Call::WriteFile);
    const KIND: OperationKind = OperationKind::Write;
    const RETURNS: Returns<Self> = Returns::itself();
    type On = Anything;
    type Memory = Sends<B>;
    type Arguments = ();
    type Output = B;
    type Given = B;

    #[inline(always)]
    fn prepare(&mut self, on: &Object<'_>) -> Result<()> {
        check_stream(on)?;
        on.check_message(self.buffer.initialized().1)
    }

    #[inline(always)]
    fn split(self) -> ((), Sends<B>) {
        ((), Sends(self.buffer))
    }

    #[inline(always)]
    fn start((): (), region: Region, starter: Starter<'_, Self>) -> Called<'_> {
        write(region, starter)
    }

    fn finish(Sends(buffer): Sends<B>, _: Outcome) -> Option<B> {
        Some(buffer)
    }

    fn give_back(Sends(buffer): Sends<B>) -> B {
        buffer
    }
}

impl<B: IoBuf + Send> Operation for WriteAt<B> {
    const CALLS: Calls = Calls::handle(Call::WriteFile);
    const KIND: OperationKind = OperationKind::Write;
    const RETURNS: Returns<Self> = Returns::itself();
    type On = super::on::Handle;
    type Memory = Sends<B>;
    type Arguments = ();
    type Output = B;
    type Given = B;

    #[inline(always)]
    fn offset(&self) -> u64 {
        self.offset
    }

    #[inline(always)]
    fn split(self) -> ((), Sends<B>) {
        ((), Sends(self.buffer))
    }

    #[inline(always)]
    fn start((): (), region: Region, starter: Starter<'_, Self>) -> Called<'_> {
        write(region, starter)
    }

    fn finish(Sends(buffer): Sends<B>, _: Outcome) -> Option<B> {
        Some(buffer)
    }

    fn give_back(Sends(buffer): Sends<B>) -> B {
        buffer
    }
}

impl<B: IoBufMut + Send, const N: usize> Operation for ReadVectored<B, N> {
    const CALLS: Calls = Calls::socket(Call::WSARecv);
    const KIND: OperationKind = OperationKind::Read;
    type On = Socket;
    type Memory = [Fills<B>; N];
    type Arguments = ();
    type Output = [B; N];
    type Given = [B; N];

    fn prepare(&mut self, _: &Object<'_>) -> Result<()> {
        let is_full = self.buffers.iter_mut().all(IoBufMut::is_full);
        if is_full { Err(Error::misuse(&refusal::FULL_VECTOR)) } else { Ok(()) }
    }

    fn split(self) -> ((), Self::Memory) {
        ((), self.buffers.map(Fills))
    }

    fn start((): (), regions: [Region; N], starter: Starter<'_, Self>) -> Called<'_> {
        starter.call_with(|socket, overlapped, counts| {
            sys::receive_vectored(socket, regions, overlapped, counts)
        })
    }

    fn finish(memory: Self::Memory, _: Outcome) -> Option<[B; N]> {
        Some(Self::give_back(memory))
    }

    fn give_back(memory: Self::Memory) -> [B; N] {
        memory.map(|Fills(buffer)| buffer)
    }
}
