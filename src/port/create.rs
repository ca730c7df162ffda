//! How ports are created: before their other methods, for the documentation's sake.

use super::{Builder, Iocp};
use crate::error::Result;
use crate::operation::DEFAULT_OPERATIONS;

impl Iocp {
    /// Creates a port that lets one thread run for each processor, with contexts of
    /// type `usize`. For contexts of another type, or to await without contexts, see
    /// [`typed`](Self::typed): `Iocp::<()>::typed()`.
    ///
    /// # Errors
    ///
    /// If the system has no memory or address space for another port.
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// Creates a port that lets `threads` threads run at a time; further ones wait in
    /// [`get_completion`](Self::get_completion) until one of those blocks or
    /// comes back for more. For contexts of another type as well, see
    /// [`builder`](Self::builder).
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if `threads` is 0, and the errors
    /// of [`new`](Self::new).
    pub fn with_concurrency(threads: u32) -> Result<Self> {
        Self::builder().concurrency(threads).build()
    }

    /// Returns a builder, for ports with other settings.
    ///
    /// ```
    /// use completion_port::Iocp;
    ///
    /// let port: Iocp<String> = Iocp::builder().concurrency(4).max_operations(1000).build()?;
    /// # Ok::<(), completion_port::Error>(())
    /// ```
    pub fn builder() -> Builder {
        Builder { concurrency: None, max_operations: DEFAULT_OPERATIONS }
    }
}

impl<C: Send + 'static> Iocp<C> {
    /// Creates a port like [`new`](Iocp::new), with contexts of any type. For another
    /// concurrency as well, see [`builder`](Iocp::builder).
    ///
    /// # Errors
    ///
    /// Those of [`new`](Iocp::new).
    ///
    /// ```
    /// use completion_port::Iocp;
    ///
    /// enum Event {
    ///     Tick,
    ///     Message(String),
    /// }
    ///
    /// let port = Iocp::<Event>::typed()?;
    /// port.post(Event::Message("hello".into()), 0, 0)?;
    /// match port.get_completion()?.context {
    ///     Event::Message(text) => assert_eq!(text, "hello"),
    ///     Event::Tick => unreachable!(),
    /// }
    /// # Ok::<(), completion_port::Error>(())
    /// ```
    pub fn typed() -> Result<Self> {
        Iocp::builder().build()
    }
}
