//! What hyper wants of a runtime: its traits for [`Stream`] and [`Executor`], and a timer.
//!
//! ```no_run
//! use std::convert::Infallible;
//! use std::time::Duration;
//!
//! use completion_port::Iocp;
//! use completion_port_io::hyper::Timer;
//! use completion_port_io::{Executor, Stream};
//! use hyper::server::conn::http1;
//! use hyper::service::service_fn;
//! use hyper::{Response, body::Incoming};
//!
//! # fn main() -> std::io::Result<()> {
//! let port = Iocp::typed()?;
//! let listener = port.add_handle(std::net::TcpListener::bind("127.0.0.1:8080")?, 0)?;
//! let executor = Executor::new(&port);
//! executor.block_on(async {
//!     loop {
//!         let accept = async {
//!             let (_, stream) = port.initiate_accept(&listener, ())?.await?;
//!             Stream::new(&port, stream)
//!         };
//!         let Ok(stream) = accept.await else {
//!             // The client has gone already, or memory is short. A closed port refuses this, too.
//!             port.after(Duration::from_millis(10), ())?.await?;
//!             continue;
//!         };
//!         let hello = service_fn(|_| async { Ok::<_, Infallible>(Response::new("hello".to_owned())) });
//!         let connection = http1::Builder::new()
//!             .timer(Timer::new(&port))
//!             .serve_connection(stream, hello);
//!         executor.spawn(connection).detach();
//!     }
//! })?
//! # }
//! ```

use std::future::{Future, IntoFuture};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use ::hyper::rt::{self, ReadBufCursor};
use completion_port::{Awaited, Iocp};
use hyper_util::rt::TokioIo;

use crate::{Executor, Stream, Transport};

impl<S: Transport> rt::Read for Stream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        rt::Read::poll_read(Pin::new(&mut TokioIo::new(self)), context, buffer)
    }
}

impl<S: Transport> rt::Write for Stream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write(context, buffer)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_vectored(context, buffers)
    }
}

impl<F: Future<Output: Send> + Send + 'static> rt::Executor<F> for Executor {
    fn execute(&self, task: F) {
        self.spawn(task).detach();
    }
}

/// Timers of a port, for hyper's time limits.
///
/// Each is an operation of the port's ([`Iocp::at`]). When the port is closed, they all end,
/// and so does one that the system has no memory for.
#[derive(Clone, Debug)]
pub struct Timer {
    port: Iocp<()>,
}

impl Timer {
    /// Creates timers on demand, on this port.
    #[must_use]
    pub fn new(port: &Iocp<()>) -> Self {
        Self { port: port.clone() }
    }

    fn start(&self, deadline: Instant) -> Sleep {
        Sleep(self.port.at(deadline, ()).ok().map(IntoFuture::into_future))
    }
}

impl rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        // One that is too long for a clock lasts for a year.
        let most = Duration::from_secs(365 * 24 * 3600);
        Box::pin(self.start(Instant::now() + duration.min(most)))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(self.start(deadline))
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn rt::Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<Sleep>() {
            Some(mut sleep) => sleep.set(self.start(deadline)),
            None => *sleep = self.sleep_until(deadline),
        }
    }
}

/// `None` after the end.
struct Sleep(Option<Awaited<()>>);

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some(timer) = &mut self.0 {
            // Cancelled with the port, it has ended, too.
            let _ = ready!(Pin::new(timer).poll(context));
            self.0 = None;
        }
        Poll::Ready(())
    }
}

impl rt::Sleep for Sleep {}
