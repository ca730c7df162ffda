//! Random work on completion ports, for as long as it is told to.
//!
//! Several threads share a port. Each opens connections, one after the other,
//! reads, writes, cancels, resets and drops at random, and dequeues whatever
//! completes, be it its own or not. Every second or so all that is closed, and
//! there is a new port. Then nothing may be in flight, and the process must not
//! have grown.
#![cfg(windows)]

mod arguments;
mod link;
mod measure;
mod random;
mod ticket;

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use completion_port::{Batch, Iocp};

use arguments::Arguments;
use link::Link;
use measure::Size;
use random::Random;
use ticket::{Ticket, counts};

/// How often to tell how it goes.
const REPORT: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.as_micros() as u64 % 1_000_000
    });
    println!("seed {seed} (--seed {seed} does the same work again)");

    let start = Instant::now();
    let duration = Duration::from_secs_f64(arguments.minutes * 60.0);
    let warm_up = (duration / 4).min(Duration::from_secs(30));
    let mut random = Random::new(seed);
    let (mut warm, mut last, mut reported) = (None, Size::measure(), start);
    println!(
        "seconds  operations  in flight  connections  MiB verified  MiB private  largest handle"
    );
    while start.elapsed() < duration {
        run_port(arguments.threads, &mut random, start.elapsed() < warm_up);
        if counts::in_flight() != 0 {
            break;
        }
        last = Size::measure();
        if start.elapsed() >= warm_up {
            warm.get_or_insert(last);
        }
        if reported.elapsed() >= REPORT {
            reported = Instant::now();
            report(start, last);
        }
    }
    report(start, last);
    judge(warm.unwrap_or(last), last)
}

fn report(start: Instant, size: Size) {
    println!(
        "{:7.0}  {:10}  {:9}  {:11}  {:12}  {:11}  {:14}",
        start.elapsed().as_secs_f64(),
        counts::STARTED.load(Ordering::Relaxed),
        counts::in_flight(),
        counts::LINKS.load(Ordering::Relaxed),
        counts::VERIFIED.load(Ordering::Relaxed) >> 20,
        size.private_bytes >> 20,
        size.largest_handle,
    );
}

fn judge(warm: Size, end: Size) -> ExitCode {
    let mut complaints = Vec::new();
    if counts::in_flight() != 0 {
        complaints.push(format!("{} operations never came back", counts::in_flight()));
    }
    if counts::WRONG.load(Ordering::Relaxed) != 0 {
        complaints.push(format!("{} buffers were wrong", counts::WRONG.load(Ordering::Relaxed)));
    }
    if counts::VERIFIED.load(Ordering::Relaxed) == 0 {
        complaints.push("no byte was verified".to_owned());
    }
    complaints.extend(end.growth_since(warm));
    for complaint in &complaints {
        println!("FAILED: {complaint}");
    }
    if !complaints.is_empty() {
        return ExitCode::FAILURE;
    }
    println!("good: nothing in flight, every byte as sent, memory and handles as after warm-up");
    ExitCode::SUCCESS
}

/// The life of one port.
fn run_port(threads: u64, random: &mut Random, forget: bool) {
    let port: Iocp<Ticket> = Iocp::builder().max_operations(4096).build().expect("a port");
    let until = Instant::now() + Duration::from_millis(200 + random.below(1000));
    thread::scope(|scope| {
        for _ in 0..threads {
            let (port, random) = (port.clone(), Random::new(random.next()));
            scope.spawn(move || work(&port, random, until, forget));
        }
    });
    // All handles are closed. Half of the ports are dropped with what is
    // still in flight or queued.
    if random.one_in(2) {
        let patience = Instant::now() + Duration::from_secs(10);
        while counts::in_flight() > 0 && Instant::now() < patience {
            if let Ok(Some(completion)) = port.get_completion_timeout(Duration::from_millis(100)) {
                ticket::settle(completion, random);
            }
        }
        port.close();
    }
    drop(port);
}

fn work(port: &Iocp<Ticket>, mut random: Random, until: Instant, forget: bool) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let mut batch = Batch::with_capacity(16);
    let mut pendings = Vec::new();
    while Instant::now() < until {
        let mut link = Link::open(port, &listener, &mut random);
        for _ in 0..random.below(60) {
            link.step(port, &mut random, &mut pendings);
            dequeue(port, &mut batch, &mut random);
        }
        link.close(port, &mut random);
        // Some are looked at long after their port has forgotten them.
        pendings.retain_mut(|kept: &mut link::Kept| !kept.is_over() || random.one_in(4));
        if forget && random.one_in(64) {
            // What is forgotten is lost for good: only as long as the process
            // may grow.
            std::mem::forget(pendings.pop());
        }
    }
}

/// Takes completions, of whichever thread's operations.
fn dequeue(port: &Iocp<Ticket>, batch: &mut Batch<Ticket>, random: &mut Random) {
    let timeout = Duration::from_millis(u64::from(random.one_in(16)));
    match random.below(4) {
        0 => {}
        1 => {
            let _ = port.get_completions(batch, Some(timeout));
            for completion in batch {
                ticket::settle(completion.expect("no foreign packets"), random);
            }
        }
        _ => {
            let completion = port.get_completion_timeout(timeout).expect("an open port");
            if let Some(completion) = completion {
                ticket::settle(completion, random);
            }
        }
    }
}
