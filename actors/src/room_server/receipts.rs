//! How far members are: what they say is gathered for a moment, kept in one go, and
//! told to those who wrote what others have got now.
//!
//! Nothing is kept of members who say nothing, and nothing at all while receipts are
//! off.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use futures_util::{StreamExt, stream};
use hubbub_protocol::{
    error::{ErrorCode, HubError},
    event::{Event, Receipt, ReceiptStatus, Reply, ReplyId},
    id::{RoomName, UserId},
    limits::MAX_PAGE,
    position::{Epoch, Position},
    record::Stored,
};

use super::RoomServer;
use crate::{
    ports::{Audience, Broadcast, Range, StoreError},
    receipt_store::{Advanced, Progress, Rise},
    session::SessionHandle,
    shared::Shared,
};

/// Users whose news wait on one worker; one more is `unavailable`.
const MAX_WAITING: usize = 16_384;
/// Receipts told of one room in one go; the rest is told with the next one, as far as
/// it is then.
const MAX_TOLD: usize = 1024;
/// Rooms whose news are kept at the same time.
const AT_A_TIME: usize = 64;

/// What waits to be kept or told on one worker.
#[derive(Default)]
pub(super) struct Receipts {
    waiting: HashMap<RoomName, News>,
    users: usize,
    /// A round is under way or about to be.
    running: bool,
}

/// What is new in a room.
struct News {
    epoch: Epoch,
    users: HashMap<UserId, Progress>,
    /// What is kept already and was not told yet.
    untold: Vec<Rise>,
}

impl News {
    fn of(epoch: Epoch) -> Self {
        Self { epoch, users: HashMap::new(), untold: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.users.is_empty() && self.untold.is_empty()
    }
}

impl Receipts {
    /// Notes how far a user is; false if there is no room for it.
    fn note(&mut self, room: &RoomName, epoch: Epoch, user: &UserId, progress: Progress) -> bool {
        let news = self.waiting.entry(room.clone()).or_insert_with(|| News::of(epoch));
        if news.epoch != epoch {
            // Positions of the old history mean nothing.
            self.users -= news.users.len();
            *news = News::of(epoch);
        }
        if let Some(known) = news.users.get_mut(user) {
            *known = known.max(progress);
            return true;
        }
        if self.users >= MAX_WAITING {
            return false;
        }
        self.users += 1;
        news.users.insert(user.clone(), progress);
        true
    }

    /// Takes everything that waits.
    fn take(&mut self) -> HashMap<RoomName, News> {
        self.users = 0;
        std::mem::take(&mut self.waiting)
    }

    /// What could not be kept waits for the next round.
    fn again(&mut self, room: &RoomName, news: News) {
        if self.waiting.get(room).is_some_and(|waiting| waiting.epoch != news.epoch) {
            return;
        }
        for (user, progress) in &news.users {
            self.note(room, news.epoch, user, *progress);
        }
        if !news.untold.is_empty() {
            let waiting = self.waiting.entry(room.clone()).or_insert_with(|| News::of(news.epoch));
            waiting.untold.extend(news.untold);
        }
    }
}

impl Receipts {
    /// After a panic: the round that was under way may not end any more.
    pub(super) fn rebuild(&mut self) {
        self.running = false;
    }
}

impl RoomServer {
    /// A member's client has, or its user has read, everything up to an offset.
    pub(super) fn progress(
        &mut self,
        session: &Arc<SessionHandle>,
        room: &RoomName,
        progress: Progress,
        reply: &ReplyId,
        ctx: &mut Context<Self>,
    ) {
        let entry = self.table.room(room);
        let Some(member) = entry.and_then(|entry| entry.members.get(session.id)) else {
            let e = HubError::new(ErrorCode::NotAMember, "join the room first");
            return session.reply(reply, &Err(e));
        };
        // Nobody has what it was not handed.
        let progress = progress.at_most(member.cursor);
        let epoch = entry.and_then(|entry| entry.position).map(|position| position.epoch);
        if let Some(epoch) = epoch.filter(|_| progress.delivered > 0) {
            if !self.receipts.note(room, epoch, &session.user, progress) {
                let e = HubError::unavailable("too many receipts wait to be kept; try again");
                return session.reply(reply, &Err(e));
            }
            self.next_round(ctx);
        }
        if reply.is_some() {
            session.reply(reply, &Ok(Reply::Done));
        }
    }

    fn next_round(&mut self, ctx: &mut Context<Self>) {
        if self.receipts.running {
            return;
        }
        self.receipts.running = true;
        let interval = Duration::from_millis(self.shared.settings.receipts.interval_ms);
        ctx.run_later(interval, |act, ctx| act.contained(ctx, Self::keep_receipts));
    }

    /// Keeps what waits, then tells of it. One round at a time: what comes meanwhile is
    /// one with what comes after.
    fn keep_receipts(&mut self, ctx: &mut Context<Self>) {
        let Some(store) = self.shared.receipts.clone() else { return };
        let rounds = self.receipts.take().into_iter().map(|(room, news)| {
            let at_hand = self.table.room(&room).map_or(Vec::new(), |entry| entry.recent_above(0));
            let (shared, store) = (self.shared.clone(), store.clone());
            async move {
                let users: Vec<_> = news.users.iter().map(|(u, p)| (u.clone(), *p)).collect();
                let kept = match users.is_empty() {
                    true => Ok(Advanced::default()),
                    false => store.advance(&room, news.epoch, users).await,
                };
                let left = match kept {
                    Ok(advanced) => {
                        let told = Telling { shared, room: room.clone(), epoch: news.epoch };
                        let untold = told.tell(news.untold, advanced, at_hand).await;
                        News { epoch: news.epoch, users: HashMap::new(), untold }
                    }
                    Err(e) => {
                        log::warn!(room:% = room, error:% = e; "receipts wait for their store");
                        // One that is closed takes nothing any more: the node ends.
                        if matches!(e, StoreError::Closed) { News::of(news.epoch) } else { news }
                    }
                };
                (room, left)
            }
        });
        let round = stream::iter(rounds.collect::<Vec<_>>()).buffer_unordered(AT_A_TIME);
        let round = round.collect::<Vec<_>>();
        ctx.spawn(round.into_actor(self).map(|left, act, ctx| {
            act.contained(ctx, |act, ctx| {
                act.receipts.running = false;
                for (room, news) in left.into_iter().filter(|(_, news)| !news.is_empty()) {
                    act.receipts.again(&room, news);
                }
                if !act.receipts.waiting.is_empty() {
                    act.next_round(ctx);
                }
            });
        }));
    }
}

/// Tells authors how far others are in one room.
struct Telling {
    shared: Arc<Shared>,
    room: RoomName,
    epoch: Epoch,
}

impl Telling {
    /// Tells what rose, and gives what is too much for one go. `at_hand` are the newest
    /// records, without a hole.
    async fn tell(
        &self,
        untold: Vec<Rise>,
        advanced: Advanced,
        at_hand: Vec<Arc<Stored>>,
    ) -> Vec<Rise> {
        let kept = &self.shared.metrics.receipts;
        let reads = advanced.rises.iter().filter(|rise| rise.now.read > rise.before.read).count();
        kept.with_label_values(&["read"]).inc_by(reads as u64);
        kept.with_label_values(&["untracked"]).inc_by(advanced.untracked as u64);
        let rises = merge(untold, advanced.rises);
        kept.with_label_values(&["delivered"]).inc_by(rises.len() as u64);
        if rises.is_empty() {
            return rises;
        }
        let from = rises.iter().map(|rise| rise.before.delivered).min().unwrap_or(0);
        let upto = rises.iter().map(|rise| rise.now.delivered).max().unwrap_or(0);
        let records = self.records(from, upto, at_hand).await;
        let mut told = 0;
        let mut rises = rises.into_iter();
        for rise in rises.by_ref() {
            told += self.tell_authors(&rise, &records);
            if told >= MAX_TOLD {
                break;
            }
        }
        rises.collect()
    }

    /// The records between two offsets, or the newest of them: those at hand, and a page
    /// of the history before these.
    async fn records(&self, from: u64, upto: u64, at_hand: Vec<Arc<Stored>>) -> Vec<Arc<Stored>> {
        let ours = at_hand.into_iter().filter(|record| record.position.epoch == self.epoch);
        let ours: Vec<Arc<Stored>> = ours.collect();
        let first = ours.first().map_or(u64::MAX, |record| record.position.offset);
        if first <= from.saturating_add(1) {
            return ours;
        }
        let before = first.min(upto.saturating_add(1));
        match self.shared.history.read(&self.room, Range::Before(before), MAX_PAGE).await {
            Ok(page) if page.head.epoch == self.epoch => {
                page.records.into_iter().chain(ours).collect()
            }
            Ok(_) => Vec::new(),
            Err(e) => {
                log::warn!(room:% = self.room, error:% = e; "some authors are told no receipts");
                ours
            }
        }
    }

    /// Tells everybody who wrote something that a user's client has got now.
    fn tell_authors(&self, rise: &Rise, records: &[Arc<Stored>]) -> usize {
        let new = |record: &&Arc<Stored>| {
            let Position { offset, .. } = record.position;
            offset > rise.before.delivered && offset <= rise.now.delivered
        };
        let got = records.iter().filter(new);
        let authors: BTreeSet<&UserId> =
            got.filter_map(|r| r.record.user.as_ref()).filter(|user| **user != rise.user).collect();
        let last = records.iter().find(|r| r.position.offset == rise.now.delivered);
        for author in &authors {
            let receipt = Receipt {
                room: self.room.clone(),
                user: rise.user.clone(),
                offset: rise.now.delivered,
                status: ReceiptStatus::Delivered,
                message: last.map(|record| record.record.id),
                author: Some((*author).clone()),
            };
            self.shared.relay_all(&Broadcast {
                to: Audience::Room(RoomName::personal(author)),
                event: Arc::new(Event::Receipt(receipt)),
                except: None,
                except_user: None,
            });
        }
        authors.len()
    }
}

/// What is to be told: of each user once. What was read was told when it was said.
fn merge(untold: Vec<Rise>, rises: Vec<Rise>) -> Vec<Rise> {
    let mut all: Vec<Rise> = Vec::with_capacity(untold.len() + rises.len());
    let mut at: HashMap<UserId, usize> = HashMap::new();
    let news = rises.into_iter().filter(|rise| {
        rise.now.delivered > rise.before.delivered && rise.now.delivered > rise.now.read
    });
    for rise in untold.into_iter().chain(news) {
        match at.get(&rise.user) {
            Some(at) => all[*at].now = all[*at].now.max(rise.now),
            None => {
                at.insert(rise.user.clone(), all.len());
                all.push(rise);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn rise(name: &str, from: u64, to: Progress) -> Rise {
        Rise { user: user(name), before: Progress::delivered(from), now: to }
    }

    #[test]
    fn news_of_a_user_are_one_and_bounded() {
        let (room, epoch) = (RoomName::new("r").unwrap(), Epoch(1));
        let mut receipts = Receipts::default();
        for offset in [3, 5, 4] {
            assert!(receipts.note(&room, epoch, &user("ann"), Progress::delivered(offset)));
        }
        assert!(receipts.note(&room, epoch, &user("ann"), Progress::read(2)));
        let ann = receipts.waiting[&room].users[&user("ann")];
        assert_eq!(ann, Progress { delivered: 5, read: 2 });
        for n in 1..MAX_WAITING {
            assert!(receipts.note(&room, epoch, &user(&n.to_string()), Progress::delivered(1)));
        }
        assert!(!receipts.note(&room, epoch, &user("one more"), Progress::delivered(1)));
        assert!(receipts.note(&room, epoch, &user("ann"), Progress::delivered(6)), "it is there");
        // Another history: what was said of the old one is forgotten.
        assert!(receipts.note(&room, Epoch(2), &user("bob"), Progress::delivered(1)));
        assert_eq!(receipts.users, 1);
        let news = receipts.take().remove(&room).unwrap();
        assert_eq!((receipts.users, receipts.waiting.len()), (0, 0));
        assert!(receipts.note(&room, Epoch(2), &user("bob"), Progress::delivered(4)));
        receipts.again(&room, news);
        assert_eq!(receipts.waiting[&room].users[&user("bob")], Progress::delivered(4));
        assert_eq!(receipts.users, 1);
    }

    #[test]
    fn what_is_told_is_told_once_of_each_user() {
        let rises = vec![
            rise("ann", 4, Progress::delivered(6)),
            rise("bob", 0, Progress::read(6)),
            rise("eve", 3, Progress { delivered: 3, read: 3 }),
        ];
        let all = merge(vec![rise("ann", 2, Progress::delivered(4))], rises);
        assert_eq!(all, [rise("ann", 2, Progress::delivered(6))]);
    }
}
