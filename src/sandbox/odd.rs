//! Unusual answers: records that cannot be read by id, and lists that lack existing entries.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use uuid::Uuid;

use super::Ticks;
use super::account::SandboxAccount;
use super::choices::{IdFault, List};
use super::company::Company;
use super::errors::{self, Reply};
use super::poison::{one_of, share};
use super::routes::Request;

/// What is odd about an account at the moment.
#[derive(Debug)]
pub(super) struct Odd {
    dice: fastrand::Rng,
    failing: HashMap<Uuid, Option<IdFault>>,
    losses: Vec<Loss>,
    /// How many answers of lists are to lag, and by how much.
    pub(super) lagging: (usize, Duration),
    /// The small lists as they were before each change, oldest first.
    pub(super) companies: VecDeque<(i64, Company)>,
    /// Where the `Date` header stands still.
    frozen: Option<Ticks>,
}

/// What a list lacks for some answers.
#[derive(Debug)]
struct Loss {
    list: List,
    share: f64,
    answers: usize,
}

impl Odd {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            dice: fastrand::Rng::with_seed(seed),
            failing: HashMap::new(),
            losses: Vec::new(),
            lagging: (0, Duration::ZERO),
            companies: VecDeque::new(),
            frozen: None,
        }
    }
}

impl SandboxAccount {
    /// Whether something of this share happens; without a share the dice stay as they are.
    pub(super) fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.odd.dice.f64() < share
    }

    /// Something from 1 to `most`.
    pub(super) fn up_to(&mut self, most: i64) -> i64 {
        self.odd.dice.i64(1..=most.max(1))
    }

    /// Lets a record fail whenever it is asked for by its id, until [`Self::mend_id`].
    pub fn fail_id(&mut self, id: Uuid, fault: IdFault) {
        self.odd.failing.insert(id, Some(fault));
    }

    /// Lets a record be asked for again, also one that `moods.failing_share` lets fail.
    pub fn mend_id(&mut self, id: Uuid) {
        self.odd.failing.insert(id, None);
    }

    /// How asking for a record by its id fails, if it does.
    pub fn id_fault(&self, id: Uuid) -> Option<IdFault> {
        if let Some(fault) = self.odd.failing.get(&id) {
            return *fault;
        }
        let fails = self.moods.failing_share > 0.0 && share(id, 4) < self.moods.failing_share;
        fails.then(|| IdFault::ALL[one_of(id, IdFault::ALL.len())])
    }

    /// What stands before the answer to a question by id.
    pub(super) fn refuse_id(&mut self, request: &Request<'_>) -> Option<Reply> {
        let id = request.by_id()?;
        if self.moods.by_id_withdrawn {
            return Some(self.not_found());
        }
        Some(match self.id_fault(id)? {
            IdFault::Internal => self.internal("Ocorreu um erro inesperado."),
            IdFault::Gateway => Reply::html(403),
            IdFault::Forbidden => self.forbidden(),
            IdFault::Unauthorized => self.unauthorised(),
        })
    }

    /// Lets the next answers of a list lack a share of its entries, by their id; 1 for all.
    pub fn lose_entries(&mut self, list: List, share: f64, answers: usize) {
        self.odd.losses.push(Loss {
            list,
            share,
            answers,
        });
    }

    /// The share that the next answer of a list lacks.
    pub(super) fn loss(&mut self, list: List) -> f64 {
        let losses = &mut self.odd.losses;
        losses.retain(|loss| loss.answers > 0);
        if let Some(loss) = losses.iter_mut().find(|loss| loss.list == list) {
            loss.answers -= 1;
            return loss.share;
        }
        if !self.chance(self.moods.list_loss_share) {
            return 0.0;
        }
        // All of them as often as most of them.
        (0.5 + self.odd.dice.f64()).min(1.0)
    }

    /// The text of the next answer's `Date`; `None` leaves it out.
    pub(super) fn date_header(&mut self) -> Option<String> {
        if self.moods.no_date {
            return None;
        }
        if self.moods.garbage_date {
            return Some("segunda-feira, 25h61".to_owned());
        }
        let mut micros = self.moods.date_micros;
        if self.moods.jumping_date {
            let most = micros.saturating_abs();
            micros = self.odd.dice.i64(-most..=most);
        }
        let mut at = self.now();
        if self.moods.frozen_date {
            at = *self.odd.frozen.get_or_insert(at);
        } else {
            self.odd.frozen = None;
        }
        at.0 = at.0.saturating_add(micros.saturating_mul(10));
        Some(errors::http_date(at))
    }
}

/// Whether an entry belongs to the share that a list lacks.
pub(super) fn is_lost(id: Uuid, lacking: f64) -> bool {
    lacking > 0.0 && share(id, 5) < lacking
}
