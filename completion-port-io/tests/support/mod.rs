//! What the tests of all traits share.
#![allow(dead_code, reason = "each test program uses a part")]

use std::future::Future;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use completion_port::Iocp;
use completion_port_io::Stream;

/// Two ends of a connection.
pub fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// The same, both on the port.
pub fn streams(port: &Iocp<()>) -> (Stream, Stream) {
    let (client, server) = connection();
    (Stream::new(port, client).unwrap(), Stream::new(port, server).unwrap())
}

/// Bytes that tell where they belong.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// Runs a future on this thread, on a port of its own.
pub fn on_port<F: Future<Output = io::Result<()>>>(test: impl FnOnce(Iocp<()>) -> F) {
    let port = Iocp::<()>::typed().unwrap();
    port.block_on(test(port.clone())).unwrap().unwrap();
}

/// A waker that counts.
#[derive(Default)]
pub struct Wakes(AtomicUsize);

impl Wakes {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
