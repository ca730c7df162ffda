//! Operations of one's own: what others can do with the trait, and what becomes of
//! their mistakes.

mod support;

use std::net::TcpStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use completion_port::{
    Batch, CompletionStatus, Error, ErrorKind, Iocp, Operation, Pending, Started, op,
};
use op::{
    Facts, FactsOn, Fills, Finish, Keeps, Object, RawCall, Region, RegionMut, Sends, Starter,
    Submitted,
};
use support::{
    PATIENCE, complete, nothing_more, overlapped_file, pipe_client, pipe_server, port, stream_pair,
    temp_file,
};
use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, SetLastError};
use windows_sys::Win32::Networking::WinSock as ws;
use windows_sys::Win32::Storage::FileSystem::ReadFile;
use windows_sys::Win32::System::Pipes::ConnectNamedPipe;

/// `WSASend` of a region.
///
/// # Safety
///
/// As for `Starter::call`.
unsafe fn wsa_send(call: &RawCall, region: &Region) -> Result<(), u32> {
    let buffer = ws::WSABUF { len: region.length(), buf: region.start().cast_mut() };
    let (socket, overlapped) = (call.handle.addr(), call.overlapped.cast());
    // SAFETY: As the caller promises.
    op::winsock_result(unsafe {
        ws::WSASend(socket, &raw const buffer, 1, call.count, 0, overlapped, None) == 0
    })
}

/// What a successful operation returns, and how many bytes it has transferred.
#[track_caller]
fn output<T: 'static>(mut completion: CompletionStatus) -> (T, u32) {
    assert_eq!(completion.error_status, Ok(()));
    (completion.operation.output().unwrap(), completion.bytes_transferred)
}

/// Counts how often it is dropped, and looks at what it borrows when it is.
struct Watched<'a>(&'a [u8], Arc<AtomicUsize>);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.1.fetch_add(usize::from(self.0[0] == 7), Ordering::Relaxed);
    }
}

/// A send that keeps something, and returns how much of it was sent.
struct SendAndKeep<'a>(&'a [u8], Watched<'a>);

// SAFETY: So it is documented.
static WSA_SEND: Facts = unsafe { Facts::new("WSASend").winsock().errors_have_no_packet().skips() };

impl<'a> Operation for SendAndKeep<'a> {
    const FACTS: FactsOn = FactsOn::Sockets(&WSA_SEND);
    type On = op::on::Stream;
    /// The last has the strictest alignment that there is in a cell.
    type Memory = (Sends<&'a [u8]>, (Keeps<Watched<'a>>, Keeps<u64>));
    type Arguments = ();
    type Output = u32;

    fn split(self, _: &Object<'_>) -> Result<((), Self::Memory), (Error, Self::Memory)> {
        Ok(((), (Sends(self.0), (Keeps(self.1), Keeps(7)))))
    }

    fn start(
        (): (),
        (region, ((), ())): (Region, ((), ())),
        starter: Starter<'_, Self>,
    ) -> Submitted<'_> {
        // SAFETY: It is WSASend, which reads the region.
        unsafe { starter.call(|call| wsa_send(&call, &region)) }
    }

    const FINISH: Finish<Self> =
        Finish::with(|_, outcome| outcome.is_ok().then(|| outcome.bytes()));
}

#[test]
fn an_operation_of_ones_own_works_on_handles_of_both_modes() {
    let port = port();
    let dropped = Arc::new(AtomicUsize::new(0));
    let watched = || Watched(&[7], Arc::clone(&dropped));
    let (client, server) = support::stream_pair();
    let client = port.add_handle(client, 1).unwrap();
    let mut pending = port.initiate(&client, 2, SendAndKeep(b"hello", watched())).unwrap();
    let completion = complete(&port);
    assert_eq!(pending.take(), Some(5));
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    drop(completion);
    let completion = {
        port.initiate(&client, 2, SendAndKeep(b"hello", watched())).unwrap();
        complete(&port)
    };
    assert_eq!(output::<u32>(completion), (5, 5));
    let server = port.add_handle(server, 1).unwrap().skip_on_success().unwrap();
    let completion = match port.initiate(&server, 2, SendAndKeep(b"hi", watched())).unwrap() {
        Started::Completed(completion) => completion,
        Started::Pending(_) => complete(&port),
    };
    assert_eq!(output::<u32>(completion), (2, 2));
    assert_eq!(dropped.load(Ordering::Relaxed), 3);
}

/// What borrows is dropped before the scope ends, though completions, whose type
/// knows no lifetime, are kept longer.
#[test]
fn memory_with_a_destructor_is_dropped_in_its_scope() {
    let port = port();
    let dropped = Arc::new(AtomicUsize::new(0));
    let (client, _server) = support::stream_pair();
    let client = port.add_handle(client, 1).unwrap();
    let mut kept = Vec::new();
    {
        let bytes = vec![7_u8; 5];
        let watched = || Watched(&bytes, Arc::clone(&dropped));
        port.scope(|scope| {
            let mut pendings: Vec<Pending<u32, _>> = Vec::new();
            for round in 0..20 {
                let pending = scope.initiate(&client, 2, SendAndKeep(&bytes, watched())).unwrap();
                let mut completion = complete(&port);
                assert!(completion.operation.take::<u32>().is_none());
                if round % 3 == 0 {
                    pendings.push(pending);
                }
                if round % 2 == 0 {
                    kept.push(completion);
                }
            }
            assert_eq!(pendings[0].take(), Some(5));
        });
        assert_eq!(dropped.load(Ordering::Relaxed), 20);
    }
    assert_eq!(kept.len(), 10);
    drop(kept);
    assert_eq!(dropped.load(Ordering::Relaxed), 20);
}

/// What it calls is never made, because something before it has failed.
struct Failing(String);

static SOMETHING: Facts = Facts::new("Something");

impl Operation for Failing {
    const FACTS: FactsOn = FactsOn::Either { sockets: &SOMETHING, handles: &SOMETHING };
    const FINISH: Finish<Self> = Finish::memory();
    type On = op::on::Anything;
    type Memory = Keeps<String>;
    type Arguments = u32;
    type Output = String;

    fn split(self, on: &Object<'_>) -> Result<(u32, Self::Memory), (Error, Self::Memory)> {
        assert!(on.is_socket() && !on.is_datagram_socket() && !on.is_file());
        Ok((5, Keeps(self.0)))
    }

    fn start(code: u32, (): (), starter: Starter<'_, Self>) -> Submitted<'_> {
        starter.at(17).fail(code)
    }
}

#[test]
fn an_operation_that_fails_before_its_call_gives_its_memory_back_and_costs_nothing() {
    let port = Iocp::builder().max_operations(1).build().unwrap();
    let (client, _server) = support::stream_pair();
    let client = port.add_handle(client, 1).unwrap();
    for _ in 0..4 {
        let rejected = port.initiate(&client, 2, Failing("kept".into())).unwrap_err();
        assert_eq!(rejected.error.call(), Some("Something"));
        assert_eq!(rejected.error.raw_os_error(), Some(5));
        assert_eq!(rejected.error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(rejected.returned, (2, Keeps(String::from("kept"))));
        port.scope(|scope| {
            let rejected = scope.initiate(&client, 2, Failing("kept".into())).unwrap_err();
            assert_eq!(rejected.returned, (2, Keeps(String::from("kept"))));
        });
    }
    port.post(1, 2, 3).unwrap();
    assert_eq!(complete(&port).context, 1);
}

/// Changes the thread's last error when it is dropped.
struct ChangesLastError;

impl Drop for ChangesLastError {
    fn drop(&mut self) {
        // SAFETY: It writes nothing else.
        unsafe { SetLastError(ERROR_IO_PENDING) };
    }
}

/// A send whose closure owns what disturbs the thread's last error.
struct Disturbed(&'static str);

impl Operation for Disturbed {
    const FACTS: FactsOn = FactsOn::Sockets(&WSA_SEND);
    const FINISH: Finish<Self> = Finish::memory();
    type On = op::on::Stream;
    type Memory = Sends<&'static str>;
    type Arguments = ();
    type Output = &'static str;

    fn split(self, _: &Object<'_>) -> Result<((), Self::Memory), (Error, Self::Memory)> {
        Ok(((), Sends(self.0)))
    }

    fn start((): (), region: Region, starter: Starter<'_, Self>) -> Submitted<'_> {
        let disturbs = ChangesLastError;
        // SAFETY: It is WSASend, which reads the region.
        unsafe {
            starter.call(move |call| {
                let _disturbs = disturbs;
                wsa_send(&call, &region)
            })
        }
    }
}

/// Otherwise one that has failed counts as pending, and never ends.
#[test]
fn the_code_is_the_functions_whatever_is_dropped_after_it() {
    let port = port();
    let peer = "127.0.0.1:9".parse().unwrap();
    let stream = port.add_handle(completion_port::unconnected_stream(peer).unwrap(), 1).unwrap();
    let rejected = port.initiate(&stream, 2, Disturbed("hello")).unwrap_err();
    assert_eq!(rejected.error.call(), Some("WSASend"));
    // Wine has another code for it.
    assert!(matches!(rejected.error.raw_os_error(), Some(10057 | 10054)));
    assert_eq!(rejected.returned, (2, Sends("hello")));
    nothing_more(&port);
}

/// Waits for a client of a pipe, and notes on which handle it has succeeded.
struct Listen(Seen);

type Seen = Arc<Mutex<Vec<Result<usize, op::Gone>>>>;

// SAFETY: So it is documented.
static CONNECT_NAMED_PIPE: Facts =
    unsafe { Facts::new("ConnectNamedPipe").errors_have_no_packet().over(&[(535, 0)]) };

impl Operation for Listen {
    const FACTS: FactsOn = FactsOn::Handles(&CONNECT_NAMED_PIPE);
    const FINISH: Finish<Self> = Finish::with(|_, outcome| Some(outcome.status()));
    type On = op::on::Pipe;
    type Memory = (Keeps<op::HandleGuard>, Keeps<Seen>);
    type Arguments = ();
    type Output = u32;

    fn split(self, on: &Object<'_>) -> Result<((), Self::Memory), (Error, Self::Memory)> {
        Ok(((), (Keeps(on.guard()), Keeps(self.0))))
    }

    fn start((): (), ((), ()): ((), ()), starter: Starter<'_, Self>) -> Submitted<'_> {
        // SAFETY: It is ConnectNamedPipe, which uses nothing but the OVERLAPPED.
        unsafe {
            starter.call(|call| {
                op::win32_result(ConnectNamedPipe(call.handle, call.overlapped.cast()) != 0)
            })
        }
    }

    const SUCCEEDED: Option<fn(&Self::Memory) -> Result<(), u32>> =
        Some(|(Keeps(pipe), Keeps(seen))| {
            let mut seen = seen.lock().unwrap();
            seen.push(pipe.while_open(<*mut _>::addr));
            // The second is one too many.
            if seen.len() == 1 { Ok(()) } else { Err(STATUS_PIPE_NOT_AVAILABLE) }
        });
}

const STATUS_PIPE_NOT_AVAILABLE: u32 = 0xC000_00AC;

#[test]
fn a_success_is_seen_with_its_handle_and_may_be_made_an_error() {
    use std::os::windows::io::AsRawHandle;
    let port = port();
    // The client comes later, or was faster: then the call says that it is over.
    for early in [false, true] {
        let seen = Seen::default();
        for round in 1..=2 {
            let name = format!(r"\\.\pipe\{}", support::unique("own"));
            let server = port.add_handle(pipe_server(&name, false), 1).unwrap();
            let open = || pipe_client(&name, false).unwrap();
            let client = early.then(open);
            port.initiate(&server, 2, Listen(Arc::clone(&seen))).unwrap();
            let _client = client.unwrap_or_else(open);
            let mut completion = complete(&port);
            assert_eq!(completion.error_status.is_ok(), round == 1);
            let status = if round == 1 { 0 } else { STATUS_PIPE_NOT_AVAILABLE };
            assert_eq!(completion.operation.take::<u32>(), Some(status));
            let seen = seen.lock().unwrap();
            assert_eq!(seen.last(), Some(&Ok(server.as_raw_handle().addr())), "{early}");
            assert_eq!(seen.len(), round);
        }
    }
}

#[test]
fn a_success_whose_handle_is_closed_meanwhile_is_told_so() {
    let port = port();
    let seen = Seen::default();
    let name = format!(r"\\.\pipe\{}", support::unique("own"));
    let server = port.add_handle(pipe_server(&name, false), 1).unwrap();
    port.initiate(&server, 2, Listen(Arc::clone(&seen))).unwrap();
    let _client = pipe_client(&name, false).unwrap();
    drop(server);
    let completion = complete(&port);
    // Or it was cancelled first.
    if completion.error_status.is_ok() {
        assert_eq!(*seen.lock().unwrap(), [Err(op::Gone::Closed)]);
    }
}

/// Waits for a client of a pipe, and returns how it has ended.
struct ListenForOutcome;

impl Operation for ListenForOutcome {
    const FACTS: FactsOn = FactsOn::Handles(&CONNECT_NAMED_PIPE);
    const FINISH: Finish<Self> =
        Finish::with(|(), outcome| Some((outcome.is_ok(), outcome.status(), outcome.bytes())));
    type On = op::on::Pipe;
    type Memory = ();
    type Arguments = ();
    type Output = (bool, u32, u32);

    fn split(self, _: &Object<'_>) -> Result<((), ()), (Error, ())> {
        Ok(((), ()))
    }

    fn start((): (), (): (), starter: Starter<'_, Self>) -> Submitted<'_> {
        // SAFETY: It is ConnectNamedPipe, which uses nothing but the OVERLAPPED.
        unsafe {
            starter.call(|call| {
                op::win32_result(ConnectNamedPipe(call.handle, call.overlapped.cast()) != 0)
            })
        }
    }
}

#[test]
fn the_outcome_that_an_output_is_made_of_is_the_operations() {
    const STATUS_CANCELLED: u32 = 0xC000_0120;
    let port = port();
    for keeps_pending in [false, true] {
        let name = format!(r"\\.\pipe\{}", support::unique("own"));
        let server = port.add_handle(pipe_server(&name, false), 1).unwrap();
        for cancels in [true, false] {
            let pending = port.initiate(&server, 2, ListenForOutcome).unwrap();
            let pending = keeps_pending.then_some(pending);
            let client = if cancels {
                assert!(server.cancel_all().unwrap());
                None
            } else {
                Some(pipe_client(&name, false).unwrap())
            };
            let mut completion = complete(&port);
            let outcome = completion.operation.take::<(bool, u32, u32)>().unwrap();
            let expected = if cancels { (false, STATUS_CANCELLED, 0) } else { (true, 0, 0) };
            assert_eq!(outcome, expected, "{keeps_pending}");
            drop((pending, client));
        }
    }
}

/// A send that returns how it has ended.
struct SendForOutcome(&'static str);

impl Operation for SendForOutcome {
    const FACTS: FactsOn = FactsOn::Sockets(&WSA_SEND);
    const FINISH: Finish<Self> =
        Finish::with(|_, outcome| Some((outcome.status(), outcome.bytes())));
    type On = op::on::Stream;
    type Memory = Sends<&'static str>;
    type Arguments = ();
    type Output = (u32, u32);

    fn split(self, _: &Object<'_>) -> Result<((), Self::Memory), (Error, Self::Memory)> {
        Ok(((), Sends(self.0)))
    }

    fn start((): (), region: Region, starter: Starter<'_, Self>) -> Submitted<'_> {
        // A socket does not look at the offset, which is not to be taken for a status.
        // SAFETY: It is WSASend, which reads the region.
        unsafe { starter.at(0xC000_0022).call(|call| wsa_send(&call, &region)) }
    }
}

#[test]
fn the_outcome_is_known_too_of_what_ends_within_its_call() {
    let port = port();
    let (client, _server) = support::stream_pair();
    let client = port.add_handle(client, 1).unwrap().skip_on_success().unwrap();
    let started = port.initiate(&client, 7, SendForOutcome("hello")).unwrap();
    let mut completion = started.completed().expect("there is room for five bytes");
    assert_eq!(completion.operation.take(), Some((0_u32, 5_u32)));
}

/// A send that returns what only one thread may have.
struct SendForRc(&'static str);

impl Operation for SendForRc {
    const FACTS: FactsOn = FactsOn::Sockets(&WSA_SEND);
    const FINISH: Finish<Self> =
        Finish::with(|Sends(sent), _| Some((Rc::new(sent), thread::current().id())));
    type On = op::on::Stream;
    type Memory = Sends<&'static str>;
    type Arguments = ();
    type Output = (Rc<&'static str>, thread::ThreadId);

    fn split(self, _: &Object<'_>) -> Result<((), Self::Memory), (Error, Self::Memory)> {
        Ok(((), Sends(self.0)))
    }

    fn start((): (), region: Region, starter: Starter<'_, Self>) -> Submitted<'_> {
        // SAFETY: It is WSASend, which reads the region.
        unsafe { starter.call(|call| wsa_send(&call, &region)) }
    }
}

#[test]
fn an_output_that_is_not_send_is_made_on_the_thread_that_takes_it() {
    type Output = <SendForRc as Operation>::Output;
    let port = port();
    let (client, _server) = support::stream_pair();
    let client = port.add_handle(client, 1).unwrap();
    port.initiate(&client, 2, SendForRc("hello")).unwrap();
    let mut completion = complete(&port);
    // The completion may cross, because what it would return is not there yet.
    thread::scope(|scope| {
        scope.spawn(move || {
            let (text, made_on) = completion.operation.output::<Output>().unwrap();
            assert_eq!((*text, made_on), ("hello", thread::current().id()));
        });
    });
    let mut pending: Pending<Output> = port.initiate(&client, 2, SendForRc("hello")).unwrap();
    drop(complete(&port));
    assert_eq!(pending.take().unwrap().1, thread::current().id());
}

/// An operation that starts another from within its own start.
struct Nested(Arc<Iocp>, Arc<completion_port::Associated<TcpStream>>);

impl Operation for Nested {
    const FACTS: FactsOn = FactsOn::Sockets(&WSA_SEND);
    const FINISH: Finish<Self> = Finish::with(|_, _| Some(()));
    type On = op::on::Stream;
    type Memory = Sends<&'static str>;
    type Arguments = Self;
    type Output = ();

    fn split(self, _: &Object<'_>) -> Result<(Self, Self::Memory), (Error, Self::Memory)> {
        Ok((self, Sends("outer")))
    }

    fn start(
        Self(port, stream): Self,
        region: Region,
        starter: Starter<'_, Self>,
    ) -> Submitted<'_> {
        port.initiate_write(&stream, 3, "inner").unwrap();
        // SAFETY: It is WSASend, which reads the region.
        unsafe { starter.call(|call| wsa_send(&call, &region)) }
    }
}

#[test]
fn an_operation_may_start_another_while_it_is_started() {
    let port = Arc::new(port());
    let (client, mut server) = support::stream_pair();
    let client = Arc::new(port.add_handle(client, 1).unwrap());
    let nested = Nested(Arc::clone(&port), Arc::clone(&client));
    port.initiate(&client, 2, nested).unwrap();
    let mut contexts = [complete(&port), complete(&port)].map(|completion| completion.context);
    contexts.sort_unstable();
    assert_eq!(contexts, [2, 3]);
    let mut received = [0; 10];
    std::io::Read::read_exact(&mut server, &mut received).unwrap();
    assert_eq!(&received, b"innerouter");
    nothing_more(&port);
}

/// Sends, and then says that it failed with a status that no system has.
struct Vetoed(&'static str);

impl Operation for Vetoed {
    const FACTS: FactsOn = FactsOn::Sockets(&WSA_SEND);
    const FINISH: Finish<Self> = Finish::memory();
    type On = op::on::Stream;
    type Memory = Sends<&'static str>;
    type Arguments = ();
    type Output = &'static str;

    fn split(self, _: &Object<'_>) -> Result<((), Self::Memory), (Error, Self::Memory)> {
        Ok(((), Sends(self.0)))
    }

    fn start((): (), region: Region, starter: Starter<'_, Self>) -> Submitted<'_> {
        // SAFETY: It is WSASend.
        unsafe { starter.call(|call| wsa_send(&call, &region)) }
    }

    const SUCCEEDED: Option<fn(&Self::Memory) -> Result<(), u32>> = Some(|_| Err(0xD000_0103));
}

#[test]
fn what_fails_with_a_status_that_is_none_is_cancelled_and_not_lost() {
    let port = port();
    let (client, _server) = stream_pair();
    let client = port.add_handle(client, 1).unwrap();
    port.initiate(&client, 2, Vetoed("hello")).unwrap();
    // Its marker is in the batch, too.
    port.close();
    let mut batch = Batch::with_capacity(8);
    while batch.is_empty() {
        port.get_completions(&mut batch, Some(PATIENCE)).unwrap();
    }
    let completion = batch.next().unwrap().unwrap();
    assert!(completion.error_status.unwrap_err().is_cancelled());
}

static READ_FILE: Facts =
    // SAFETY: It is over then; a cell is kept back all the same.
    unsafe { Facts::new("ReadFile").over(&[(38, 0xC000_0011)]) }.ends(&[0xC000_0011]);

/// Reads behind the end, and returns how many bytes that were.
struct Count(Vec<u8>);

impl Operation for Count {
    const FACTS: FactsOn = FactsOn::Handles(&READ_FILE);
    const FINISH: Finish<Self> =
        Finish::with(|_, outcome| outcome.is_ok().then(|| outcome.bytes()));
    type On = op::on::File;
    type Memory = Fills<Vec<u8>>;
    type Arguments = ();
    type Output = u32;

    fn split(self, _: &Object<'_>) -> Result<((), Self::Memory), (Error, Self::Memory)> {
        Ok(((), Fills(self.0)))
    }

    fn start((): (), region: RegionMut, starter: Starter<'_, Self>) -> Submitted<'_> {
        let (start, length) = (region.start(), region.length());
        // SAFETY: It is ReadFile, which writes the region.
        unsafe {
            starter.at(1000).call(|call| {
                let overlapped = call.overlapped.cast();
                op::win32_result(ReadFile(call.handle, start, length, call.count, overlapped) != 0)
            })
        }
    }
}

#[test]
fn an_end_that_is_a_success_is_one_for_the_output_too() {
    let file = temp_file("own-end", "hello");
    let port = port();
    let file = port.add_handle(overlapped_file(file.path(), true, false), 1).unwrap();
    port.initiate(&file, 2, Count(Vec::with_capacity(8))).unwrap();
    let completion = complete(&port);
    assert_eq!(completion.error_status, Ok(()));
    assert_eq!(output::<u32>(completion).0, 0);
}

/// Receives four bytes at most, whatever it has room for.
#[cfg(simulated_kernel)]
struct ReceiveFour(Vec<u8>);

#[cfg(simulated_kernel)]
impl Operation for ReceiveFour {
    const FACTS: FactsOn = <op::Read<Vec<u8>> as Operation>::FACTS;
    const FINISH: Finish<Self> = Finish::memory();
    type On = op::on::Datagrams;
    type Memory = Fills<Vec<u8>>;
    type Arguments = ();
    type Output = Vec<u8>;

    fn split(self, _: &Object<'_>) -> Result<((), Self::Memory), (Error, Self::Memory)> {
        Ok(((), Fills(self.0)))
    }

    fn start((): (), region: RegionMut, starter: Starter<'_, Self>) -> Submitted<'_> {
        let receive = |call: RawCall| {
            let buffer = ws::WSABUF { len: region.length().min(4), buf: region.start() };
            let (mut flags, overlapped) = (0, call.overlapped.cast());
            // SAFETY: The region is lent, and no more of it is used than it has.
            op::winsock_result(unsafe {
                let (socket, buffer) = (call.handle.addr(), &raw const buffer);
                ws::WSARecv(socket, buffer, 1, call.count, &raw mut flags, overlapped, None) == 0
            })
        };
        // SAFETY: It is WSARecv, whose byte count is how many bytes it has put there.
        unsafe { starter.call(receive) }
    }
}

/// Only who has made the call knows how much memory it was given.
#[cfg(simulated_kernel)] // others queue a packet
#[test]
fn what_a_cut_message_has_filled_is_not_guessed_for_others() {
    let port = port();
    let (client, server) = support::datagram_pair();
    let server = port.add_handle(server, 1).unwrap();
    client.send(b"hello world").unwrap();
    let _behaving = simulated_kernel::behave(|kernel| {
        kernel.inline = simulated_kernel::Chance::Always;
        kernel.warn_without_packet = true;
    });
    let rejected = port.initiate(&server, 2, ReceiveFour(Vec::with_capacity(64))).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::MessageTruncated);
    assert!(rejected.returned.1.0.is_empty());
    nothing_more(&port);
}
