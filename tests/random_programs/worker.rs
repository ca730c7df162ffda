//! A thread of a program, which does its steps.

use std::collections::BTreeMap;
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use completion_port::{
    Batch, CompletionStatus, Error, ErrorKind, Finished, OperationKind, Pending, Rejected, Result,
    Started, op,
};

use crate::buffer::{
    Bytes, FILL, LARGE, Marked, Open, Room, SMALL, cut, take, with_room, with_type,
};
use crate::connections::Connector;
use crate::ends::{
    End, FILE_LENGTH, Port, Raw, connector, key, on, on_datagrams, on_queued, on_socket,
};
use crate::log::{Log, Time};
use crate::operation::{Bell, Deadline, Operation, Outcome, Ticket, What, kind_of};
use crate::pending::{AnyPending, KeptPending, Output};
use crate::program::{Act, Borrowed, Buffer, Closing, Dequeue, Fate, Hold, Kind, Object, Step};

/// What the threads of a program share.
pub struct Session {
    pub log: Log,
    pub pendings: Mutex<Vec<KeptPending>>,
    pub completions: Mutex<Vec<KeptCompletion>>,
    pub connectors: Mutex<Vec<Connector>>,
    /// Handles whose owners were forgotten, with the numbers of their ends.
    pub forgotten: Mutex<Vec<(usize, Raw)>>,
}

pub struct KeptCompletion {
    ticket: Ticket,
    finished: Finished,
}

pub struct Worker<'a> {
    pub session: &'a Session,
    pub port: Port,
    pub ends: BTreeMap<usize, End>,
    pub batch: Batch<Ticket>,
    /// When the oldest completion in the batch may have been dequeued.
    batch_began: Time,
}

/// Starts an operation on an end by `Iocp::initiate`, and writes down what comes of it.
macro_rules! start {
    ($worker:ident, $end:ident, $operation:ident, $hold:ident, $on:ident, $value:expr) => {{
        let (ticket, value) = (Ticket(Arc::clone(&$operation)), $value);
        let started = $on!(&$worker.ends[&$end], handle => {
            $worker.port.initiate(handle, ticket, value).map(either)
        });
        $worker.begun(&$operation, started, $hold);
    }};
}

/// What was started, whichever way its completion comes.
fn either<T>(started: impl Into<Started<T, Ticket>>) -> Started<T, Ticket> {
    started.into()
}

/// Takes one thing out of a pool.
fn pick<T>(pool: &Mutex<Vec<T>>, which: usize) -> Option<T> {
    let mut pool = pool.lock().expect("nobody panics with it");
    let index = which.checked_rem(pool.len())?;
    Some(pool.swap_remove(index))
}

fn put<T>(pool: &Mutex<Vec<T>>, value: T) {
    pool.lock().expect("nobody panics with it").push(value);
}

impl<'a> Worker<'a> {
    pub fn new(session: &'a Session, port: Port, ends: BTreeMap<usize, End>) -> Self {
        Self { session, port, ends, batch: Batch::with_capacity(4), batch_began: 0 }
    }

    /// What is left when the thread is done, without its part in the port.
    pub fn leave(self) -> (BTreeMap<usize, End>, Batch<Ticket>) {
        (self.ends, self.batch)
    }

    pub fn run(&mut self, steps: &[Step]) {
        for step in steps {
            self.step(step);
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Read { end, buffer, offset, hold } => {
                if let Some(end) = self.choose(end, Object::transfers) {
                    self.read(end, buffer, offset, hold);
                }
            }
            Step::Write { end, buffer, offset, hold } => {
                if let Some(end) = self.choose(end, Object::transfers) {
                    self.write(end, buffer, offset, hold);
                }
            }
            Step::Accept { end, hold } => {
                if let Some(end) = self.choose(end, Object::listens) {
                    self.accept(end, hold);
                }
            }
            Step::Connect { end, skips, hold } => {
                if let Some(end) = self.session.log.listener(end) {
                    self.connect(end, skips, hold);
                }
            }
            Step::Disconnect { which, how } => {
                if let Some(connector) = pick(&self.session.connectors, which) {
                    connector.close(&self.session.log, how);
                }
            }
            Step::Scope { end, ref operations, ref dequeues } => {
                if let Some(end) = self.choose(end, Object::transfers) {
                    self.scope(end, operations, dequeues);
                }
            }
            Step::Post { bytes, handle_context } => self.post(bytes, handle_context),
            Step::Timer { after, hold } => self.timer(after, hold),
            Step::Foreign { which } => self.session.log.strangers.post(&self.port, which),
            Step::Dequeue { how, fate } => {
                self.dequeue(how, fate);
            }
            Step::Pending { which, act } => {
                if let Some(kept) = pick(&self.session.pendings, which) {
                    self.session.act(kept, act);
                }
            }
            Step::Completion { which, fate } => {
                if let Some(kept) = pick(&self.session.completions, which) {
                    self.session.meet(kept, fate);
                }
            }
            Step::CancelAll { end } => {
                if let Some(end) = self.choose(end, |_| true) {
                    self.cancel_all(end);
                }
            }
            Step::Close { end, how } => {
                if let Some(end) = self.choose(end, |_| true) {
                    self.close(end, how);
                }
            }
            Step::ClosePort => self.session.close_port(&self.port),
        }
    }

    /// One of the ends that this thread owns, that are open, and are wanted.
    fn choose(&self, end: usize, is_wanted: impl Fn(Object) -> bool) -> Option<usize> {
        let ends = self.ends.keys().copied().filter(|end| is_wanted(self.object(*end)));
        let ends: Vec<usize> = ends.collect();
        Some(ends[end.checked_rem(ends.len())?])
    }

    fn object(&self, end: usize) -> Object {
        self.session.log.ends[end].object
    }

    pub fn read(&mut self, end: usize, buffer: Buffer, offset: u64, hold: Hold) {
        let log = &self.session.log;
        let kind = self.kind_on(end, buffer.kind, true);
        let length = own_length(kind).unwrap_or(buffer.length);
        let turn = log.ends[end].reads.fetch_add(1, Ordering::Relaxed);
        let mut operation = Operation::new(What::Read { end }, turn, length, log.now());
        operation.kind = Some(kind);
        operation.held = if kind == Kind::Vector { buffer.held } else { 0 };
        operation.offset = offset;
        let held = operation.held;
        let operation = log.add(operation);
        let at = (self.object(end) == Object::File).then_some(offset);
        let room = || Room::with_room(length, held);
        match kind {
            Kind::Pieces => {
                start!(
                    self,
                    end,
                    operation,
                    hold,
                    on_socket,
                    op::ReadVectored::new(cut(room(), &operation))
                );
            }
            Kind::WithSender => {
                start!(
                    self,
                    end,
                    operation,
                    hold,
                    on_datagrams,
                    op::ReceiveFrom::new(Marked::<Box<[u8]>>::new(room(), &operation))
                );
            }
            _ => with_room!(
                kind,
                B => {
                    let read = op::Read::new(Marked::<B>::new(Room::with_room(length, held), &operation));
                    start!(self, end, operation, hold, on, at.into_iter().fold(read, op::Read::at));
                },
                unreachable!("it cannot be read into")
            ),
        }
    }

    pub fn write(&mut self, end: usize, buffer: Buffer, offset: u64, hold: Hold) {
        let log = &self.session.log;
        let kind = self.kind_on(end, buffer.kind, false);
        let mut length = own_length(kind).unwrap_or(buffer.length);
        let is_file = self.object(end) == Object::File;
        if is_file {
            // Files keep their lengths.
            length = length.min(FILE_LENGTH);
        }
        let turn = log.ends[end].writes.fetch_add(1, Ordering::Relaxed);
        let mut operation = Operation::new(What::Write { end }, turn, length, log.now());
        operation.kind = Some(kind);
        operation.offset = offset.min((FILE_LENGTH - length.min(FILE_LENGTH)) as u64);
        let at = is_file.then_some(operation.offset);
        let operation = log.add(operation);
        let content = &*operation.content;
        match kind {
            Kind::Pieces => {
                start!(
                    self,
                    end,
                    operation,
                    hold,
                    on_socket,
                    op::WriteVectored::new(cut(content.into(), &operation))
                );
            }
            _ => with_type!(kind, B => {
                let write = op::Write::new(Marked::<B>::new(B::with(content), &operation));
                start!(self, end, operation, hold, on, at.into_iter().fold(write, op::Write::at));
            }),
        }
    }

    /// The kind of buffer that an end takes for it.
    fn kind_on(&self, end: usize, kind: Kind, reads: bool) -> Kind {
        let object = self.object(end);
        let is_taken = match kind {
            Kind::Shared => !reads,
            Kind::Pieces => matches!(object, Object::Stream | Object::Datagrams),
            Kind::WithSender => reads && object == Object::Datagrams,
            _ => true,
        };
        if is_taken { kind } else { Kind::Boxed }
    }

    /// An operation with a buffer was started, or refused.
    fn begun<T: Output>(
        &mut self,
        operation: &Arc<Operation>,
        started: Result<Started<T, Ticket>, Rejected<(Ticket, impl Open)>>,
        hold: Hold,
    ) {
        match started {
            Ok(started) => self.started(operation, started, hold),
            Err(Rejected { error, returned: (ticket, memory) }) => {
                self.session.refused(operation, &error, &ticket);
                operation.take(&self.session.log, || Some(memory.open()));
            }
        }
    }

    pub fn accept(&mut self, end: usize, hold: Hold) {
        let log = &self.session.log;
        let turn = log.ends[end].reads.fetch_add(1, Ordering::Relaxed);
        let operation = log.add(Operation::new(What::Accept { end }, turn, 0, log.now()));
        let ticket = Ticket(Arc::clone(&operation));
        let accept = on!(&self.ends[&end], handle => {
            self.port.initiate_accept(handle, ticket).map(either)
        });
        self.started_or_not(&operation, accept, hold);
    }

    /// Connects a new socket to an end that listens, or did a while ago.
    pub fn connect(&mut self, end: usize, skips: bool, hold: Hold) {
        let session = self.session;
        let log = &session.log;
        let listener = *log.ends[end].address.get().expect("it listens");
        let socket = match connector(&self.port, listener, key(end), skips) {
            Ok(socket) => socket,
            Err(rejected) => return session.expect_closed(&rejected.error),
        };
        let turn = log.ends[end].writes.fetch_add(1, Ordering::Relaxed);
        let operation = log.add(Operation::new(What::Connect { end }, turn, 0, log.now()));
        let ticket = Ticket(Arc::clone(&operation));
        let connect = on!(&socket, handle => {
            self.port.initiate_connect(handle, ticket, listener).map(either)
        });
        operation.facts().client = socket.client();
        put(&session.connectors, Connector { operation: Arc::clone(&operation), socket });
        self.started_or_not(&operation, connect, hold);
    }

    fn started_or_not<T: Output>(
        &mut self,
        operation: &Arc<Operation>,
        started: Result<Started<T, Ticket>, Rejected<Ticket>>,
        hold: Hold,
    ) {
        match started {
            Ok(started) => self.started(operation, started, hold),
            Err(Rejected { error, returned: ticket }) => {
                self.session.refused(operation, &error, &ticket);
            }
        }
    }

    fn started<T: Output>(
        &mut self,
        operation: &Arc<Operation>,
        started: Started<T, Ticket>,
        hold: Hold,
    ) {
        let session = self.session;
        operation.facts().launched = Some(session.log.now());
        match (started, hold) {
            (started, Hold::Push) => {
                if self.batch.is_empty() {
                    self.batch_began = session.log.now();
                }
                self.batch.push(started);
            }
            (Started::Completed(completion), _) => {
                let fate = match hold {
                    Hold::Drop => Fate::Drop,
                    Hold::Keep => Fate::Keep,
                    Hold::Forget => Fate::Forget,
                    Hold::Cancel | Hold::Await | Hold::Deadline(_) | Hold::Push => Fate::Take,
                };
                session.settle(completion, operation.started, fate);
            }
            (Started::Pending(pending), _) => {
                let pending = Box::new(pending);
                let kept = KeptPending { operation: Arc::clone(operation), pending };
                match hold {
                    Hold::Drop | Hold::Push => drop(kept),
                    Hold::Keep => put(&session.pendings, kept),
                    Hold::Cancel => session.act(kept, Act::Cancel),
                    Hold::Await => session.act(kept, Act::Leave),
                    Hold::Deadline(after) => session.act(kept, Act::Deadline(Some(after))),
                    Hold::Forget => session.act(kept, Act::Forget),
                }
            }
        }
    }

    /// Operations on borrowed buffers, and what they leave in them.
    fn scope(&mut self, end: usize, operations: &[Borrowed], dequeues: &[Fate]) {
        if on_queued!(&self.ends[&end], _handle => false, true) {
            return;
        }
        let is_file = self.object(end) == Object::File;
        let log = &self.session.log;
        let counts = &log.ends[end];
        let operations: Vec<(Arc<Operation>, Hold)> = operations
            .iter()
            .map(|borrowed| {
                let (what, count, length) = if borrowed.writes {
                    let longest = if is_file { FILE_LENGTH } else { usize::MAX };
                    (What::Write { end }, &counts.writes, borrowed.length.min(longest))
                } else {
                    (What::Read { end }, &counts.reads, borrowed.length)
                };
                let turn = count.fetch_add(1, Ordering::Relaxed);
                let mut operation = Operation::new(what, turn, length, log.now());
                operation.offset = if borrowed.writes {
                    borrowed.offset.min((FILE_LENGTH - length.min(FILE_LENGTH)) as u64)
                } else {
                    borrowed.offset
                };
                (log.add(operation), borrowed.hold)
            })
            .collect();
        let mut buffers: Vec<Vec<u8>> = operations
            .iter()
            .map(|(operation, _)| match operation.what {
                What::Write { .. } => operation.content.clone(),
                _ => vec![FILL; operation.length],
            })
            .collect();

        let port = self.port.clone();
        port.scope(|scope| {
            for ((operation, hold), buffer) in operations.iter().zip(&mut buffers) {
                let ticket = Ticket(Arc::clone(operation));
                let at = operation.offset;
                let started = on_queued!(
                    &self.ends[&end],
                    handle => match (operation.what, is_file) {
                        (What::Write { .. }, true) => scope
                            .initiate_write_at(handle, ticket, buffer, at)
                            .map(|pending| self.session.lend(operation, pending, *hold)),
                        (What::Write { .. }, false) => scope
                            .initiate_write(handle, ticket, buffer)
                            .map(|pending| self.session.lend(operation, pending, *hold)),
                        (_, true) => scope
                            .initiate_read_at(handle, ticket, buffer, at)
                            .map(|pending| self.session.lend(operation, pending, *hold)),
                        (_, false) => scope
                            .initiate_read(handle, ticket, buffer)
                            .map(|pending| self.session.lend(operation, pending, *hold)),
                    },
                    unreachable!("not for scopes")
                );
                if let Err(Rejected { error, returned: ticket }) = started {
                    self.session.refused(operation, &error, &ticket);
                }
            }
            for fate in dequeues {
                self.dequeue(Dequeue::Timeout, *fate);
            }
            for (operation, _) in &operations {
                operation.facts().cancelled.get_or_insert(log.now());
            }
        });

        for ((operation, _), mut buffer) in operations.iter().zip(buffers) {
            if matches!(operation.what, What::Write { .. }) && buffer != operation.content {
                log.wrong(format!("the buffer of {operation:?} has changed"));
            }
            operation.facts().taken = Some(buffer.clone());
            // It is ours alone.
            buffer.fill(0);
        }
    }

    fn post(&self, bytes: u32, handle_context: usize) {
        let log = &self.session.log;
        let what = What::Post { bytes, handle_context };
        let operation = log.add(Operation::new(what, 0, 0, log.now()));
        match self.port.post(Ticket(Arc::clone(&operation)), handle_context, bytes) {
            Ok(()) => operation.facts().launched = Some(log.now()),
            Err(Rejected { error, returned: ticket }) => {
                self.session.refused(&operation, &error, &ticket);
            }
        }
    }

    fn timer(&mut self, after: u64, hold: Hold) {
        let (log, after) = (&self.session.log, Duration::from_millis(after));
        let what = What::Timer { due: Instant::now() + after };
        let operation = log.add(Operation::new(what, 0, 0, log.now()));
        let timer = self.port.after(after, Ticket(Arc::clone(&operation))).map(either);
        self.started_or_not(&operation, timer, hold);
    }

    /// Dequeues what is there; whether there was anything.
    pub fn dequeue(&mut self, how: Dequeue, fate: Fate) -> bool {
        let session = self.session;
        let began = session.log.now();
        let received = match how {
            Dequeue::Try => self.port.try_get_completion(),
            Dequeue::Timeout => self.port.get_completion_timeout(Duration::from_millis(1)),
            Dequeue::Batch(count) => return self.dequeue_batch(count, fate),
        };
        match received {
            Ok(Some(completion)) => {
                session.settle(completion, began, fate);
                return true;
            }
            Ok(None) => session.expect_open(began),
            Err(error) => return session.meet_stranger(&error),
        }
        false
    }

    fn dequeue_batch(&mut self, count: usize, fate: Fate) -> bool {
        let session = self.session;
        let began = session.log.now();
        if self.batch.is_empty() {
            self.batch_began = began;
        }
        match self.port.get_completions(&mut self.batch, Some(Duration::ZERO)) {
            Ok(0) => session.expect_open(began),
            Ok(_) => {}
            Err(error) => session.expect_closed(&error),
        }
        let received: Vec<_> = self.batch.by_ref().take(count).collect();
        let any = !received.is_empty();
        for completion in received {
            match completion {
                Ok(completion) => session.settle(completion, self.batch_began, fate),
                Err(error) => {
                    session.meet_stranger(&error);
                }
            }
        }
        any
    }

    pub fn cancel_all(&self, end: usize) {
        let log = &self.session.log;
        log.ends[end].cancels.lock().expect("nobody panics with it").push(log.now());
        if let Err(error) = on!(&self.ends[&end], handle => handle.cancel_all()) {
            log.wrong(format!("cancelling everything on end {end}: {error}"));
        }
    }

    fn close(&mut self, number: usize, how: Closing) {
        let log = &self.session.log;
        let end = self.ends.remove(&number).expect("it is open");
        if let Closing::Forget = how {
            put(&self.session.forgotten, (number, Raw::of(&end)));
            mem::forget(end);
            return;
        }
        let _ = log.ends[number].closing.set(log.now());
        if let Closing::Reset = how {
            let _ = log.ends[number].is_reset.set(());
        }
        end.close(how);
    }
}

/// The length of a kind of buffers that have one.
fn own_length(kind: Kind) -> Option<usize> {
    match kind {
        Kind::SmallArray => Some(SMALL),
        Kind::LargeArray => Some(LARGE),
        _ => None,
    }
}

/// A thread that does nothing but dequeue until the port is closed.
pub fn serve(session: &Session, port: &Port, fates: &[Fate]) {
    for fate in fates.iter().cycle() {
        let began = session.log.now();
        match port.get_completion() {
            Ok(completion) => session.settle(completion, began, *fate),
            Err(error) => {
                if !session.meet_stranger(&error) {
                    return;
                }
            }
        }
    }
}

impl Session {
    /// A completion has come: writes it down, and does something with it.
    pub fn settle(&self, completion: CompletionStatus<Ticket>, began: Time, fate: Fate) {
        let CompletionStatus { context: ticket, operation: finished, .. } = completion;
        let operation = &ticket.0;
        let mut bytes = completion.bytes_transferred as usize;
        let is_post = matches!(operation.what, What::Post { .. });
        if !is_post && bytes == operation.length + self.log.kernel.over_report as usize {
            bytes = operation.length;
        }
        let error = completion.error_status.err().map(|error| kind_of(&error));
        operation.complete(&self.log, began, Outcome { bytes, error });
        let (kind, context) = match operation.what {
            What::Read { end } => (OperationKind::Read, key(end)),
            What::Write { end } => (OperationKind::Write, key(end)),
            What::Accept { end } => (OperationKind::Accept, key(end)),
            What::Connect { end } => (OperationKind::Connect, key(end)),
            What::Post { handle_context, .. } => (OperationKind::Post, handle_context),
            What::Timer { .. } => (OperationKind::Timer, 0),
        };
        if (finished.kind(), completion.handle_context) != (kind, context) {
            self.log.wrong(format!(
                "{operation:?} has come back as {:?} with the context {}",
                finished.kind(),
                completion.handle_context
            ));
        }
        self.meet(KeptCompletion { ticket, finished }, fate);
    }

    /// Does something with a completion.
    pub fn meet(&self, kept: KeptCompletion, fate: Fate) {
        let KeptCompletion { ticket, mut finished } = kept;
        match fate {
            Fate::Drop => {}
            Fate::Keep => put(&self.completions, KeptCompletion { ticket, finished }),
            Fate::Forget => {
                let mut facts = ticket.0.facts();
                facts.forgotten.context = true;
                facts.forgotten.completion = true;
                drop(facts);
                mem::forget((ticket, finished));
            }
            Fate::Take => {
                let operation = &ticket.0;
                if finished.take_buffer::<Vec<u8>>().is_some() {
                    self.log.wrong(format!("{operation:?} has given its buffer as another type"));
                }
                if let What::Accept { .. } = operation.what {
                    return operation.take_accepted(&self.log, || finished.take_accepted());
                }
                operation.take(&self.log, || take(operation, &mut finished));
            }
        }
    }

    /// Does something with a `Pending`.
    pub fn act(&self, mut kept: KeptPending, act: Act) {
        let KeptPending { operation, pending } = &mut kept;
        let began = self.log.now();
        match act {
            Act::Cancel => self.cancel(operation, || pending.cancel()),
            Act::Deadline(after) => {
                self.set_deadline(operation, after, |at| pending.set_deadline(at));
            }
            Act::Take => pending.take(operation, &self.log),
            Act::Ask => self.ask(operation, &**pending),
            Act::Await => self.poll(operation, &mut **pending, false),
            Act::Leave => self.poll(operation, &mut **pending, true),
            Act::Abandon => {
                operation.facts().cancelled.get_or_insert(began);
                // Its waker takes the place of the one that was left.
                operation.facts().bell = None;
                let KeptPending { operation, pending } = kept;
                if pending.abandon(&operation, &self.log) {
                    operation.facts().over.get_or_insert(self.log.now());
                }
                return;
            }
            Act::Drop => return,
            Act::Forget => {
                operation.facts().forgotten.pending = true;
                mem::forget(kept);
                return;
            }
        }
        put(&self.pendings, kept);
    }

    fn cancel(&self, operation: &Operation, cancel: impl FnOnce() -> Result<bool>) {
        operation.facts().cancelled.get_or_insert(self.log.now());
        match (cancel(), operation.what) {
            (Ok(_), _) => {}
            // A timer is cancelled by a packet, for which there may be no room.
            (Err(error), What::Timer { .. }) if kind_of(&error) == ErrorKind::ResourceExhausted => {
                self.log.shortages.fetch_add(1, Ordering::Relaxed);
            }
            (Err(error), _) => self.log.wrong(format!("cancelling {operation:?}: {error}")),
        }
    }

    /// Sets a deadline so many milliseconds from now, or none.
    fn set_deadline(
        &self,
        operation: &Operation,
        after: Option<u64>,
        set: impl FnOnce(Option<Instant>) -> Result<()>,
    ) {
        let at = after.map(|after| Instant::now() + Duration::from_millis(after));
        // It may be reached before the call is over, and the one before, too.
        operation.facts().deadlines.push(Deadline { at, until: None });
        if let Err(error) = set(at) {
            self.log.wrong(format!("setting a deadline of {operation:?}: {error}"));
        }
        let now = Instant::now();
        if let [.., before, _] = &mut *operation.facts().deadlines {
            before.until = Some(now);
        }
    }

    /// Asks all `Pending`s that were kept how their operations ended.
    pub fn ask_all(&self) {
        for kept in &*self.pendings.lock().expect("nobody panics with it") {
            self.ask(&kept.operation, &*kept.pending);
        }
    }

    fn ask(&self, operation: &Operation, pending: &dyn AnyPending) {
        let began = self.log.now();
        let was_seen = |facts: &crate::operation::Facts| {
            facts.completed.is_some_and(|completed| completed.seen < began)
        };
        let is_completed = pending.is_completed();
        let result = pending.result();
        let mut facts = operation.facts();
        if is_completed {
            facts.over.get_or_insert(self.log.now());
            if result.is_none() {
                self.log.wrong(format!("{operation:?} is over, without a result"));
            }
        } else if was_seen(&facts) {
            self.log.wrong(format!("{operation:?} is over, but its Pending does not know"));
        }
        if let Some(result) = result {
            facts.told = Some(result.map_err(|error| kind_of(&error)));
        }
    }

    /// Awaits, with a waker that rings a bell if it is left.
    fn poll(&self, operation: &Arc<Operation>, pending: &mut dyn AnyPending, leaves: bool) {
        let bell = Arc::<Bell>::default();
        let waker = Waker::from(Arc::clone(&bell));
        let is_over = pending.poll(&waker, leaves, operation, &self.log);
        let mut facts = operation.facts();
        if is_over {
            facts.over.get_or_insert(self.log.now());
        } else {
            facts.bell = leaves.then_some(bell);
        }
    }

    /// Does something with the `Pending` of a borrowed buffer.
    fn lend<B>(&self, operation: &Operation, mut pending: Pending<B>, hold: Hold) {
        operation.facts().launched = Some(self.log.now());
        match hold {
            Hold::Drop | Hold::Keep | Hold::Push => {}
            Hold::Await => {
                let _ = pending.poll_completed(&mut Context::from_waker(Waker::noop()));
            }
            Hold::Cancel => self.cancel(operation, || pending.cancel()),
            Hold::Deadline(after) => {
                self.set_deadline(operation, Some(after), |at| pending.set_deadline(at));
            }
            Hold::Forget => {
                operation.facts().forgotten.pending = true;
                mem::forget(pending);
            }
        }
    }

    pub fn close_port(&self, port: &Port) {
        let _ = self.log.closing.set(self.log.now());
        port.close();
        let _ = self.log.closed.set(self.log.now());
    }

    /// An operation was not started, and has given its context back.
    fn refused(&self, operation: &Arc<Operation>, error: &Error, ticket: &Ticket) {
        operation.facts().rejected = Some((self.log.now(), error.kind()));
        if !Arc::ptr_eq(operation, &ticket.0) {
            self.log.wrong(format!("{operation:?} has returned the context of {:?}", ticket.0));
        }
    }

    /// A dequeue that began then has found nothing.
    fn expect_open(&self, began: Time) {
        if self.log.closed.get().is_some_and(|closed| *closed < began) {
            self.log.wrong("the port is closed, but does not say so".into());
        }
    }

    /// Dequeuing has failed: whether it was for a packet of other code.
    fn meet_stranger(&self, error: &Error) -> bool {
        let Some(packet) = error.foreign_packet() else {
            self.expect_closed(error);
            return false;
        };
        if let Err(complaint) = self.log.strangers.meet(packet) {
            self.log.wrong(complaint);
        }
        true
    }

    fn expect_closed(&self, error: &Error) {
        if !(error.is_closed() && self.log.is_closing(self.log.now())) {
            self.log.wrong(format!("dequeuing failed: {error}"));
        }
    }
}
