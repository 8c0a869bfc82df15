//! Lists answered by a lagging replica: they show older versions and lack new records. Requests by
//! id are always current.
//!
//! While past versions are kept, every table records what each change replaced. For an answer from
//! the past, the changes are undone one by one and applied again afterwards, so filters, orders
//! and totals are also those of that time.

use std::time::Duration;

use super::account::SandboxAccount;
use super::company::Company;
use super::errors::Reply;
use super::query::BadInput;
use super::record::{Contact, Session};
use super::routes::Request;
use super::slots::{ContactSlot, SessionSlot};
use super::table::Undone;
use super::ticks::ticks;

/// What was taken back.
struct Present {
    sessions: Undone<SessionSlot, Session>,
    contacts: Undone<ContactSlot, Contact>,
    company: Option<Company>,
}

impl SandboxAccount {
    /// Lets the next answers of lists lag by this much, as far back as the past is kept
    /// (`moods.stale_max`).
    pub fn lag_lists(&mut self, answers: usize, by: Duration) {
        self.odd.lagging = (answers, by);
    }

    /// The lists without pages, to be changed.
    pub(super) fn lists_mut(&mut self) -> &mut Company {
        self.remember_lists();
        &mut self.company
    }

    /// Keeps the lists without pages as they are, before they change.
    pub(super) fn remember_lists(&mut self) {
        let (now, keep) = (self.now().0, ticks(self.moods.stale_max));
        let companies = &mut self.odd.companies;
        while companies.front().is_some_and(|(at, _)| *at < now - keep) {
            companies.pop_front();
        }
        if keep > 0 {
            companies.push_back((now, self.company.clone()));
        }
    }

    /// How far the next answer lags, in ticks.
    fn lag(&mut self, request: &Request<'_>) -> i64 {
        let most = ticks(self.moods.stale_max);
        if most == 0 || request.by_id().is_some() {
            return 0;
        }
        let (answers, by) = self.odd.lagging;
        if answers > 0 {
            self.odd.lagging.0 -= 1;
            return ticks(by).min(most);
        }
        if self.chance(self.moods.stale_share) {
            return self.up_to(most);
        }
        0
    }

    /// The answer as it is now, or as it was a moment ago.
    pub(super) fn route_lagging(&mut self, request: &Request<'_>) -> Result<Reply, BadInput> {
        let lag = self.lag(request);
        if lag == 0 {
            return self.route(request);
        }
        let present = self.go_back(self.now().0 - lag);
        let answer = self.route(request);
        self.return_to(present);
        answer
    }

    fn go_back(&mut self, to: i64) -> Present {
        let then = self.odd.companies.iter().find(|(at, _)| *at > to);
        let then = then.map(|(_, company)| company.clone());
        Present {
            sessions: self.sessions.go_back(to),
            contacts: self.contacts.go_back(to),
            company: then.map(|then| std::mem::replace(&mut self.company, then)),
        }
    }

    fn return_to(&mut self, present: Present) {
        self.sessions.return_to(present.sessions);
        self.contacts.return_to(present.contacts);
        if let Some(company) = present.company {
            self.company = company;
        }
    }
}
