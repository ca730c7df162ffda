//! Operations on the library and by hand, so many rounds as it is told.
//!
//! `cargo xtask calls` runs it under a trace of Wine's system calls. Without
//! arguments it names its rows; `calls ROW by-hand ROUNDS` and `calls ROW
//! library ROUNDS` run one.
#![cfg_attr(not(windows), allow(unused))]

#[cfg(windows)]
mod by_hand;
#[cfg(windows)]
mod library;

/// What one round is.
#[derive(Clone, Copy)]
enum Row {
    Post,
    FileRead,
    PipeRoundTrip,
    Cancel,
    Message,
    Accept,
    Echo(Echo),
}

/// A message there and back on each of a few connections, whose two ends are
/// on the same port.
#[derive(Clone, Copy)]
struct Echo {
    /// Whether the data is there before it is asked for.
    ready: bool,
    /// Whether what completes at once skips the port.
    skip: bool,
    /// Whether completions are dequeued in batches.
    batches: bool,
}

const fn echo(ready: bool, skip: bool, batches: bool) -> Row {
    Row::Echo(Echo { ready, skip, batches })
}

/// In the order of the table.
const ROWS: [(&str, Row); 14] = [
    ("post + dequeue", Row::Post),
    ("file read", Row::FileRead),
    ("pipe round trip", Row::PipeRoundTrip),
    ("cancel", Row::Cancel),
    ("message", Row::Message),
    ("connect + accept + close", Row::Accept),
    ("echo", echo(false, false, false)),
    ("echo, in batches", echo(false, false, true)),
    ("echo, skip-on-success", echo(false, true, false)),
    ("echo, skip-on-success, in batches", echo(false, true, true)),
    ("echo of data that is there", echo(true, false, false)),
    ("echo of data that is there, in batches", echo(true, false, true)),
    ("echo of data that is there, skip-on-success", echo(true, true, false)),
    ("echo of data that is there, skip-on-success, in batches", echo(true, true, true)),
];

/// How many connections an echo has: as many completions can be in a batch.
const CONNECTIONS: usize = 8;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => ROWS.iter().for_each(|(name, _)| println!("{name}")),
        #[cfg(windows)]
        [row, side, rounds] => {
            let (_, row) = ROWS[row.parse::<usize>().expect("a row's number")];
            let rounds = rounds.parse().expect("a number of rounds");
            match side {
                "by-hand" => by_hand::run(row, rounds),
                "library" => library::run(row, rounds),
                _ => panic!("neither by-hand nor library: {side}"),
            }
        }
        _ => panic!("calls ROW by-hand|library ROUNDS"),
    }
}
