//! What is open now.

use super::rows::{Key, Lookup};
use super::{Computing, whole};
use crate::reporting::session::{OpenSession, Stage};
use serde::Serialize;

/// The ages by which open sessions are counted, in seconds; a last class is older.
pub const AGES: [i64; 6] = [3_600, 14_400, 86_400, 259_200, 604_800, 2_592_001];

/// One of the oldest open sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Oldest {
    /// Its number.
    pub number: Option<String>,
    /// Its page on the platform.
    pub url: Option<String>,
    /// Where it stands.
    pub stage: Stage,
    /// Its age in seconds.
    pub age: i64,
    /// Which department has it.
    pub department: Option<String>,
    /// Whether the company is to answer.
    pub is_ours: bool,
}

/// What is open now.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct OpenNow {
    /// By age, and by stage: bot, queue, service.
    pub ages: [[u64; 3]; 7],
    /// In the queue or with an agent, and without one.
    pub unassigned: u64,
    /// The contact wrote last.
    pub awaiting: u64,
    /// For how long, at least, the oldest of these waits, in seconds.
    pub longest_wait: Option<i64>,
    /// Of these, the window for free messages is closed.
    pub window_closed: u64,
    /// Nobody wrote for long.
    pub stale: u64,
    /// Messages that nobody read.
    pub unread: u64,
    /// The oldest ones.
    pub oldest: Vec<Oldest>,
}

impl OpenNow {
    /// How many are open at a stage.
    pub fn of(&self, stage: Stage) -> u64 {
        let place = [Stage::Bot, Stage::Queue, Stage::Service];
        let place = place.iter().position(|it| *it == stage);
        place.map_or(0, |place| self.ages.iter().map(|age| age[place]).sum())
    }

    /// How many are open.
    pub fn total(&self) -> u64 {
        self.ages.iter().flatten().sum()
    }
}

impl Computing<'_> {
    pub(super) fn open_now(&self) -> Option<OpenNow> {
        let as_of = self.facts.frame.as_of?;
        let stale = self.facts.frame.settings.stale;
        let lookup = Lookup::new(&self.names.departments);
        let mut now = OpenNow::default();
        let mut oldest: Vec<(&OpenSession, i64, bool)> = Vec::new();
        for open in self.open {
            let session = &open.session;
            let age = whole(as_of) - whole(session.created_at);
            let place = AGES.iter().position(|&most| age < most);
            let column = match session.stage() {
                Stage::Bot => 0,
                Stage::Queue => 1,
                _ => 2,
            };
            now.ages[place.unwrap_or(AGES.len())][column] += 1;
            let is_ours = match (open.last_in, open.last_out) {
                (Some(last_in), Some(last_out)) => last_in > last_out,
                (last_in, _) => last_in.is_some(),
            };
            now.unassigned += u64::from(column > 0 && session.agent.is_none());
            now.unread += open.unread;
            let idle = open.last_interaction.map(|last| whole(as_of) - whole(last));
            let stale = i64::try_from(stale.as_secs()).unwrap_or(i64::MAX);
            now.stale += u64::from(idle.is_some_and(|idle| idle > stale));
            if is_ours {
                now.awaiting += 1;
                now.window_closed += u64::from(open.is_window_closed);
                let waited = open.last_in.map(|last| whole(as_of) - whole(last));
                now.longest_wait = now.longest_wait.max(waited.filter(|&waited| waited >= 0));
            }
            oldest.push((open, age, is_ours));
        }
        oldest.sort_by(|(a, age_a, _), (b, age_b, _)| {
            age_b.cmp(age_a).then_with(|| a.number.cmp(&b.number))
        });
        now.oldest = oldest
            .into_iter()
            .take(10)
            .map(|(open, age, is_ours)| Oldest {
                number: open.number.clone(),
                url: open.url.clone(),
                stage: open.session.stage(),
                age: age.max(0),
                department: match lookup.key(open.session.department) {
                    Key::Named { name, .. } => Some(name),
                    _ => None,
                },
                is_ours,
            })
            .collect();
        Some(now)
    }
}
