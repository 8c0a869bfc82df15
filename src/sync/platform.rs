//! Stores what was learned about the platform, and since when it does not answer, in the account's
//! row.
//!
//! Owns when that is written; the source owns its content. A failed write does not fail the run: a later call
//! writes again. There is one exception. Before any session from version 1 of the session list is stored, the
//! row must say that version 1 is read. Otherwise, if this process were killed, the next one would not read
//! all sessions again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::load;
use super::policy::RunError;
use super::run::Runner;
use crate::config::Zone;
use crate::data::{Learned, Resource, SessionVersion, Source, Standing, Timestamp, Trouble};
use crate::store::{Lease, Store, StoreError};

/// A failure that has lasted for less than this is not stored, unless the process ends without any
/// answer.
const WORTH_TELLING: Duration = Duration::from_secs(30);

/// The shortest time between two writes.
const WRITE_EVERY: Duration = Duration::from_mins(1);

/// If the wait before the next retry is at most this long, the end of the wait is not stored.
const SHORT: Duration = Duration::from_mins(1);

/// What is stored about the platform.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    learned: Arc<Mutex<Learned>>,
    trouble: tokio::sync::Mutex<Noted>,
}

/// Stores that the first version of the session list is read.
pub(super) struct VersionNote {
    learned: Arc<Mutex<Learned>>,
}

impl VersionNote {
    /// Stores that the first version is read, unless that is already stored. Must be called before any record
    /// from that version is stored.
    pub(super) async fn first_is_read(
        &self,
        store: &Store,
        lease: &Lease,
    ) -> Result<(), StoreError> {
        let first = Some(SessionVersion::First);
        // No code panics while it holds this lock.
        let stored = *self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        if stored.session_list == first {
            return Ok(());
        }
        let learned = Learned {
            session_list: first,
            ..stored
        };
        store.set_learned(lease, &learned).await?;
        *self.learned.lock().unwrap_or_else(PoisonError::into_inner) = learned;
        Ok(())
    }
}

/// What is stored about an outage.
#[derive(Debug, Default)]
struct Noted {
    /// Since when, and why. Has no meaning until `was_read` is true.
    stored: Option<(Timestamp, String)>,
    was_read: bool,
    /// The last write, by [`crate::clock::Clock::running`].
    written_after: Option<Duration>,
}

impl<S: Source + 'static> Runner<S> {
    /// Takes over what is stored about the account's platform.
    pub(super) fn remember(&self, learned: Learned) {
        *self.learned() = learned;
    }

    fn learned(&self) -> std::sync::MutexGuard<'_, Learned> {
        // No code panics while it holds this lock.
        let learned = &self.remembered().learned;
        learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handle that stores that the first version of the session list is read, before any record from that
    /// version is stored.
    pub(super) fn version_note(&self) -> VersionNote {
        VersionNote {
            learned: Arc::clone(&self.remembered().learned),
        }
    }

    /// Stores what the source has learned about the platform, if that has changed. If sessions are read from
    /// the usual version of their list again, all of them must be read again, since the first version may
    /// have omitted some. Until that is planned, the first version counts as in use.
    pub(super) async fn keep_learned(&self, stop: &CancellationToken) {
        let learned = self.source().learned();
        let stored = *self.learned();
        if stored == learned {
            return;
        }
        let is_back = stored.session_list.is_some() && learned.session_list.is_none();
        match self.store_learned(&learned, is_back, stop).await {
            Ok(()) => *self.learned() = learned,
            Err(error) => {
                let error = error.line();
                debug!(error, "could not store what was learned about the platform");
            }
        }
    }

    async fn store_learned(
        &self,
        learned: &Learned,
        is_back: bool,
        stop: &CancellationToken,
    ) -> Result<(), RunError> {
        let sessions = Resource::Sessions;
        // Sessions that were not loaded yet will be loaded from the usual version anyway.
        if !is_back
            || load::unloaded(self.store(), self.account(), &[sessions])
                .await?
                .contains(&sessions)
        {
            return Ok(self.store().set_learned(self.lease(), learned).await?);
        }
        load::plan_rereading(self, learned, stop).await?;
        let account = self.name();
        info!(
            account,
            "account {account}: reading all sessions again, since version 1 of the session list may have \
             omitted some"
        );
        Ok(())
    }

    /// Stores since when and why the platform does not answer, once that has lasted for a while. Also stores
    /// that it answers again. Writes at most once a minute, unless this is the `last` call.
    pub(super) async fn note_trouble(&self, last: bool) {
        if let Err(error) = self.look_for_trouble(last).await {
            debug!(error = %error, "could not store the platform's outage");
        }
    }

    async fn look_for_trouble(&self, last: bool) -> Result<(), StoreError> {
        let standing = self.source().standing();
        // A process that ends without any answer leaves the reason.
        let is_telling = |trouble: &Trouble| last && !trouble.answered_before;
        let is_hiccup = |trouble: &Trouble| trouble.lasting < WORTH_TELLING && !is_telling(trouble);
        match &standing {
            // The outage that an earlier process stored may not be over.
            Standing::Unknown => return Ok(()),
            Standing::Troubled(trouble) if is_hiccup(trouble) => return Ok(()),
            Standing::Answering | Standing::Troubled(_) => {}
        }
        let account = self.account();
        let mut noted = self.remembered().trouble.lock().await;
        if !noted.was_read {
            noted.stored = self.store().trouble(account).await?;
            noted.was_read = true;
        }
        let due = match standing {
            Standing::Unknown | Standing::Answering => None,
            Standing::Troubled(trouble) => {
                // If no answer has come since an earlier process stored the beginning, that beginning stays.
                let earlier = noted.stored.as_ref().map(|(since, _)| *since);
                let earlier = earlier.filter(|_| !trouble.answered_before);
                let since = earlier.map_or(trouble.since, |at| at.min(trouble.since));
                Some((since, text(&trouble, self.clock().now(), self.zone())))
            }
        };
        let running = self.clock().running();
        let early = |at: Duration| running.saturating_sub(at) < WRITE_EVERY;
        if due == noted.stored || !last && noted.written_after.is_some_and(early) {
            return Ok(());
        }
        self.store().set_trouble(self.lease(), due.as_ref()).await?;
        noted.written_after = Some(running);
        noted.stored = due;
        Ok(())
    }
}

/// The text that is stored, such as `api.helena.run answers 429 (too many requests); retry at 2026-05-04
/// 15:03:00+00:00`.
fn text(trouble: &Trouble, now: Timestamp, zone: Zone) -> String {
    let next = trouble.next_try.filter(|at| at.since(now) > SHORT);
    let next = next.map_or_else(String::new, |at| {
        format!("; retry at {}", zone.show_offset(at))
    });
    format!("{}{next}", trouble.cause)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::clock::{Clock as _, FakeClock};
    use crate::data::{Page, PageQuery, SourceError, Usage};
    use crate::store::{AccountId, Acquired, Holder, OpenOptions};
    use crate::sync::WalkSettings;

    /// A source of which only the standing is known.
    struct Known(Mutex<Standing>);

    impl Source for Known {
        async fn page(&self, _: &PageQuery) -> Result<Page, SourceError> {
            unreachable!("nobody asks")
        }
        async fn list(&self, _: Resource) -> Result<Page, SourceError> {
            unreachable!("nobody asks")
        }
        async fn by_id(&self, _: Resource, _: Uuid) -> Result<Page, SourceError> {
            unreachable!("nobody asks")
        }
        fn usage(&self) -> Usage {
            Usage::default()
        }
        fn standing(&self) -> Standing {
            self.0.lock().unwrap().clone()
        }
    }

    struct World {
        clock: Arc<FakeClock>,
        store: Store,
        account: AccountId,
        runner: Runner<Known>,
    }

    impl World {
        async fn begin() -> Self {
            let clock = Arc::new(FakeClock::at(Timestamp::from_micros(1_800_000_000_000_000)));
            let memory = OpenOptions::default();
            let store = Store::open("sqlite::memory:", &memory).await.unwrap();
            store.migrate().await.unwrap();
            let account = store.account("a", "http://a", clock.now()).await.unwrap();
            let runner = Self::runner(&clock, &store, account).await;
            Self {
                clock,
                store,
                account,
                runner,
            }
        }

        /// The runner of a process that has just begun.
        async fn runner(
            clock: &Arc<FakeClock>,
            store: &Store,
            account: AccountId,
        ) -> Runner<Known> {
            let holder = Holder::current();
            let acquired = store.acquire(account, &holder, clock.now()).await.unwrap();
            let Acquired::Lease(lease) = acquired else {
                panic!("nobody else has it");
            };
            let settings = WalkSettings {
                overlap: Duration::from_mins(2),
                page_size: 100,
                window_pages: 50,
                concurrency: 4,
            };
            let source = Arc::new(Known(Mutex::new(Standing::Unknown)));
            let clock = Arc::<FakeClock>::clone(clock);
            let name = "a".to_owned();
            let how = (settings, false);
            Runner::new(name, source, store.clone(), clock, lease, how)
        }

        async fn restart(&mut self) {
            self.store.release(self.runner.lease()).await.unwrap();
            self.runner = Self::runner(&self.clock, &self.store, self.account).await;
        }

        fn is(&self, standing: Standing) {
            *self.runner.source().0.lock().unwrap() = standing;
        }

        /// Puts the source into an outage that has lasted for so many seconds. Returns its beginning.
        fn in_trouble(&self, cause: &str, seconds: u64, answered_before: bool) -> Timestamp {
            let lasting = Duration::from_secs(seconds);
            let since = self.clock.now() - lasting;
            self.is(Standing::Troubled(Trouble {
                place: String::new(),
                detail: String::new(),
                cause: cause.to_owned(),
                unreachable: false,
                since,
                lasting,
                next_try: None,
                answered_before,
            }));
            since
        }

        async fn stored(&self) -> Option<(Timestamp, String)> {
            self.store.trouble(self.account).await.unwrap()
        }
    }

    #[tokio::test]
    async fn a_process_that_never_had_an_answer_leaves_the_reason() {
        let world = World::begin().await;
        let since = world.in_trouble("no connection", 3, false);
        world.runner.note_trouble(false).await;
        assert_eq!(world.stored().await, None);
        world.runner.note_trouble(true).await;
        let told = (since, "no connection".to_owned());
        assert_eq!(world.stored().await, Some(told));
    }

    #[tokio::test]
    async fn trouble_is_written_once_it_lasts_and_again_when_its_cause_changes_or_it_ends() {
        let world = World::begin().await;
        world.in_trouble("429", 29, true);
        world.runner.note_trouble(true).await;
        assert_eq!(world.stored().await, None);
        let since = world.in_trouble("429", 30, true);
        world.runner.note_trouble(false).await;
        assert_eq!(world.stored().await, Some((since, "429".to_owned())));
        // At most once a minute …
        world.clock.advance(Duration::from_secs(59));
        assert_eq!(world.in_trouble("503", 89, true), since);
        world.runner.note_trouble(false).await;
        assert_eq!(world.stored().await, Some((since, "429".to_owned())));
        world.clock.advance(Duration::from_secs(1));
        world.in_trouble("503", 90, true);
        world.runner.note_trouble(false).await;
        assert_eq!(world.stored().await, Some((since, "503".to_owned())));
        // … unless this is the last call.
        world.is(Standing::Answering);
        world.runner.note_trouble(false).await;
        assert_eq!(world.stored().await, Some((since, "503".to_owned())));
        world.runner.note_trouble(true).await;
        assert_eq!(world.stored().await, None);
    }

    #[tokio::test]
    async fn a_process_that_gets_no_answer_either_leaves_the_beginning_as_it_was() {
        let mut world = World::begin().await;
        let first = world.in_trouble("429", 100, true);
        world.runner.note_trouble(false).await;
        world.restart().await;
        world.runner.note_trouble(true).await;
        assert_eq!(world.stored().await, Some((first, "429".to_owned())));
        world.clock.advance(Duration::from_hours(1));
        world.in_trouble("503", 40, false);
        world.runner.note_trouble(false).await;
        assert_eq!(world.stored().await, Some((first, "503".to_owned())));
        world.clock.advance(Duration::from_hours(1));
        let later = world.in_trouble("503", 40, true);
        world.runner.note_trouble(false).await;
        assert_eq!(world.stored().await, Some((later, "503".to_owned())));
        world.restart().await;
        world.is(Standing::Answering);
        world.runner.note_trouble(false).await;
        assert_eq!(world.stored().await, None);
    }

    #[tokio::test]
    async fn who_has_lost_the_lease_writes_nothing() {
        let mut world = World::begin().await;
        let how = (world.runner.settings(), false);
        let old = Runner::new(
            "a".to_owned(),
            Arc::new(Known(Mutex::new(Standing::Unknown))),
            world.store.clone(),
            Arc::<FakeClock>::clone(&world.clock),
            world.runner.lease().clone(),
            how,
        );
        world.restart().await;
        *old.source().0.lock().unwrap() = Standing::Troubled(Trouble {
            place: String::new(),
            detail: String::new(),
            cause: "429".to_owned(),
            unreachable: false,
            since: world.clock.now(),
            lasting: Duration::from_hours(1),
            next_try: None,
            answered_before: true,
        });
        old.note_trouble(true).await;
        assert_eq!(world.stored().await, None);
    }

    #[test]
    fn the_next_try_is_told_if_it_is_worth_waiting_for() {
        let now = Timestamp::parse("2026-05-04T14:03:00Z").unwrap();
        let mut trouble = Trouble {
            place: String::new(),
            detail: String::new(),
            cause: "api.helena.run answers 429 (too many requests)".to_owned(),
            unreachable: false,
            since: now,
            lasting: Duration::ZERO,
            next_try: Some(now + Duration::from_hours(1)),
            answered_before: true,
        };
        assert_eq!(
            text(&trouble, now, "America/Sao_Paulo".parse().unwrap()),
            "api.helena.run answers 429 (too many requests); retry at 2026-05-04 12:03:00-03:00"
        );
        trouble.next_try = Some(now + Duration::from_mins(1));
        assert_eq!(text(&trouble, now, Zone::UTC), trouble.cause);
    }
}
