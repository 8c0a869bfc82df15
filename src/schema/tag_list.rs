//! The two parallel lists in which the platform sends a contact's tags.
//!
//! Must not know the owner of the tags.

use uuid::Uuid;

use super::json;
use super::record::{self, Objections, Record, kind_of};

/// A contact's tags as one answer shows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TagList {
    /// The set of tags, sorted. `None` if the answer does not have it.
    pub(super) ids: Option<Vec<Uuid>>,
    /// The names of some of them.
    pub(super) names: Vec<(Uuid, String)>,
}

/// Reads the list of ids and the list of names. They may differ in length, or one may be null (API
/// notes, 16). Names without ids mean that the contact has tags that are not known; no list means
/// that it has no tags. Names that cannot be matched with ids are kept as extra fields.
pub(super) fn take(
    record: &mut Record<'_>,
    id_fields: &[&str],
    name_fields: &[&str],
    objections: &mut Objections,
) -> TagList {
    let first = |fields: &[&str]| fields.first().copied().unwrap_or_default().to_owned();
    let shown = name_fields.iter().find_map(|field| record.peek(field));
    let labels = shown.and_then(json::array);
    let Some(value) = record.take_any(id_fields) else {
        let none = labels.as_ref().map_or(shown.is_none(), Vec::is_empty);
        if none {
            record.take_any(name_fields);
        }
        return TagList {
            ids: none.then(Vec::new),
            names: Vec::new(),
        };
    };
    let path = record.path_of(&first(id_fields));
    let Some(listed) = json::array(value) else {
        objections.add(&path, "an array of uuids", kind_of(value));
        return TagList::default();
    };
    if let (None, Some(other)) = (&labels, shown) {
        let path = record.path_of(&first(name_fields));
        objections.add(&path, "an array of texts", kind_of(other));
    }
    let labels = labels.filter(|labels| labels.len() == listed.len());
    if labels.is_some() || shown.is_none() {
        record.take_any(name_fields);
    }
    let mut ids = Vec::with_capacity(listed.len());
    let mut names = Vec::new();
    for (at, value) in listed.into_iter().enumerate() {
        let Some(id) = record::uuid(value) else {
            objections.add(&format!("{path}[{at}]"), "a uuid", kind_of(value));
            continue;
        };
        if id.is_nil() {
            continue;
        }
        ids.push(id);
        let label = labels.as_ref().and_then(|labels| labels.get(at).copied());
        if let Some(name) = label.and_then(record::text) {
            names.push((id, name.into_owned()));
        }
    }
    ids.sort_unstable();
    ids.dedup();
    TagList {
        ids: Some(ids),
        names,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "00000000-0000-0000-0000-00000000000a";
    const B: &str = "00000000-0000-0000-0000-00000000000b";

    fn read(text: &str) -> (TagList, Vec<String>, String) {
        let text = text.replace("A!", A).replace("B!", B);
        let mut record = Record::parse(&text).unwrap();
        let mut objections = Objections::default();
        let list = take(
            &mut record,
            &["tagsId", "tagIds"],
            &["tagsName", "tagNames"],
            &mut objections,
        );
        let left = record.leftovers().map(|(name, _)| name.into_owned());
        (list, left.collect(), objections.reason())
    }

    fn id(text: &str) -> Uuid {
        text.parse().unwrap()
    }

    #[test]
    fn ids_are_a_sorted_set_and_names_go_with_them() {
        let (list, left, reason) = read(r#"{"tagsId":["B!","A!","B!"],"tagsName":["b","a","b"]}"#);
        assert_eq!(list.ids, Some(vec![id(A), id(B)]));
        assert_eq!(list.names[0], (id(B), "b".to_owned()));
        assert!(left.is_empty() && reason.is_empty());
    }

    #[test]
    fn the_other_spelling_is_read_too() {
        let (list, left, _) = read(r#"{"tagIds":["A!"],"tagNames":["a"],"tagsId":null}"#);
        assert_eq!(list.ids, Some(vec![id(A)]));
        assert_eq!(list.names.len(), 1);
        assert!(left.is_empty());
    }

    #[test]
    fn names_are_not_guessed_when_the_lists_differ_in_length() {
        let (list, left, reason) = read(r#"{"tagsId":["A!","B!"],"tagsName":["b"]}"#);
        assert_eq!(list.ids.map(|ids| ids.len()), Some(2));
        assert!(list.names.is_empty());
        assert_eq!(left, ["tagsName"]);
        assert!(reason.is_empty());
    }

    #[test]
    fn names_without_ids_mean_unknown_tags_and_nothing_means_none() {
        assert_eq!(read(r#"{"tagsId":null,"tagsName":["a"]}"#).0.ids, None);
        for none in [
            r#"{"tagsId":null,"tagsName":null}"#,
            r#"{"tagsId":null,"tagsName":[]}"#,
            r#"{"tagsId":[],"tagsName":null}"#,
            "{}",
        ] {
            assert_eq!(read(none).0.ids, Some(Vec::new()), "{none}");
        }
    }

    #[test]
    fn the_nil_uuid_is_no_tag() {
        let nil = Uuid::nil();
        let (list, _, reason) = read(&format!(r#"{{"tagsId":["A!","{nil}"]}}"#));
        assert_eq!(list.ids, Some(vec![id(A)]));
        assert_eq!(reason, "");
    }

    #[test]
    fn what_is_no_list_of_ids_is_objected_to() {
        let (list, _, reason) = read(r#"{"tagsId":"A!","tagsName":["a"]}"#);
        assert_eq!(list.ids, None);
        assert_eq!(reason, "tagsId: expected an array of uuids, found text");
        let (list, _, reason) = read(r#"{"tagsId":["A!",7],"tagsName":["a","b"]}"#);
        assert_eq!(list.ids, Some(vec![id(A)]));
        assert_eq!(reason, "tagsId[1]: expected a uuid, found a number");
    }
}
