//! Records that are broken on purpose.

use serde_json::{Value, json};
use uuid::Uuid;

use super::account::SandboxAccount;
use super::config::Poison;
use super::ids;

impl SandboxAccount {
    /// Breaks a session or a contact wherever it is shown, until [`Self::heal`].
    pub fn poison(&mut self, id: Uuid, kind: Poison) {
        self.poison.insert(id, Some(kind));
    }

    /// Shows a record as it should be, also one that `moods.poison_share` broke.
    pub fn heal(&mut self, id: Uuid) {
        self.poison.insert(id, None);
    }

    /// Takes the records from a page that are counted and not shown; most often there are none.
    pub(super) fn drop_hidden(&self, found: &mut Vec<u32>, id: impl Fn(u32) -> Option<Uuid>) {
        const UNSEEN: [Option<Poison>; 2] = [Some(Poison::Hidden), Some(Poison::Ghost)];
        let marked = self.poison.values().any(|kind| UNSEEN.contains(kind));
        if marked || self.moods.hidden_share > 0.0 || self.moods.ghost_share > 0.0 {
            found.retain(|index| id(*index).is_none_or(|id| !UNSEEN.contains(&self.poison_of(id))));
        }
    }

    /// Whether nothing shows a record, though it is there.
    pub(super) fn is_ghost(&self, id: Uuid) -> bool {
        self.poison_of(id) == Some(Poison::Ghost)
    }

    /// Whether any record has no `createdAt`.
    pub(super) fn has_undated(&self) -> bool {
        self.poison
            .values()
            .any(|kind| *kind == Some(Poison::Undated))
    }

    /// What is wrong with a record's `updatedAt`, if something is.
    pub(super) fn broken_stamp(&self, id: Uuid) -> Option<Poison> {
        self.poison_of(id)
            .filter(|kind| Poison::STAMPS.contains(kind))
    }

    /// A record with the `updatedAt` that is shown of it, null where there is none.
    pub(super) fn with_shown_stamp(&self, id: Uuid, mut record: Value) -> Value {
        if let Some(kind) = self.broken_stamp(id) {
            record["updatedAt"] = stamp(kind).unwrap_or_default();
        }
        if self.poison_of(id) == Some(Poison::Undated) {
            record["createdAt"] = Value::Null;
        }
        record
    }

    /// How a record is broken, if it is.
    pub fn poison_of(&self, id: Uuid) -> Option<Poison> {
        if let Some(kind) = self.poison.get(&id) {
            return *kind;
        }
        if self.moods.hidden_share > 0.0 && share(id, 1) < self.moods.hidden_share {
            return Some(Poison::Hidden);
        }
        if self.moods.ghost_share > 0.0 && share(id, 2) < self.moods.ghost_share {
            return Some(Poison::Ghost);
        }
        if self.moods.unstamped_share > 0.0 && share(id, 3) < self.moods.unstamped_share {
            return Some(Poison::STAMPS[one_of(id, Poison::STAMPS.len())]);
        }
        if self.moods.poison_share <= 0.0 || share(id, 0) >= self.moods.poison_share {
            return None;
        }
        Some(Poison::ALL[one_of(id, Poison::ALL.len())])
    }
}

/// Which of so many an id draws.
pub(super) fn one_of(id: Uuid, count: usize) -> usize {
    let (high, low) = id.as_u64_pair();
    usize::try_from(ids::mix(high ^ low) % 1_000).unwrap_or(0) % count
}

/// The `updatedAt` that is shown instead; `None` leaves it out.
fn stamp(kind: Poison) -> Option<Value> {
    match kind {
        Poison::NullStamp => Some(Value::Null),
        Poison::BrokenStamp => Some(json!("04/05/2026 às 15h")),
        _ => None,
    }
}

/// What an id draws, from 0 to 1, for one of several questions.
pub(super) fn share(id: Uuid, which: u64) -> f64 {
    let (high, low) = id.as_u64_pair();
    let drawn = ids::mix(high ^ low ^ which);
    #[expect(clippy::cast_precision_loss, reason = "20 bits")]
    let share = (drawn >> 44) as f64 / f64::from(1 << 20);
    share
}

pub(super) fn spoil_session(out: &mut Vec<u8>, clean: &[u8], kind: Poison) {
    spoil(out, clean, kind, |record| match kind {
        Poison::WrongType => record["unreadCount"] = json!("muitas"),
        Poison::Nul => record["lastMessageText"] = json!("antes\u{0}depois"),
        Poison::Megabyte => record["lastMessageText"] = json!("grande ".repeat(150_000)),
        Poison::UnknownEnum => record["status"] = json!("ON_HOLD"),
        Poison::DaySpan => record["timeService"] = json!("1.02:03:04"),
        Poison::NullSpan => record["timeWait"] = json!("null"),
        Poison::UnequalTags => {
            if let Some(contact) = record
                .get_mut("contactDetails")
                .filter(|value| value.is_object())
            {
                contact["tagsName"] = json!(["Só um"]);
            }
        }
        Poison::BrokenId
        | Poison::NoId
        | Poison::NotAnObject
        | Poison::Hidden
        | Poison::Ghost
        | Poison::NullStamp
        | Poison::BrokenStamp
        | Poison::NoStamp
        | Poison::Undated => {}
    });
}

pub(super) fn spoil_contact(out: &mut Vec<u8>, clean: &[u8], kind: Poison) {
    spoil(out, clean, kind, |record| match kind {
        Poison::WrongType | Poison::DaySpan | Poison::NullSpan => record["email"] = json!(7),
        Poison::Nul => record["name"] = json!("antes\u{0}depois"),
        Poison::Megabyte => record["annotation"] = json!("grande ".repeat(150_000)),
        Poison::UnknownEnum => record["origin"] = json!("CREATED_BY_ROBOT"),
        Poison::UnequalTags => record["tagNames"] = json!(["Só um"]),
        Poison::BrokenId
        | Poison::NoId
        | Poison::NotAnObject
        | Poison::Hidden
        | Poison::Ghost
        | Poison::NullStamp
        | Poison::BrokenStamp
        | Poison::NoStamp
        | Poison::Undated => {}
    });
}

/// An entry of a list without pages, of which only the `updatedAt` can be broken.
pub(super) fn spoil_entry(out: &mut Vec<u8>, clean: &[u8], kind: Poison) {
    spoil(out, clean, kind, |_| {});
}

fn spoil(out: &mut Vec<u8>, clean: &[u8], kind: Poison, field: impl FnOnce(&mut Value)) {
    let mut record: Value = serde_json::from_slice(clean).unwrap_or(Value::Null);
    match kind {
        Poison::BrokenId => record["id"] = json!("not-a-uuid"),
        Poison::NoId => {
            if let Some(fields) = record.as_object_mut() {
                fields.remove("id");
            }
        }
        Poison::NotAnObject => record = json!("??"),
        Poison::NullStamp | Poison::BrokenStamp | Poison::NoStamp => {
            if let Some(fields) = record.as_object_mut() {
                fields.remove("updatedAt");
                fields.extend(stamp(kind).map(|value| ("updatedAt".to_owned(), value)));
            }
        }
        Poison::Undated => record["createdAt"] = Value::Null,
        _ => field(&mut record),
    }
    super::json::value(out, &record);
}
