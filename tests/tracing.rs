//! What the crate `tracing` is told of operations.
#![cfg(feature = "tracing")]

mod support;

use std::fmt::{self, Write as _};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock, Weak, mpsc};

use completion_port::Iocp;
use completion_port::listener::{Listener, Options};
use support::{complete, port, stream_pair};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps this crate's events as text, an event a line.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Log {
    /// What was logged of `work`, with the names of the fields of each event.
    fn of(work: impl FnOnce()) -> Vec<String> {
        let log = Self::default();
        tracing::subscriber::with_default(log.clone(), work);
        let text = log.0.lock().unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "completion_port"
    }

    fn event(&self, event: &Event<'_>) {
        struct Line<'a>(&'a mut String);
        impl Visit for Line<'_> {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                write!(self.0, "{}={value:?} ", field.name()).unwrap();
            }
        }
        let mut text = self.0.lock().unwrap();
        event.record(&mut Line(&mut text));
        text.push('\n');
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Asserts that there are as many events as patterns, each with all words of its own.
#[track_caller]
fn assert_events(events: &[String], patterns: &[&[&str]]) {
    assert_eq!(events.len(), patterns.len(), "{events:#?}");
    for (event, words) in events.iter().zip(patterns) {
        for word in *words {
            assert!(event.contains(word), "no {word} in {event}");
        }
    }
}

/// The address by which an event names its operation.
fn operation(event: &str) -> &str {
    event.split(' ').find(|field| field.starts_with("operation=0x")).expect(event)
}

#[test]
fn starts_completions_and_cancels_are_told_in_order() {
    let (port, (mut client, server)) = (port(), stream_pair());
    let server = port.add_handle(server, 7).unwrap();
    client.write_all(b"hello").unwrap();
    let events = Log::of(|| {
        port.initiate_read(&server, 1, [0; 5]).unwrap();
        complete(&port).error_status.unwrap();
        let pending = port.initiate_read(&server, 2, [0; 5]).unwrap();
        assert_eq!(pending.cancel(), Ok(true));
        complete(&port).error_status.unwrap_err();
        port.initiate_read(&server, 3, [0; 5]).unwrap();
        assert_eq!(server.cancel_all(), Ok(true));
        complete(&port).error_status.unwrap_err();
    });
    assert_events(
        &events,
        &[
            &["starting", "call=\"WSARecv\"", "handle=0x", "operation=0x"],
            &["completed", "call=\"WSARecv\"", "operation=0x", "handle_context=7", "bytes=5"],
            &["starting"],
            &["cancel", "operation=0x", "asked=Ok(true)"],
            &["completed", "bytes=0", "error="],
            &["starting"],
            &["cancel all", "handle=0x", "asked=Ok(true)"],
            &["completed", "bytes=0", "error="],
        ],
    );
    assert_eq!(operation(&events[0]), operation(&events[1]));
    for of_second in [3, 4] {
        assert_eq!(operation(&events[2]), operation(&events[of_second]));
    }
}

#[test]
fn an_operation_that_is_not_started_is_told_with_its_error() {
    let (port, (_client, server)) = (port(), stream_pair());
    let server = port.add_handle(server, 1).unwrap();
    let events = Log::of(|| {
        port.initiate_read(&server, 2, Vec::new()).map(drop).unwrap_err();
        port.scope(|scope| scope.initiate_read(&server, 3, &mut []).map(drop)).unwrap_err();
    });
    let not_started = ["not started", "handle=0x", "error="];
    assert_events(&events, &[&["starting"], &not_started, &["starting"], &not_started]);
}

#[test]
fn completions_are_told_in_whichever_way_they_come() {
    let (port, (mut client, server)) = (port(), stream_pair());
    let server = port.add_handle(server, 1).unwrap().skip_on_success().unwrap();
    client.write_all(b"hello").unwrap();
    support::eventually("there is something to read", || server.get_ref().peek(&mut [0]).is_ok());
    let events = Log::of(|| {
        let started = port.initiate_read(&server, 2, [0; 5]).unwrap();
        started.completed().unwrap_or_else(|| complete(&port)).error_status.unwrap();
        port.post(3, 0, 0).unwrap();
        let mut batch = completion_port::Batch::with_capacity(4);
        port.get_completions(&mut batch, None).unwrap();
        assert_eq!(batch.next().unwrap().unwrap().context, 3);
        port.post(4, 0, 0).unwrap();
        port.close();
        for completion in port.completions() {
            completion.unwrap();
        }
    });
    let post = ["completed", "call=\"PostQueuedCompletionStatus\""];
    assert_events(&events, &[&["starting"], &["completed", "bytes=5"], &post, &post]);
}

/// A subscriber that panics.
struct Panics;

impl Subscriber for Panics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "completion_port"
    }
    fn event(&self, _: &Event<'_>) {
        panic!("the subscriber has panicked");
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn a_subscriber_that_panics_does_not_spoil_the_port() {
    let (port, (mut client, server)) = (port(), stream_pair());
    let server = port.add_handle(server, 1).unwrap();
    let panics = |work: &dyn Fn()| {
        let work = std::panic::AssertUnwindSafe(|| tracing::subscriber::with_default(Panics, work));
        std::panic::catch_unwind(work).unwrap_err();
    };
    panics(&|| drop(port.initiate_read(&server, 2, vec![0; 5].into_boxed_slice())));
    port.initiate_read(&server, 3, vec![0; 5].into_boxed_slice()).unwrap();
    assert_eq!(port.in_flight(), 1);
    panics(&|| drop(server.cancel_all()));
    panics(&|| drop(port.get_completion()));
    assert_eq!(port.in_flight(), 0);
    client.write_all(b"hello").unwrap();
    port.initiate_read(&server, 4, [0; 5]).unwrap();
    assert_eq!(complete(&port).operation.take_buffer(), Some(*b"hello"));
}

/// A subscriber that asks a listener of whose operations it hears.
struct Asks(Arc<OnceLock<Weak<Listener>>>, Log);

impl Subscriber for Asks {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "completion_port"
    }
    fn event(&self, event: &Event<'_>) {
        self.1.event(event);
        if let Some(listener) = self.0.get().and_then(Weak::upgrade) {
            assert!(listener.in_flight() <= 3);
        }
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn a_subscriber_can_ask_the_listener_that_it_hears_of() {
    let log = Log::default();
    let (done, is_done) = mpsc::channel();
    let work = {
        let (asked, log) = (Arc::new(OnceLock::new()), log.clone());
        move || {
            // The third accept is refused.
            let port = Iocp::builder().max_operations(2).build().unwrap();
            let socket = port.add_handle(TcpListener::bind("127.0.0.1:0").unwrap(), 1).unwrap();
            let asks = Asks(Arc::clone(&asked), log);
            tracing::subscriber::with_default(asks, || {
                let listener = Options::new().accepts(3).listen(&port, socket, || 2).unwrap();
                let listener = Arc::new(listener);
                asked.set(Arc::downgrade(&listener)).unwrap();
                let _client = TcpStream::connect(listener.local_addr()).unwrap();
                drop(listener.accepted(&mut complete(&port)).unwrap());
                assert_eq!(listener.stop(), 2);
            });
            done.send(()).unwrap();
        }
    };
    // It would wait for itself for ever.
    std::thread::spawn(work);
    assert_eq!(is_done.recv_timeout(support::PATIENCE), Ok(()));
    let text = log.0.lock().unwrap();
    let events: Vec<_> = text.lines().map(str::to_owned).collect();
    let starting = ["starting", "call=\"AcceptEx\"", "handle=0x", "operation=0x"];
    let not_started = ["not started", "handle=0x", "error="];
    let patterns: [&[&str]; 8] = [
        &starting,
        &starting,
        &not_started,
        &["completed", "call=\"AcceptEx\"", "operation=0x"],
        &starting,
        &not_started,
        // The connection has ended.
        &not_started,
        &["cancel all", "handle=0x", "asked=Ok(true)"],
    ];
    assert_events(&events, &patterns);
}
