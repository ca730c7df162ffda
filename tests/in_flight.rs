//! Very many operations in flight at once.
//!
//! `COMPLETION_PORT_IN_FLIGHT` is how many.
#![cfg(windows)]

mod support;

use std::env;
use std::io::Write;
use std::mem;
use std::net::TcpStream;

use completion_port::{Associated, Batch, ErrorKind, Iocp};
use support::{PATIENCE, nothing_more, nothing_to_see, stream_pair};

const IN_FLIGHT: &str = "COMPLETION_PORT_IN_FLIGHT";

/// How many, unless the variable says so.
const COUNT: usize = if cfg!(miri) {
    64
} else if cfg!(memcheck) {
    2000
} else {
    100_000
};

const HANDLES: usize = 4;

/// So many reads in a row are on the same handle, and get what they wait for in
/// one piece.
const BURST: usize = 16;

fn served(port: &Iocp, context: usize) -> (TcpStream, Associated<TcpStream>) {
    let (client, server) = stream_pair();
    (client, port.add_handle(server, context).unwrap())
}

/// Each read gets its number.
#[test]
fn very_many_reads_in_flight_complete_once_each_and_leave_their_cells_to_others() {
    #[cfg(simulated_kernel)]
    let _behaving = simulated_kernel::behave(|kernel| kernel.any_order = true);
    let count = env::var(IN_FLIGHT).map_or(COUNT, |count| count.parse().expect("a number"));
    // Room for no more: the second wave needs each cell of the first.
    let port: Iocp = Iocp::builder().max_operations(count as u32).build().unwrap();
    let (mut clients, servers): (Vec<_>, Vec<_>) =
        (0..HANDLES).map(|handle| served(&port, handle)).unzip();
    for first in [0, count] {
        let numbers: Vec<u32> = (first..first + count).map(|number| number as u32).collect();
        let bursts: Vec<&[u32]> = numbers.chunks(BURST).collect();
        let mut pending = Vec::with_capacity(count);
        for (burst, server) in bursts.iter().zip(servers.iter().cycle()) {
            for &number in *burst {
                let buffer = (!number).to_be_bytes();
                match port.initiate_read(server, number as usize, buffer) {
                    Ok(read) => pending.push(read),
                    Err(rejected) => {
                        // Each locks a page of memory and takes from the system's
                        // own: WSAENOBUFS where they are short.
                        assert_eq!(rejected.error.kind(), ErrorKind::ResourceExhausted);
                        return nothing_to_see("the system has no room for so many reads");
                    }
                }
            }
        }
        let rejected = port.initiate_read(&servers[0], 0, [0; 4]).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::TooManyOperations);
        assert!(pending.iter().all(|pending| !pending.is_completed()));
        nothing_more(&port);
        drop(pending);

        send_in_turns(&bursts, &mut clients);
        let mut seen = vec![false; count];
        let mut batch = Batch::with_capacity(64);
        for _ in 0..count {
            if batch.is_empty() {
                assert_ne!(port.get_completions(&mut batch, Some(PATIENCE)).unwrap(), 0);
            }
            let mut completion = batch.next().unwrap().unwrap();
            completion.error_status.unwrap();
            let index = completion.context - first;
            assert_eq!(completion.handle_context, index / BURST % HANDLES);
            let buffer: [u8; 4] = completion.operation.take_buffer().unwrap();
            assert_eq!(buffer, numbers[index].to_be_bytes());
            assert!(!mem::replace(&mut seen[index], true), "completed twice");
        }
        nothing_more(&port);
    }
}

/// Sends each handle its bursts, in an order that is not that of the starts.
fn send_in_turns(bursts: &[&[u32]], clients: &mut [TcpStream]) {
    /// A prime.
    const STRIDE: usize = 7919;
    assert_ne!(bursts.len() % STRIDE, 0);
    let mut left: Vec<_> =
        (0..HANDLES).map(|handle| bursts.iter().skip(handle).step_by(HANDLES)).collect();
    for turn in 0..bursts.len() {
        let handle = turn * STRIDE % bursts.len() % HANDLES;
        let burst = left[handle].next().expect("a turn for each");
        let bytes: Vec<u8> = burst.iter().flat_map(|number| number.to_be_bytes()).collect();
        clients[handle].write_all(&bytes).unwrap();
    }
}
