//! What can be odd about a platform, each with how odd it is drawn from dice.

use std::collections::HashSet;
use std::time::Duration;

use helena_sync::sandbox::{ContactStatus, Moods, SandboxAccount, Totals};
use uuid::Uuid;

use super::churn::{Churn, change};

const MINUTES: i64 = 60_000_000;

macro_rules! oddities {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// One thing that is odd about a platform, or happens to an account.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Oddity { $($(#[doc = $doc])* $name,)* }

        impl Oddity {
            /// All of them.
            pub(super) const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

oddities! {
    /// A second server stamps changes whose clock is behind.
    Behind,
    /// `updatedAt` is null, unreadable or left out.
    Unstamped,
    /// Records are counted and shown by nothing.
    Ghosts,
    /// Records that were listed are listed no longer; by their ids they come.
    Hidden,
    /// Lists without pages lack most entries or all.
    ListLosses,
    /// Records cannot be asked for by their ids.
    Failing,
    /// Nothing can be asked for by its id.
    ByIdWithdrawn,
    /// Nil ids, and instants of the year 1.
    Placeholders,
    /// `contactId` is left out.
    ContactUnlisted,
    /// The `Date` header is ahead or behind.
    WrongDate,
    /// The same, by another time in each answer.
    JumpingDate,
    /// There is no `Date` header.
    NoDate,
    /// The `Date` header is no date.
    GarbageDate,
    /// The first version of the session list shows no groups.
    HiddenGroups,
    /// The first version of the session list is gone.
    V1Withdrawn,
    /// The second version of the session list is gone.
    V2Withdrawn,
    /// Contacts get a status that no list shows.
    Undefined,
    /// Messages leave `updatedAt` as it was.
    Silent,
    /// The totals are wrong or absent.
    Totals,
    /// Lists are answered by copies that lag.
    Stale,
    /// The token is accepted bare alone.
    BareToken,
    /// What is not found answers 401.
    Masked,
    /// Sessions and contacts are deleted.
    Deletions,
    /// Tags and channels leave their lists and come back.
    ListChanges,
    /// Pages repeat nothing of the question.
    NoEcho,
    /// Pages repeat all of the question, also what had no effect.
    EchoSent,
    /// `UpdatedAt` filters nothing.
    ChangesUnfiltered,
    /// `CreatedAt` filters nothing.
    CreationUnfiltered,
}

impl Oddity {
    /// Lets the platform be odd so. What hides records begins once they were shown: [`Self::hide`].
    pub(super) fn put_on(self, moods: &mut Moods, dice: &mut fastrand::Rng) {
        let sign = if dice.bool() { 1 } else { -1 };
        match self {
            Self::Behind => {
                moods.behind_share = 0.1 + dice.f64() * 0.5;
                moods.behind_by = Duration::from_millis(dice.u64(1..20_000));
            }
            Self::Unstamped => moods.unstamped_share = 0.01 + dice.f64() * 0.3,
            Self::Ghosts => moods.ghost_share = 0.005 + dice.f64() * 0.04,
            Self::ListLosses => moods.list_loss_share = 0.1 + dice.f64() * 0.4,
            Self::Failing => moods.failing_share = 0.02 + dice.f64() * 0.2,
            Self::ByIdWithdrawn => moods.by_id_withdrawn = true,
            Self::Placeholders => moods.dotnet_placeholders = true,
            Self::ContactUnlisted => moods.contact_id_unlisted = true,
            Self::WrongDate => moods.date_micros = sign * dice.i64(MINUTES..90 * MINUTES),
            Self::JumpingDate => {
                moods.date_micros = dice.i64(MINUTES..90 * MINUTES);
                moods.jumping_date = true;
            }
            Self::NoDate => moods.no_date = true,
            Self::GarbageDate => moods.garbage_date = true,
            Self::HiddenGroups => moods.v1_hides_groups = true,
            Self::V1Withdrawn => moods.v1_withdrawn = Some([401, 404, 410][dice.usize(..3)]),
            Self::V2Withdrawn => moods.v2_withdrawn = Some([401, 404, 410][dice.usize(..3)]),
            Self::Silent => moods.silent_messages = true,
            Self::Totals => {
                let most = dice.u32(1..150);
                moods.totals = [
                    Totals::Capped(most),
                    Totals::Short(1 + most % 30),
                    Totals::ItemsCapped(most),
                    Totals::PagesCapped(most),
                    Totals::NoMore,
                    Totals::Uncounted,
                    Totals::Absent,
                ][dice.usize(..7)];
            }
            Self::Stale => {
                moods.stale_share = 0.1 + dice.f64() * 0.4;
                moods.stale_max = Duration::from_secs(dice.u64(1..45));
            }
            Self::ListChanges => moods.list_share = 0.2 + dice.f64() * 0.4,
            Self::BareToken => moods.bare_token = true,
            Self::Masked => moods.masked_not_found = true,
            Self::NoEcho => moods.no_echo = true,
            Self::EchoSent => moods.echo_sent = true,
            Self::ChangesUnfiltered => moods.ignore_updated_filter = true,
            Self::CreationUnfiltered => moods.ignore_created_filter = true,
            Self::Hidden | Self::Undefined | Self::Deletions => {}
        }
    }

    /// Whether two of them leave nothing that shows some records.
    pub(super) fn excludes(self, other: Self) -> bool {
        let pairs = [
            // Sessions of groups, and all of them.
            (Self::V2Withdrawn, Self::HiddenGroups),
            (Self::V2Withdrawn, Self::V1Withdrawn),
        ];
        pairs.contains(&(self, other)) || pairs.contains(&(other, self))
    }

    /// Begins to hide records that were shown.
    pub(super) fn hide(self, moods: &mut Moods, dice: &mut fastrand::Rng) {
        if self == Self::Hidden {
            moods.hidden_share = 0.005 + dice.f64() * 0.05;
        }
    }
}

/// A message comes in a session.
fn say(account: &mut SandboxAccount, session: Uuid, text: String) {
    let now = account.now();
    account.update_session(session, |session| {
        session.last_interaction = Some(now);
        session.last_message_in = Some(now);
        session.last_message_text = Some(text.into());
        session.unread_count += 1;
    });
}

/// One change of any kind, those included that only happen to some accounts. Only what was `shown` is taken
/// from the lists. Yields what was deleted.
pub(super) fn odd_change(
    account: &mut SandboxAccount,
    dice: &mut fastrand::Rng,
    oddities: &[Oddity],
    shown: &HashSet<Uuid>,
) -> Option<Uuid> {
    let sessions = account.session_ids();
    let session = sessions[dice.usize(..sessions.len())];
    let vanishes = |oddity: Oddity| shown.contains(&session) && oddities.contains(&oddity);
    match dice.u32(..16) {
        0..3 => account.live_step(1),
        3..5 => {
            let text = format!("mensagem {}", dice.u32(..));
            say(account, session, text);
        }
        5 if vanishes(Oddity::Deletions) => {
            account.delete_session(session);
            return Some(session);
        }
        6 if vanishes(Oddity::Deletions) => {
            let contacts = account.contact_ids();
            let contact = contacts[dice.usize(..contacts.len())];
            account.delete_contact(contact);
            return Some(contact);
        }
        // Of one that no list ever showed nobody knows but by a session.
        7 | 8 if vanishes(Oddity::Undefined) => {
            if let Some(contact) = account.session(session).and_then(|it| it.contact_id) {
                account.update_contact(contact, |contact| {
                    contact.status = ContactStatus::Undefined;
                });
            }
        }
        _ => change(account, dice, Churn::of(0)),
    }
    None
}
