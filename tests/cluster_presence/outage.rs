//! Redis is away, stands still, or comes back empty.

use std::time::Duration;

use serde_json::Value;

use crate::{fleet::*, redis_server::Redis, support::*};

/// A coming or going that nobody should be told of.
fn flap(e: &Value) -> bool {
    e["type"] == "user_left" || e["type"] == "user_joined" || e["status"] == "offline"
}

struct Guests {
    ann: Ws,
    bob: Ws,
    carol: Ws,
}

/// One user on each of three nodes, who know each other.
fn guests(fleet: &Fleet) -> Guests {
    let mut ann = fleet.hubs[0].member("ann", "r");
    let mut bob = fleet.hubs[1].member("bob", "r");
    let carol = fleet.hubs[2].member("carol", "r");
    ann.expect("bob", about("user_joined", "bob"));
    ann.expect("carol", about("user_joined", "carol"));
    bob.expect("carol", about("user_joined", "carol"));
    let mut guests = Guests { ann, bob, carol };
    fleet.members_until(&[0, 1, 2], "r", &["ann", "bob", "carol"]);
    guests.forget();
    guests
}

impl Guests {
    /// What they were told so far is not looked at any more.
    fn forget(&mut self) {
        for ws in [&mut self.ann, &mut self.bob, &mut self.carol] {
            ws.fence();
            ws.take(|_| true);
        }
    }
}

/// Everybody is where they were, nobody was told otherwise, and changes are told.
fn whole_again(fleet: &Fleet, guests: &mut Guests, quiet: Duration) {
    fleet.complete();
    let wrong = guests.ann.find(quiet, flap);
    assert!(wrong.is_none(), "{wrong:?}");
    guests.bob.fence();
    guests.bob.none_kept("flap", flap);
    guests.carol.fence();
    guests.carol.none_kept("flap", flap);
    fleet.members_until(&[0, 1, 2], "r", &["ann", "bob", "carol"]);
    let dave = fleet.hubs[2].member("dave", "r");
    guests.ann.expect("dave", about("user_joined", "dave"));
    dave.close();
    guests.ann.expect("dave left", about("user_left", "dave"));
    until("the set is right", SOON, || {
        (fleet.redis.online() == ["ann", "bob", "carol"].map(String::from).into()).then_some(())
    });
    assert_eq!(fleet.redis.nodes().len(), 3);
    assert!(fleet.redis.holders().is_subset(&fleet.redis.nodes()));
    fleet.members_until(&[0, 1, 2], "r", &["ann", "bob", "carol"]);
    guests.forget();
}

#[test]
fn a_restart_of_redis_is_not_noticed() {
    let mut fleet = Fleet::start(3, &[GRACE, SHORT]);
    let mut guests = guests(&fleet);
    // Longer than a lease.
    fleet.redis.restart(Duration::from_secs(3));
    whole_again(&fleet, &mut guests, Duration::from_secs(4));
}

#[test]
fn a_redis_that_lost_everything_is_told_again() {
    let mut fleet = Fleet::on(Redis::start(false), 3, &[GRACE, SHORT]);
    let mut guests = guests(&fleet);
    fleet.redis.restart(Duration::from_millis(300));
    whole_again(&fleet, &mut guests, Duration::from_secs(4));
    let _: String = fleet.redis.ask(&["FLUSHALL"]);
    whole_again(&fleet, &mut guests, Duration::from_secs(4));
}

#[test]
fn a_redis_that_stands_still_makes_nobody_leave() {
    let fleet = Fleet::start(3, &[GRACE, SHORT]);
    let mut guests = guests(&fleet);
    fleet.redis.signal("STOP");
    std::thread::sleep(Duration::from_secs(5));
    fleet.redis.signal("CONT");
    whole_again(&fleet, &mut guests, Duration::from_secs(4));
}

#[test]
fn who_leaves_while_redis_is_away_is_told_afterwards() {
    let mut fleet = Fleet::on(Redis::start(false), 3, &[GRACE, SHORT]);
    let Guests { mut ann, bob, carol } = guests(&fleet);
    fleet.redis.signal("STOP");
    bob.close();
    until("bob is offline on his node", SOON, || {
        (fleet.hubs[1].api().get("/api/users/bob").status == 404).then_some(())
    });
    fleet.redis.restart(Duration::ZERO);
    ann.expect("bob is offline", offline("bob"));
    ann.expect("bob left", about("user_left", "bob"));
    let wrong = ann.find(Duration::from_secs(3), flap);
    assert!(wrong.is_none(), "{wrong:?}");
    fleet.members_until(&[0, 1, 2], "r", &["ann", "carol"]);
    drop(carol);
}

#[test]
fn a_node_that_dies_together_with_redis_is_given_up() {
    let mut fleet = Fleet::on(Redis::start(false), 3, &[GRACE, SHORT]);
    let Guests { mut ann, bob, carol } = guests(&fleet);
    fleet.redis.signal("STOP");
    fleet.hubs[2].kill();
    fleet.redis.restart(Duration::ZERO);
    ann.expect("carol is offline", offline("carol"));
    ann.expect("carol left", about("user_left", "carol"));
    let wrong = ann.find(Duration::from_secs(3), flap);
    assert!(wrong.is_none(), "{wrong:?}");
    fleet.members_until(&[0, 1], "r", &["ann", "bob"]);
    drop((bob, carol));
}
