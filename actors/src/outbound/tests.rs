#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

fn queue(max: usize, when_full: WhenFull) -> Arc<Outbound> {
    Outbound::new(Arc::default(), max, when_full)
}

fn frame(len: usize, tag: u8) -> Frame {
    // Two bytes of header below 126.
    Frame::text(&vec![tag; len - 2])
}

/// Drains everything and gives the tags of whole frames back.
fn tags(q: &Outbound) -> Vec<u8> {
    let mut all = Vec::new();
    q.drain(&mut |slices| {
        let n = slices.iter().map(|s| s.len()).sum();
        slices.iter().for_each(|s| all.extend_from_slice(s));
        Ok(n)
    });
    let mut tags = Vec::new();
    let mut rest = &all[..];
    while rest.len() > 2 {
        tags.push(rest[2]);
        rest = &rest[2 + usize::from(rest[1])..];
    }
    tags
}

#[test]
fn disconnect_closes_with_4413_and_keeps_only_the_close() {
    let q = queue(100, WhenFull::Disconnect);
    assert_eq!(q.push(&frame(60, 1), Class::Durable), Pushed::Queued);
    assert_eq!(q.push(&frame(60, 2), Class::Durable), Pushed::Overflowed);
    assert_eq!(q.closing(), Some(CloseCode::TooSlow));
    assert_eq!(q.push(&frame(10, 3), Class::Reply), Pushed::Closed);
    assert_eq!(tags(&q), [0x11]);
}

#[test]
fn drop_oldest_makes_room_but_keeps_answers() {
    let q = queue(100, WhenFull::DropOldest);
    q.push(&frame(40, 1), Class::Reply);
    q.push(&frame(30, 2), Class::Durable);
    q.push(&frame(20, 3), Class::Durable);
    assert_eq!(q.push(&frame(30, 4), Class::Durable), Pushed::DroppedOldest(1));
    assert_eq!(tags(&q), [1, 3, 4]);
}

#[test]
fn conflate_keeps_the_newest() {
    let q = queue(100, WhenFull::Conflate);
    for tag in 1..=3 {
        q.push(&frame(30, tag), Class::Durable);
    }
    assert_eq!(q.push(&frame(30, 4), Class::Durable), Pushed::DroppedOldest(3));
    assert_eq!(tags(&q), [4]);
}

#[test]
fn volatile_is_dropped_before_anything_else_is() {
    let q = queue(100, WhenFull::Disconnect);
    q.push(&frame(60, 1), Class::Durable);
    assert_eq!(q.push(&frame(30, 2), Class::Volatile(0)), Pushed::Dropped);
    assert_eq!(q.push(&frame(30, 3), Class::Durable), Pushed::Queued);
    assert_eq!(tags(&q), [1, 3]);
}

#[test]
fn a_blocked_queue_conflates_by_key() {
    let q = queue(1000, WhenFull::Disconnect);
    q.push(&frame(10, 1), Class::Durable);
    assert_eq!(q.drain(&mut |_| Err(io::ErrorKind::WouldBlock.into())), Drained::Blocked);
    q.push(&frame(10, 2), Class::Volatile(7));
    q.push(&frame(10, 3), Class::Durable);
    assert_eq!(q.push(&frame(12, 4), Class::Volatile(7)), Pushed::Conflated);
    assert_eq!(q.len(), 32);
    assert_eq!(tags(&q), [1, 4, 3]);
}

#[test]
fn tiny_frames_are_bounded_by_their_number() {
    let q = queue(64 * 1024, WhenFull::Disconnect);
    let tiny = frame(3, 1);
    let taken = (0..5000).take_while(|_| q.push(&tiny, Class::Reply) == Pushed::Queued).count();
    assert_eq!(taken, 512);
    assert_eq!(q.closing(), Some(CloseCode::TooSlow));
    let q = queue(64 * 1024, WhenFull::DropOldest);
    assert!((0..5000).all(|_| !matches!(q.push(&tiny, Class::Durable), Pushed::Overflowed)));
    assert_eq!(tags(&q).len(), 512);
}

#[test]
fn a_half_written_frame_is_never_dropped() {
    let q = queue(100, WhenFull::Conflate);
    q.push(&frame(50, 1), Class::Durable);
    let mut once = true;
    q.drain(&mut |_| {
        if std::mem::take(&mut once) { Ok(10) } else { Err(io::ErrorKind::WouldBlock.into()) }
    });
    q.push(&frame(50, 2), Class::Durable);
    assert_eq!(q.push(&frame(50, 3), Class::Durable), Pushed::DroppedOldest(1));
    assert_eq!(q.len(), 90);
    q.close_now(CloseCode::Draining);
    let mut rest = Vec::new();
    q.drain(&mut |s| {
        s.iter().for_each(|s| rest.extend_from_slice(s));
        Ok(s.iter().map(|s| s.len()).sum())
    });
    assert_eq!(rest[..40], [1; 40]);
    assert_eq!(rest[40], 0x88);
}

#[test]
fn payloads_are_taken_whole() {
    let q = queue(1000, WhenFull::Disconnect);
    for tag in 1..=3 {
        q.push(&frame(42, tag), Class::Durable);
    }
    assert_eq!(q.take(84).iter().map(|f| f.payload()[0]).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(q.take(1).len(), 1);
    q.close(CloseCode::Draining);
    assert_eq!(q.take(1000).len(), 0);
    assert!(q.is_empty());
    assert_eq!(q.len(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Push(usize, u8),
    Write(usize),
}

proptest! {
    /// Against a plain byte string: what comes out is what went in, in order,
    /// whatever the socket takes at a time, and the bound holds.
    #[test]
    fn it_is_a_bounded_byte_pipe(steps in prop::collection::vec(
        prop_oneof![
            (3usize..60, any::<u8>()).prop_map(|(n, t)| Step::Push(n, t)),
            (0usize..200).prop_map(Step::Write),
        ], 1..200))
    {
        let q = queue(500, WhenFull::Disconnect);
        let (mut expected, mut got) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Push(n, tag) => {
                    let f = frame(n, tag);
                    match q.push(&f, Class::Durable) {
                        Pushed::Queued => expected.extend_from_slice(f.bytes()),
                        Pushed::Overflowed => break,
                        other => prop_assert!(false, "{other:?}"),
                    }
                }
                Step::Write(n) => {
                    let mut left = n;
                    q.drain(&mut |slices| {
                        if left == 0 {
                            return Err(io::ErrorKind::WouldBlock.into());
                        }
                        let mut taken = 0;
                        for s in slices {
                            let k = s.len().min(left);
                            got.extend_from_slice(&s[..k]);
                            taken += k;
                            left -= k;
                        }
                        Ok(taken)
                    });
                }
            }
            prop_assert!(q.len() <= 500);
            prop_assert_eq!(q.len(), expected.len() - got.len());
        }
        prop_assert_eq!(&expected[..got.len()], &got[..]);
    }
}

/// A socket that takes so many bytes and then no more.
struct Sink {
    room: parking_lot::Mutex<usize>,
    taken: parking_lot::Mutex<Vec<u8>>,
}

impl RawWrite for Sink {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let (mut room, mut written) = (self.room.lock(), 0);
        for slice in slices {
            let n = slice.len().min(*room);
            self.taken.lock().extend_from_slice(&slice[..n]);
            (*room, written) = (*room - n, written + n);
        }
        if written == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(written) }
    }
}

#[test]
fn what_is_alone_is_written_at_once_and_in_order() {
    let q = queue(10_000, WhenFull::Disconnect);
    let sink = Arc::new(Sink { room: 10_000.into(), taken: parking_lot::Mutex::default() });
    q.set_writer(sink.clone());
    let [first, second, third, last] = [1, 2, 3, 4].map(|tag| frame(100, tag));
    assert_eq!(q.hand(&first, Class::Durable), (Pushed::Queued, 100));
    assert!(q.is_empty());
    // Half of the next one, then nothing: the rest waits, and so does what comes after.
    *sink.room.lock() = 50;
    assert_eq!(q.hand(&second, Class::Durable), (Pushed::Queued, 50));
    assert_eq!(q.len(), 50);
    *sink.room.lock() = 10_000;
    assert_eq!(q.hand(&third, Class::Durable), (Pushed::Queued, 0));
    assert_eq!(q.flush(), 150);
    *sink.room.lock() = 0;
    assert_eq!(q.hand(&last, Class::Durable), (Pushed::Queued, 0));
    assert_eq!(q.len(), 100);
    *sink.room.lock() = 10_000;
    q.flush();
    let all = [&first, &second, &third, &last].map(|frame| frame.bytes().to_vec()).concat();
    assert_eq!(*sink.taken.lock(), all);
    assert_eq!(q.progress(), 400);
    q.close(CloseCode::Normal);
    assert_eq!(q.hand(&first, Class::Durable), (Pushed::Closed, 0));
}

#[test]
fn what_is_larger_than_the_bound_is_not_written_either() {
    let q = queue(80, WhenFull::Disconnect);
    let sink = Arc::new(Sink { room: 10_000.into(), taken: parking_lot::Mutex::default() });
    q.set_writer(sink.clone());
    assert_eq!(q.hand(&frame(81, 1), Class::Durable), (Pushed::Overflowed, 0));
    assert!(sink.taken.lock().is_empty());
    assert_eq!(q.closing(), Some(CloseCode::TooSlow));
}
