//! A guide: how programs are built on this crate.
//!
//! # A server loop
//!
//! One thread, or several, dequeue completions and start the next operation. A
//! connection that fails is closed; an error of the dequeue is not the end of the
//! server, unless the port was closed.
//!
//! ```
//! use std::collections::HashMap;
//! use std::net::{TcpListener, TcpStream};
//!
//! use completion_port::{Associated, Iocp};
//!
//! # use std::io::{Read, Write};
//! # let listener = TcpListener::bind("127.0.0.1:0")?;
//! # let address = listener.local_addr()?;
//! # let client = std::thread::spawn(move || -> std::io::Result<Vec<u8>> {
//! #     let mut stream = TcpStream::connect(address)?;
//! #     stream.write_all(b"hello")?;
//! #     stream.shutdown(std::net::Shutdown::Write)?;
//! #     let mut echoed = Vec::new();
//! #     stream.read_to_end(&mut echoed)?;
//! #     Ok(echoed)
//! # });
//! /// What an operation is of.
//! enum Task {
//!     Read(usize),
//!     Write(usize),
//! }
//!
//! let port = Iocp::<Task>::typed()?;
//! let mut connections: HashMap<usize, Associated<TcpStream>> = HashMap::new();
//! let (stream, _) = listener.accept()?;
//! connections.insert(1, port.add_handle(stream, 1)?);
//! port.initiate_read(&connections[&1], Task::Read(1), Vec::with_capacity(4096))?;
//!
//! while !connections.is_empty() {
//!     let mut completion = match port.get_completion() {
//!         Ok(completion) => completion,
//!         Err(error) if error.is_closed() => break,
//!         // A packet of other code's, perhaps: not ours to mend.
//!         Err(error) => {
//!             eprintln!("{error}");
//!             continue;
//!         }
//!     };
//!     let (Task::Read(id) | Task::Write(id)) = completion.context;
//!     let Some(stream) = connections.get(&id) else { continue };
//!     let mut buffer: Vec<u8> = completion.operation.output()?;
//!     let next = match (&completion.context, completion.error_status) {
//!         // A reset, or a cancel; an end is no error, but has no bytes.
//!         (_, Err(_)) => None,
//!         (Task::Read(_), Ok(())) if completion.bytes_transferred == 0 => None,
//!         (Task::Read(_), Ok(())) => {
//!             Some(port.initiate_write(stream, Task::Write(id), buffer).map(drop))
//!         }
//!         (Task::Write(_), Ok(())) => {
//!             buffer.clear();
//!             Some(port.initiate_read(stream, Task::Read(id), buffer).map(drop))
//!         }
//!     };
//!     if !matches!(next, Some(Ok(()))) {
//!         connections.remove(&id); // closes it, and cancels what is in flight
//!     }
//! }
//! # assert_eq!(client.join().unwrap()?, b"hello");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Which thread does what
//!
//! Any thread may start operations, and any number of threads may dequeue: each completion
//! goes to one of them. The system lets as many run at a time as
//! [`with_concurrency`](crate::Iocp::with_concurrency) says. Completions of one handle may
//! be dequeued by different threads, so have one read and one write in flight on a
//! stream, and start the next where the last one has come.
//!
//! # Two contexts
//!
//! [`context`](crate::CompletionStatus::context) is what the *operation* was started with;
//! [`handle_context`](crate::CompletionStatus::handle_context) is the number that the
//! *handle* was added with, its completion key. So a program that knows its connections
//! by the key matches on that:
//!
//! ```
//! # let port = completion_port::Iocp::new()?;
//! # port.post(456, 123, 0)?;
//! let completion = port.get_completion()?;
//! match (completion.handle_context, completion.context) {
//!     (123, 456) => println!("operation 456 of the connection with the key 123"),
//!     _ => unreachable!(),
//! }
//! # Ok::<(), completion_port::Error>(())
//! ```
//!
//! A context can own its connection. It is moved in with each operation and comes back
//! with its completion, so nobody has to look it up, and nobody else can use it meanwhile:
//!
//! ```
//! use std::net::TcpStream;
//!
//! use completion_port::{Associated, Iocp, op};
//!
//! struct Connection {
//!     stream: Associated<TcpStream>,
//!     received: u64,
//! }
//!
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let mut client = TcpStream::connect(listener.local_addr()?)?;
//! # let (stream, _) = listener.accept()?;
//! let port = Iocp::<Box<Connection>>::typed()?;
//! let stream = port.add_handle(stream, 0)?;
//! let connection = Box::new(Connection { stream, received: 0 });
//! port.initiate_with(connection, |it| &it.stream, op::Read::new(Vec::with_capacity(64)))?;
//! # std::io::Write::write_all(&mut client, b"hello")?;
//! let completion = port.get_completion()?;
//! let mut connection = completion.context;
//! connection.received += u64::from(completion.bytes_transferred);
//! assert_eq!(connection.received, 5);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Complete and partial transfers
//!
//! A write to a stream or a pipe that has succeeded has taken the whole buffer. A read
//! returns what is there: at least a byte, or 0 at the end. A read of a file is short only
//! at its end. A message that does not fit arrives cut, with an error that says so.
//!
//! # Cancelling and closing
//!
//! [`Pending::cancel`](crate::Pending::cancel) requests it of one operation, and
//! [`Associated::cancel_all`](crate::Associated::cancel_all) of all on a handle. Each still
//! completes: as cancelled, or with its data if it was faster. Dropping an
//! [`Associated`](crate::Associated) cancels what is in flight and closes the handle; the
//! completions arrive, so free what belongs to a connection when its last one has come.
//!
//! # Ending a server
//!
//! [`shut_down`](crate::Iocp::shut_down) starts nothing new, waits as long as it is told to,
//! and cancels what is left. [`close`](crate::Iocp::close) wakes all threads that wait in
//! the port, once what is queued has been handed out.
//!
//! # Borrowed buffers
//!
//! An operation in flight uses its buffer although the call has returned, so the buffer
//! moves in, and comes back with the completion. A borrowed one is refused by the
//! compiler ("borrowed value does not live long enough"), because nobody could keep the
//! borrower from leaving earlier. In a [`scope`](crate::Iocp::scope), which waits for its
//! operations, buffers can be borrowed:
//!
//! ```
//! # use completion_port::Iocp;
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let mut client = std::net::TcpStream::connect(listener.local_addr()?)?;
//! # let (stream, _) = listener.accept()?;
//! # std::io::Write::write_all(&mut client, b"hello")?;
//! # let port = Iocp::new()?;
//! # let stream = port.add_handle(stream, 123)?;
//! let mut buffer = [0; 1024];
//! let length = port.scope(|scope| {
//!     scope.initiate_read(&stream, 456, &mut buffer)?;
//!     port.get_completion()?.result()
//! })?;
//! assert_eq!(&buffer[..length as usize], b"hello");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Awaiting
//!
//! Any operation can be awaited, on any runtime, as long as somebody dequeues: a
//! [`Driver`](crate::Driver), a thread in [`run`](crate::Iocp::run), or
//! [`block_on`](crate::Iocp::block_on), whose thread parks in the port.
//!
//! ```
//! # use completion_port::Iocp;
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let mut client = std::net::TcpStream::connect(listener.local_addr()?)?;
//! # let (stream, _) = listener.accept()?;
//! # std::io::Write::write_all(&mut client, b"hello")?;
//! let port = Iocp::<()>::typed()?;
//! let stream = port.add_handle(stream, 1)?;
//! let (length, buffer) = port.block_on(async {
//!     let read = port.initiate_read(&stream, (), Vec::with_capacity(64))?;
//!     Ok::<_, std::io::Error>(read.await?)
//! })??;
//! assert_eq!((length, buffer), (5, b"hello".to_vec()));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! What races with something else is awaited by reference (`&mut pending`): then the loser
//! goes on, and no byte is lost. A future that owns its operation cancels it when it is
//! dropped.
//!
//! # Coming from elsewhere
//!
//! | There | Here |
//! |---|---|
//! | miow `CompletionPort::add_socket(token, ..)` | [`add_handle(handle, context)`](crate::Iocp::add_handle) |
//! | miow `Overlapped`, pinned by hand | the port's own memory; nothing to pin |
//! | miow `read_overlapped` (unsafe) | [`initiate_read`](crate::Iocp::initiate_read) |
//! | miow `get_many` | [`get_completions`](crate::Iocp::get_completions) with a [`Batch`](crate::Batch) |
//! | mio's readiness | [`op::Readable`](crate::op::Readable), or better: start the read |
//! | tokio `read(&mut buffer).await` | `initiate_read(&stream, (), buffer)?.await`, which returns the buffer |
//! | compio `BufResult` | `Result<(u32, B), Failed<B>>` |
//! | .NET `ThreadPoolBoundHandle` | [`add_handle`](crate::Iocp::add_handle) and [`run`](crate::Iocp::run) on threads of your own |
