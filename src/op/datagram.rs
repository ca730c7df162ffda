//! Datagrams with addresses: `WSARecvFrom` and `WSASendTo`.

use std::net::SocketAddr;

use super::on::Datagrams;
use super::{Address, AddressPlace, Call, Called, Calls, Fills, Operation, OperationKind, Outcome};
use super::{Region, Returns, Sends, Starter};
use crate::buffer::{IoBuf, IoBufMut};
use crate::error::{Error, Result, refusal};
use crate::handle::Object;
use crate::sys;

/// Receives a datagram, and learns who has sent it.
#[derive(Clone, Debug)]
pub struct ReceiveFrom<B> {
    buffer: B,
}

/// A datagram that was received. If none was, the buffer as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Datagram<B> {
    /// The buffer, with the datagram.
    pub buffer: B,
    /// Who has sent it.
    pub from: Option<SocketAddr>,
}

impl<B: IoBufMut> ReceiveFrom<B> {
    /// Into this buffer.
    pub fn new(buffer: B) -> Self {
        Self { buffer }
    }
}

impl<B: IoBufMut + Send> Operation for ReceiveFrom<B> {
    const CALLS: Calls = Calls::socket(Call::WSARecvFrom);
    const KIND: OperationKind = OperationKind::Read;
    type On = Datagrams;
    type Memory = (Fills<B>, Address);
    type Arguments = ();
    type Output = Datagram<B>;
    type Given = B;

    fn prepare(&mut self, on: &Object<'_>) -> Result<()> {
        check_datagrams(on)
    }

    fn split(self) -> ((), Self::Memory) {
        ((), (Fills(self.buffer), Address::default()))
    }

    fn start((): (), lent: (Region, AddressPlace), starter: Starter<'_, Self>) -> Called<'_> {
        let (region, from) = lent;
        starter
            .call_with(|socket, overlapped, _| sys::receive_from(socket, region, from, overlapped))
    }

    fn finish((Fills(buffer), from): Self::Memory, outcome: Outcome) -> Option<Datagram<B>> {
        Some(Datagram { buffer, from: if outcome.is_ok() { from.get() } else { None } })
    }

    fn give_back((Fills(buffer), _): Self::Memory) -> B {
        buffer
    }
}

/// Sends a datagram to somebody.
#[derive(Clone, Debug)]
pub struct SendTo<B> {
    buffer: B,
    to: SocketAddr,
}

impl<B: IoBuf> SendTo<B> {
    /// Of this buffer, to this address.
    pub fn new(buffer: B, to: SocketAddr) -> Self {
        Self { buffer, to }
    }
}

impl<B: IoBuf + Send> Operation for SendTo<B> {
    const CALLS: Calls = Calls::socket(Call::WSASendTo);
    const KIND: OperationKind = OperationKind::Write;
    const RETURNS: Returns<Self> = Returns::itself();
    type On = Datagrams;
    type Memory = Sends<B>;
    type Arguments = SocketAddr;
    type Output = B;
    type Given = B;

    fn prepare(&mut self, on: &Object<'_>) -> Result<()> {
        check_datagrams(on)?;
        on.check_message(self.buffer.initialized().1)
    }

    fn split(self) -> (SocketAddr, Sends<B>) {
        (self.to, Sends(self.buffer))
    }

    fn start(to: SocketAddr, region: Region, starter: Starter<'_, Self>) -> Called<'_> {
        starter.call_with(|socket, overlapped, _| sys::send_to(socket, region, to, overlapped))
    }

    fn finish(Sends(buffer): Sends<B>, _: Outcome) -> Option<B> {
        Some(buffer)
    }

    fn give_back(Sends(buffer): Sends<B>) -> B {
        buffer
    }
}

fn check_datagrams(on: &Object<'_>) -> Result<()> {
    if on.is_datagram() { Ok(()) } else { Err(Error::misuse(&refusal::NOT_DATAGRAMS)) }
}
