//! Runs a program, from the opening of its handles to the last drop.

use std::collections::BTreeMap;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use completion_port::{Batch, ErrorKind, Iocp};

use crate::ends::{End, Port, open};
use crate::log::{Log, peer};
use crate::model;
use crate::operation::{Ticket, What};
use crate::program::{
    Before, Buffer, Closing, Dequeue, Ending, Fate, Hold, Kind, Object, Part, Program,
};
use crate::support::{PATIENCE, TempFile};
use crate::worker::{Session, Worker, serve};

/// Runs a program; what was wrong, if anything was.
pub fn run(program: &Program) -> Result<(), String> {
    let session = Session {
        log: Log::new(program),
        pendings: Mutex::default(),
        completions: Mutex::default(),
        connectors: Mutex::default(),
        forgotten: Mutex::default(),
    };
    let operations = program.most_operations();
    let port = Iocp::builder().max_operations(operations as u32).build().expect("a port");
    let (ends, files) = open_links(program, &port, &session.log);
    work(program, &session, port, ends);
    model::judge(&session.log, &files);
    let complaints = session.log.complaints();
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n")) }
}

type Ends = BTreeMap<usize, End>;

fn open_links(program: &Program, port: &Port, log: &Log) -> (Ends, Vec<Option<TempFile>>) {
    let mut ends = Ends::new();
    let mut files = Vec::new();
    for (index, link) in program.links.iter().enumerate() {
        let (pair, file) = open(port, *link, 2 * index);
        for (number, end) in (2 * index..).zip(pair) {
            if let Some(address) = end.address() {
                let _ = log.ends[number].address.set(address);
            }
            ends.insert(number, end);
        }
        files.push(file);
    }
    (ends, files)
}

/// Runs the threads, and ends what they leave.
fn work(program: &Program, session: &Session, port: Port, ends: Ends) {
    let count = program.threads.len();
    let mut workers: Vec<Worker> =
        (0..count).map(|_| Worker::new(session, port.clone(), Ends::new())).collect();
    for (number, end) in ends {
        workers[number % count].ends.insert(number, end);
    }
    // Wine loses what completes while the thread that started it ends, so no
    // thread does before the program is over.
    let gate = Mutex::new(());
    thread::scope(|scope| {
        let closed_gate = gate.lock();
        let closing = (!program.servers.is_empty()).then(|| ClosesPort(session, port.clone()));
        let mut servers = Vec::new();
        for fates in &program.servers {
            let port = port.clone();
            servers.push(scope.spawn(move || serve(session, &port, fates)));
        }

        let mut jobs = workers.into_iter().zip(&program.threads);
        // The first thread is this one.
        let (mut worker, steps) = jobs.next().expect("there is one");
        let others: Vec<Worker> = program.kernel.during(|| {
            let (sender, others) = mpsc::channel();
            for (mut other, steps) in jobs {
                let (sender, gate) = (sender.clone(), &gate);
                scope.spawn(move || {
                    other.run(steps);
                    sender.send(other).expect("somebody waits");
                    drop(sender);
                    drop(gate.lock());
                });
            }
            drop(sender);
            worker.run(steps);
            others.iter().collect()
        });
        assert_eq!(others.len() + 1, count, "a thread has panicked");
        let mut batches = Vec::new();
        for other in others {
            let (ends, batch) = other.leave();
            worker.ends.extend(ends);
            batches.push(batch);
        }

        if program.flush {
            // What is in them would never be over.
            drop_batches(&session.log, batches.drain(..));
            let batch = std::mem::replace(&mut worker.batch, Batch::with_capacity(0));
            drop_batches(&session.log, [batch]);
            session.ask_all();
            flush(&mut worker);
        }
        let (ends, batch) = worker.leave();
        batches.push(batch);
        drop(closing);
        for server in servers {
            server.join().expect("it does not panic");
        }
        let operations = program.most_operations();
        let finish = Finish { session, port, ends, batches, operations };
        program.kernel.at_the_end(|| finish.finish(&program.ending));
        drop(closed_gate);
    });
}

/// Closes the port when it is dropped, which ends the servers.
struct ClosesPort<'a>(&'a Session, Port);

impl Drop for ClosesPort<'_> {
    fn drop(&mut self) {
        self.0.close_port(&self.1);
    }
}

/// Lets one more in at each listener that is still open. Writes once more in each
/// direction whose ends are still open, and reads all that was written.
fn flush(worker: &mut Worker) {
    let log = &worker.session.log;
    if log.closing.get().is_some() {
        return;
    }
    let (listeners, ends): (Vec<usize>, Vec<usize>) =
        worker.ends.keys().partition(|end| log.ends[**end].object.listens());
    for end in listeners {
        let_in(worker, end);
    }
    let is_open = |end: &usize| {
        worker.ends.contains_key(&peer(*end)) && !model::may_be_aborted(log, *end, log.now(), None)
    };
    let ends: Vec<usize> = ends.into_iter().filter(is_open).collect();
    let last = Buffer { kind: Kind::Boxed, length: 16, held: 0 };
    let room = Buffer { kind: Kind::Boxed, length: 512, held: 0 };
    for end in &ends {
        worker.write(*end, last, 0, Hold::Drop);
    }
    let mut progress = Progress::of(log);
    for end in ends.iter().filter(|end| log.ends[**end].object != Object::File) {
        while !model::has_read_all(log, *end) {
            if !model::is_reading(log, *end) {
                worker.read(*end, room, 0, Hold::Drop);
            }
            worker.dequeue(Dequeue::Timeout, Fate::Take);
            if progress.has_ended(log) {
                log.wrong(format!("not everything arrives at end {end}"));
                break;
            }
        }
    }
}

/// Connects once more to a listener, which lets one more in: this, or one who
/// came before.
fn let_in(worker: &mut Worker, listener: usize) {
    let log = &worker.session.log;
    let accepts = || model::count_over(log, What::Accept { end: listener });
    let before = accepts();
    worker.accept(listener, Hold::Drop);
    worker.connect(listener, false, Hold::Drop);
    let mut progress = Progress::of(log);
    while accepts() == before || !model::are_over(log, What::Connect { end: listener }) {
        worker.dequeue(Dequeue::Timeout, Fate::Take);
        if progress.has_ended(log) {
            return log.wrong(format!("end {listener} lets nobody in"));
        }
    }
}

/// Tells slow from never: other threads dequeue as well.
struct Progress {
    over: usize,
    since: Instant,
}

impl Progress {
    fn of(log: &Log) -> Self {
        let operations = log.operations();
        let over = operations.iter().filter(|operation| model::is_over(operation)).count();
        Self { over, since: Instant::now() }
    }

    /// Whether no operation has come to its end for a long time.
    fn has_ended(&mut self, log: &Log) -> bool {
        let now = Self::of(log);
        if now.over != self.over {
            *self = now;
        }
        self.since.elapsed() > PATIENCE
    }
}

/// What is left of a program after its threads.
struct Finish<'a> {
    session: &'a Session,
    port: Port,
    ends: Ends,
    batches: Vec<Batch<Ticket>>,
    operations: usize,
}

impl Finish<'_> {
    fn finish(mut self, ending: &Ending) {
        match ending.before {
            Before::Nothing => {}
            Before::Drain => self.drain(),
            Before::ShutDown => self.shut_down(),
        }
        let drains = ending.before == Before::Drain;
        let Self { session, port, ends, batches, operations } = self;
        let (mut port, mut ends, mut batches) = (Some(port), Some(ends), Some(batches));
        for (index, part) in ending.order.iter().enumerate() {
            match part {
                Part::Handles => {
                    for end in ends.iter().flatten().map(|(number, _)| *number) {
                        let _ = session.log.ends[end].closing.set(session.log.now());
                    }
                    ends = None;
                    close_connectors(session);
                    close_forgotten(session);
                }
                Part::Pendings => drop_pendings(session, port.is_none()),
                Part::Completions => {
                    batches = None;
                    drop_completions(session);
                }
                Part::Port => {
                    let port = port.take().expect("it is dropped once");
                    let is_last = index + 1 == ending.order.len();
                    if is_last && drains && session.log.closing.get().is_none() {
                        expect_room(session, &port, operations);
                    }
                    let _ = session.log.dropping.set(session.log.now());
                    drop(port);
                }
            }
        }
        drop((ends, batches));
    }

    /// Lets the port cancel everything, and dequeue until nothing is in flight.
    fn shut_down(&mut self) {
        let session = self.session;
        let log = &session.log;
        drop_batches(log, self.batches.drain(..));
        // It drops them, too.
        log.strangers.lose_some();
        let began = log.now();
        for end in &log.ends {
            end.cancels.lock().expect("nobody panics with it").push(began);
        }
        for operation in log.operations().iter().filter(|operation| operation.end().is_none()) {
            operation.facts().cancelled.get_or_insert(began);
        }
        let _ = log.closing.set(began);
        let left = self.port.shut_down_with(Duration::ZERO, |completion| {
            session.settle(completion, began, Fate::Take);
        });
        let _ = log.closed.set(log.now());
        if left > 0 {
            log.wrong(format!("{left} operations are left by the end of the port"));
        }
    }

    /// Cancels everything, and dequeues until nothing is in flight.
    fn drain(&mut self) {
        let session = self.session;
        drop_batches(&session.log, self.batches.drain(..));
        let mut worker = Worker::new(session, self.port.clone(), std::mem::take(&mut self.ends));
        worker.ends.keys().for_each(|end| worker.cancel_all(*end));
        for connector in &*session.connectors.lock().expect("nobody panics with it") {
            connector.cancel(&session.log);
        }
        close_forgotten(session);
        let mut progress = Progress::of(&session.log);
        let operations = session.log.operations();
        while !operations.iter().all(|operation| model::is_over(operation)) {
            if !worker.dequeue(Dequeue::Timeout, Fate::Take) {
                thread::sleep(Duration::from_millis(1));
            }
            if progress.has_ended(&session.log) {
                let in_flight = operations.iter().filter(|operation| !model::is_over(operation));
                session.log.wrong(format!("never over: {:?}", in_flight.collect::<Vec<_>>()));
                break;
            }
        }
        while worker.dequeue(Dequeue::Try, Fate::Take) {}
        if let Some(packet) = session.log.strangers.missing() {
            session.log.wrong(format!("{packet:?} has not come out"));
        }
        self.ends = worker.ends;
    }
}

/// Drops batches with all that is in them.
fn drop_batches(log: &Log, batches: impl IntoIterator<Item = Batch<Ticket>>) {
    let lost: usize = batches.into_iter().map(|batch| batch.len()).sum();
    if lost > 0 {
        log.strangers.lose_some();
    }
}

fn close_forgotten(session: &Session) {
    for (end, handle) in session.forgotten.lock().expect("nobody panics with it").drain(..) {
        let _ = session.log.ends[end].closing.set(session.log.now());
        handle.close();
    }
}

fn close_connectors(session: &Session) {
    let connectors = std::mem::take(&mut *session.connectors.lock().expect("as above"));
    for connector in connectors {
        connector.expect_connection(&session.log);
        connector.close(&session.log, Closing::Drop);
    }
}

/// Drops the `Pending`s that were kept, half of them without their buffers.
fn drop_pendings(session: &Session, is_port_gone: bool) {
    session.ask_all();
    let mut pendings = session.pendings.lock().expect("nobody panics with it");
    for (index, mut kept) in pendings.drain(..).enumerate() {
        if is_port_gone && !kept.pending.is_completed() {
            session.log.wrong(format!("the port has left {:?} in flight", kept.operation));
        }
        if index % 2 == 0 {
            kept.take(&session.log);
        }
    }
}

fn drop_completions(session: &Session) {
    let completions = std::mem::take(&mut *session.completions.lock().expect("as above"));
    for (index, kept) in completions.into_iter().enumerate() {
        session.meet(kept, if index % 2 == 0 { Fate::Take } else { Fate::Drop });
    }
}

/// Everything has been given back, so there is room for as many operations as
/// there ever was, but for what was forgotten.
fn expect_room(session: &Session, port: &Port, operations: usize) {
    let lost =
        session.log.operations().iter().filter(|operation| model::is_lost(operation)).count();
    let mut count = 0;
    let error = loop {
        match port.post(model::extra(), 0, 0) {
            Ok(()) => count += 1,
            Err(rejected) => break rejected.error,
        }
    };
    if error.kind() != ErrorKind::TooManyOperations || count + lost != operations {
        session.log.wrong(format!(
            "of {operations} operations there is room for {count}, {lost} were forgotten: {error}"
        ));
    }
    while let Ok(Some(_)) = port.try_get_completion() {}
}
