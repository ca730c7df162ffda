//! Overlapped operations: from the call to the packet.

use std::net::SocketAddr;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use windows_sys::Win32::Foundation::ERROR_IO_PENDING;
use windows_sys::Win32::Networking::WinSock as ws;
use windows_sys::Win32::System::IO::OVERLAPPED;

use crate::address;
use crate::behaviour::{Behaviour, Chance};
use crate::kernel::{Entered, Id, Kernel, announce, enter, lock};
use crate::message::Extras;
use crate::object::{Body, Object};
use crate::port::Packet;
use crate::status::{
    STATUS_CANCELLED, STATUS_CONNECTION_ABORTED, STATUS_CONNECTION_RESET, STATUS_END_OF_FILE,
    STATUS_INVALID_PARAMETER, STATUS_PENDING, STATUS_PIPE_BROKEN, STATUS_SUCCESS, is_error,
    is_success, is_warning,
};

/// Memory of the caller's, which the kernel may use from any thread.
#[derive(Clone, Copy)]
pub struct Lent<T>(*mut T);

// SAFETY: Whoever makes the call lends the memory to the kernel, not to a
// thread of it.
unsafe impl<T> Send for Lent<T> {}

impl<T> Lent<T> {
    pub fn new(start: *mut T) -> Self {
        Self(start)
    }

    pub fn address(self) -> usize {
        self.0.addr()
    }

    pub fn start(self) -> *mut T {
        self.0
    }
}

pub enum Kind {
    Read,
    /// With the number of bytes that are on their way already.
    Write(usize),
    /// With the socket that becomes the connection, and the room for what its client sends
    /// first.
    Accept(Id, usize),
    Connect(SocketAddr),
    /// Whether the socket is to be used again.
    Disconnect(bool),
    /// Of a pipe: whether it had to wait for a client.
    Listen(bool),
    /// With the control code.
    Control(u32),
    /// Of a pipe: whether the request has been sent.
    Transact(bool),
    /// For a free instance of a pipe.
    AwaitInstance(String),
    /// Of a directory, for changes.
    Watch,
    Lock {
        length: u64,
        is_exclusive: bool,
        waits: bool,
    },
}

/// An operation in the kernel's hands.
pub struct Operation {
    pub kind: Kind,
    pub length: usize,
    pub offset: u64,
    /// Winsock's.
    pub flags: i32,
    /// Somebody has asked for it to be cancelled.
    pub cancel: Cancel,
    /// Where a datagram goes.
    pub to: Option<SocketAddr>,
    /// What is sent besides, of so many bytes.
    pub request: Option<(Lent<u8>, usize)>,
    /// One after the other, so many bytes in all as the length says.
    buffers: Vec<(Lent<u8>, usize)>,
    /// Where it is written who has sent a datagram.
    sender: Option<(Lent<ws::SOCKADDR>, Lent<i32>)>,
    /// What is sent, in order, if files are among it.
    parts: Vec<Part>,
    /// Where all that is known of a datagram stands, or is written.
    message: Option<Lent<ws::WSAMSG>>,
    overlapped: Lent<OVERLAPPED>,
    has_packet: bool,
}

/// A part of what is sent.
pub enum Part {
    /// So many of the bytes in the buffers.
    Memory(usize),
    /// So many bytes of a file, from an offset on.
    File(usize, u64, usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    In,
    Out,
    /// It does not wait for others.
    Neither,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    NotAsked,
    Ignored,
    Heeded,
}

/// What an operation results in.
pub struct Outcome {
    pub status: u32,
    pub bytes: usize,
    /// What goes into the buffers.
    pub data: Vec<u8>,
    pub from: Option<SocketAddr>,
    /// Control data and flags of a datagram.
    pub control: Vec<u8>,
    pub flags: u32,
}

/// An operation that is over, but whose memory has not been written yet.
pub struct Finished {
    pub operation: Operation,
    pub outcome: Outcome,
    pub packet: Option<(Id, usize)>,
}

/// The result of an operation whose packet is queued.
pub struct Unwritten {
    operation: Operation,
    outcome: Outcome,
}

impl Unwritten {
    pub fn write(self) {
        self.operation.write(&self.outcome);
    }
}

impl Outcome {
    pub fn status(status: u32) -> Self {
        // The count of what failed is no count of anything.
        let bytes = if is_error(status) { 0xDEAD } else { 0 };
        Self { bytes, ..Self::read_with(status, Vec::new()) }
    }

    pub fn wrote(bytes: usize) -> Self {
        Self { bytes, ..Self::read(Vec::new()) }
    }

    pub fn read(data: Vec<u8>) -> Self {
        Self::read_with(STATUS_SUCCESS, data)
    }

    pub fn read_with(status: u32, data: Vec<u8>) -> Self {
        let (control, flags) = (Vec::new(), 0);
        Self { status, bytes: data.len(), data, from: None, control, flags }
    }
}

impl Operation {
    /// # Safety
    ///
    /// The `OVERLAPPED` is lent until the packet is dequeued, or the call
    /// answers that there will be none; and the buffer with it.
    pub unsafe fn new(
        kind: Kind,
        buffer: *mut u8,
        length: usize,
        overlapped: *mut OVERLAPPED,
    ) -> Self {
        // SAFETY: By the caller's promise.
        unsafe { Self::scattered(kind, &[(buffer, length)], overlapped) }
    }

    /// The same with several buffers.
    ///
    /// # Safety
    ///
    /// As for [`new`](Self::new), for each of them.
    pub unsafe fn scattered(
        kind: Kind,
        buffers: &[(*mut u8, usize)],
        overlapped: *mut OVERLAPPED,
    ) -> Self {
        // SAFETY: Not in flight yet: the caller has just filled it in.
        let (event, offset) = unsafe {
            let place = (*overlapped).Anonymous.Anonymous;
            ((*overlapped).hEvent, u64::from(place.OffsetHigh) << 32 | u64::from(place.Offset))
        };
        assert!(event.addr() <= 1, "the model has no events");
        Self {
            kind,
            length: buffers.iter().map(|(_, length)| length).sum(),
            offset,
            flags: 0,
            cancel: Cancel::NotAsked,
            to: None,
            request: None,
            buffers: buffers.iter().map(|(start, length)| (Lent::new(*start), *length)).collect(),
            sender: None,
            message: None,
            parts: Vec::new(),
            overlapped: Lent::new(overlapped),
            // "Set the low-order bit of hEvent [...] to prevent an I/O
            // completion packet from being added to the port".
            has_packet: event.addr() & 1 == 0,
        }
    }

    /// Who sends is to be written there, too.
    ///
    /// # Safety
    ///
    /// As for [`new`](Self::new); either may be null.
    pub unsafe fn tells_sender(mut self, name: *mut ws::SOCKADDR, length: *mut i32) -> Self {
        self.sender = Some((Lent::new(name), Lent::new(length)));
        self
    }

    /// It is of a datagram with control data.
    ///
    /// # Safety
    ///
    /// As for [`new`](Self::new), for the message and all that it points to.
    pub unsafe fn of_message(mut self, message: *mut ws::WSAMSG) -> Self {
        self.message = Some(Lent::new(message));
        self
    }

    /// It sends parts of files between those of its buffers.
    pub fn sends(mut self, parts: Vec<Part>) -> Self {
        self.parts = parts;
        self
    }

    /// What there is to be sent now, of files that may have become shorter.
    pub fn all_to_send(&self, kernel: &mut Kernel) -> Result<Vec<u8>, u32> {
        if self.parts.is_empty() {
            return Ok(self.source(0, self.length));
        }
        let (mut bytes, mut done) = (Vec::new(), 0);
        for part in &self.parts {
            match *part {
                Part::Memory(length) => {
                    bytes.append(&mut self.source(done, length));
                    done += length;
                }
                Part::File(file, offset, length) => {
                    bytes.append(&mut kernel.read_part(file, offset, length)?);
                }
            }
        }
        Ok(bytes)
    }

    /// How many bytes it transfers at the most.
    pub fn most(&self) -> usize {
        let files = self.parts.iter().map(|part| match part {
            Part::File(_, _, length) => *length,
            Part::Memory(_) => 0,
        });
        self.length + files.sum::<usize>()
    }

    /// How much room there is for control data, if anybody wants it.
    pub fn control_room(&self) -> Option<usize> {
        // SAFETY: The message is lent.
        self.message.map(|message| unsafe { (*message.0).Control.len as usize })
    }

    /// Where a datagram is to go, and with what. It may be asked for at any time.
    pub fn destination(&self) -> Result<(Option<SocketAddr>, Extras), i32> {
        let Some(message) = self.message else { return Ok((self.to, Extras::default())) };
        // SAFETY: The message is lent, with all that it points to.
        unsafe {
            let ws::WSAMSG { name, namelen, Control: control, .. } = *message.0;
            let control = match control.len {
                0 => &[],
                length => std::slice::from_raw_parts(control.buf, length as usize),
            };
            Ok((address::read(name, namelen), Extras::parse(control)?))
        }
    }

    pub fn address(&self) -> usize {
        self.overlapped.address()
    }

    pub fn direction(&self) -> Direction {
        match self.kind {
            Kind::Read
            | Kind::Accept(..)
            | Kind::Listen(_)
            | Kind::Control(_)
            | Kind::Transact(_)
            | Kind::Watch => Direction::In,
            Kind::Write(_) | Kind::Connect(_) | Kind::Disconnect(_) => Direction::Out,
            Kind::Lock { .. } | Kind::AwaitInstance(_) => Direction::Neither,
        }
    }

    /// The bytes to be written, from `start` on.
    pub fn source(&self, start: usize, length: usize) -> Vec<u8> {
        assert!(start + length <= self.length);
        let mut bytes = vec![0; length];
        let (mut skipped, mut copied) = (start, 0);
        for (buffer, room) in &self.buffers {
            let count = room.saturating_sub(skipped).min(length - copied);
            if count > 0 {
                // SAFETY: The buffer is lent, and has `room` bytes.
                unsafe {
                    let (from, to) = (buffer.0.add(skipped), bytes.as_mut_ptr().add(copied));
                    ptr::copy_nonoverlapping(from, to, count);
                }
            }
            copied += count;
            skipped = skipped.saturating_sub(*room);
        }
        bytes
    }

    /// What is sent besides.
    pub fn request(&self) -> Vec<u8> {
        let Some((start, length)) = self.request.filter(|(_, length)| *length > 0) else {
            return Vec::new();
        };
        let mut bytes = vec![0; length];
        // SAFETY: The memory is lent, and has so many bytes.
        unsafe { ptr::copy_nonoverlapping(start.0, bytes.as_mut_ptr(), length) };
        bytes
    }

    pub fn cancelled(self, association: Option<(Id, usize)>) -> Finished {
        self.ended(STATUS_CANCELLED, association)
    }

    fn ended(self, status: u32, association: Option<(Id, usize)>) -> Finished {
        let packet = association.filter(|_| self.has_packet);
        Finished { operation: self, outcome: Outcome::status(status), packet }
    }

    fn mark_pending(&self) {
        self.write_status(STATUS_PENDING);
    }

    /// Writes the status after all else: others may look at it at any time.
    fn write_status(&self, status: u32) {
        // SAFETY: The OVERLAPPED is lent.
        let word = unsafe { AtomicUsize::from_ptr(&raw mut (*self.overlapped.0).Internal) };
        word.store(status as usize, Ordering::Release);
    }

    /// Writes the status of an operation that was not started.
    pub fn refuse(&self) {
        self.write_status(STATUS_INVALID_PARAMETER);
    }

    fn write(&self, outcome: &Outcome) {
        assert!(outcome.data.len() <= self.length, "more data than room");
        let mut left = outcome.data.as_slice();
        // SAFETY: Buffers, address and OVERLAPPED are lent.
        unsafe {
            for (buffer, room) in &self.buffers {
                let (data, rest) = left.split_at(left.len().min(*room));
                if !data.is_empty() {
                    ptr::copy_nonoverlapping(data.as_ptr(), buffer.0, data.len());
                }
                left = rest;
            }
            if let (Some((name, length)), Some(from)) = (self.sender, outcome.from) {
                address::write(from, name.0, length.0);
            }
            if let Some(message) = self.message.filter(|_| self.direction() == Direction::In) {
                let message = message.0;
                if let Some(from) = outcome.from {
                    address::write(from, (*message).name, &raw mut (*message).namelen);
                }
                let control = &outcome.control;
                if !control.is_empty() {
                    let place = (*message).Control.buf;
                    ptr::copy_nonoverlapping(control.as_ptr(), place, control.len());
                }
                (*message).Control.len = control.len() as u32;
                (*message).dwFlags = outcome.flags;
            }
            (&raw mut (*self.overlapped.0).InternalHigh).write(outcome.bytes);
        }
        self.write_status(outcome.status);
    }

    /// Writes to all memory of the operation, which the kernel may as long as it
    /// is not over.
    pub fn scribble(&self) {
        // SAFETY: Buffer and OVERLAPPED are lent.
        unsafe {
            if self.direction() == Direction::In {
                for (buffer, room) in self.buffers.iter().filter(|(_, room)| *room > 0) {
                    ptr::write_bytes(buffer.0, 0xA5, *room);
                }
                if let Some(message) = self.message {
                    let ws::WSAMSG { name, namelen, Control: control, .. } = *message.0;
                    ptr::write_bytes(name.cast::<u8>(), 0xA5, namelen as usize);
                    ptr::write_bytes(control.buf, 0xA5, control.len as usize);
                }
            }
            (&raw mut (*self.overlapped.0).InternalHigh).write(0xDEAD);
        }
        self.mark_pending();
    }

    /// The result is the call's; the `OVERLAPPED` tells another story.
    fn leave_pending(&self, outcome: &Outcome) {
        self.write(outcome);
        self.mark_pending();
        // SAFETY: The OVERLAPPED is lent.
        unsafe { (&raw mut (*self.overlapped.0).InternalHigh).write(0xDEAD) };
    }
}

/// Starts an operation: `Ok` with the bytes if it succeeds at once, `Err` with
/// the status otherwise, of which `STATUS_PENDING` and warnings are no errors.
/// All of the packet rule is here.
pub fn start(mut kernel: Entered, id: Id, mut operation: Operation) -> Result<u32, u32> {
    let address = operation.address();
    let fresh = kernel.lent.insert(address);
    assert!(fresh, "the OVERLAPPED at {address:#x} is in use for two operations");

    let Behaviour {
        inline,
        fail_late,
        leave_pending,
        queue_skipped,
        dequeued_first,
        written_at_dequeue,
        warn_without_packet,
        ..
    } = kernel.behaviour;
    let direction = operation.direction();
    let object = &kernel.objects[id];
    let waits = direction != Direction::Neither && object.waits_for(direction);
    let (association, skips) = (object.association, object.skips);
    let packet = association.filter(|_| operation.has_packet);
    let linger = kernel.random.draw(dequeued_first);

    // Whatever is ready completes at once, but for files.
    let is_file = matches!(kernel.objects[id].body, Body::File(_));
    let inline = match inline {
        Chance::Sometimes if !is_file => Chance::Always,
        chance => chance,
    };
    // A connect takes its time.
    let can_be_inline = !waits && !matches!(operation.kind, Kind::Connect(_));
    let outcome = if can_be_inline { kernel.attempt(id, &mut operation) } else { None };
    match outcome {
        Some(outcome) if is_error(outcome.status) => {
            // What is no use of the connection fails at once.
            let may_be_late = matches!(
                outcome.status,
                STATUS_CONNECTION_RESET | STATUS_END_OF_FILE | STATUS_PIPE_BROKEN
            );
            if !(may_be_late && kernel.random.draw(fail_late)) {
                // The status block is not written before the packet is dequeued:
                // "The only exception is when the original operation returns
                // synchronously with an error."
                if kernel.random.draw(Chance::Sometimes) {
                    operation.write(&outcome);
                }
                kernel.lent.remove(&address);
                return Err(outcome.status);
            }
            operation.mark_pending();
            kernel.finish(Finished { operation, outcome, packet });
        }
        Some(outcome) if !kernel.random.draw(inline) => {
            // It is over, and only its memory and its packet are late.
            let outcome = kernel.fail_if_told(outcome);
            operation.mark_pending();
            kernel.finish(Finished { operation, outcome, packet });
        }
        Some(outcome) => {
            let leave_pending = kernel.random.draw(leave_pending);
            drop(kernel);
            let (status, bytes) = (outcome.status, outcome.bytes as u32);
            // A time-out, for one, is a success to the caller.
            let answer = if is_success(status) { Ok(bytes) } else { Err(status) };
            if skips {
                if leave_pending && is_success(status) {
                    operation.leave_pending(&outcome);
                } else {
                    operation.write(&outcome);
                }
                let mut kernel = enter();
                kernel.lent.remove(&address);
                if let Some((port, key)) = packet.filter(|_| queue_skipped) {
                    let overlapped = address;
                    kernel.queue(port, Packet { overlapped, key, bytes, status, unwritten: None });
                    drop(kernel);
                    if linger {
                        wait_until_taken(port, address);
                    }
                }
                return answer;
            }
            if is_warning(status) && warn_without_packet {
                operation.leave_pending(&outcome);
                enter().lent.remove(&address);
                return answer;
            }
            // The status of what the call says that it has failed is there at once.
            let unwritten = if is_warning(status) { Chance::Never } else { written_at_dequeue };
            settle_with(Finished { operation, outcome, packet }, unwritten);
            if linger {
                wait_for_dequeue(address, association);
            }
            return answer;
        }
        None => {
            operation.mark_pending();
            kernel.objects[id].pending[direction as usize].push_back(operation);
            kernel.look(id);
            // A write may have waited for just this read.
            if let Some(writer) = kernel.other_end(id) {
                kernel.look(writer);
            }
        }
    }
    drop(kernel);
    if linger {
        wait_for_dequeue(address, association);
    }
    Err(STATUS_PENDING)
}

/// The same for a packet that should not have been queued, whose dequeuer is given
/// some time to look at it.
fn wait_until_taken(port: Id, address: usize) {
    const PATIENCE: u32 = 40;
    let mut rounds = 0;
    while rounds < PATIENCE {
        let is_queued = enter().has_queued(port, address);
        rounds += if is_queued { 1 } else { PATIENCE / 4 };
        thread::yield_now();
        if !cfg!(miri) {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The packet of an operation is dequeued before its call returns, if there is
/// a thread that does so.
fn wait_for_dequeue(address: usize, association: Option<(Id, usize)>) {
    const PATIENCE: u32 = 40;
    for _ in 0..PATIENCE {
        let mut kernel = enter();
        if !kernel.lent.contains(&address) {
            return;
        }
        let is_awaited = association.is_some_and(|(port, _)| kernel.has_waiters(port));
        drop(kernel);
        if is_awaited && !cfg!(miri) {
            // Real threads take their time to wake up.
            thread::sleep(Duration::from_millis(1));
        } else {
            thread::yield_now();
        }
    }
}

/// Writes the result of an operation where it belongs, and queues the packet.
pub fn settle(finished: Finished) {
    let unwritten = lock().behaviour.written_at_dequeue;
    settle_with(finished, unwritten);
}

/// The same, with the chance that the result is written at the dequeue only.
fn settle_with(finished: Finished, unwritten: Chance) {
    let Finished { operation, outcome, packet } = finished;
    let address = operation.address();
    let (bytes, status) = (outcome.bytes as u32, outcome.status);
    let mut kernel = lock();
    let unwritten = if packet.is_some() && kernel.random.draw(unwritten) {
        Some(Unwritten { operation, outcome })
    } else {
        // Not in order with other threads' calls.
        drop(kernel);
        operation.write(&outcome);
        kernel = lock();
        None
    };
    match packet {
        Some((port, key)) if kernel.objects.get(port).is_some() => {
            kernel.queue(port, Packet { overlapped: address, key, bytes, status, unwritten });
        }
        _ => {
            kernel.lent.remove(&address);
        }
    }
    drop(kernel);
    announce();
}

impl Kernel {
    /// What the operation results in, if it need not wait.
    pub fn attempt(&mut self, id: Id, operation: &mut Operation) -> Option<Outcome> {
        let mut outcome = self.attempt_soundly(id, operation)?;
        if !is_error(outcome.status) {
            let is_full = outcome.bytes == operation.most();
            outcome.bytes += if is_full { self.behaviour.over_report as usize } else { 0 };
            if let Kind::Read | Kind::Control(_) | Kind::Transact(_) = operation.kind
                && let Some(warning) = self.behaviour.warn.pop_front()
            {
                outcome.status = warning;
            }
        }
        Some(outcome)
    }

    /// What an operation results in that has succeeded late.
    fn fail_if_told(&mut self, outcome: Outcome) -> Outcome {
        let fails = !is_error(outcome.status);
        let status = if fails { self.behaviour.fail.pop_front() } else { None };
        status.map_or(outcome, Outcome::status)
    }

    /// Takes an operation of an object that is over. Only for `look`.
    pub fn progress(&mut self, id: Id, direction: Direction) -> Option<Finished> {
        let object = self.objects.get_mut(id)?;
        let association = object.association;
        let is_listener = matches!(&object.body, Body::Socket(socket) if socket.is_listener());
        let those = match direction {
            Direction::Neither => object.pending[direction as usize].len(),
            // Each has a client of its own.
            Direction::In if is_listener => object.pending[direction as usize].len(),
            _ => 1,
        };
        for index in 0..those {
            let pending = &mut self.objects[id].pending[direction as usize];
            let mut operation = pending.remove(index)?;
            let Some(outcome) = self.attempt(id, &mut operation) else {
                self.objects[id].pending[direction as usize].insert(index, operation);
                continue;
            };
            let outcome = self.fail_if_told(outcome);
            let packet = association.filter(|_| operation.has_packet);
            return Some(Finished { operation, outcome, packet });
        }
        None
    }

    /// Ends the accept whose socket is closed, which was to be the connection.
    pub fn end_accept(&mut self, accepted: Id) {
        let is_its = |operation: &Operation| matches!(operation.kind, Kind::Accept(socket, _) if socket == accepted);
        let is_cancelled = self.random.draw(Chance::Sometimes);
        let status = if is_cancelled { STATUS_CANCELLED } else { STATUS_CONNECTION_ABORTED };
        let ended = self.objects.iter_mut().find_map(|(_, listener)| {
            let accepts = &mut listener.pending[Direction::In as usize];
            let operation = accepts.remove(accepts.iter().position(is_its)?)?;
            Some(operation.ended(status, listener.association))
        });
        if let Some(finished) = ended {
            self.finish(finished);
        }
    }

    /// What is in flight on an object that is gone.
    pub fn abandon(&mut self, object: Object) {
        for operation in object.pending.into_iter().flatten() {
            let finished = operation.ended(self.behaviour.close_status, object.association);
            if self.ignores_cancels() {
                self.hung.push(finished);
            } else {
                self.finish(finished);
            }
        }
    }
}

/// The answer of a call that starts an operation: `BOOL`, last error, bytes.
pub fn pending_code(status: u32, code: fn(u32) -> u32) -> u32 {
    if status == STATUS_PENDING { ERROR_IO_PENDING } else { code(status) }
}
