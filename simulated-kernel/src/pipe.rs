//! Named pipes, of bytes and of messages.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_FILE_NOT_FOUND, ERROR_INVALID_FUNCTION, ERROR_INVALID_HANDLE,
    ERROR_NO_SYSTEM_RESOURCES, ERROR_PIPE_BUSY, HANDLE, INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::Security::SECURITY_ATTRIBUTES;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED,
};
use windows_sys::Win32::System::IO::OVERLAPPED;
use windows_sys::Win32::System::Pipes::{PIPE_NOWAIT, PIPE_READMODE_MESSAGE, PIPE_TYPE_MESSAGE};

use crate::create::{Created, note_created, text};
use crate::handle::{fail, truth};
use crate::kernel::{Id, Kernel, enter, wait};
use crate::memory::put;
use crate::object::{Body, Object};
use crate::operation::{Direction, Kind, Lent, Operation, Outcome, pending_code, start};
use crate::status::{
    STATUS_BUFFER_OVERFLOW, STATUS_INVALID_DEVICE_REQUEST, STATUS_INVALID_PIPE_STATE,
    STATUS_INVALID_READ_MODE, STATUS_PIPE_BROKEN, STATUS_PIPE_BUSY, STATUS_PIPE_CLOSING,
    STATUS_PIPE_CONNECTED, STATUS_PIPE_DISCONNECTED, STATUS_PIPE_EMPTY, STATUS_PIPE_LISTENING,
    STATUS_SUCCESS, is_error, note, win32_code,
};

/// One end of a pipe.
pub struct PipeEnd {
    /// Only the server's.
    name: Option<String>,
    has_messages: bool,
    reads_messages: bool,
    /// How many instances there may be.
    instances: u32,
    /// Not with `PIPE_NOWAIT`.
    waits: bool,
    link: Link,
    /// What has come and was not read: messages, or bytes in pieces.
    incoming: VecDeque<Vec<u8>>,
    capacity: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Listening,
    Connected(Id),
    /// The other end is closed.
    Broken,
    Disconnected,
}

impl PipeEnd {
    pub fn is_free(&self) -> bool {
        self.link == Link::Listening
    }

    fn filled(&self) -> usize {
        self.incoming.iter().map(Vec::len).sum()
    }

    fn read(&mut self, length: usize) -> Option<Outcome> {
        let nothing = match self.link {
            Link::Disconnected => return Some(Outcome::status(STATUS_PIPE_DISCONNECTED)),
            Link::Listening => return Some(Outcome::status(STATUS_PIPE_LISTENING)),
            Link::Broken => Some(Outcome::status(STATUS_PIPE_BROKEN)),
            Link::Connected(_) if !self.waits => Some(Outcome::status(STATUS_PIPE_EMPTY)),
            Link::Connected(_) => None,
        };
        let Some(first) = self.incoming.front_mut() else { return nothing };
        if self.reads_messages {
            let is_cut = first.len() > length;
            let data = if is_cut { first.drain(..length).collect() } else { std::mem::take(first) };
            if is_cut {
                return Some(Outcome::read_with(STATUS_BUFFER_OVERFLOW, data));
            }
            self.incoming.pop_front();
            return Some(Outcome::read_with(STATUS_SUCCESS, data));
        }
        let mut data = Vec::new();
        while let Some(piece) = self.incoming.front_mut()
            && data.len() < length
        {
            let count = piece.len().min(length - data.len());
            data.extend(piece.drain(..count));
            if piece.is_empty() {
                self.incoming.pop_front();
            }
        }
        Some(Outcome::read(data))
    }
}

/// Looks at what there is to read.
const FSCTL_PIPE_PEEK: u32 = 0x0011_400C;

/// What that tells before the data itself: the state, and how many bytes
/// and messages there are.
const PEEK_HEADER: usize = 16;
const CONNECTED_STATE: u32 = 3;

impl PipeEnd {
    /// Waits for a client. A client that came before is no success of the call.
    fn listen(&mut self, waited: &mut bool) -> Option<Outcome> {
        match self.link {
            Link::Disconnected | Link::Listening => {
                self.link = Link::Listening;
                *waited = true;
                None
            }
            Link::Connected(_) if *waited => Some(Outcome::wrote(0)),
            Link::Connected(_) => Some(Outcome::status(STATUS_PIPE_CONNECTED)),
            Link::Broken => Some(Outcome::status(STATUS_PIPE_CLOSING)),
        }
    }

    fn control(&self, code: u32, room: usize) -> Outcome {
        if code != FSCTL_PIPE_PEEK {
            return Outcome::status(STATUS_INVALID_DEVICE_REQUEST);
        }
        let filled = self.filled() as u32;
        let mut data = [CONNECTED_STATE, filled, 0, 0].map(u32::to_ne_bytes).concat();
        assert_eq!(data.len(), PEEK_HEADER);
        data.extend(self.incoming.iter().flatten());
        let status = if data.len() > room { STATUS_BUFFER_OVERFLOW } else { STATUS_SUCCESS };
        data.truncate(room);
        Outcome::read_with(status, data)
    }
}

impl Kernel {
    fn pipe(&mut self, id: Id) -> Option<&mut PipeEnd> {
        match &mut self.objects.get_mut(id)?.body {
            Body::Pipe(end) => Some(end),
            _ => None,
        }
    }

    /// The servers of a name.
    pub fn instances(&self, name: &str) -> impl Iterator<Item = &PipeEnd> {
        self.objects.iter().filter_map(move |(_, object)| match &object.body {
            Body::Pipe(end) if end.name.as_deref() == Some(name) => Some(end),
            _ => None,
        })
    }

    /// The end that a pipe's end is connected to.
    pub fn other_end(&mut self, id: Id) -> Option<Id> {
        match self.pipe(id)?.link {
            Link::Connected(other) => Some(other),
            _ => None,
        }
    }

    pub fn transfer_pipe(&mut self, id: Id, operation: &mut Operation) -> Option<Outcome> {
        let end = self.pipe(id)?;
        let link = end.link;
        match &mut operation.kind {
            Kind::Listen(waited) => {
                let outcome = end.listen(waited);
                self.look_for_instances();
                return outcome;
            }
            Kind::Control(code) => return Some(end.control(*code, operation.length)),
            _ => {}
        }
        if let Kind::Transact(false) = operation.kind {
            let refused = match link {
                Link::Connected(_) if !end.reads_messages => Some(STATUS_INVALID_READ_MODE),
                Link::Connected(_) if !end.incoming.is_empty() => Some(STATUS_PIPE_BUSY),
                Link::Broken => Some(STATUS_INVALID_PIPE_STATE),
                _ => None,
            };
            if let Some(status) = refused {
                return Some(Outcome::status(status));
            }
            operation.kind = Kind::Transact(true);
            if let Link::Connected(other) = link {
                self.pipe(other)?.incoming.push_back(operation.request());
                self.look(other);
            }
        }
        let end = self.pipe(id)?;
        if let Kind::Read | Kind::Transact(_) = operation.kind {
            let outcome = end.read(operation.length)?;
            if let Some(writer) = self.other_end(id) {
                self.look(writer);
            }
            return Some(outcome);
        }
        match link {
            Link::Connected(other) => {
                let waits = end.waits;
                let written = self.write_pipe(other, operation);
                let Kind::Write(done) = operation.kind else { unreachable!("pipes carry bytes") };
                written.or_else(|| (!waits).then(|| Outcome::wrote(done)))
            }
            Link::Disconnected => Some(Outcome::status(STATUS_PIPE_DISCONNECTED)),
            Link::Listening => Some(Outcome::status(STATUS_PIPE_LISTENING)),
            Link::Broken => Some(Outcome::status(STATUS_PIPE_CLOSING)),
        }
    }

    /// Puts as much as there is room for at the other end.
    fn write_pipe(&mut self, other: Id, operation: &mut Operation) -> Option<Outcome> {
        let is_awaited = self.objects[other].waits_for(Direction::In);
        let length = operation.length;
        let Kind::Write(done) = &mut operation.kind else { unreachable!("pipes carry bytes") };
        let end = self.pipe(other)?;
        let room = end.capacity.saturating_sub(end.filled());
        if end.has_messages {
            // A reader takes a long message straight from the writer.
            if length > room && !(is_awaited && end.incoming.is_empty()) {
                return None;
            }
            let message = operation.source(0, length);
            self.pipe(other)?.incoming.push_back(message);
        } else {
            let (start, count) = (*done, room.min(length - *done));
            *done += count;
            let is_done = *done == length;
            if count > 0 {
                let bytes = operation.source(start, count);
                self.pipe(other)?.incoming.push_back(bytes);
                self.look(other);
            }
            if !is_done {
                return None;
            }
        }
        self.look(other);
        Some(Outcome::wrote(length))
    }

    pub fn close_pipe(&mut self, end: &PipeEnd) {
        if let Link::Connected(other) = end.link {
            if let Some(end) = self.pipe(other) {
                end.link = Link::Broken;
            }
            self.look(other);
        }
    }
}

/// Opens the client's end of a pipe of the model's, as `CreateFileW` does,
/// which is Miri's under Miri.
///
/// # Errors
///
/// If there is no such pipe that is free.
pub fn open(name: &str) -> io::Result<OwnedHandle> {
    let handle = open_client(name).map_err(|code| io::Error::from_raw_os_error(code as i32))?;
    // SAFETY: The handle is new.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// The same, with a code.
pub fn open_client(name: &str) -> Result<HANDLE, u32> {
    let mut kernel = enter();
    // Who has closed its instance has done so by now.
    kernel.sweep();
    let server = kernel.objects.iter().find_map(|(id, object)| match &object.body {
        Body::Pipe(end) if end.name.as_deref() == Some(name) && end.link == Link::Listening => {
            Some((id, end.has_messages, end.capacity))
        }
        _ => None,
    });
    let Some((server, has_messages, capacity)) = server else {
        let exists = kernel.instances(name).next().is_some();
        return Err(if exists { ERROR_PIPE_BUSY } else { ERROR_FILE_NOT_FOUND });
    };
    let link = Link::Connected(server);
    let client = PipeEnd {
        name: None,
        has_messages,
        reads_messages: false,
        instances: 0,
        waits: true,
        link,
        incoming: VecDeque::new(),
        capacity,
    };
    let client = kernel.add(Object::new(Body::Pipe(client)));
    if let Some(end) = kernel.pipe(server) {
        end.link = Link::Connected(client);
    }
    kernel.look(server);
    Ok(kernel.open_token(client))
}

#[unsafe(no_mangle)]
unsafe extern "system" fn CreateNamedPipeW(
    name: *const u16,
    access: u32,
    mode: u32,
    instances: u32,
    _out_size: u32,
    in_size: u32,
    _timeout: u32,
    _security: *const SECURITY_ATTRIBUTES,
) -> HANDLE {
    // SAFETY: The name ends with a zero.
    let name = unsafe { text(name) };
    note_created(Created { name: name.clone(), access, mode });
    let mut kernel = enter();
    kernel.sweep();
    let limit = kernel.instances(&name).next().map(|first| first.instances);
    let refused = match limit {
        _ if kernel.behaviour.refuse_pipes > 0 => {
            kernel.behaviour.refuse_pipes -= 1;
            Some(ERROR_NO_SYSTEM_RESOURCES)
        }
        Some(limit) if kernel.instances(&name).count() >= limit as usize => Some(ERROR_PIPE_BUSY),
        Some(_) if access & FILE_FLAG_FIRST_PIPE_INSTANCE != 0 => Some(ERROR_ACCESS_DENIED),
        _ => None,
    };
    if let Some(code) = refused {
        drop(kernel);
        return fail(code, INVALID_HANDLE_VALUE);
    }
    let mut object = Object::new(Body::Pipe(PipeEnd {
        name: Some(name),
        has_messages: mode & PIPE_TYPE_MESSAGE != 0,
        reads_messages: mode & PIPE_READMODE_MESSAGE != 0,
        instances,
        waits: mode & PIPE_NOWAIT == 0,
        link: Link::Listening,
        incoming: VecDeque::new(),
        capacity: in_size as usize,
    }));
    object.is_overlapped = access & FILE_FLAG_OVERLAPPED != 0;
    let id = kernel.add(object);
    let handle = kernel.open_token(id);
    kernel.look_for_instances();
    handle
}

/// A pipe without a name, whose ends have no overlapped form.
#[unsafe(no_mangle)]
unsafe extern "system" fn CreatePipe(
    read: *mut HANDLE,
    write: *mut HANDLE,
    _security: *const SECURITY_ATTRIBUTES,
    size: u32,
) -> i32 {
    const USUAL_SIZE: usize = 4096;
    let mut kernel = enter();
    let [reading, writing] = [(); 2].map(|()| {
        let mut object = Object::new(Body::Pipe(PipeEnd {
            name: None,
            has_messages: false,
            reads_messages: false,
            instances: 0,
            waits: true,
            link: Link::Broken,
            incoming: VecDeque::new(),
            capacity: if size == 0 { USUAL_SIZE } else { size as usize },
        }));
        object.is_overlapped = false;
        kernel.add(object)
    });
    kernel.pipe(reading).expect("a pipe").link = Link::Connected(writing);
    kernel.pipe(writing).expect("a pipe").link = Link::Connected(reading);
    // SAFETY: The out-parameters are writable.
    unsafe {
        put(read, kernel.open_token(reading));
        put(write, kernel.open_token(writing));
    }
    1
}

/// Does something with the pipe that a handle stands for.
fn with_pipe<T>(handle: HANDLE, body: impl FnOnce(&mut Kernel, Id) -> T) -> Result<T, u32> {
    let mut kernel = enter();
    let id = kernel.resolve(handle.addr()).ok_or(ERROR_INVALID_HANDLE)?;
    kernel.pipe(id).ok_or(ERROR_INVALID_FUNCTION)?;
    Ok(body(&mut kernel, id))
}

#[unsafe(no_mangle)]
unsafe extern "system" fn SetNamedPipeHandleState(
    pipe: HANDLE,
    mode: *const u32,
    _collected: *const u32,
    _timeout: *const u32,
) -> i32 {
    // SAFETY: The caller gives a mode.
    let mode = unsafe { *mode };
    let waits = mode & PIPE_NOWAIT == 0;
    let answer = with_pipe(pipe, |kernel, id| {
        let is_used = kernel.objects[id].pending.iter().any(|pending| !pending.is_empty());
        if is_used && !waits {
            return Err(ERROR_PIPE_BUSY);
        }
        let end = kernel.pipe(id).expect("a pipe");
        (end.reads_messages, end.waits) = (mode & PIPE_READMODE_MESSAGE != 0, waits);
        Ok(())
    });
    truth(answer.and_then(|set| set))
}

#[unsafe(no_mangle)]
unsafe extern "system" fn GetNamedPipeInfo(
    pipe: HANDLE,
    flags: *mut u32,
    out_size: *mut u32,
    in_size: *mut u32,
    instances: *mut u32,
) -> i32 {
    if enter().behaviour.untold {
        return fail(ERROR_ACCESS_DENIED, 0);
    }
    truth(with_pipe(pipe, |kernel, id| {
        let end = kernel.pipe(id).expect("a pipe");
        // SAFETY: The out-parameters are null or writable.
        unsafe {
            put(flags, if end.has_messages { PIPE_TYPE_MESSAGE } else { 0 });
            put(out_size, end.capacity as u32);
            put(in_size, end.capacity as u32);
            put(instances, 1);
        }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "system" fn ConnectNamedPipe(pipe: HANDLE, overlapped: *mut OVERLAPPED) -> i32 {
    // SAFETY: As the caller promises.
    unsafe { start_on_pipe(pipe, Kind::Listen(false), ptr::null_mut(), 0, overlapped) }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn DeviceIoControl(
    device: HANDLE,
    code: u32,
    _input: *const c_void,
    _input_length: u32,
    output: *mut c_void,
    output_length: u32,
    _returned: *mut u32,
    overlapped: *mut OVERLAPPED,
) -> i32 {
    // SAFETY: As the caller promises.
    unsafe {
        start_on_pipe(
            device,
            Kind::Control(code),
            output.cast(),
            output_length as usize,
            overlapped,
        )
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn TransactNamedPipe(
    pipe: HANDLE,
    request: *const c_void,
    request_length: u32,
    answer: *mut c_void,
    answer_length: u32,
    _read: *mut u32,
    overlapped: *mut OVERLAPPED,
) -> i32 {
    assert!(!overlapped.is_null(), "the model has no transactions that block");
    // SAFETY: As the caller promises.
    unsafe {
        start_with(pipe, || {
            let (answer, length) = (answer.cast(), answer_length as usize);
            let mut operation = Operation::new(Kind::Transact(false), answer, length, overlapped);
            let request = Lent::new(request.cast_mut().cast());
            operation.request = Some((request, request_length as usize));
            operation
        })
    }
}

/// # Safety
///
/// As for the two calls.
unsafe fn start_on_pipe(
    pipe: HANDLE,
    kind: Kind,
    output: *mut u8,
    length: usize,
    overlapped: *mut OVERLAPPED,
) -> i32 {
    // SAFETY: As the caller promises.
    start_with(pipe, || unsafe { Operation::new(kind, output, length, overlapped) })
}

fn start_with(pipe: HANDLE, operation: impl FnOnce() -> Operation) -> i32 {
    let mut kernel = enter();
    let Some(id) = kernel.resolve(pipe.addr()) else {
        drop(kernel);
        return fail(ERROR_INVALID_HANDLE, 0);
    };
    let refused = match kernel.pipe(id) {
        Some(_) => kernel.behaviour.refuse.pop_front(),
        None => Some(ERROR_INVALID_FUNCTION),
    };
    if let Some(code) = refused {
        drop(kernel);
        return fail(code, 0);
    }
    match start(kernel, id, operation()) {
        Ok(_) => 1,
        Err(status) => {
            note(status);
            fail(pending_code(status, win32_code), 0)
        }
    }
}

#[unsafe(no_mangle)]
extern "system" fn DisconnectNamedPipe(server: HANDLE) -> i32 {
    truth(with_pipe(server, |kernel, id| {
        let end = kernel.pipe(id).expect("a pipe");
        let link = std::mem::replace(&mut end.link, Link::Disconnected);
        end.incoming.clear();
        kernel.look(id);
        if let Link::Connected(client) = link {
            let end = kernel.pipe(client).expect("a pipe");
            end.link = Link::Disconnected;
            end.incoming.clear();
            kernel.look(client);
        }
    }))
}

/// One end of a pipe of the model's, for reads and writes that block, as the
/// standard library's `File` does them; that one's are Miri's.
#[derive(Debug)]
pub struct BlockingPipe(OwnedHandle);

impl From<OwnedHandle> for BlockingPipe {
    fn from(handle: OwnedHandle) -> Self {
        Self(handle)
    }
}

impl From<BlockingPipe> for OwnedHandle {
    fn from(pipe: BlockingPipe) -> Self {
        pipe.0
    }
}

impl AsRawHandle for BlockingPipe {
    fn as_raw_handle(&self) -> HANDLE {
        self.0.as_raw_handle()
    }
}

impl BlockingPipe {
    /// Tries until there is an outcome.
    fn block(&self, mut operation: Operation) -> io::Result<Outcome> {
        let mut kernel = enter();
        let id = kernel.resolve(self.0.as_raw_handle().addr()).expect("a pipe");
        loop {
            match kernel.transfer_pipe(id, &mut operation) {
                Some(outcome) if is_error(outcome.status) => {
                    let code = win32_code(outcome.status);
                    return Err(io::Error::from_raw_os_error(code as i32));
                }
                Some(outcome) => return Ok(outcome),
                None => kernel = wait(kernel),
            }
        }
    }
}

impl io::Read for BlockingPipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut overlapped = OVERLAPPED::default();
        // SAFETY: The operation is over when this returns.
        let operation = unsafe {
            Operation::new(Kind::Read, buffer.as_mut_ptr(), buffer.len(), &raw mut overlapped)
        };
        match self.block(operation) {
            Ok(outcome) => {
                buffer[..outcome.data.len()].copy_from_slice(&outcome.data);
                Ok(outcome.data.len())
            }
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
            Err(error) => Err(error),
        }
    }
}

impl io::Write for BlockingPipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut overlapped = OVERLAPPED::default();
        let start = bytes.as_ptr().cast_mut();
        // SAFETY: As for `read`.
        let operation =
            unsafe { Operation::new(Kind::Write(0), start, bytes.len(), &raw mut overlapped) };
        self.block(operation).map(|outcome| outcome.bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
