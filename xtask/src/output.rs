//! Passing on what a program writes, and looking at it on the way.

use std::io::{ErrorKind, Read, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// How long to wait for the rest of an output whose program has ended: a process
/// that it left behind may hold the output open for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// An output that is passed on until it ends.
pub struct PassedOn(Receiver<()>);

impl PassedOn {
    /// Copies at once whatever comes, and shows it to `look`.
    pub fn start(
        mut from: impl Read + Send + 'static,
        mut to: impl Write + Send + 'static,
        mut look: impl FnMut(&[u8]) + Send + 'static,
    ) -> Self {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let _dropped_at_the_end = sender;
            let mut buffer = [0; 8192];
            loop {
                let count = match from.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => count,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(_) => break,
                };
                look(&buffer[..count]);
                if to.write_all(&buffer[..count]).and_then(|()| to.flush()).is_err() {
                    break;
                }
            }
        });
        Self(receiver)
    }

    /// Waits until all has been passed on; whether it has.
    pub fn finish(self) -> bool {
        self.0.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Disconnected)
    }
}
