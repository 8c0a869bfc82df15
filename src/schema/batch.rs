//! Pages of one resource become one batch.
//!
//! Owns which of several versions of a record counts, what is rejected, and in which order tables
//! are written. The result does not depend on the order in which the pages are added. Must not
//! know which fields a record has.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::value::RawValue;
use uuid::Uuid;

use super::mapper::RowJson;
use super::parents::{Parent, Parents};
use super::record::{self, Objections, Record};
use super::tag_list::TagList;
use super::{contacts, json, lists, sessions, tables};
use crate::data::{
    Batch, ColumnGroup, Item, Links, Page, Reject, Resource, Row, Table, Timestamp, Write,
};

/// What a mapping must know of the answer a record came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    /// When it was read.
    pub(super) seen: Timestamp,
    /// What it cannot know.
    pub(super) unknown: ColumnGroup,
}

/// A record, mapped.
pub(super) struct Mapped {
    /// The key of its row.
    pub(super) key: Uuid,
    /// Its `updatedAt`.
    pub(super) version: Option<Timestamp>,
    /// Its row, without the time of reading.
    pub(super) row: RowJson,
    /// The columns it does not know.
    pub(super) unknown: ColumnGroup,
    /// Its tags, if it has any.
    pub(super) tags: TagList,
    /// Whom it refers to, in the order of [`Parent::ALL`].
    pub(super) references: [Option<Uuid>; 4],
}

/// The version of a record that counts so far.
struct Kept {
    mapped: Mapped,
    seen: Timestamp,
    record_id: Option<Uuid>,
    raw: Option<String>,
    reject: Option<Reject>,
}

/// Maps pages of one resource into one [`Batch`].
///
/// Of several versions of a record the newest counts; of equally new ones the one read last; of
/// those the one added last.
pub struct BatchBuilder {
    resource: Resource,
    keep_raw: bool,
    kept: HashMap<Uuid, Kept>,
    parents: Parents,
    /// Records that have no row, by what is known of them, and when they were read last.
    rejects: BTreeMap<(Option<Uuid>, String), (Timestamp, Reject)>,
    rows_read: u64,
    observed_at: Option<Timestamp>,
}

impl BatchBuilder {
    /// An empty batch of a resource. With `keep_raw` every row carries the complete JSON of its
    /// record.
    pub fn new(resource: Resource, keep_raw: bool) -> Self {
        Self {
            resource,
            keep_raw,
            kept: HashMap::new(),
            parents: Parents::default(),
            rejects: BTreeMap::new(),
            rows_read: 0,
            observed_at: None,
        }
    }

    /// Maps the records of a page.
    pub fn add(&mut self, page: &Page) {
        self.observed_at = self.observed_at.max(Some(page.server_time));
        for item in &page.items {
            self.rows_read += 1;
            self.add_item(page, item);
        }
    }

    /// Distinct records so far, rejected ones included: what a caller measures a batch by.
    pub fn rows(&self) -> usize {
        self.kept.len() + self.rejects.len()
    }

    fn add_item(&mut self, page: &Page, item: &Item) {
        let text = page.raw(item);
        let answer = Answer {
            seen: page.server_time,
            unknown: page.unknown,
        };
        let mut objections = Objections::default();
        let mut record = match Record::parse(text) {
            Ok(record) => record,
            Err(found) => {
                objections.add("record", "an object", found);
                return self.reject(page, item, item.head.id, &objections);
            }
        };
        // Agents are kept by the id that sessions know, and asked for by their own.
        let key_field = match self.resource {
            Resource::Agents => "userId",
            _ => "id",
        };
        let record_id = record.peek("id").and_then(record::uuid).or(item.head.id);
        let Some(key) = record.read(&[key_field], "a uuid", &mut objections, record::uuid) else {
            if objections.is_empty() {
                objections.add(key_field, "a uuid", "nothing");
            }
            return self.reject(page, item, record_id, &objections);
        };
        let mapped = match self.resource {
            Resource::Sessions => {
                sessions::map(key, record, answer, &mut objections, &mut self.parents)
            }
            Resource::Contacts => contacts::map(key, record, answer, &mut objections),
            Resource::Tags => lists::tag(key, record, &mut objections),
            Resource::Channels => lists::channel(key, record, &mut objections),
            Resource::Departments => lists::department(key, record, &mut objections),
            Resource::Agents => lists::agent(key, record, &mut objections),
        };
        if self
            .kept
            .get(&key)
            .is_some_and(|kept| (kept.mapped.version, kept.seen) > (mapped.version, answer.seen))
        {
            return;
        }
        let reject = (!objections.is_empty()).then(|| Reject {
            resource: self.resource,
            record_id,
            raw: without_nul(text),
            reason: objections.reason(),
            partial: true,
            version: mapped.version,
        });
        let kept = Kept {
            mapped,
            seen: answer.seen,
            record_id,
            raw: self.keep_raw.then(|| canonical(text)),
            reject,
        };
        self.kept.insert(key, kept);
    }

    fn reject(
        &mut self,
        page: &Page,
        item: &Item,
        record_id: Option<Uuid>,
        objections: &Objections,
    ) {
        let raw = without_nul(page.raw(item));
        let reject = Reject {
            resource: self.resource,
            record_id,
            raw: raw.clone(),
            reason: objections.reason(),
            partial: false,
            version: item.head.updated_at,
        };
        let seen = page.server_time;
        let last = self
            .rejects
            .entry((record_id, raw))
            .or_insert((seen, reject));
        last.0 = last.0.max(seen);
    }

    /// The batch, parents first, each table by key.
    pub fn finish(mut self) -> Batch {
        let mut batch = Batch {
            rows_read: self.rows_read,
            observed_at: self.observed_at,
            ..Batch::default()
        };
        let mut kept: Vec<Kept> = std::mem::take(&mut self.kept).into_values().collect();
        kept.sort_unstable_by_key(|kept| kept.mapped.key);

        push(&mut batch, &tables::TAG_NAMES, self.tag_names(&kept));
        for (at, parent) in Parent::ALL.into_iter().enumerate() {
            self.finish_parent(&mut batch, parent, at, &kept);
        }

        // A version that could not be read says nothing against one that came later.
        let newest: HashMap<Uuid, (Option<Timestamp>, Timestamp)> = kept
            .iter()
            .filter_map(|kept| Some((kept.record_id?, (kept.mapped.version, kept.seen))))
            .collect();
        batch.rejects = std::mem::take(&mut self.rejects)
            .into_values()
            .filter(|(seen, reject)| {
                let good = reject.record_id.and_then(|id| newest.get(&id));
                good.is_none_or(|&good| !is_newer(good, (reject.version, *seen)))
            })
            .map(|(_, reject)| reject)
            .collect();
        let whole: HashSet<Uuid> = batch.rejects.iter().filter_map(|r| r.record_id).collect();
        let table = table_of(self.resource);
        let observed = table.columns.iter().any(|c| c.name == "observed_at");
        let mut rows = Vec::with_capacity(kept.len());
        for kept in kept {
            let mapped = kept.mapped;
            match (kept.reject, kept.record_id) {
                (Some(reject), _) => batch.rejects.push(reject),
                (None, Some(id)) if !whole.contains(&id) => {
                    batch.clean.push((id, mapped.version));
                }
                (None, _) => {}
            }
            let hash = mapped.row.hash(mapped.tags.ids.as_deref());
            if let Some(tags) = mapped.tags.ids {
                let links = Links {
                    owner: mapped.key,
                    tags,
                };
                match self.resource {
                    Resource::Sessions => batch.session_tags.push(links),
                    Resource::Contacts => batch.contact_tags.push(links),
                    _ => {}
                }
            }
            rows.push(Row {
                key: mapped.key,
                version: mapped.version,
                hash,
                unknown: mapped.unknown,
                values: mapped.row.finish(observed.then_some(kept.seen)),
                raw: kept.raw,
            });
        }
        push(&mut batch, table, rows);
        batch
    }

    /// A row for every tag that somebody wears, with the name shown last.
    fn tag_names(&self, kept: &[Kept]) -> Vec<Row> {
        let details = self.parents.of(Parent::Contact).values();
        let lists = kept
            .iter()
            .map(|kept| (kept.seen, &kept.mapped.tags))
            .chain(details.map(|detail| (detail.seen, &detail.tags)));
        let mut names: BTreeMap<Uuid, Option<(Timestamp, &str)>> = BTreeMap::new();
        for (seen, list) in lists {
            for id in list.ids.iter().flatten() {
                names.entry(*id).or_default();
            }
            for (id, name) in &list.names {
                let shown = names.entry(*id).or_default();
                *shown = (*shown).max(Some((seen, name)));
            }
        }
        names
            .into_iter()
            .map(|(id, name)| {
                let mut row = RowJson::new(&tables::TAG_NAMES, id, 128);
                row.text("name", name.map(|(_, name)| name));
                plain_row(id, row)
            })
            .collect()
    }

    fn finish_parent(&mut self, batch: &mut Batch, parent: Parent, at: usize, kept: &[Kept]) {
        let (details_table, ids_table) = parent.tables();
        let details: BTreeMap<_, _> = self.parents.drain(parent).into_iter().collect();
        let ids: BTreeSet<Uuid> = kept
            .iter()
            .filter_map(|kept| kept.mapped.references[at])
            .filter(|id| !details.contains_key(id))
            .collect();
        let mut rows = Vec::with_capacity(details.len());
        for (key, detail) in details {
            if parent == Parent::Contact
                && let Some(tags) = detail.tags.ids
            {
                batch.contact_tags.push(Links { owner: key, tags });
            }
            rows.push(Row {
                key,
                version: None,
                hash: detail.hash,
                unknown: detail.unknown,
                values: detail.row.finish(Some(detail.seen)),
                raw: None,
            });
        }
        push(batch, details_table, rows);
        let placeholders = ids
            .into_iter()
            .map(|id| plain_row(id, RowJson::new(ids_table, id, 64)))
            .collect();
        push(batch, ids_table, placeholders);
    }
}

/// Whether one reading of a record, by its version and when it was read, is newer than another.
fn is_newer(
    (version, seen): (Option<Timestamp>, Timestamp),
    (other, other_seen): (Option<Timestamp>, Timestamp),
) -> bool {
    match (version, other) {
        (Some(version), Some(other)) if version != other => version > other,
        _ => seen > other_seen,
    }
}

/// The table of a resource's own records.
const fn table_of(resource: Resource) -> &'static Table {
    match resource {
        Resource::Sessions => &tables::SESSIONS,
        Resource::Contacts => &tables::CONTACTS,
        Resource::Tags => &tables::TAGS,
        Resource::Channels => &tables::CHANNELS,
        Resource::Departments => &tables::DEPARTMENTS,
        Resource::Agents => &tables::AGENTS,
    }
}

fn plain_row(key: Uuid, row: RowJson) -> Row {
    Row {
        key,
        version: None,
        hash: row.hash(None),
        unknown: ColumnGroup::NONE,
        values: row.finish(None),
        raw: None,
    }
}

fn push(batch: &mut Batch, table: &'static Table, rows: Vec<Row>) {
    if !rows.is_empty() {
        batch.writes.push(Write { table, rows });
    }
}

/// A record's complete JSON in the form in which both databases can hold it.
fn canonical(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    if let Ok(value) = serde_json::from_str::<&RawValue>(text) {
        json::push_value(value, &mut out);
    }
    out
}

/// `PostgreSQL` holds no NUL in any text.
fn without_nul(text: &str) -> String {
    text.replace('\0', "")
}
