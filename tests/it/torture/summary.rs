//! What a torture did in all its rounds, and how to repeat the one that failed. Printed at its end,
//! whichever way it ends.

use std::collections::BTreeMap;

use helena_sync::data::Timestamp;

use super::now;
use crate::support::database::Kind;

/// How often what happened.
pub(super) type Tally = BTreeMap<String, u32>;

/// All rounds so far.
pub(super) struct Summary {
    pub(super) kind: Kind,
    /// Of the round that is going on.
    pub(super) seed: u64,
    /// Those that ended well.
    pub(super) rounds: u32,
    pub(super) requests: usize,
    /// Between the platform and its mirror.
    pub(super) differences: usize,
    began: Timestamp,
    tally: Tally,
}

impl Summary {
    pub(super) fn new(kind: Kind, seed: u64) -> Self {
        Self {
            kind,
            seed,
            rounds: 0,
            requests: 0,
            differences: 0,
            began: now(),
            tally: Tally::new(),
        }
    }

    pub(super) fn count(&mut self, what: &str) {
        *self.tally.entry(what.to_owned()).or_default() += 1;
    }

    /// How often anything of this name happened.
    fn sum(&self, is: impl Fn(&str) -> bool) -> u32 {
        let counts = self.tally.iter().filter(|(what, _)| is(what));
        counts.map(|(_, count)| count).sum()
    }
}

impl Drop for Summary {
    fn drop(&mut self) {
        let kind = self.kind;
        let seconds = now().since(self.began).as_secs();
        let database = match kind {
            Kind::Sqlite => "sqlite",
            Kind::Postgres => "postgres",
        };
        println!(
            "torture: {kind:?}, in all: {seconds} s, {} rounds ended well, {} requests, {} processes \
             killed, {} database crashes and {} restarts, {} and {} steps of the platform's and the \
             client's clock, {} sessions deleted; found: {} differences",
            self.rounds,
            self.requests,
            self.sum(|what| what.ends_with(" killed")),
            self.sum(|what| what == "database crashes"),
            self.sum(|what| what == "database restarts"),
            self.sum(|what| what == "platform clock steps"),
            self.sum(|what| what.starts_with("client clock ")),
            self.sum(|what| what == "sessions deleted"),
            self.differences,
        );
        if std::thread::panicking() {
            println!(
                "torture: {kind:?}, seed {seed} FAILED; to repeat its round: \
                 scripts/torture --seed {seed} --database {database}",
                seed = self.seed
            );
        }
    }
}
