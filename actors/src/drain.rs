//! Asking the sessions of a node to leave, at a rate that the other nodes can
//! take.

use std::{sync::Arc, time::Duration};

use hubbub_protocol::{
    close::CloseCode,
    event::{Closing, Event},
};
use tokio::time::{Instant, sleep_until};

use crate::{session::SessionHandle, system::Hub};

/// A session whose publish is not acknowledged yet is closed when it is, and
/// after this in any case.
const PATIENCE: Duration = Duration::from_secs(2);
/// Shortest pause between two steps.
const STEP: f64 = 0.02;

/// How many leave when: never more than the rate in any second, unless the time
/// would not suffice. What was late is not caught up.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Sessions a second.
    rate: f64,
}

impl Pace {
    /// How many of `waiting` leave now, and how long to wait before the next ones,
    /// if `left` is the time for all of them.
    fn step(self, waiting: usize, left: Duration) -> (usize, Duration) {
        let needed = waiting as f64 / left.as_secs_f64().max(0.1);
        let rate = self.rate.max(needed).max(1.0);
        let count = (rate * STEP).ceil().max(1.0);
        (count as usize, Duration::from_secs_f64(count / rate))
    }
}

impl Hub {
    /// Asks every session to leave, `rate` of them a second, faster if `within`
    /// would not suffice otherwise; each is told how long to wait before it comes
    /// back, spread over `spread_ms`. Gives the number of sessions asked.
    pub async fn drain(&self, rate: u64, within: Duration, spread_ms: u64) -> usize {
        let pace = Pace { rate: rate.max(1) as f64 };
        let end = Instant::now() + within;
        let mut asked = 0;
        let mut leaving: Vec<(Arc<SessionHandle>, Instant)> = Vec::new();
        loop {
            // Who was being let in when the drain began is found at the second look.
            let mut staying = self.sessions().await;
            staying.retain(|session| session.connection.outbound.closing().is_none());
            if staying.is_empty() {
                return asked;
            }
            while !staying.is_empty() || !leaving.is_empty() {
                let left = end.saturating_duration_since(Instant::now());
                let (count, pause) = pace.step(staying.len(), left);
                for session in staying.drain(staying.len().saturating_sub(count)..) {
                    let retry_after_ms = rand::random_range(0..=spread_ms);
                    session.tell(&Event::Closing(Closing { reason: "draining", retry_after_ms }));
                    leaving.push((session, Instant::now()));
                    asked += 1;
                }
                leaving.retain(|(session, told)| {
                    let wait = session.unanswered() > 0 && told.elapsed() < PATIENCE;
                    if !wait {
                        session.close(CloseCode::Draining);
                    }
                    wait
                });
                sleep_until(Instant::now() + pause).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When each session leaves, in seconds, if every step is on time.
    fn schedule(rate: u64, sessions: usize, within: f64) -> Vec<f64> {
        let pace = Pace { rate: rate as f64 };
        let (mut now, mut left, mut ends) = (0.0, sessions, Vec::new());
        while left > 0 {
            let rest = Duration::from_secs_f64(f64::max(within - now, 0.0));
            let (count, pause) = pace.step(left, rest);
            let count = count.min(left);
            ends.extend(std::iter::repeat_n(now, count));
            left -= count;
            now += pause.as_secs_f64();
        }
        ends
    }

    fn most_in_a_second(ends: &[f64]) -> usize {
        let within =
            |begin: &f64| ends.iter().filter(|e| (*begin..begin + 1.0).contains(*e)).count();
        ends.iter().map(within).max().unwrap_or(0)
    }

    #[test]
    fn no_second_sees_more_than_the_rate() {
        for rate in [1, 3, 20, 49, 51, 75, 99, 101, 400, 999, 1000] {
            let ends = schedule(rate, rate as usize * 4, 60.0);
            // What leaves together in one step may straddle the edge of a second.
            let step = (rate as f64 * STEP).ceil() as usize;
            let most = most_in_a_second(&ends);
            assert!(most <= rate as usize + step, "{rate}: {most}");
            assert!(ends.last().is_some_and(|e| *e <= 4.0), "{rate}: {:?}", ends.last());
        }
    }

    #[test]
    fn the_rate_rises_if_the_time_would_not_suffice() {
        let ends = schedule(10, 2000, 20.0);
        assert!(ends.last().is_some_and(|e| *e <= 20.5), "{:?}", ends.last());
        assert!(most_in_a_second(&ends) <= 110, "{}", most_in_a_second(&ends));
    }

    #[test]
    fn a_drain_without_time_ends() {
        assert!(schedule(1, 5000, 0.0).last().is_some_and(|e| *e < 2.0));
    }
}
