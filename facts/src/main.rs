//! Questions that only the system at hand can answer, and what the library
//! assumes of each.
//!
//! They are asked through the system's own calls, not through the library. Each
//! is asked in a process of its own, which is ended when it takes too long: one
//! that hangs or crashes is an answer, too. Nothing here passes or fails.
#![cfg(windows)]

mod closing;
mod completing;
mod failures;
mod kernel;
mod offers;

use std::env;
use std::error::Error;
use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What the system says, in a few words.
type Answer = Result<String, Box<dyn Error>>;

/// Something that the system knows.
struct Question {
    ask: &'static str,
    answer: fn() -> Answer,
    /// What the library takes the answer to be.
    assumes: &'static str,
    /// What becomes of it where the answer is another.
    otherwise: &'static str,
}

/// How long the system has to answer a question.
const LIMIT: Duration = Duration::from_secs(20);

/// The sections of the table, and their questions.
const SECTIONS: [(&str, &[Question]); 4] = [
    ("Calls that fail", failures::QUESTIONS),
    ("Calls that succeed, and skip-on-success", completing::QUESTIONS),
    ("Cancelling and closing", closing::QUESTIONS),
    ("What there is", offers::QUESTIONS),
];

fn questions() -> impl Iterator<Item = &'static Question> {
    SECTIONS.iter().flat_map(|(_, questions)| *questions)
}

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(number) = env::args().nth(1) {
        let question = questions().nth(number.parse()?).ok_or("no such question")?;
        match (question.answer)() {
            Ok(answer) => print!("{answer}"),
            Err(error) => print!("cannot be asked here: {error}"),
        }
        return Ok(());
    }
    let mut number = 0;
    for (title, questions) in SECTIONS {
        println!("### {title}\n");
        println!("| question | here | the library assumes | is another answer safe? |");
        println!("|---|---|---|---|");
        for Question { ask, assumes, otherwise, .. } in questions {
            println!("| {ask} | {} | {assumes} | {otherwise} |", ask_in_a_process(number)?);
            number += 1;
        }
        println!();
    }
    Ok(())
}

fn ask_in_a_process(number: usize) -> io::Result<String> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(number.to_string()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn()?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > LIMIT {
            child.kill()?;
            child.wait()?;
            return Ok(format!("no answer in {} s", LIMIT.as_secs()));
        }
        thread::sleep(Duration::from_millis(5));
    };
    let mut answer = String::new();
    if let Some(mut output) = child.stdout.take() {
        output.read_to_string(&mut answer)?;
    }
    if status.success() { Ok(answer) } else { Ok(format!("ends with {status}")) }
}
