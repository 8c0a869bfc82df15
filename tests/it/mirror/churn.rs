//! An account that changes after every answer, the same way for the same seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use helena_sync::sandbox::{ContactStatus, SandboxAccount, Status};
use uuid::Uuid;

use crate::support::mirror::Mirror;

/// The longest that a change of these stays invisible; well within the overlap.
pub(super) const LATEST: Duration = Duration::from_secs(45);

/// What changes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Churn {
    pub(super) seed: u64,
    /// Changes until the account stands still.
    pub(super) changes: u32,
    /// Whether there are new records, too. Where the platform ignores the filters, an account that
    /// grows with every answer cannot be counted, and passes rightly fail until it rests.
    pub(super) grows: bool,
    /// Whether changes may become visible late.
    pub(super) late: bool,
}

impl Churn {
    pub(super) fn of(seed: u64) -> Self {
        Self {
            seed,
            changes: 120,
            grows: true,
            late: true,
        }
    }

    /// Changes the account after every answer that showed records, while the clock moves on.
    /// Answers with the number of changes so far.
    pub(super) fn after_answers(self, mirror: &Mirror) -> Arc<AtomicU32> {
        let made = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&made);
        let clock = Arc::clone(&mirror.clock);
        let mut dice = fastrand::Rng::with_seed(self.seed);
        mirror.sandbox.on_answer(move |account, seen| {
            if seen.items == 0 || counter.load(Ordering::SeqCst) >= self.changes {
                return;
            }
            clock.advance(Duration::from_millis(dice.u64(20..900)));
            for _ in 0..dice.u32(1..3) {
                change(account, &mut dice, self);
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        made
    }
}

fn any(ids: &[Uuid], dice: &mut fastrand::Rng) -> Uuid {
    ids[dice.usize(..ids.len())]
}

/// One change of any kind.
pub(super) fn change(account: &mut SandboxAccount, dice: &mut fastrand::Rng, churn: Churn) {
    let sessions = account.session_ids();
    let contacts = account.contact_ids();
    let session = any(&sessions, dice);
    let contact = any(&contacts, dice);
    let visible = account.now() + Duration::from_millis(dice.u64(..45_000)).min(LATEST);
    let text = format!("mensagem {}", dice.u32(..));
    let status = [Status::Pending, Status::InProgress, Status::Completed][dice.usize(..3)];
    match dice.u32(..14) {
        0 if churn.late => {
            account.update_session_late(session, visible, |session| {
                session.last_message_text = Some(text.into());
            });
        }
        1 if churn.late => {
            account.update_contact_late(contact, visible, |contact| {
                contact.annotation = Some(text.into());
            });
        }
        2 if churn.late && churn.grows => {
            let mut session = account.draft_session();
            session.contact_id = Some(contact);
            account.insert_session_late(session, visible);
        }
        3 | 4 if churn.grows => {
            let mut session = account.draft_session();
            session.contact_id = Some(contact);
            account.insert_session(session);
        }
        5 if churn.grows => {
            let contact = account.draft_contact(&text);
            account.insert_contact(contact);
        }
        6 => {
            account.rename_contact(contact, &text);
        }
        7 => {
            let tags = account.tags();
            let worn: Vec<Uuid> = (0..dice.usize(..4)).map(|_| any(&tags, dice)).collect();
            account.set_contact_tags(contact, &worn);
        }
        8 => {
            let status = [
                ContactStatus::Active,
                ContactStatus::Archived,
                ContactStatus::Blocked,
            ][dice.usize(..3)];
            account.update_contact(contact, |contact| contact.status = status);
        }
        9 => {
            let touched: Vec<Uuid> = (0..25).map(|_| any(&sessions, dice)).collect();
            account.bulk_touch(&touched);
        }
        _ => {
            account.update_session(session, |session| {
                session.status = status;
                session.unread_count += 1;
                session.last_message_text = Some(text.into());
            });
        }
    }
}
