//! The same rows on the library.

use std::future::{Future, IntoFuture};
use std::hint::black_box;
use std::mem;
use std::os::windows::io::{AsRawHandle, AsRawSocket};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use completion_port::{Associated, Batch, Error, Iocp};

use crate::objects::{SIZE, file, pipes, streams};

/// A context with data.
enum Event {
    Message([u64; 3]),
    Number(u64),
}

pub fn run() {
    post();
    sockets();
    files();
    awaited();
    pipe();
}

#[inline(never)]
fn post() {
    let port = Iocp::new().unwrap();
    measure!(1, {
        port.post(5, 0, 3).unwrap();
        let completion = port.get_completion().unwrap();
        black_box((completion.context, completion.bytes_transferred));
    });

    let typed = Iocp::<Event>::typed().unwrap();
    measure!(11, {
        typed
            .post(if black_box(true) { Event::Message([1, 2, 3]) } else { Event::Number(4) }, 0, 0)
            .unwrap();
        match typed.get_completion().unwrap().context {
            Event::Message(message) => black_box(message),
            Event::Number(number) => black_box([number; 3]),
        };
    });

    let mut batch = Batch::with_capacity(64);
    measure!(13, {
        for key in 0..64 {
            port.post(key, 0, 3).unwrap();
        }
        let mut left = 64;
        while left > 0 {
            left -= port.get_completions(&mut batch, None).unwrap();
            for completion in &mut batch {
                let completion = completion.unwrap();
                black_box((completion.context, completion.bytes_transferred));
            }
        }
    });
}

/// As much memory as by hand, and as little bookkeeping.
type Buffer = Box<[u8; SIZE]>;

#[inline(never)]
fn sockets() {
    let port = Iocp::new().unwrap();
    let (client, server) = streams();
    let client = port.add_handle(client, 0).unwrap();
    let server = port.add_handle(server, 1).unwrap();
    let mut transferred = [0; 2];
    let mut buffers = [(); 2].map(|()| Some(Buffer::new([7; SIZE])));
    measure!(3, {
        let _ = port.initiate_read(&server, 1, buffers[1].take().unwrap()).unwrap();
        let _ = port.initiate_write(&client, 0, buffers[0].take().unwrap()).unwrap();
        for _ in 0..2 {
            let mut completion = port.get_completion().unwrap();
            transferred[completion.context] += completion.bytes_transferred as usize;
            assert!(completion.error_status.is_ok());
            buffers[completion.context] = completion.operation.take_buffer();
        }
    });
    let mut kept = buffers[1].take();
    measure!(9, {
        let pending = port.initiate_read(&server, 1, kept.take().unwrap()).unwrap();
        assert!(pending.cancel().unwrap());
        drop(pending);
        let mut completion = port.get_completion().unwrap();
        transferred[completion.context] += completion.bytes_transferred as usize;
        assert!(completion.error_status.as_ref().is_err_and(Error::is_cancelled));
        kept = completion.operation.take_buffer();
    });
    black_box((client.as_raw_socket(), server.as_raw_socket()));
}

#[inline(never)]
fn files() {
    let port = Iocp::new().unwrap();
    let file = port.add_handle(file(), 0).unwrap();
    let mut transferred = [0];
    let mut kept = Some(Buffer::new([7; SIZE]));
    measure!(5, {
        let into = kept.take().unwrap();
        let _ = port.initiate_read_at(&file, 0, into, black_box(128)).unwrap();
        let mut completion = port.get_completion().unwrap();
        transferred[completion.context] += completion.bytes_transferred as usize;
        assert!(completion.error_status.is_ok());
        kept = completion.operation.take_buffer();
    });

    let mut appended = Vec::with_capacity(SIZE);
    measure!(17, {
        let mut into = mem::take(&mut appended);
        into.clear();
        let _ = port.initiate_read_at(&file, 0, into, black_box(128)).unwrap();
        let mut completion = port.get_completion().unwrap();
        transferred[completion.context] += completion.bytes_transferred as usize;
        assert!(completion.error_status.is_ok());
        appended = completion.operation.take_buffer().unwrap();
    });

    let mut borrowed = [0; SIZE];
    measure!(15, {
        port.scope(|scope| {
            let _ = scope.initiate_read_at(&file, 0, &mut borrowed, black_box(128)).unwrap();
            let completion = port.get_completion().unwrap();
            transferred[completion.context] += completion.bytes_transferred as usize;
            assert!(completion.error_status.is_ok());
        });
        black_box(&borrowed);
    });
    black_box(file.as_raw_handle());
}

#[inline(never)]
fn awaited() {
    let port = Iocp::new().unwrap();
    let file = port.add_handle(file(), 0).unwrap();
    let mut transferred = 0;
    let mut kept = Some(Buffer::new([7; SIZE]));
    let mut context = Context::from_waker(black_box(Waker::noop()));
    measure!(19, {
        let into = kept.take().unwrap();
        let mut read = port.initiate_read_at(&file, 0, into, black_box(128)).unwrap().into_future();
        assert!(Pin::new(&mut read).poll(&mut context).is_pending());
        drop(port.get_completion().unwrap());
        let Poll::Ready(Ok((bytes, buffer))) = Pin::new(&mut read).poll(&mut context) else {
            panic!("the read has not succeeded");
        };
        transferred += bytes as usize;
        kept = Some(buffer);
    });
    black_box((file.as_raw_handle(), transferred));
}

#[inline(never)]
fn pipe() {
    let port = Iocp::new().unwrap();
    let (server, client) = pipes("library");
    let server = port.add_handle(server, 0).unwrap();
    let client = port.add_handle(client, 1).unwrap();
    let mut transferred = [0; 2];
    let mut buffers = [(); 2].map(|()| Some(Buffer::new([7; SIZE])));
    measure!(7, {
        transfer(&port, &server, &client, &mut transferred, &mut buffers);
        transfer(&port, &client, &server, &mut transferred, &mut buffers);
    });
}

/// One direction of the round trip.
#[inline]
fn transfer<From, To>(
    port: &Iocp,
    from: &Associated<From>,
    to: &Associated<To>,
    transferred: &mut [usize; 2],
    buffers: &mut [Option<Buffer>; 2],
) {
    let _ = port.initiate_read(to, 0, buffers[0].take().unwrap()).unwrap();
    let _ = port.initiate_write(from, 1, buffers[1].take().unwrap()).unwrap();
    for _ in 0..2 {
        let mut completion = port.get_completion().unwrap();
        transferred[completion.context] += completion.bytes_transferred as usize;
        assert!(completion.error_status.is_ok());
        buffers[completion.context] = completion.operation.take_buffer();
    }
}
