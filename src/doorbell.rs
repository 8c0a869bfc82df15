//! The doorbell: the platform calls an address when something changes, and what has changed is read
//! within a second (API notes, 11 and 17).
//!
//! A call is a hint, not data: deliveries are lost, sent twice, out of order, and may be forged by
//! whoever learns the address. So only the kind of the event and an id are read from it, and nothing
//! follows but a read of the platform that passes make anyway. [`Bell`] gathers calls for half a second,
//! reads what they concern with one request, and looks for the same records again if the platform did
//! not show their change yet. [`Address`] is the secret path of an account, and judges subscriptions.
//!
//! A process that does not work on the account gathers calls, too. It passes them on instead of reading
//! ([`Bell::put_back`] if that fails), and the bell of the lease holder has them at once
//! ([`Bell::ring_for`]).
//!
//! Owns when something is read because of a call, and the limit of such reads. Must not know HTTP, SQL
//! or how something is read.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use tokio::sync::Notify;
use url::Url;
use uuid::Uuid;

use crate::clock::Clock;
use crate::data::{Resource, Rung, Subscription, SubscriptionState, Timestamp};
use crate::metrics::Meter;

/// The name of the subscription that this program manages.
pub const SUBSCRIPTION: &str = "helena-sync doorbell";

/// The longest address that the platform accepts (API notes, 11).
pub const LONGEST_URL: usize = 500;

/// Calls within this time make one read.
const GATHER: Duration = Duration::from_millis(500);

/// When a record is looked for again whose change was not shown, counted from the call.
const AGAIN: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(15)];

/// How many requests may follow each other at once …
const BURST: u32 = 20;

/// … and how often another one is allowed.
const EVERY: Duration = Duration::from_secs(3);

/// So many records are looked for by id. If there are more, a page of the list takes fewer requests.
const MOST_BY_ID: usize = 5;

/// More records of one resource are not remembered. Their change is read all the same, if it is among
/// the newest ones.
const MOST_IDS: usize = 1_000;

/// More records are not passed on to the lease holder: a page shows no more.
const MOST_FORWARDED: usize = 100;

/// How soon it is tried again to pass a call on.
const FORWARD_AGAIN: Duration = Duration::from_secs(3);

/// The secret path of an account: what the platform's calls end with.
pub struct Address {
    /// The last segment of the path.
    segment: SecretString,
    /// Its hash, since hashes have one length and so are compared in constant time.
    hash: [u8; 32],
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address").finish_non_exhaustive()
    }
}

fn hashed(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn last_segment(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl Address {
    /// The address of an account. Each account has its own, and none leads to that of another account.
    pub fn new(secret: &SecretString, account: &str) -> Self {
        let mut whole = Sha256::new();
        whole.update(b"helena-sync doorbell\n");
        // Of one length each, so that no two pairs are the same text.
        whole.update(hashed(secret.expose_secret().as_bytes()));
        whole.update(hashed(account.as_bytes()));
        let mut segment = String::with_capacity(64);
        for byte in whole.finalize() {
            for digit in [byte >> 4, byte & 15] {
                segment.extend(char::from_digit(digit.into(), 16));
            }
        }
        Self {
            hash: hashed(segment.as_bytes()),
            segment: SecretString::from(segment),
        }
    }

    /// The address that the platform is to call, below the one at which it reaches this machine.
    pub fn below(&self, base: &Url) -> SecretString {
        let base = base.as_str().trim_end_matches('/');
        SecretString::from(format!("{base}/ring/{}", self.segment.expose_secret()))
    }

    /// Whether a path leads here, in a time that does not depend on its content. Only its last segment
    /// counts: a proxy may add or remove others.
    fn is_called(&self, hash: &[u8; 32]) -> Choice {
        self.hash.ct_eq(hash)
    }

    /// The state of the doorbell's subscription among those of an account that mirrors these resources.
    pub fn judge(
        &self,
        subscriptions: &[Subscription],
        mirrored: &[Resource],
    ) -> SubscriptionState {
        let ours: Vec<&Subscription> = subscriptions.iter().filter(|one| is_ours(one)).collect();
        let is_here = |one: &&&Subscription| {
            let path = Url::parse(&one.url).map_or_else(
                |_| String::new(),
                |url| url.path().trim_end_matches('/').to_owned(),
            );
            bool::from(self.is_called(&hashed(last_segment(&path).as_bytes())))
        };
        let Some(first) = ours.first() else {
            return SubscriptionState::Missing;
        };
        let Some(one) = ours.iter().find(is_here) else {
            return if first.enabled {
                SubscriptionState::OtherAddress
            } else {
                SubscriptionState::Disabled
            };
        };
        let has = |event: &&str| one.events.iter().any(|it| it.eq_ignore_ascii_case(event));
        if !one.enabled {
            SubscriptionState::Disabled
        } else if !needed(mirrored).iter().all(has) {
            SubscriptionState::LacksEvents
        } else {
            SubscriptionState::Good
        }
    }
}

/// Whether this program manages a subscription.
pub fn is_ours(subscription: &Subscription) -> bool {
    subscription.name == SUBSCRIPTION
}

/// The events of these resources (API notes, 11).
pub fn events(mirrored: &[Resource]) -> Vec<&'static str> {
    let mut events = needed(mirrored);
    if mirrored.contains(&Resource::Templates) {
        // They are newer: an older platform may not know them.
        events.extend(["TEMPLATE_NEW", "TEMPLATE_UPDATE"]);
    }
    events
}

/// Those of them that every platform knows.
fn needed(mirrored: &[Resource]) -> Vec<&'static str> {
    let mut events = Vec::new();
    if mirrored.contains(&Resource::Sessions) {
        events.extend(["SESSION_NEW", "SESSION_UPDATE", "SESSION_COMPLETE"]);
    }
    if mirrored.contains(&Resource::Contacts) {
        events.extend(["CONTACT_NEW", "CONTACT_UPDATE", "CONTACT_TAG_UPDATE"]);
    }
    events
}

/// What a delivery concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    /// The resource. `None` if the event is unknown or unreadable, which may concern every resource.
    pub resource: Option<Resource>,
    /// The record.
    pub id: Option<Uuid>,
}

impl Ring {
    /// A call of which nothing can be said.
    pub const UNKNOWN: Self = Self {
        resource: None,
        id: None,
    };

    /// Reads the event and the id of a delivery, and nothing else.
    pub fn of(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Delivery {
            #[serde(rename = "eventType")]
            event: String,
            content: Option<Content>,
        }
        #[derive(Deserialize)]
        struct Content {
            id: Option<String>,
            #[serde(rename = "sessionId")]
            session: Option<String>,
        }
        let Ok(Delivery { event, content }) = serde_json::from_slice(body) else {
            return Self::UNKNOWN;
        };
        let (id, session) = content.map_or((None, None), |it| (it.id, it.session));
        let (kind, _) = event.split_once('_').unwrap_or((&event, ""));
        let (resource, id) = match kind.to_ascii_uppercase().as_str() {
            "SESSION" => (Resource::Sessions, id),
            "MESSAGE" => (Resource::Sessions, session),
            "CONTACT" => (Resource::Contacts, id),
            "TEMPLATE" => (Resource::Templates, None),
            _ => return Self::UNKNOWN,
        };
        Self {
            resource: Some(resource),
            id: id.and_then(|id| id.parse().ok()),
        }
    }
}

/// A record that the platform named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    /// When it was first named since it was last looked for, by [`Clock::running`].
    rung: Duration,
    /// When to look for it.
    due: Duration,
    /// How often it was looked for in vain.
    made: usize,
}

impl Look {
    /// A first one.
    const fn new(rung: Duration, due: Duration) -> Self {
        Self { rung, due, made: 0 }
    }
}

/// What of one resource is to be read.
#[derive(Debug, Default)]
struct Waiting {
    looks: HashMap<Uuid, Look>,
    /// When to read the newest changes because of calls that name no record.
    whole: Option<Duration>,
}

impl Waiting {
    fn due(&self) -> Option<Duration> {
        let looks = self.looks.values().map(|look| look.due);
        looks.chain(self.whole).min()
    }

    /// Remembers a call about this record, or about none.
    fn add(&mut self, id: Option<Uuid>, look: Look) {
        match id {
            Some(id) if self.looks.contains_key(&id) || self.looks.len() < MOST_IDS => {
                let kept = self.looks.entry(id).or_insert(look);
                if kept.made > 0 {
                    // It has changed once more since it was looked for.
                    *kept = look;
                }
                kept.due = kept.due.min(look.due);
            }
            _ => self.whole = Some(self.whole.map_or(look.due, |due| due.min(look.due))),
        }
    }
}

/// How many requests may be sent: [`BURST`] at once, and one more each time that [`EVERY`] has passed.
#[derive(Debug, Default)]
struct Tokens {
    /// When all of them are there again, by [`Clock::running`].
    full_at: Duration,
}

impl Tokens {
    fn left(&self, now: Duration) -> u32 {
        let spent = self.full_at.saturating_sub(now).as_millis();
        let spent = spent.div_ceil(EVERY.as_millis());
        BURST.saturating_sub(u32::try_from(spent).unwrap_or(u32::MAX))
    }

    fn take(&mut self, count: u32, now: Duration) {
        self.full_at = self.full_at.max(now) + EVERY * count;
    }

    /// How long until one is there.
    fn wait(&self, now: Duration) -> Duration {
        let spent = self.full_at.saturating_sub(now);
        spent.saturating_sub(EVERY * (BURST - 1))
    }
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<Resource, Waiting>,
    tokens: Tokens,
    /// Calls that are not stored yet, and the time of the last one, by the wall clock.
    unstored: u64,
    last: Option<Timestamp>,
}

impl State {
    /// Counts calls, of which the last one came then.
    fn count(&mut self, calls: u64, last: Timestamp) {
        if calls > 0 {
            self.unstored += calls;
            self.last = self.last.max(Some(last));
        }
    }
}

/// A read that calls cause. Return it with [`Bell::followed`].
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    /// What to read.
    pub what: Rung,
    looks: Vec<(Uuid, Look)>,
    /// Whether a call named no record.
    is_whole: bool,
}

impl Call {
    /// The records, and `None` if a call named none. `None` alone if there are more records than a page
    /// shows.
    pub fn records(&self) -> Vec<Option<Uuid>> {
        if self.looks.len() > MOST_FORWARDED {
            return vec![None];
        }
        let ids = self.looks.iter().map(|(id, _)| Some(*id));
        ids.chain(self.is_whole.then_some(None)).collect()
    }
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Now(Call),
    In(Duration),
    Never,
}

/// What limits how often something is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    /// The requests that calls may cause.
    OfRequests,
    /// Nothing.
    None,
}

/// Calls about one record that reached another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elsewhere {
    /// What has changed.
    pub resource: Resource,
    /// The record. `None` if the calls named none.
    pub id: Option<Uuid>,
    /// How many calls this stands for.
    pub calls: u64,
    /// When the last one came.
    pub last: Timestamp,
}

/// The doorbell of an account.
#[derive(Debug)]
pub struct Bell {
    address: RwLock<Address>,
    mirrored: Vec<Resource>,
    clock: Arc<dyn Clock>,
    meter: Meter,
    state: Mutex<State>,
    rung: Notify,
}

impl Bell {
    /// The doorbell of an account that mirrors these resources.
    pub fn new(
        secret: &SecretString,
        account: &str,
        mirrored: &[Resource],
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            address: RwLock::new(Address::new(secret, account)),
            mirrored: mirrored.to_vec(),
            clock,
            meter: Meter::new(account),
            state: Mutex::default(),
            rung: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is valid even if a holder panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn address(&self) -> RwLockReadGuard<'_, Address> {
        self.address.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of the subscription that rings here.
    pub fn judge(&self, subscriptions: &[Subscription]) -> SubscriptionState {
        self.address().judge(subscriptions, &self.mirrored)
    }

    /// The platform has called. Does nothing but remember it.
    pub fn ring(&self, ring: Ring) {
        self.meter.rang(ring.resource);
        let now = self.clock.running();
        let mut state = self.state();
        state.count(1, self.clock.now());
        let concerned = match ring.resource {
            Some(resource) => vec![resource],
            None => vec![Resource::Sessions, Resource::Contacts],
        };
        for resource in concerned {
            if self.mirrored.contains(&resource) {
                let waiting = state.waiting.entry(resource).or_default();
                waiting.add(ring.id, Look::new(now, now + GATHER));
            }
        }
        drop(state);
        self.rung.notify_one();
    }

    /// The platform has called at another process, which has gathered the calls and counted them in its
    /// metrics. So the records, or what has changed of the resources, are due at once. What is due together is
    /// read together.
    pub fn ring_for(&self, calls: impl IntoIterator<Item = Elsewhere>) {
        let now = self.clock.running();
        let mut state = self.state();
        for call in calls {
            state.count(call.calls, call.last);
            if self.mirrored.contains(&call.resource) {
                let waiting = state.waiting.entry(call.resource).or_default();
                waiting.add(call.id, Look::new(now, now));
            }
        }
        drop(state);
        self.rung.notify_one();
    }

    /// A call could not be passed on. It is due again in a moment.
    pub fn put_back(&self, call: Call) {
        let due = self.clock.running() + FORWARD_AGAIN;
        let mut state = self.state();
        let waiting = state.waiting.entry(call.what.resource).or_default();
        for (id, look) in call.looks {
            waiting.add(Some(id), Look { due, ..look });
        }
        if call.is_whole {
            waiting.add(None, Look::new(due, due));
        }
        drop(state);
        // Whoever waits by now does not know of it.
        self.rung.notify_one();
    }

    /// Waits for what is to be read. Nothing is lost if the wait is given up.
    pub async fn next(&self) -> Call {
        self.next_within(Limit::OfRequests).await
    }

    /// Waits for what another process is to read. To pass it on takes no request to the platform, so nothing
    /// but the time for gathering calls limits it. Nothing is lost if the wait is given up.
    pub async fn next_to_pass_on(&self) -> Call {
        self.next_within(Limit::None).await
    }

    async fn next_within(&self, limit: Limit) -> Call {
        loop {
            match self.due(limit) {
                Due::Now(call) => return call,
                Due::In(wait) => {
                    tokio::select! {
                        () = self.rung.notified() => {}
                        () = self.clock.sleep(wait) => {}
                    }
                }
                Due::Never => self.rung.notified().await,
            }
        }
    }

    /// What is to be read now, if anything is. Does not wait.
    pub fn waiting(&self) -> Option<Call> {
        match self.due(Limit::OfRequests) {
            Due::Now(call) => Some(call),
            Due::In(_) | Due::Never => None,
        }
    }

    fn due(&self, limit: Limit) -> Due {
        let now = self.clock.running();
        let mut state = self.state();
        let next = state
            .waiting
            .iter()
            .filter_map(|(resource, waiting)| Some((waiting.due()?, *resource)))
            .min();
        let Some((due, resource)) = next else {
            return Due::Never;
        };
        let mut wait = due.saturating_sub(now);
        if limit == Limit::OfRequests {
            wait = wait.max(state.tokens.wait(now));
        }
        if !wait.is_zero() {
            return Due::In(wait);
        }
        let left = match limit {
            Limit::OfRequests => state.tokens.left(now).max(1),
            Limit::None => BURST,
        };
        let waiting = state.waiting.entry(resource).or_default();
        // What rang a moment ago is read together with what is due.
        let is_ready = |look: &Look| look.due <= now || look.made == 0;
        let ready = waiting.looks.iter().filter(|(_, look)| is_ready(look));
        let mut looks: Vec<(Uuid, Look)> = ready.map(|(id, look)| (*id, *look)).collect();
        looks.sort_unstable_by_key(|(id, look)| (look.due, *id));
        let is_whole = waiting.whole.take().is_some();
        // A record that a list did not show is asked for by its id. A single contact is, too, since the
        // list shows only active ones.
        let is_again = looks.iter().all(|(_, look)| look.made > 0);
        let is_single = looks.len() == 1 && resource == Resource::Contacts;
        let by_id = !is_whole && (is_again || is_single) && looks.len() <= MOST_BY_ID;
        if by_id {
            looks.truncate(left as usize);
        }
        for (id, _) in &looks {
            waiting.looks.remove(id);
        }
        let requests = if by_id { looks.len() } else { 1 };
        let requests = u32::try_from(requests).unwrap_or(BURST);
        if limit == Limit::OfRequests {
            state.tokens.take(requests, now);
        }
        let ids = looks.iter().map(|(id, _)| *id).collect();
        let what = Rung {
            resource,
            ids,
            by_id,
        };
        Due::Now(Call {
            what,
            looks,
            is_whole,
        })
    }

    /// These records were shown with a change, and it is stored. The others of the call are looked for
    /// again, unless they were looked for often enough.
    pub fn followed(&self, call: Call, shown: &HashSet<Uuid>) {
        let now = self.clock.running();
        let mut state = self.state();
        let waiting = state.waiting.entry(call.what.resource).or_default();
        for (id, look) in call.looks {
            if shown.contains(&id) {
                self.meter.followed(now.saturating_sub(look.rung));
                continue;
            }
            let again = AGAIN.get(look.made).map(|after| Look {
                due: (look.rung + *after).max(now),
                made: look.made + 1,
                ..look
            });
            if let Some(again) = again {
                // If it was named once more meanwhile, that counts.
                waiting.looks.entry(id).or_insert(again);
            }
        }
    }

    /// Forgets what is to be read, since everything is about to be read.
    pub fn forget(&self) {
        self.state().waiting.clear();
    }

    /// How many calls came since the last time that this was asked, and when the last one came.
    pub fn take_unstored(&self) -> Option<(u64, Timestamp)> {
        let mut state = self.state();
        let count = std::mem::take(&mut state.unstored);
        state.last.filter(|_| count > 0).map(|last| (count, last))
    }

    /// These calls could not be stored.
    pub fn give_back(&self, count: u64) {
        self.state().unstored += count;
    }
}

/// The doorbells of all accounts of a process. Clones have the same ones.
#[derive(Debug, Clone)]
pub struct Bells {
    clock: Arc<dyn Clock>,
    all: Arc<RwLock<AllBells>>,
}

#[derive(Debug)]
struct AllBells {
    secret: SecretString,
    by_account: BTreeMap<String, Arc<Bell>>,
}

impl Bells {
    /// None yet. Their addresses are made from this secret.
    pub fn new(secret: SecretString, clock: Arc<dyn Clock>) -> Self {
        let by_account = BTreeMap::new();
        Self {
            clock,
            all: Arc::new(RwLock::new(AllBells { secret, by_account })),
        }
    }

    fn all(&self) -> RwLockReadGuard<'_, AllBells> {
        self.all.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn all_to_change(&self) -> RwLockWriteGuard<'_, AllBells> {
        self.all.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The doorbell of an account that mirrors these resources. An earlier one stays if it is the same.
    pub fn add(&self, account: &str, mirrored: &[Resource]) -> Arc<Bell> {
        let mut all = self.all_to_change();
        let known = all.by_account.get(account);
        if let Some(bell) = known.filter(|bell| bell.mirrored == mirrored) {
            return Arc::clone(bell);
        }
        let clock = Arc::clone(&self.clock);
        let bell = Arc::new(Bell::new(&all.secret, account, mirrored, clock));
        bell.meter.begin_rings();
        all.by_account.insert(account.to_owned(), Arc::clone(&bell));
        bell
    }

    /// The process works on this account no more.
    pub fn remove(&self, account: &str) {
        self.all_to_change().by_account.remove(account);
    }

    /// From now on, the addresses are made from this secret, and the earlier ones lead nowhere. Returns false
    /// if it is the same as before.
    pub fn renew(&self, secret: &SecretString) -> bool {
        let mut all = self.all_to_change();
        if all.secret.expose_secret() == secret.expose_secret() {
            return false;
        }
        all.secret = secret.clone();
        for (account, bell) in &all.by_account {
            let mut address = bell.address.write().unwrap_or_else(PoisonError::into_inner);
            *address = Address::new(secret, account);
        }
        true
    }

    /// Makes their counters known, once there is a recorder.
    pub fn begin(&self) {
        for bell in self.all().by_account.values() {
            bell.meter.begin_rings();
        }
    }

    /// The doorbell to which a path leads. Compares it with all of them, in constant time.
    pub fn at(&self, path: &str) -> Option<Arc<Bell>> {
        let hash = hashed(last_segment(path).as_bytes());
        let mut found = None;
        for bell in self.all().by_account.values() {
            if bell.address().is_called(&hash).into() {
                found = Some(Arc::clone(bell));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
