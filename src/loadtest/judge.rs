//! The end of the audit: what the threads saw, put together. Pure.

use std::collections::{HashMap, HashSet};

use super::audit::{Audit, Faults, RoomLog};

/// The verdict of a run.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Verdict {
    /// What was found wrong.
    pub faults: Faults,
    /// Rejoins that the hub could not serve without a gap, and said so.
    pub unproven_rejoins: u64,
    /// Messages in the rooms that are none of this run.
    pub foreign_messages: u64,
}

/// Judges a run from the audits of its threads.
#[must_use]
pub fn judge(mut audits: Vec<Audit>) -> Verdict {
    let mut verdict = Verdict::default();
    let rooms = audits.iter().map(|a| a.rooms.len()).max().unwrap_or(0);
    let mut heads = vec![0; rooms];
    let mut logs: Vec<RoomLog> = Vec::with_capacity(rooms);
    for (room, head) in heads.iter_mut().enumerate() {
        let merged = merge(&audits, room, &mut verdict.faults);
        look_through(room, &merged, &mut verdict.faults);
        *head = merged.iter().map(|e| e.0).last().unwrap_or(0);
        logs.push(merged);
    }
    for audit in &audits {
        for &(room, sender, number, offset) in &audit.acks {
            let at = room as usize;
            heads[at] = heads[at].max(offset);
            if logs[at].at(offset).is_some_and(|found| found != (sender, number)) {
                verdict.faults.contradicted += 1;
                verdict.faults.tell(|| {
                    format!("room {room}: the ack of message {number} names offset {offset}, where another one is")
                });
            }
        }
    }
    for audit in &mut audits {
        audit.finish(&heads);
        verdict.faults.add(&audit.faults);
        verdict.unproven_rejoins += audit.unproven;
        verdict.foreign_messages += audit.foreign;
    }
    verdict
}

/// The logs of one room of all threads, which must agree.
fn merge(audits: &[Audit], room: usize, faults: &mut Faults) -> RoomLog {
    let mut merged = RoomLog::default();
    for log in audits.iter().filter_map(|a| a.rooms.get(room)) {
        for (offset, sender, number) in log.iter() {
            if !merged.note(offset, sender, number) {
                faults.disagreed += 1;
                faults.tell(|| format!("room {room}: members differ about offset {offset}"));
            }
        }
    }
    merged
}

/// No message twice, and those of each sender in the order they were sent.
fn look_through(room: usize, log: &RoomLog, faults: &mut Faults) {
    let mut seen = HashSet::new();
    let mut newest: HashMap<u32, u32> = HashMap::new();
    for (offset, sender, number) in log.iter() {
        if !seen.insert(number) {
            faults.duplicated += 1;
            faults.tell(|| {
                format!("room {room}: message {number} is stored again at offset {offset}")
            });
            continue;
        }
        let last = newest.entry(sender).or_insert(number);
        if *last > number {
            faults.sender_order += 1;
            faults.tell(|| {
                format!("room {room}: message {number} of sender {sender} is stored after {last}")
            });
        }
        *last = (*last).max(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loadtest::{
        audit::{Joined, Member},
        marker::Marker,
    };

    /// Two threads with a member each, which got these numbers at offsets 1, 2, ...
    fn threads(seen: [&[u32]; 2]) -> Vec<Audit> {
        seen.iter()
            .enumerate()
            .map(|(thread, numbers)| {
                let mut audit = Audit::new(1);
                audit.members.push(Member::new(thread, 0));
                let fresh = Joined { epoch: 1, offset: 0, recovered: false, resumed: false };
                audit.joined(0, fresh);
                for (at, number) in numbers.iter().enumerate() {
                    let marker = Marker { room: 0, sender: 9, number: *number, due: 0, length: 64 };
                    audit.received(0, at as u64 + 1, &marker);
                }
                audit
            })
            .collect()
    }

    #[test]
    fn threads_that_agree_are_sound() {
        assert_eq!(judge(threads([&[0, 1, 2], &[0, 1, 2]])).faults.total(), 0);
    }

    #[test]
    fn a_loss_across_threads_is_found() {
        assert_eq!(judge(threads([&[0, 1, 2], &[0]])).faults.lost, 2);
    }

    #[test]
    fn threads_that_differ_are_found() {
        let faults = judge(threads([&[0, 1, 2], &[0, 2, 1]])).faults;
        assert_eq!(faults.disagreed, 2);
    }

    #[test]
    fn a_message_stored_twice_or_late_is_found() {
        let faults = judge(threads([&[0, 2, 1, 2], &[0, 2, 1, 2]])).faults;
        assert_eq!((faults.duplicated, faults.sender_order, faults.lost), (1, 1, 0));
    }

    #[test]
    fn an_acknowledged_message_that_nobody_got_is_lost() {
        let mut audits = threads([&[0], &[0]]);
        audits[0].acks.push((0, 9, 1, 2));
        assert_eq!(judge(audits).faults.lost, 2);
    }

    #[test]
    fn an_ack_must_name_its_own_message() {
        let mut audits = threads([&[0, 1], &[0, 1]]);
        audits[0].acks.push((0, 9, 0, 2));
        assert_eq!(judge(audits).faults.contradicted, 1);
    }
}
