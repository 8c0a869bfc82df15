//! Resolves names of tags, channels, departments and users to ids, with the account's own lists.
//!
//! Must not know what the ids are used for.

use serde_json::Value;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use uuid::Uuid;

use super::Failure;
use crate::config::nearest;
use crate::data::{Page, Resource};

/// How many candidates a message shows.
const CANDIDATES: usize = 5;

/// A record that a filter can name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// The id that filters take.
    id: Uuid,
    /// Another id of the same record: an agent has a user id and an id of its own.
    other: Option<Uuid>,
    /// All names of the record; messages show the first.
    names: Vec<String>,
}

/// A list of the account, to look names up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    resource: Resource,
    entries: Vec<Entry>,
}

/// Why a name cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No record has this name.
    #[error(
        "no {what} has the name {text:?}{}; helena-sync {list} shows all names",
        near_text(near)
    )]
    Unknown {
        /// Singular of the list.
        what: &'static str,
        /// The command that shows the list.
        list: &'static str,
        /// What was typed.
        text: String,
        /// Similar names.
        near: Vec<String>,
    },
    /// Several records have this name.
    #[error("{} {list} have the name {text:?}: {}; give the id of one of them instead", candidates.len(), candidates.join(", "))]
    Ambiguous {
        /// The list.
        list: &'static str,
        /// What was typed.
        text: String,
        /// Name and id of each.
        candidates: Vec<String>,
    },
}

fn near_text(near: &[String]) -> String {
    if near.is_empty() {
        String::new()
    } else {
        format!(" (similar: {})", near.join(", "))
    }
}

/// A name in lower case without accents: `Cobrança` and `cobranca` are the same then.
fn without_accents(name: &str) -> String {
    name.nfd()
        .filter(|&letter| !is_combining_mark(letter))
        .flat_map(char::to_lowercase)
        .collect()
}

/// The digits of a telephone's number, however it is written: `+55 (11) 99999-0000`. `None` if the
/// text is something else.
fn digits_of_a_number(text: &str) -> Option<String> {
    let is_written = text
        .chars()
        .all(|c| c.is_ascii_digit() || " +-().|/".contains(c));
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    (is_written && digits.len() >= 8).then_some(digits)
}

fn text(value: &Value, path: &[&str]) -> Option<String> {
    let mut value = value;
    for key in path {
        value = value.get(key)?;
    }
    value
        .as_str()
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
}

fn uuid(value: &Value, key: &str) -> Option<Uuid> {
    value.get(key)?.as_str()?.parse().ok()
}

impl Catalog {
    /// Built from the list as the platform sent it. Records without an id are left out.
    pub fn new(resource: Resource, page: &Page) -> Self {
        let entries = page
            .items
            .iter()
            .filter_map(|item| serde_json::from_str(page.raw(item)).ok())
            .filter_map(|value: Value| entry(resource, &value))
            .collect();
        Self { resource, entries }
    }

    /// Built from stored records: their ids, and all that each is called.
    pub fn of_names<'a>(
        resource: Resource,
        names: impl IntoIterator<Item = (Uuid, &'a [String])>,
    ) -> Self {
        let entries = names.into_iter().map(|(id, names)| Entry {
            id,
            other: None,
            names: names.iter().map(|name| name.trim().to_owned()).collect(),
        });
        Self {
            resource,
            entries: entries.collect(),
        }
    }

    /// An empty list, for a filter that names no record.
    pub const fn empty(resource: Resource) -> Self {
        Self {
            resource,
            entries: Vec::new(),
        }
    }

    /// The ids for the names and ids that were given with a flag, each once.
    pub fn resolve_all(&self, flag: &str, wanted: &[String]) -> Result<Vec<Uuid>, Failure> {
        let mut ids = Vec::new();
        for text in wanted {
            let whole = self.resolve(text).map(|id| vec![id]);
            let found = match whole {
                // A name may contain a comma, so that a text is a list only if it is no name.
                Err(NameError::Unknown { .. }) if text.contains(',') => {
                    let parts = text.split(',').filter(|part| !part.trim().is_empty());
                    parts.map(|part| self.resolve(part)).collect()
                }
                whole => whole,
            };
            let found = found.map_err(|error| {
                Failure::from(error).context(format!("cannot filter by {flag}"))
            })?;
            for id in found {
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
        }
        Ok(ids)
    }

    /// The id for a name or an id. Compares names exactly first, then without regard to case, then
    /// without accents, and then numbers by their digits. An id need not be in the list: other
    /// records may still refer to a deleted one.
    pub fn resolve(&self, wanted: &str) -> Result<Uuid, NameError> {
        let wanted = wanted.trim();
        if let Ok(id) = wanted.parse::<Uuid>() {
            let listed = self.entries.iter().any(|entry| entry.id == id);
            let by_other = self.entries.iter().find(|entry| entry.other == Some(id));
            return Ok(by_other.filter(|_| !listed).map_or(id, |entry| entry.id));
        }
        let folded = wanted.to_lowercase();
        let called = |same: &dyn Fn(&str) -> bool| -> Vec<&Entry> {
            self.entries
                .iter()
                .filter(|entry| entry.names.iter().any(|name| same(name)))
                .collect()
        };
        let mut found = called(&|name| name == wanted);
        if found.is_empty() {
            found = called(&|name| name.to_lowercase() == folded);
        }
        if found.is_empty() {
            let bare = without_accents(wanted);
            found = called(&|name| without_accents(name) == bare);
        }
        if found.is_empty()
            && let Some(digits) = digits_of_a_number(wanted)
        {
            let has = |name: &str, whole: bool| {
                digits_of_a_number(name).is_some_and(|number| {
                    number == digits
                        || !whole && (number.ends_with(&digits) || digits.ends_with(&number))
                })
            };
            found = called(&|name| has(name, true));
            if found.is_empty() {
                // With and without the country's number.
                found = called(&|name| has(name, false));
            }
        }
        match found.as_slice() {
            [] => Err(NameError::Unknown {
                what: self.what(),
                list: self.resource.name(),
                text: wanted.chars().take(80).collect(),
                near: self.near(wanted),
            }),
            [one] => Ok(one.id),
            several => Err(NameError::Ambiguous {
                list: self.resource.name(),
                text: wanted.to_owned(),
                candidates: several
                    .iter()
                    .map(|entry| format!("{} ({})", entry.names.join(" / "), entry.id))
                    .collect(),
            }),
        }
    }

    fn near(&self, wanted: &str) -> Vec<String> {
        let names = self.entries.iter().flat_map(|entry| &entry.names);
        let mut near: Vec<String> = nearest(wanted, names.map(String::as_str), CANDIDATES)
            .into_iter()
            .map(str::to_owned)
            .collect();
        near.dedup();
        near
    }

    const fn what(&self) -> &'static str {
        self.resource.descriptor().singular
    }
}

fn entry(resource: Resource, value: &Value) -> Option<Entry> {
    let (id, other, paths): (_, _, &[&[&str]]) = match resource {
        Resource::Agents => (
            uuid(value, "userId")?,
            uuid(value, "id"),
            &[&["name"], &["shortName"], &["email"]],
        ),
        // A channel has no name of its own (API notes, 5).
        Resource::Channels => (
            uuid(value, "id")?,
            None,
            &[
                &["identity", "displayName"],
                &["numberFormatted"],
                &["number"],
                &["identity", "humanId"],
            ],
        ),
        _ => (uuid(value, "id")?, None, &[&["name"]]),
    };
    let mut names: Vec<String> = Vec::new();
    for path in paths {
        if let Some(name) = text(value, path)
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    Some(Entry { id, other, names })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "00000000-0000-4000-8000-00000000000a";
    const B: &str = "00000000-0000-4000-8000-00000000000b";
    const C: &str = "00000000-0000-4000-8000-00000000000c";

    fn catalog(resource: Resource, values: &[Value]) -> Catalog {
        Catalog {
            resource,
            entries: values
                .iter()
                .filter_map(|value| entry(resource, value))
                .collect(),
        }
    }

    fn tags() -> Catalog {
        catalog(
            Resource::Tags,
            &[
                serde_json::json!({"id": A, "name": "VIP"}),
                serde_json::json!({"id": B, "name": "vip"}),
                serde_json::json!({"id": C, "name": "Cobrança"}),
                serde_json::json!({"name": "without an id"}),
            ],
        )
    }

    #[test]
    fn a_name_as_written_wins_over_one_in_another_case() {
        assert_eq!(tags().resolve("vip").unwrap().to_string(), B);
        assert_eq!(tags().resolve(" cobrança ").unwrap().to_string(), C);
        assert_eq!(tags().resolve("COBRANCA").unwrap().to_string(), C);
    }

    #[test]
    fn a_text_with_commas_is_a_list_unless_it_is_a_name() {
        let list = catalog(
            Resource::Departments,
            &[
                serde_json::json!({"id": A, "name": "Vendas, Sul"}),
                serde_json::json!({"id": B, "name": "Vendas"}),
                serde_json::json!({"id": C, "name": "Suporte"}),
            ],
        );
        let ids = |text: &str| list.resolve_all("--department", &[text.to_owned()]);
        let of = |ids: &[&str]| -> Vec<Uuid> { ids.iter().map(|id| id.parse().unwrap()).collect() };
        assert_eq!(ids("vendas, sul").unwrap(), of(&[A]));
        assert_eq!(ids("suporte,Vendas,").unwrap(), of(&[C, B]));
        let error = ids("suporte,Compras").unwrap_err().text();
        assert!(
            error.contains("no department has the name \"Compras\""),
            "{error}"
        );
    }

    #[test]
    fn a_number_is_found_however_it_is_written() {
        let channels = catalog(
            Resource::Channels,
            &[
                serde_json::json!({"id": A, "number": "5511999990000", "numberFormatted": "(11) 99999-0000"}),
                serde_json::json!({"id": B, "number": "5521999990000"}),
            ],
        );
        for wanted in ["+55 (11) 99999-0000", "11 99999-0000", "5511999990000"] {
            assert_eq!(channels.resolve(wanted).unwrap().to_string(), A, "{wanted}");
        }
        let error = channels.resolve("99999-0000").unwrap_err().to_string();
        assert!(error.starts_with("2 channels have the name"), "{error}");
    }

    #[test]
    fn an_ambiguous_name_is_refused_with_the_candidates() {
        let error = tags().resolve("Vip").unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "2 tags have the name \"Vip\": VIP ({A}), vip ({B}); give the id of one of them instead"
            )
        );
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest() {
        let error = tags().resolve("cobrancas").unwrap_err().to_string();
        assert_eq!(
            error,
            "no tag has the name \"cobrancas\" (similar: Cobrança); helena-sync tags shows all names"
        );
    }

    #[test]
    fn an_id_need_not_be_listed() {
        let id = Uuid::from_u128(77);
        assert_eq!(tags().resolve(&id.to_string()), Ok(id));
    }

    #[test]
    fn an_agents_own_id_means_the_user() {
        let agents = catalog(
            Resource::Agents,
            &[serde_json::json!({"id": A, "userId": B, "name": "Ana", "email": "ana@example.com"})],
        );
        for wanted in [A, B, "ana", "ANA@example.com"] {
            assert_eq!(agents.resolve(wanted).unwrap().to_string(), B, "{wanted}");
        }
    }

    #[test]
    fn a_channel_answers_to_its_display_name_and_to_its_number() {
        let channels = catalog(
            Resource::Channels,
            &[serde_json::json!({"id": A, "number": "5511", "identity": {"displayName": "Loja"}})],
        );
        for wanted in ["loja", "5511"] {
            assert_eq!(channels.resolve(wanted).unwrap().to_string(), A);
        }
    }
}
