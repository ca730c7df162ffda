//! Printing that no thread has to wait for, as whoever reads may be slow or gone.

use std::io::{self, Write};
use std::sync::mpsc::{self, Sender, SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

/// How many texts wait for a slow reader before more are dropped.
const QUEUE: usize = 64;
/// How long the end of the program waits for a slow reader.
const PATIENCE: Duration = Duration::from_secs(1);

pub enum Text {
    Out(String),
    Err(String),
}

/// Prints on a thread of its own.
#[derive(Clone, Debug)]
pub struct Printer {
    /// Each text with what is dropped once it has been printed.
    queue: SyncSender<(Text, Option<Sender<()>>)>,
}

impl Printer {
    pub fn start() -> Self {
        let (queue, texts) = mpsc::sync_channel(QUEUE);
        thread::spawn(move || {
            for (text, _printed) in texts {
                // `println!` would panic if nobody reads any more.
                let _ = match text {
                    Text::Out(text) => write(io::stdout(), &text),
                    Text::Err(text) => write(io::stderr(), &text),
                };
            }
        });
        Self { queue }
    }

    /// Prints soon, or not at all if the reader is too far behind.
    pub fn print(&self, text: Text) {
        let _ = self.queue.try_send((text, None));
    }

    /// Prints what comes last, and waits a moment for it.
    pub fn finish(&self, text: Text) {
        let deadline = Instant::now() + PATIENCE;
        let (printed, wait) = mpsc::channel();
        let mut last = (text, Some(printed));
        while let Err(TrySendError::Full(again)) = self.queue.try_send(last) {
            if Instant::now() > deadline {
                return;
            }
            last = again;
            thread::sleep(Duration::from_millis(10));
        }
        let _ = wait.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

fn write(mut to: impl Write, text: &str) -> io::Result<()> {
    to.write_all(text.as_bytes())?;
    to.flush()
}
