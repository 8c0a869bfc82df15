//! The two parallel lists in which the platform shows a contact's tags.
//!
//! Must not know whose tags they are.

use serde_json::value::RawValue;
use uuid::Uuid;

use super::json;
use super::record::{self, Objections, Record, kind_of};

/// A contact's tags as one answer shows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TagList {
    /// The set, sorted; `None` if the answer does not tell.
    pub(super) ids: Option<Vec<Uuid>>,
    /// Names of some of them.
    pub(super) names: Vec<(Uuid, String)>,
}

/// Takes the list of ids and the list of names (API notes, 16: they may differ in length, or one
/// may be null). Without ids, names mean that there are tags which we cannot tell; no list at all
/// means that there are none. Names that cannot be matched stay in the record, as leftovers.
pub(super) fn take(
    record: &mut Record<'_>,
    ids: &[&str],
    names: &[&str],
    objections: &mut Objections,
) -> TagList {
    let found_names = names.iter().find_map(|name| record.peek(name));
    let named = found_names.and_then(json::array);
    let Some(value) = record.take_any(ids) else {
        let known = named.as_ref().map_or(found_names.is_none(), Vec::is_empty);
        if known {
            record.take_any(names);
        }
        return TagList {
            ids: known.then(Vec::new),
            names: Vec::new(),
        };
    };
    let path = record.path_of(ids.first().copied().unwrap_or_default());
    let Some(listed) = json::array(value) else {
        objections.add(&path, "an array of uuids", kind_of(value));
        return TagList::default();
    };
    let named = match (named, found_names) {
        (None, Some(other)) => {
            let path = record.path_of(names.first().copied().unwrap_or_default());
            objections.add(&path, "an array of texts", kind_of(other));
            record.take_any(names);
            None
        }
        (Some(named), _) if named.len() == listed.len() => {
            record.take_any(names);
            Some(named)
        }
        (Some(_), _) => None,
        (None, None) => {
            record.take_any(names);
            None
        }
    };
    let mut list = TagList {
        ids: None,
        names: Vec::new(),
    };
    let mut known = Vec::with_capacity(listed.len());
    for (at, value) in listed.into_iter().enumerate() {
        let Some(id) = record::uuid(value) else {
            objections.add(&format!("{path}[{at}]"), "a uuid", kind_of(value));
            continue;
        };
        known.push(id);
        let name: Option<&RawValue> = named.as_ref().and_then(|named| named.get(at).copied());
        if let Some(name) = name.and_then(record::text) {
            list.names.push((id, name.into_owned()));
        }
    }
    known.sort_unstable();
    known.dedup();
    list.ids = Some(known);
    list
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
    fn what_is_no_list_of_ids_is_objected_to() {
        let (list, _, reason) = read(r#"{"tagsId":"A!","tagsName":["a"]}"#);
        assert_eq!(list.ids, None);
        assert_eq!(reason, "tagsId: expected an array of uuids, found text");
        let (list, _, reason) = read(r#"{"tagsId":["A!",7],"tagsName":["a","b"]}"#);
        assert_eq!(list.ids, Some(vec![id(A)]));
        assert_eq!(reason, "tagsId[1]: expected a uuid, found a number");
    }
}
