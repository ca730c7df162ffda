//! How long a program may run.

use std::env;
use std::time::Duration;

use anyhow::{Context, Result};

/// The seconds after which a program is ended; 0 is no limit.
pub const TIME_LIMIT: &str = "COMPLETION_PORT_TIME_LIMIT";

/// The exit code that says that the time limit was over.
pub const TIMED_OUT: u8 = 124;

const USUAL: u64 = 900;

/// The limit of this process's programs; `None` if they have none.
pub fn time_limit() -> Result<Option<Duration>> {
    let seconds = match env::var(TIME_LIMIT) {
        Ok(text) => text.parse().with_context(|| format!("{TIME_LIMIT} is no number: {text}"))?,
        Err(_) => USUAL,
    };
    Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
}
