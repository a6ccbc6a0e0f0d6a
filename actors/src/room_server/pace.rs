//! How much of a worker's time may go into what members missed, so that those who hear their
//! rooms live do not wait for those who come back.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Pages that a worker reads and hands out at a time; so many are in memory for it.
const PAGES: usize = 2;
/// What handing out a page takes is paid for with so many times that of waiting. It is a quarter
/// of what a page costs; reading it from the store and writing it to the socket are the rest.
const PRICE: u32 = 12;
/// Time that may be taken at once after a while without catching up.
const BURST: Duration = Duration::from_millis(5);

/// When the next page may begin. Pure: the time, since whatever moment, is an argument.
#[derive(Clone, Copy, Default, Debug)]
struct Pace {
    free_at: Duration,
}

impl Pace {
    /// How long the next page has to wait.
    fn wait(self, now: Duration) -> Duration {
        self.free_at.saturating_sub(now)
    }

    /// A page took so long.
    fn spend(&mut self, now: Duration, took: Duration) {
        let saved = now.saturating_sub(BURST * PRICE);
        self.free_at = self.free_at.max(saved) + took * PRICE;
    }
}

/// The pages of one worker.
pub(super) struct Pages {
    places: std::sync::Arc<Semaphore>,
    pace: Cell<Pace>,
    began: Instant,
}

impl Pages {
    pub(super) fn new() -> Rc<Self> {
        let places = std::sync::Arc::new(Semaphore::new(PAGES));
        Rc::new(Self { places, pace: Cell::default(), began: Instant::now() })
    }

    /// A page was handed out by who has given its place back, which took so long.
    pub(super) fn pay(&self, took: Duration) {
        let mut pace = self.pace.get();
        pace.spend(self.began.elapsed(), took);
        self.pace.set(pace);
    }

    /// Waits for the right to read one page and hand it out. First come, first served.
    pub(super) async fn place(self: Rc<Self>) -> PagePlace {
        // Nobody closes it.
        let permit = self.places.clone().acquire_owned().await.ok();
        loop {
            let wait = self.pace.get().wait(self.began.elapsed());
            if wait.is_zero() {
                return PagePlace { pages: self, _permit: permit };
            }
            tokio::time::sleep(wait).await;
        }
    }
}

/// The right to one page; given back when it is dropped.
pub(super) struct PagePlace {
    pages: Rc<Pages>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl PagePlace {
    /// The page was handed out, which took so long.
    pub(super) fn pay(self, took: Duration) {
        self.pages.pay(took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn handing_out_has_its_share_of_the_time() {
        let mut pace = Pace::default();
        let (mut now, mut worked) = (100 * MS, Duration::ZERO);
        while now < 1100 * MS {
            now += pace.wait(now);
            now += MS / 2;
            pace.spend(now, MS / 2);
            worked += MS / 2;
        }
        let share = 1000 * MS / PRICE;
        assert!(worked > share - MS && worked < share + BURST + 2 * MS, "{worked:?}");
    }

    #[test]
    fn a_few_pages_after_a_pause_do_not_wait() {
        let mut pace = Pace::default();
        let now = 5000 * MS;
        for _ in 0..10 {
            assert_eq!(pace.wait(now), Duration::ZERO);
            pace.spend(now, MS / 2);
        }
        pace.spend(now, MS / 2);
        assert!(pace.wait(now) > MS);
    }
}
