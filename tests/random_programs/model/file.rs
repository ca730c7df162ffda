//! What reads of a file may see of the writes to it.
//!
//! A read may see each byte as the last write left it that was over before the
//! read began, or as any write makes it that overlaps with the read in time.

use std::sync::Arc;

use super::{Fate, peer};
use crate::ends::FILE_LENGTH;
use crate::log::{Log, Time};
use crate::operation::{Facts, Operation, What};

struct Write {
    began: Time,
    ended: Time,
    offset: usize,
    content: Vec<u8>,
    /// It took effect, for certain.
    is_whole: bool,
}

/// When it is known to have been over.
fn ended(facts: &Facts) -> Time {
    facts.completed.map_or(Time::MAX, |completed| completed.seen)
}

/// Complains about reads through the two handles of a file, `first` and the
/// next, and about what the file contains in the end.
pub fn judge(log: &Log, first: usize, contents: &[u8]) {
    let handles = [first, peer(first)];
    let operations = log.operations();
    let empty =
        Write { began: 0, ended: 0, offset: 0, content: vec![0; FILE_LENGTH], is_whole: true };
    let writes = operations.iter().filter_map(|operation| write_of(operation, handles));
    let writes: Vec<Write> = [empty].into_iter().chain(writes).collect();
    for operation in &operations {
        if let Some((bytes, ended)) = read_of(operation, handles)
            && let Err(index) = check(&writes, operation.started, ended, operation.offset, &bytes)
        {
            log.wrong(format!("{operation:?} has a wrong byte at {index}: {bytes:?}"));
        }
    }
    let now = log.now();
    if contents.len() != FILE_LENGTH || check(&writes, now, now, 0, contents).is_err() {
        log.wrong(format!("the file contains {contents:?}"));
    }
}

fn write_of(operation: &Arc<Operation>, handles: [usize; 2]) -> Option<Write> {
    let What::Write { end } = operation.what else { return None };
    if !handles.contains(&end) {
        return None;
    }
    let facts = operation.facts();
    let is_whole = match Fate::of(operation, &facts) {
        Fate::Rejected => return None,
        Fate::Completed(outcome) => outcome.error.is_none(),
        Fate::InFlight | Fate::Unseen => false,
    };
    Some(Write {
        began: operation.started,
        ended: ended(&facts),
        offset: operation.offset as usize,
        content: operation.content.clone(),
        is_whole,
    })
}

/// What a read got, if it is known, and when it was over.
fn read_of(operation: &Arc<Operation>, handles: [usize; 2]) -> Option<(Vec<u8>, Time)> {
    let What::Read { end } = operation.what else { return None };
    if !handles.contains(&end) {
        return None;
    }
    let facts = operation.facts();
    let Fate::Completed(outcome) = Fate::of(operation, &facts) else { return None };
    let taken = facts.taken.as_ref()?;
    (outcome.error.is_none())
        .then(|| (taken[operation.held..][..outcome.bytes].to_vec(), ended(&facts)))
}

/// The index of the first byte that no write explains.
fn check(
    writes: &[Write],
    began: Time,
    ended: Time,
    offset: u64,
    bytes: &[u8],
) -> Result<(), usize> {
    let byte_of = |write: &Write, place: usize| {
        place.checked_sub(write.offset).and_then(|index| write.content.get(index)).copied()
    };
    for (index, byte) in bytes.iter().enumerate() {
        let place = offset as usize + index;
        let is_overwritten = |write: &Write| {
            writes.iter().any(|later| {
                later.is_whole
                    && later.began > write.ended
                    && later.ended < began
                    && byte_of(later, place).is_some()
            })
        };
        let explains = |write: &&Write| {
            byte_of(write, place) == Some(*byte) && write.began < ended && !is_overwritten(write)
        };
        if !writes.iter().any(|write| explains(&write)) {
            return Err(index);
        }
    }
    Ok(())
}
