//! Records that are broken on purpose.

use serde_json::{Value, json};
use uuid::Uuid;

use super::account::Account;
use super::config::Poison;
use super::ids;

impl Account {
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
        let marked = self
            .poison
            .values()
            .any(|kind| *kind == Some(Poison::Hidden));
        if marked || self.moods.hidden_share > 0.0 {
            found.retain(|index| {
                id(*index).is_none_or(|id| self.poison_of(id) != Some(Poison::Hidden))
            });
        }
    }

    /// How a record is broken, if it is.
    pub fn poison_of(&self, id: Uuid) -> Option<Poison> {
        if let Some(kind) = self.poison.get(&id) {
            return *kind;
        }
        if self.moods.hidden_share > 0.0 && share(id, 1) < self.moods.hidden_share {
            return Some(Poison::Hidden);
        }
        if self.moods.poison_share <= 0.0 || share(id, 0) >= self.moods.poison_share {
            return None;
        }
        let (high, low) = id.as_u64_pair();
        let kind = usize::try_from(ids::mix(high ^ low) % 1_000).unwrap_or(0) % Poison::ALL.len();
        Some(Poison::ALL[kind])
    }
}

/// What an id draws, from 0 to 1, for one of several questions.
fn share(id: Uuid, which: u64) -> f64 {
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
        Poison::BrokenId | Poison::NoId | Poison::NotAnObject | Poison::Hidden => {}
    });
}

pub(super) fn spoil_contact(out: &mut Vec<u8>, clean: &[u8], kind: Poison) {
    spoil(out, clean, kind, |record| match kind {
        Poison::WrongType | Poison::DaySpan | Poison::NullSpan => record["email"] = json!(7),
        Poison::Nul => record["name"] = json!("antes\u{0}depois"),
        Poison::Megabyte => record["annotation"] = json!("grande ".repeat(150_000)),
        Poison::UnknownEnum => record["origin"] = json!("CREATED_BY_ROBOT"),
        Poison::UnequalTags => record["tagNames"] = json!(["Só um"]),
        Poison::BrokenId | Poison::NoId | Poison::NotAnObject | Poison::Hidden => {}
    });
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
        _ => field(&mut record),
    }
    super::json::value(out, &record);
}
