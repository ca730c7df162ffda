//! A guide: how programs are built on this crate.
//!
//! - [A server loop](#a-server-loop)
//! - [Which thread does what](#which-thread-does-what)
//! - [Two contexts](#two-contexts), and contexts that own their handle
//! - [One read in flight per stream](#one-read-in-flight-per-stream)
//! - [Complete and partial transfers](#complete-and-partial-transfers)
//! - [Back-pressure](#back-pressure)
//! - [Closing a connection and freeing its state](#closing-a-connection-and-freeing-its-state)
//! - [Time](#time)
//! - [Ending a server](#ending-a-server)
//! - [Files](#files), [pipes](#pipes), [datagrams](#datagrams), [directories](#directories)
//! - [Borrowed buffers](#borrowed-buffers), and the compiler's answer to them
//! - [Awaiting](#awaiting)
//! - [What allocates](#what-allocates)
//! - [Coming from elsewhere](#coming-from-elsewhere)
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
//!         // A packet of other code, perhaps: go on.
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
//! The example `echo_server` accepts its connections through the port, too, and lets the
//! contexts own them. With several threads, let a [`Listener`](crate::listener::Listener)
//! accept, which keeps its accepts in flight itself: the example `threaded_server` does.
//!
//! # Which thread does what
//!
//! - Any thread may start operations, cancel them, and drop handles. On Windows, an operation
//!   goes on when the thread that started it ends.
//! - Any number of threads may dequeue; each completion goes to one of them. The system lets
//!   as many run at a time as [`with_concurrency`](crate::Iocp::with_concurrency) says, and
//!   prefers the one that came last. A thread that blocks elsewhere lets another run.
//! - The thread that dequeues owns the completion: context and buffer have moved to it. What
//!   completions share, such as a table of connections, wants a lock or an `Arc`.
//! - This crate starts no threads, but for a [`Driver`](crate::Driver).
//!
//! ```
//! # use completion_port::Iocp;
//! # use std::sync::atomic::{AtomicU32, Ordering};
//! # use std::time::Duration;
//! let port = Iocp::<u32>::typed()?;
//! let sum = AtomicU32::new(0);
//! std::thread::scope(|scope| {
//!     for _ in 0..4 {
//!         scope.spawn(|| {
//!             port.run(|completion| _ = sum.fetch_add(completion.context, Ordering::Relaxed))
//!         });
//!     }
//!     for number in 1..=10 {
//!         port.post(number, 0, 0).unwrap();
//!     }
//!     port.shut_down_with(Duration::from_secs(1), |completion| {
//!         sum.fetch_add(completion.context, Ordering::Relaxed);
//!     });
//! });
//! assert_eq!(sum.into_inner(), 55);
//! # Ok::<(), completion_port::Error>(())
//! ```
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
//! # One read in flight per stream
//!
//! The system fills the reads of a stream in the order in which they were started, but
//! different threads may dequeue them, and the second may be handled before the first. So
//! have one read in flight on a stream, and start the next where its completion is handled.
//! The same goes for writes, whose bytes leave in the order of the calls. A read and a write
//! in flight together do not disturb each other.
//!
//! Files have offsets, and datagrams are whole: have as many in flight there as you like.
//!
//! # Complete and partial transfers
//!
//! - A write to a stream, a pipe or a file that has succeeded has taken the whole buffer.
//! - A read of a stream returns what is there: at least a byte, or 0 at the end.
//! - A read of a pipe does so, too, but 0 bytes may also be an empty write of the other side:
//!   ask [`is_at_end`](crate::Finished::is_at_end).
//! - A read of a file is short only at the end of the file.
//! - A message that does not fit arrives cut, with [`MoreData`](crate::ErrorKind::MoreData)
//!   or [`MessageTruncated`](crate::ErrorKind::MessageTruncated).
//!
//! A message that arrives in parts is read into a `Vec` until it is complete, because
//! reads append:
//!
//! ```
//! # use completion_port::Iocp;
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let mut client = std::net::TcpStream::connect(listener.local_addr()?)?;
//! # let (stream, _) = listener.accept()?;
//! # let port = Iocp::new()?;
//! # let stream = port.add_handle(stream, 1)?;
//! # let writer = std::thread::spawn(move || { use std::io::Write; client.write_all(b"GET / HT")?; std::thread::yield_now(); client.write_all(b"TP/1.1\r\n\r\n") });
//! let mut request: Vec<u8> = Vec::with_capacity(4096);
//! while !request.ends_with(b"\r\n\r\n") {
//!     port.initiate_read(&stream, 2, request)?; // with no room left, an error
//!     let mut completion = port.get_completion()?;
//!     completion.error_status?;
//!     request = completion.operation.output()?;
//!     if completion.bytes_transferred == 0 {
//!         return Err(std::io::ErrorKind::UnexpectedEof.into());
//!     }
//! }
//! assert_eq!(request, b"GET / HTTP/1.1\r\n\r\n");
//! # writer.join().unwrap()?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Back-pressure
//!
//! A peer that sends faster than it is served is slowed down by not reading from it: the
//! system's buffers fill, and TCP stops the sender. The server loop above does that, as it
//! reads again only once its answer has been taken.
//!
//! A peer that receives too slowly is another matter, where what is sent to it comes from
//! others, as in a chat. Each write in flight keeps its buffer and a place in the port. So
//! have one in flight for each connection, let the rest wait in a queue with a limit, and
//! decide what happens at the limit: here, the connection is dropped.
//!
//! ```
//! use std::collections::VecDeque;
//! use std::net::TcpStream;
//! use std::sync::Arc;
//!
//! use completion_port::{Associated, Iocp};
//!
//! /// Who receives what others say.
//! struct Receiver {
//!     stream: Associated<TcpStream>,
//!     is_writing: bool,
//!     waiting: VecDeque<Arc<str>>,
//! }
//!
//! impl Receiver {
//!     /// Sends a message, now or later; `false` if the connection has to go.
//!     fn send(&mut self, port: &Iocp, message: Arc<str>) -> bool {
//!         const MOST: usize = 100;
//!         if self.is_writing {
//!             self.waiting.push_back(message);
//!             return self.waiting.len() <= MOST;
//!         }
//!         self.is_writing = port.initiate_write(&self.stream, 1, message).is_ok();
//!         self.is_writing
//!     }
//!
//!     /// A write has completed: starts the next.
//!     fn sent(&mut self, port: &Iocp) -> bool {
//!         self.is_writing = false;
//!         self.waiting.pop_front().is_none_or(|next| self.send(port, next))
//!     }
//! }
//!
//! # use std::io::Read;
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let mut client = TcpStream::connect(listener.local_addr()?)?;
//! # let (stream, _) = listener.accept()?;
//! # let port = Iocp::new()?;
//! # let stream = port.add_handle(stream, 1)?;
//! let mut receiver = Receiver { stream, is_writing: false, waiting: VecDeque::new() };
//! for _ in 0..3 {
//!     assert!(receiver.send(&port, "hello ".into())); // the bytes are shared, not copied
//! }
//! while receiver.is_writing {
//!     port.get_completion()?.error_status?;
//!     assert!(receiver.sent(&port));
//! }
//! # let mut received = [0; 18];
//! # client.read_exact(&mut received)?;
//! # assert_eq!(&received, b"hello hello hello ");
//! # for _ in 0..101 { receiver.is_writing = true; receiver.send(&port, "".into()); }
//! # assert!(!receiver.send(&port, "too many".into()));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! [`max_operations`](crate::Builder::max_operations) limits what is in flight on the whole
//! port. At that limit an operation is refused with
//! [`TooManyOperations`](crate::ErrorKind::TooManyOperations), and its context and buffer
//! come back: start it again when something has completed.
//!
//! # Closing a connection and freeing its state
//!
//! Dropping an [`Associated`](crate::Associated) cancels what is in flight on it and closes
//! the handle. Each operation still completes: as [cancelled](crate::Error::is_cancelled),
//! with another error, or with its data if it was faster. So what belongs to a connection is
//! free when its last completion has come. Where contexts share the connection in an `Arc`,
//! this happens by itself:
//!
//! ```
//! # use std::net::TcpStream;
//! # use std::sync::Arc;
//! # use completion_port::{Associated, Iocp};
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let client = TcpStream::connect(listener.local_addr()?)?;
//! # let (stream, _) = listener.accept()?;
//! struct Connection { stream: Associated<TcpStream> /* and its state */ }
//!
//! let port = Iocp::<Arc<Connection>>::typed()?;
//! let connection = Arc::new(Connection { stream: port.add_handle(stream, 1)? });
//! let buffer = Vec::with_capacity(64);
//! port.initiate_read(&connection.stream, Arc::clone(&connection), buffer)?;
//!
//! // The operation in flight keeps the connection, so ask for its end.
//! let table = Arc::downgrade(&connection);
//! connection.stream.cancel_all()?;
//! drop(connection);
//! let completion = port.get_completion()?;
//! assert!(completion.error_status.as_ref().unwrap_err().is_cancelled());
//! drop(completion); // the last one: it closes the socket
//! assert!(table.upgrade().is_none());
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! What has been written when a handle is closed may not have been sent. To let a peer have
//! all of it, and then the end of the stream, wait for the write's completion, and
//! [shut down](crate::Associated::shutdown) the writing side, or start an
//! [`op::Disconnect`](crate::op::Disconnect).
//!
//! [`Pending::cancel`](crate::Pending::cancel) asks for one operation, and
//! [`cancel_all`](crate::Associated::cancel_all) for all on a handle.
//!
//! # Time
//!
//! A timer is an operation that completes [after](crate::Iocp::after) a while, or
//! [at](crate::Iocp::at) some time, with its context. Any operation in flight can have a
//! [deadline](crate::Pending::set_deadline), which cancels it: its completion says
//! [`TimedOut`](crate::ErrorKind::TimedOut), unless it was faster. When awaiting, write
//! `read.timeout(duration).await`.
//!
//! ```
//! # use completion_port::{ErrorKind, Iocp};
//! # use std::time::{Duration, Instant};
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let client = std::net::TcpStream::connect(listener.local_addr()?)?;
//! # let (stream, _) = listener.accept()?;
//! let port = Iocp::new()?;
//! let stream = port.add_handle(stream, 1)?;
//! let read = port.initiate_read(&stream, 2, Vec::with_capacity(64))?;
//! read.set_deadline(Instant::now() + Duration::from_millis(5))?;
//! let error = port.get_completion()?.error_status.unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::TimedOut);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Ending a server
//!
//! [`shut_down`](crate::Iocp::shut_down) lets nothing new start, waits for what is in flight
//! for as long as it is told to, and cancels the rest. Then every thread that waits in the
//! port is told that it is [`Closed`](crate::ErrorKind::Closed).
//!
//! ```
//! # use completion_port::Iocp;
//! # use std::time::Duration;
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! let port = Iocp::new()?;
//! let listener = port.add_handle(listener, 1)?;
//! port.initiate_accept(&listener, 2)?;
//! let server = {
//!     let port = port.clone();
//!     std::thread::spawn(move || port.run(|completion| drop(completion)))
//! };
//! let left = port.shut_down(Duration::from_millis(100));
//! assert_eq!(left, 0); // the accept has been cancelled
//! server.join().unwrap()?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! [`close`](crate::Iocp::close) is for programs that see to that themselves: it wakes all
//! threads once what is queued has been handed out, and cancels nothing. Dropping the last
//! clone of a port cancels and collects what is in flight; what the system does not give
//! back within a second is leaked, because the system may still use it.
//!
//! # Files
//!
//! A file is opened for overlapped I/O by [`fs::OpenOverlapped`](crate::fs::OpenOverlapped),
//! and each transfer says where: there is no current position. Several in flight at a time
//! keep a disk busy:
//!
//! ```
//! use std::fs::OpenOptions;
//!
//! use completion_port::fs::OpenOverlapped;
//! use completion_port::{Iocp, op};
//!
//! # let path = std::env::temp_dir().join(format!("completion-port-guide-{}", std::process::id()));
//! # std::fs::write(&path, vec![7; 10_000])?;
//! let port = Iocp::<u64>::typed()?;
//! let file = OpenOptions::new().read(true).open_overlapped(&path)?;
//! let file = port.add_handle(file, 1)?;
//! for offset in [0, 4096, 8192] {
//!     port.initiate(&file, offset, op::Read::new(vec![0; 4096].into_boxed_slice()).at(offset))?;
//! }
//! let mut total = 0;
//! for _ in 0..3 {
//!     let mut completion = port.get_completion()?;
//!     let bytes = completion.result()?; // 4096, but for the last
//!     let block: Box<[u8]> = completion.operation.output()?;
//!     assert!(block[..bytes as usize].iter().all(|&byte| byte == 7));
//!     total += bytes;
//! }
//! assert_eq!(total, 10_000);
//! # drop(file);
//! # std::fs::remove_file(path)?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! For blocks of an exact length use a `Box<[u8]>`: a `Vec` may have more room than it was asked
//! for, and a read fills all of it. `buffer.slice(..length)` writes a part of a buffer (see
//! [`IoBuf::slice`](crate::IoBuf::slice)).
//!
//! A read that finds its data in the system's cache may complete within the call; opening,
//! metadata and flushing always block. So do writes that [extend a file, and all to files that
//! are compressed or encrypted](https://devblogs.microsoft.com/oldnewthing/20180725-00/?p=99335):
//! they are done when the call returns, however long that takes, and their completion comes all
//! the same. [`Write::append`](crate::op::Write::append) writes at
//! the end, [`Lock`](crate::op::Lock) waits for a range, and [`Pages`](crate::Pages) are
//! buffers for files without caching.
//!
//! # Pipes
//!
//! [`pipe`](crate::pipe) creates servers and opens clients, and has an example.
//! [`ConnectPipe`](crate::op::ConnectPipe) waits for a client. A pipe of bytes is read like a
//! stream. A server creates its next instance before it serves a client, so that others find
//! one.
//!
//! On a pipe of messages each write is one, and
//! [`MoreData`](crate::ErrorKind::MoreData) says that the next read has the rest of it. Reads
//! append to a `Vec`, so make room behind what has come, and read on. A message may be empty:
//! [`is_at_end`](crate::Finished::is_at_end) tells it from the end.
//!
//! ```
//! use std::os::windows::io::OwnedHandle;
//!
//! use completion_port::{Associated, ErrorKind, Iocp, Result, op, pipe};
//!
//! /// The next message, however long it is; `None` at the end.
//! fn message(port: &Iocp, pipe: &Associated<OwnedHandle>) -> Result<Option<Vec<u8>>> {
//!     let mut message = Vec::with_capacity(64);
//!     loop {
//!         port.initiate_read(pipe, 2, message)?;
//!         let mut completion = port.get_completion()?;
//!         message = completion.operation.output()?;
//!         match completion.error_status {
//!             Ok(()) if completion.operation.is_at_end() => return Ok(None),
//!             Ok(()) => return Ok(Some(message)),
//!             Err(error) if error.kind() == ErrorKind::MoreData => message.reserve(message.len()),
//!             Err(error) => return Err(error),
//!         }
//!     }
//! }
//!
//! # let name = format!(r"\\.\pipe\completion-port-guide-{}", std::process::id());
//! let port = Iocp::new()?;
//! # let server = pipe::ServerOptions::new().messages(true).create(&name)?;
//! # let server = port.add_handle(server, 1)?;
//! # port.initiate(&server, 2, op::ConnectPipe::new())?;
//! # let client = port.add_handle(pipe::ClientOptions::new().messages(true).open(&name)?, 3)?;
//! # port.get_completion()?;
//! for length in [10, 0, 1000] {
//!     port.initiate_write(&client, 4, vec![7; length])?;
//! #   port.get_completion()?;
//!     assert_eq!(message(&port, &server)?.unwrap(), vec![7; length]);
//! }
//! drop(client);
//! assert!(message(&port, &server)?.is_none());
//! # Ok::<(), completion_port::Error>(())
//! ```
//!
//! # Datagrams
//!
//! ```
//! use std::net::UdpSocket;
//!
//! use completion_port::{Iocp, op};
//!
//! # let client = UdpSocket::bind("127.0.0.1:0")?;
//! let port = Iocp::new()?;
//! let socket = port.add_handle(UdpSocket::bind("127.0.0.1:0")?, 1)?;
//! # client.send_to(b"hello", socket.get_ref().local_addr()?)?;
//! // One client that is gone should not fail the receive from all others.
//! socket.ignore_unreachable()?;
//! port.initiate(&socket, 2, op::ReceiveFrom::new(Vec::with_capacity(1500)))?;
//! let mut completion = port.get_completion()?;
//! completion.error_status?;
//! let datagram: op::Datagram<Vec<u8>> = completion.operation.output()?;
//! if let Some(from) = datagram.from {
//!     port.initiate(&socket, 3, op::SendTo::new(datagram.buffer, from))?;
//! }
//! # port.get_completion()?.error_status?;
//! # let mut echoed = [0; 8];
//! # assert_eq!(client.recv(&mut echoed)?, 5);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A datagram that finds no receive in flight waits in the socket's buffer, and is lost where
//! that is full: have several receives in flight.
//!
//! # Directories
//!
//! A watch tells of the changes since the last one, and takes its `Changes` along:
//!
//! ```
//! use completion_port::{Iocp, fs, op};
//!
//! # let path = std::env::temp_dir().join(format!("completion-port-guide-watch-{}", std::process::id()));
//! # std::fs::create_dir(&path)?;
//! let port = Iocp::new()?;
//! let directory = port.add_handle(fs::open_directory(&path)?, 1)?;
//! let mut changes = op::Changes::with_capacity(65_536);
//! let mut renames = op::Renames::new();
//! # for _ in 0..1 {
//! port.initiate(&directory, 2, op::WatchDirectory::new(changes))?;
//! # std::fs::write(path.join("new"), "")?;
//! let mut completion = port.get_completion()?;
//! completion.error_status?;
//! changes = completion.operation.output()?;
//! if changes.overflowed() {
//!     println!("too many changes: look at the whole directory again");
//! }
//! for change in &changes {
//!     for event in renames.join(&change?) {
//!         println!("{event:?}");
//!     }
//! }
//! # }
//! # drop(directory);
//! # std::fs::remove_dir_all(path)?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Borrowed buffers
//!
//! A read into a borrowed buffer, as one would write it first:
//!
//! ```compile_fail,E0597
//! # use completion_port::{Associated, Iocp};
//! # fn process(_: &[u8]) {}
//! fn read(port: &Iocp, stream: &Associated<std::net::TcpStream>) -> completion_port::Result<()> {
//!     let mut buffer = [0; 1024];
//!     port.initiate_read(stream, 456, &mut buffer)?;
//!
//!     let completion = port.get_completion()?;
//!     match completion.context {
//!         456 => {
//!             completion.error_status?;
//!             process(&buffer[..completion.bytes_transferred as usize]);
//!         }
//!         _ => {}
//!     }
//!     Ok(())
//! }
//! ```
//!
//! The compiler's answer:
//!
//! ```text
//! error[E0597]: `buffer` does not live long enough
//!      |
//!    4 |     let mut buffer = [0; 1024];
//!      |         ---------- binding `buffer` declared here
//!    5 |     port.initiate_read(stream, 456, &mut buffer)?;
//!      |     --------------------------------^^^^^^^^^^^-
//!      |     |                               |
//!      |     |                               borrowed value does not live long enough
//!      |     argument requires that `buffer` is borrowed for `'static`
//! ```
//!
//! It is right. The call returns at once, and the kernel writes to the buffer later. If
//! `get_completion` fails, or returns the completion of another operation, `read` returns,
//! and the kernel would write to a stack that has become somebody else's. So the buffer moves
//! into the operation, and out of its completion:
//!
//! ```
//! # use completion_port::{Associated, Iocp};
//! # fn process(data: &[u8]) { assert_eq!(data, b"hello") }
//! fn read(port: &Iocp, stream: &Associated<std::net::TcpStream>) -> completion_port::Result<()> {
//!     port.initiate_read(stream, 456, Vec::with_capacity(1024))?;
//!
//!     let mut completion = port.get_completion()?;
//!     match completion.context {
//!         456 => {
//!             completion.error_status?;
//!             let buffer: Vec<u8> = completion.operation.output()?;
//!             process(&buffer);
//!         }
//!         _ => {}
//!     }
//!     Ok(())
//! }
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let mut client = std::net::TcpStream::connect(listener.local_addr()?)?;
//! # let port = Iocp::new()?;
//! # let stream = port.add_handle(listener.accept()?.0, 123)?;
//! # std::io::Write::write_all(&mut client, b"hello")?;
//! # read(&port, &stream)?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Or it is borrowed in a [`scope`](crate::Iocp::scope), which cancels its operations and
//! waits for them before it returns, whatever happens inside:
//!
//! ```
//! # use completion_port::{Associated, Iocp};
//! # fn process(data: &[u8]) { assert_eq!(data, b"hello") }
//! fn read(port: &Iocp, stream: &Associated<std::net::TcpStream>) -> completion_port::Result<()> {
//!     let mut buffer = [0; 1024];
//!     let completion = port.scope(|scope| {
//!         scope.initiate_read(stream, 456, &mut buffer)?;
//!         port.get_completion()
//!     })?;
//!     match completion.context {
//!         456 => {
//!             completion.error_status?;
//!             process(&buffer[..completion.bytes_transferred as usize]);
//!         }
//!         _ => {}
//!     }
//!     Ok(())
//! }
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let mut client = std::net::TcpStream::connect(listener.local_addr()?)?;
//! # let port = Iocp::new()?;
//! # let stream = port.add_handle(listener.accept()?.0, 123)?;
//! # std::io::Write::write_all(&mut client, b"hello")?;
//! # read(&port, &stream)?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Data that lives as long as the program is borrowed without a scope: `b"hello"`, or a
//! `static`.
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
//! Beside tokio, a driver dequeues. Stopping or dropping it waits for its thread, so do that
//! outside of the runtime's tasks, or in `spawn_blocking`.
//!
//! ```
//! # #[cfg(not(simulated_kernel))] {
//! use std::time::Duration;
//!
//! use completion_port::{Driver, Iocp};
//!
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let mut client = std::net::TcpStream::connect(listener.local_addr()?)?;
//! # let (stream, _) = listener.accept()?;
//! let port = Iocp::<()>::typed()?;
//! let driver = Driver::spawn(&port)?;
//! let stream = port.add_handle(stream, 0)?;
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
//! runtime.block_on(async {
//!     let mut read = port.initiate_read(&stream, (), Vec::with_capacity(64))?;
//!     // By reference, so that nothing is lost if the time is over first.
//!     let waited = tokio::time::timeout(Duration::from_millis(5), &mut read).await;
//!     assert!(waited.is_err());
//!     # std::io::Write::write_all(&mut client, b"hello")?;
//!     let (length, buffer) = read.await?;
//!     assert_eq!((length, buffer), (5, b"hello".to_vec()));
//!     Ok::<_, std::io::Error>(())
//! })?;
//! drop(driver);
//! # }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A future is asked for by name in `tokio::spawn` or a `JoinSet`: pass
//! `pending.into_future()` there. The crate `completion-port-io` has streams with the traits
//! of tokio, futures-io and hyper.
//!
//! # What allocates
//!
//! An operation allocates nothing once the port has had as many in flight before, as long as
//! what moves into it is small. Each lives in a cell of 128 bytes, of which 48 are for what
//! moves in; the port commits cells by 64 KiB when more are in flight than ever, and uses
//! them again.
//!
//! | What moves in | Where it is |
//! |---|---|
//! | what reads and writes take of up to 40 bytes, such as a `Vec`, `Box`, `Arc`, `Bytes`, `[u8; 40]` | in the cell |
//! | a context, beside the buffer in the 48 bytes: `usize`, `Box`, `Arc`, small enums | in the cell |
//! | what is larger, as with an address or several buffers, or aligned to more than 8 bytes | a block on the heap, which the cell keeps for its next operations, if it is of at most 64 KiB |
//! | what is larger than 64 KiB | a block on the heap for this operation alone |
//!
//! The bytes of a `Vec` or `Box` are on the heap already, and stay where they are. A large
//! array moves by value, as anywhere in Rust: box it. A [`Batch`](crate::Batch) allocates
//! its room once. A completion allocates nothing.
//!
//! # Coming from elsewhere
//!
//! | There | Here |
//! |---|---|
//! | **miow** `CompletionPort::new(threads)` | [`Iocp::with_concurrency`](crate::Iocp::with_concurrency) |
//! | `add_socket(token, &socket)`, `add_handle(token, &handle)` | [`add_handle(handle, context)`](crate::Iocp::add_handle), which owns it |
//! | `Overlapped`, pinned by hand | the port's own memory; nothing to pin |
//! | `unsafe read_overlapped`, `write_overlapped` | [`initiate_read`](crate::Iocp::initiate_read), [`initiate_write`](crate::Iocp::initiate_write) |
//! | `accept_overlapped`, `connect_overlapped` | [`initiate_accept`](crate::Iocp::initiate_accept), [`initiate_connect`](crate::Iocp::initiate_connect), and nothing to finish afterwards |
//! | `get`, `get_many` | [`get_completion`](crate::Iocp::get_completion), [`get_completions`](crate::Iocp::get_completions) with a [`Batch`](crate::Batch) |
//! | `CompletionStatus::token`, `overlapped` | [`handle_context`](crate::CompletionStatus::handle_context), [`context`](crate::CompletionStatus::context) |
//! | `post(CompletionStatus::new(..))` | [`post(context, ..)`](crate::Iocp::post) |
//! | **mio** `Poll::poll(&mut events, timeout)` | [`get_completions(&mut batch, timeout)`](crate::Iocp::get_completions) |
//! | `registry.register(&mut source, token, ..)` | [`add_handle`](crate::Iocp::add_handle) |
//! | readable: read until `WouldBlock` | start a read, and get its data; or wait with [`op::Readable`](crate::op::Readable) |
//! | writable: write until `WouldBlock` | start a write; its completion means the next one can start |
//! | `Waker::wake` | [`post`](crate::Iocp::post) |
//! | **tokio** `stream.read(&mut buffer).await` | `port.initiate_read(&stream, (), buffer)?.await?`, which returns the buffer |
//! | `#[tokio::main]`, `block_on` | [`block_on`](crate::Iocp::block_on), or tokio itself beside a [`Driver`](crate::Driver) |
//! | `select!` over a read | over `&mut pending`, which loses no data |
//! | `TcpListener::accept().await` | `let (_, stream) = port.initiate_accept(&listener, ())?.await?` |
//! | **compio** `BufResult(result, buffer)` | `Result<(u32, B), `[`Failed<B>`](crate::Failed)`>` |
//! | `IoBuf`, `IoBufMut`, `buffer.slice(..)` | [`IoBuf`](crate::IoBuf), [`IoBufMut`](crate::IoBufMut), [`slice`](crate::IoBuf::slice) |
//! | `Proactor::push(op)`, `poll` | [`initiate`](crate::Iocp::initiate), [`get_completions`](crate::Iocp::get_completions) |
//! | **.NET** `ThreadPoolBoundHandle.BindHandle` | [`add_handle`](crate::Iocp::add_handle), and threads of your own in [`run`](crate::Iocp::run) |
//! | `NativeOverlapped*`, `PreAllocatedOverlapped`, pinning | the port's own memory |
//! | `SocketAsyncEventArgs.UserToken` | the context of the operation |
//! | `ReceiveAsync` that returns `false` | [`Started::Completed`](crate::Started), with [`skip_on_success`](crate::Associated::skip_on_success) |
//! | `CancellationToken` | [`Pending::cancel`](crate::Pending::cancel) |
