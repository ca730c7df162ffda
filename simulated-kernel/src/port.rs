//! Completion ports.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{
    ERROR_ABANDONED_WAIT_0, ERROR_INVALID_HANDLE, ERROR_INVALID_PARAMETER,
    ERROR_NO_SYSTEM_RESOURCES, HANDLE, INVALID_HANDLE_VALUE, WAIT_IO_COMPLETION, WAIT_TIMEOUT,
};
use windows_sys::Win32::System::IO::{OVERLAPPED, OVERLAPPED_ENTRY};

use crate::handle::{fail, truth};
use crate::kernel::{Client, Entered, Id, Kernel, enter, wait_on};
use crate::memory::put;
use crate::object::{Body, Object};
use crate::operation::Unwritten;
use crate::status::{STATUS_SUCCESS, is_success, win32_code};
use crate::thread::Call;

pub struct Packet {
    pub overlapped: usize,
    pub key: usize,
    pub bytes: u32,
    pub status: u32,
    /// What is written when the packet is dequeued, if not before.
    pub unwritten: Option<Unwritten>,
}

#[derive(Default)]
pub struct Port {
    queue: VecDeque<Packet>,
    /// The last to come is the first to be served.
    waiters: Vec<Arc<Waiter>>,
    last_waiter: u64,
    /// How often somebody has asked for packets.
    dequeues: usize,
    /// How many threads may run at once that it has released.
    concurrency: usize,
    running: usize,
}

/// What a concurrency value of 0 stands for.
pub const PROCESSORS: usize = 4;

struct Waiter {
    number: u64,
    served: Arc<Condvar>,
}

impl Port {
    /// Takes packets off the queue, oldest first.
    fn take(&mut self, count: usize) -> Vec<Packet> {
        let count = count.min(self.queue.len());
        self.queue.drain(..count).collect()
    }

    /// Wakes the thread that is next, if there is something for it to do.
    fn wake(&self) {
        if self.running < self.concurrency
            && !self.queue.is_empty()
            && let Some(next) = self.waiters.last()
        {
            next.served.notify_one();
        }
    }

    fn is_next(&self, waiter: &Waiter) -> bool {
        self.waiters.last().is_some_and(|last| last.number == waiter.number)
    }

    /// Wakes those who wait on a port that is gone, and returns what is left.
    pub fn abandon(self) -> impl Iterator<Item = Packet> {
        for waiter in self.waiters {
            waiter.served.notify_one();
        }
        self.queue.into_iter()
    }
}

impl Kernel {
    fn port(&mut self, id: Id) -> Option<&mut Port> {
        match &mut self.objects.get_mut(id)?.body {
            Body::Port(port) => Some(port),
            _ => None,
        }
    }

    /// Queues a packet, and wakes a thread for it.
    pub fn queue(&mut self, port: Id, packet: Packet) {
        let port = self.port(port).expect("a port");
        port.queue.push_back(packet);
        port.wake();
    }

    pub fn has_queued(&mut self, port: Id, overlapped: usize) -> bool {
        let queue = |port: &mut Port| port.queue.iter().any(|p| p.overlapped == overlapped);
        self.port(port).is_some_and(queue)
    }

    pub fn has_waiters(&mut self, port: Id) -> bool {
        self.port(port).is_some_and(|port| !port.waiters.is_empty())
    }

    /// A thread that a port has released blocks, ends, or asks for more.
    pub fn stop_running(&mut self, port: Id) {
        if let Some(port) = self.port(port) {
            port.running -= 1;
            port.wake();
        }
    }

    pub fn start_running(&mut self, port: Id) {
        if let Some(port) = self.port(port) {
            port.running += 1;
        }
    }
}

/// How many threads wait on a port.
///
/// # Panics
///
/// If the handle is not an open port's.
#[must_use]
pub fn waiting(port: HANDLE) -> usize {
    look_into(port, |port| port.waiters.len())
}

/// How many packets are queued at a port.
///
/// # Panics
///
/// If the handle is not an open port's.
#[must_use]
pub fn queued(port: HANDLE) -> usize {
    look_into(port, |port| port.queue.len())
}

/// How often somebody has asked a port for packets.
///
/// # Panics
///
/// If the handle is not an open port's.
#[must_use]
pub fn dequeues(port: HANDLE) -> usize {
    look_into(port, |port| port.dequeues)
}

/// How many threads a port lets run at once.
///
/// # Panics
///
/// If the handle is not an open port's.
#[must_use]
pub fn concurrency(port: HANDLE) -> usize {
    look_into(port, |port| port.concurrency)
}

fn look_into<T>(port: HANDLE, look: impl FnOnce(&Port) -> T) -> T {
    let mut kernel = enter();
    let port = kernel.find(port.addr()).and_then(|port| kernel.port(port));
    look(port.expect("a port"))
}

/// Queues a packet of somebody else's, who may have failed.
///
/// # Panics
///
/// If the handle is not an open port's.
pub fn deliver(port: HANDLE, bytes: u32, key: usize, overlapped: usize, status: u32) {
    let mut kernel = enter();
    let port = kernel.find(port.addr()).expect("a port");
    kernel.queue(port, Packet { overlapped, key, bytes, status, unwritten: None });
}

#[unsafe(no_mangle)]
extern "system" fn CreateIoCompletionPort(
    file: HANDLE,
    existing: HANDLE,
    key: usize,
    concurrency: u32,
) -> HANDLE {
    let mut kernel = enter();
    if file == INVALID_HANDLE_VALUE {
        assert!(existing.is_null(), "a port is made, or a file associated with one");
        let concurrency = if concurrency == 0 { PROCESSORS } else { concurrency as usize };
        let id = kernel.add(Object::new(Body::Port(Port { concurrency, ..Port::default() })));
        return kernel.open_token(id);
    }
    let answer = kernel.associate(file.addr(), existing.addr(), key);
    drop(kernel);
    match answer {
        Ok(()) => existing,
        Err(code) => fail(code, std::ptr::null_mut()),
    }
}

impl Kernel {
    fn associate(&mut self, file: usize, port: usize, key: usize) -> Result<(), u32> {
        let port = self.resolve(port).ok_or(ERROR_INVALID_HANDLE)?;
        self.port(port).ok_or(ERROR_INVALID_HANDLE)?;
        let Some(file) = self.resolve(file) else {
            return Err(if self.is_ordinary_file(file) {
                ERROR_INVALID_PARAMETER
            } else {
                ERROR_INVALID_HANDLE
            });
        };
        let object = &mut self.objects[file];
        if matches!(object.body, Body::Port(_)) || !object.is_overlapped {
            return Err(ERROR_INVALID_PARAMETER);
        }
        if object.association.is_some() {
            return Err(ERROR_INVALID_PARAMETER);
        }
        object.association = Some((port, key));
        Ok(())
    }
}

#[unsafe(no_mangle)]
extern "system" fn PostQueuedCompletionStatus(
    port: HANDLE,
    bytes: u32,
    key: usize,
    overlapped: *const OVERLAPPED,
) -> i32 {
    let mut kernel = enter();
    let answer = match kernel.find(port.addr()) {
        Some(port) if kernel.port(port).is_some() => {
            if kernel.behaviour.refuse_posts > 0 {
                kernel.behaviour.refuse_posts -= 1;
                Err(ERROR_NO_SYSTEM_RESOURCES)
            } else {
                let overlapped = overlapped.addr();
                let status = STATUS_SUCCESS;
                kernel.queue(port, Packet { overlapped, key, bytes, status, unwritten: None });
                Ok(())
            }
        }
        _ => Err(ERROR_INVALID_HANDLE),
    };
    drop(kernel);
    truth(answer)
}

/// Waits for at least one packet, and takes up to `count`. If it is `alertable`, calls that
/// are queued for this thread end the wait.
fn dequeue(
    port: HANDLE,
    count: usize,
    milliseconds: u32,
    alertable: bool,
) -> Result<Vec<Packet>, u32> {
    let mut kernel = enter();
    kernel.count_dequeue();
    let deadline = kernel.deadline(milliseconds);
    let left = Client::leave_port(&mut kernel);
    let id = kernel.find(port.addr()).ok_or(ERROR_INVALID_HANDLE)?;
    let port = kernel.port(id).ok_or(ERROR_INVALID_HANDLE)?;
    port.dequeues += 1;
    // A call comes before packets where the thread is not one of the port's yet.
    let mut calls = if alertable && left != Some(id) { kernel.take_calls() } else { Vec::new() };
    let mut packets = Vec::new();
    if calls.is_empty() {
        packets = kernel.port(id).ok_or(ERROR_INVALID_HANDLE)?.take(count);
        if packets.is_empty() && milliseconds != 0 {
            (kernel, packets, calls) = wait_for_packets(kernel, id, count, deadline, alertable)?;
        }
    }
    Client::run_on(&mut kernel, id);
    if packets.is_empty() {
        drop(kernel);
        let is_alerted = !calls.is_empty();
        calls.into_iter().for_each(Call::make);
        return Err(if is_alerted { WAIT_IO_COMPLETION } else { WAIT_TIMEOUT });
    }
    for packet in &mut packets {
        if let Some(unwritten) = packet.unwritten.take() {
            unwritten.write();
        }
        kernel.lent.remove(&packet.overlapped);
    }
    Ok(packets)
}

impl Kernel {
    /// When a call with a time-out gives up, which may be a little early.
    fn deadline(&mut self, milliseconds: u32) -> Option<Instant> {
        (milliseconds != u32::MAX).then(|| {
            let early = self.random.below(milliseconds.min(1) + 1);
            Instant::now() + Duration::from_millis((milliseconds - early).into())
        })
    }
}

fn wait_for_packets(
    mut kernel: Entered,
    id: Id,
    count: usize,
    deadline: Option<Instant>,
    alertable: bool,
) -> Result<(Entered, Vec<Packet>, Vec<Call>), u32> {
    let served = Arc::new(Condvar::new());
    if alertable {
        kernel.alert_by(&served);
    }
    let port = kernel.port(id).expect("a port");
    port.last_waiter += 1;
    let waiter = Arc::new(Waiter { number: port.last_waiter, served });
    port.waiters.push(Arc::clone(&waiter));
    loop {
        let calls = if alertable { kernel.take_calls() } else { Vec::new() };
        if !calls.is_empty() {
            let port = kernel.port(id).expect("a port");
            port.waiters.retain(|other| other.number != waiter.number);
            // It may have been told of a packet, too.
            port.wake();
            return Ok((kernel, Vec::new(), calls));
        }
        let has_been_told;
        (kernel, has_been_told) = wait_on(&waiter.served, kernel, deadline);
        kernel.sweep();
        // On a slow machine the kernel's thread would be too late for anything.
        let may_be_late = kernel.is_idle();
        let Some(port) = kernel.port(id) else { return Err(ERROR_ABANDONED_WAIT_0) };
        // Who runs for long without coming back has blocked somewhere.
        let may_run = port.running < port.concurrency || !has_been_told;
        let is_served = may_run && port.is_next(&waiter);
        let packets = port.take(if is_served { count } else { 0 });
        let is_late = may_be_late && deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if !packets.is_empty() || is_late {
            port.waiters.retain(|other| other.number != waiter.number);
            return Ok((kernel, packets, Vec::new()));
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn GetQueuedCompletionStatus(
    port: HANDLE,
    bytes: *mut u32,
    key: *mut usize,
    overlapped: *mut *mut OVERLAPPED,
    milliseconds: u32,
) -> i32 {
    let dequeued = dequeue(port, 1, milliseconds, false);
    // SAFETY: The out-parameters are writable.
    unsafe {
        match dequeued {
            Err(code) => {
                // Only this is said to be null then.
                put(overlapped, std::ptr::null_mut());
                put(bytes, 0xDEAD);
                put(key, 0xDEAD);
                fail(code, 0)
            }
            Ok(packets) => {
                let packet = &packets[0];
                put(bytes, packet.bytes);
                put(key, packet.key);
                put(overlapped, std::ptr::without_provenance_mut(packet.overlapped));
                if is_success(packet.status) {
                    return 1;
                }
                fail(win32_code(packet.status), 0)
            }
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn GetQueuedCompletionStatusEx(
    port: HANDLE,
    entries: *mut OVERLAPPED_ENTRY,
    count: u32,
    removed: *mut u32,
    milliseconds: u32,
    alertable: i32,
) -> i32 {
    if count == 0 {
        return fail(ERROR_INVALID_PARAMETER, 0);
    }
    match dequeue(port, count as usize, milliseconds, alertable != 0) {
        Err(code) => fail(code, 0),
        Ok(packets) => {
            for (index, packet) in packets.iter().enumerate() {
                let entry = OVERLAPPED_ENTRY {
                    lpCompletionKey: packet.key,
                    lpOverlapped: std::ptr::without_provenance_mut(packet.overlapped),
                    // Reserved: nothing to rely on.
                    Internal: 0xDEAD,
                    dwNumberOfBytesTransferred: packet.bytes,
                };
                // SAFETY: `count` entries are writable.
                unsafe { entries.add(index).write(entry) };
            }
            // SAFETY: The out-parameter is writable.
            unsafe { put(removed, packets.len() as u32) };
            1
        }
    }
}
