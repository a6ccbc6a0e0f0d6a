//! When a connection is pinged, warned or given up: one judgement per connection
//! and look, and a wheel that says whom to look at. Pure.

use std::collections::VecDeque;

use hubbub_protocol::close::CloseCode;

/// Times of the heartbeat, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct HeartbeatSettings {
    /// Silence after which the hub pings (`session.heartbeat_ms`).
    pub heartbeat_ms: u64,
    /// How long a ping may stay unanswered (`session.timeout_ms`).
    pub timeout_ms: u64,
}

/// For what has no heartbeat of its own; so long that it never comes.
pub(crate) const NO_HEARTBEAT: HeartbeatSettings =
    HeartbeatSettings { heartbeat_ms: 1 << 50, timeout_ms: 1 << 50 };

/// What is told before a token ends, in milliseconds.
const EXPIRY_NOTICE_MS: u64 = 30_000;

/// The times of one connection, milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Vitals {
    /// The last sign of life.
    pub last_seen: u64,
    /// When the ping was sent that is not answered yet.
    pub ping_sent: Option<u64>,
    /// Until when it must authenticate; `u64::MAX` once it has.
    pub auth_deadline: u64,
    /// When its token ends; `u64::MAX` if never.
    pub expires_at: u64,
    /// Whether `token_expiring` was sent.
    pub warned: bool,
}

/// What to do about a connection now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing.
    Fine,
    /// Send a heartbeat.
    Ping,
    /// Tell that the token ends soon.
    Warn,
    /// Close it.
    Close(CloseCode),
}

/// Judges a connection and says when to look again at the latest.
pub fn judge(v: &Vitals, now: u64, s: &HeartbeatSettings) -> (Verdict, u64) {
    // A clock that was set back must not make anybody immortal.
    let v = &Vitals { last_seen: v.last_seen.min(now), ..*v };
    if now >= v.auth_deadline || now >= v.expires_at {
        return (Verdict::Close(CloseCode::Unauthorized), u64::MAX);
    }
    let pinged = v.ping_sent.filter(|&sent| sent >= v.last_seen);
    let beat = match pinged {
        Some(sent) if now >= sent + s.timeout_ms => {
            return (Verdict::Close(CloseCode::HeartbeatMissed), u64::MAX);
        }
        Some(sent) => sent + s.timeout_ms,
        None => v.last_seen + s.heartbeat_ms,
    };
    let notice = if v.warned { u64::MAX } else { v.expires_at.saturating_sub(EXPIRY_NOTICE_MS) };
    let next = beat.min(v.auth_deadline).min(v.expires_at);
    if v.expires_at != u64::MAX && now >= notice {
        return (Verdict::Warn, next);
    }
    if pinged.is_none() && now >= beat {
        let next = (now + s.timeout_ms).min(v.auth_deadline).min(v.expires_at).min(notice);
        return (Verdict::Ping, next);
    }
    (Verdict::Fine, next.min(notice))
}

/// A timer wheel: whom to look at in which tick. An entry further away than one
/// turn waits in the last tick and is put in again from there.
pub struct Wheel<T> {
    ticks: VecDeque<Vec<T>>,
    tick_ms: u64,
    /// The moment the first tick stands for.
    start: u64,
    len: usize,
}

impl<T> Wheel<T> {
    /// A wheel of `turns` ticks of `tick_ms` each, beginning at `now`.
    pub fn new(tick_ms: u64, ticks: usize, now: u64) -> Self {
        Self {
            ticks: (0..ticks.max(2)).map(|_| Vec::new()).collect(),
            tick_ms: tick_ms.max(1),
            start: now,
            len: 0,
        }
    }

    /// Puts an entry in, to come out in the first tick that is not before `at`
    /// (earlier only if that is further than one turn away).
    pub fn add(&mut self, at: u64, entry: T) {
        let tick = at.saturating_sub(self.start).div_ceil(self.tick_ms);
        let last = self.ticks.len() - 1;
        let slot = usize::try_from(tick).unwrap_or(last).clamp(1, last);
        self.ticks[slot].push(entry);
        self.len += 1;
    }

    /// Takes everything out.
    pub fn take_all(&mut self) -> Vec<T> {
        self.len = 0;
        self.ticks.iter_mut().flat_map(std::mem::take).collect()
    }

    /// Takes out what is due at `now`; everything, if the clock was set back.
    pub fn advance(&mut self, now: u64) -> Vec<T> {
        if now + self.tick_ms < self.start {
            self.start = now;
            return self.take_all();
        }
        let mut due = Vec::new();
        let mut turned = 0;
        while self.start + self.tick_ms <= now && turned < self.ticks.len() {
            self.start += self.tick_ms;
            turned += 1;
            self.ticks.rotate_left(1);
            let last = self.ticks.len() - 1;
            // What was the first tick is now the last; the new first is due.
            let rest = std::mem::take(&mut self.ticks[last]);
            due.extend(rest);
            due.append(&mut self.ticks[0]);
        }
        if turned == self.ticks.len() {
            self.start = now;
        }
        self.len -= due.len();
        due
    }

    /// How many entries are in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: HeartbeatSettings = HeartbeatSettings { heartbeat_ms: 25_000, timeout_ms: 20_000 };

    fn vitals() -> Vitals {
        Vitals {
            last_seen: 1000,
            ping_sent: None,
            auth_deadline: u64::MAX,
            expires_at: u64::MAX,
            warned: false,
        }
    }

    #[test]
    fn silence_is_pinged_then_ended() {
        let v = vitals();
        assert_eq!(judge(&v, 20_000, &S), (Verdict::Fine, 26_000));
        assert_eq!(judge(&v, 26_000, &S), (Verdict::Ping, 46_000));
        let v = Vitals { ping_sent: Some(26_000), ..v };
        assert_eq!(judge(&v, 45_999, &S), (Verdict::Fine, 46_000));
        assert_eq!(judge(&v, 46_000, &S).0, Verdict::Close(CloseCode::HeartbeatMissed));
        let answered = Vitals { last_seen: 26_001, ..v };
        assert_eq!(judge(&answered, 46_000, &S), (Verdict::Fine, 51_001));
    }

    #[test]
    fn who_does_not_authenticate_is_closed() {
        let v = Vitals { auth_deadline: 11_000, ..vitals() };
        assert_eq!(judge(&v, 2000, &S), (Verdict::Fine, 11_000));
        assert_eq!(judge(&v, 11_000, &S).0, Verdict::Close(CloseCode::Unauthorized));
    }

    #[test]
    fn a_token_that_ends_is_announced_once() {
        let v = Vitals { expires_at: 40_000, ..vitals() };
        assert_eq!(judge(&v, 9_000, &S), (Verdict::Fine, 10_000));
        assert_eq!(judge(&v, 10_000, &S), (Verdict::Warn, 26_000));
        let v = Vitals { warned: true, last_seen: 39_000, ..v };
        assert_eq!(judge(&v, 39_500, &S), (Verdict::Fine, 40_000));
        assert_eq!(judge(&v, 40_000, &S).0, Verdict::Close(CloseCode::Unauthorized));
    }

    proptest! {
        /// Every entry comes out, never before its time unless that is further
        /// away than a turn, and at most one tick late.
        #[test]
        fn the_wheel_keeps_its_times(adds in prop::collection::vec((0u64..3000, 0u64..500), 1..60)) {
            let mut wheel = Wheel::new(100, 16, 0);
            let (mut now, mut out) = (0, 0);
            let check = |now: u64, due: Vec<(u64, u64)>| -> Result<usize, TestCaseError> {
                for (at, added) in &due {
                    prop_assert!(*at <= now || at - added >= 1400, "early: {} at {}", at, now);
                    prop_assert!(now < at.max(added) + 100 + 500, "late: {} at {}", at, now);
                }
                Ok(due.len())
            };
            for (delay, step) in &adds {
                wheel.add(now + delay, (now + delay, now));
                now += step;
                out += check(now, wheel.advance(now))?;
            }
            while !wheel.is_empty() {
                now += 100;
                out += check(now, wheel.advance(now))?;
            }
            prop_assert_eq!(out, adds.len());
        }
    }
}
