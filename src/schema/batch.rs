//! Turns pages of one resource into one batch.
//!
//! Owns which of several versions of a record counts, what is rejected, and in which order tables are
//! written. The result does not depend on the order in which pages are added. Must not know which
//! fields a record has.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::mapper::RowJson;
use super::parents::{Parent, Parents};
use super::record::{self, Objections, Record};
use super::tag_list::TagList;
use super::{contacts, json, lists, sessions, tables};
use crate::data::{
    Batch, ColumnGroup, Item, Links, Page, Reading, Reject, Resource, Row, Table, Timestamp, Write,
};

/// The order of readings: which of two answers is the later one.
///
/// It uses neither the platform's clock nor this machine's, since either may be set or wrong. It
/// uses a monotonic clock ([`Page::asked`]), and starts after everything that earlier holders of
/// the account's lease have read.
#[derive(Debug, Clone, Copy)]
pub struct ReadingOrder {
    /// The position of an answer to a request that is sent at `from`.
    pub base: Timestamp,
    /// By the clock of [`Page::asked`].
    pub from: Duration,
}

impl ReadingOrder {
    /// The position of an answer.
    fn of(self, page: &Page) -> Timestamp {
        self.base + page.asked.saturating_sub(self.from)
    }
}

/// What a mapping needs to know about a record's answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnswerContext {
    /// When it was read.
    pub(super) seen: Timestamp,
    /// The columns that it does not have.
    pub(super) unknown: ColumnGroup,
}

/// A mapped record.
pub(super) struct Mapped {
    /// The key of its row.
    pub(super) key: Uuid,
    /// Its `updatedAt`.
    pub(super) version: Option<Timestamp>,
    /// Its row, without the time of reading.
    pub(super) row: RowJson,
    /// The columns that it does not have.
    pub(super) unknown: ColumnGroup,
    /// Its tags, if it has any.
    pub(super) tags: TagList,
    /// The records that it refers to, in the order of [`Parent::ALL`].
    pub(super) references: [Option<Uuid>; 4],
}

/// The version of a record that counts so far.
struct Kept {
    mapped: Mapped,
    reading: Reading,
    record_id: Option<Uuid>,
    raw: Option<String>,
    reject: Option<Reject>,
}

/// Maps pages of one resource into one [`Batch`].
///
/// Of several versions of a record, the newest counts. If versions are equally new, or some do not
/// say how new they are, the one read last counts, and of those the one added last. If a list
/// showed an older version later, the record is in doubt. An answer to a read by id counts more
/// than a list that was not read later; of several such answers, the one read last counts.
pub struct BatchBuilder {
    resource: Resource,
    keep_raw: bool,
    order: Option<ReadingOrder>,
    kept: HashMap<Uuid, Kept>,
    doubtful: HashSet<Uuid>,
    parents: Parents,
    /// Records without a row, by their version, and when they were last read.
    rejects: BTreeMap<(Option<Uuid>, String), (Reading, Reject)>,
    rows_read: u64,
    observed_at: Option<Timestamp>,
}

impl BatchBuilder {
    /// An empty batch of a resource. With `keep_raw`, every row has the complete JSON of its record.
    pub fn new(resource: Resource, keep_raw: bool) -> Self {
        Self {
            resource,
            keep_raw,
            order: None,
            kept: HashMap::new(),
            doubtful: HashSet::new(),
            parents: Parents::default(),
            rejects: BTreeMap::new(),
            rows_read: 0,
            observed_at: None,
        }
    }

    /// Uses this order of readings instead of the platform's time: for rows that are stored.
    #[must_use]
    pub fn ordered(mut self, order: ReadingOrder) -> Self {
        self.order = Some(order);
        self
    }

    fn read_at(&self, page: &Page) -> Timestamp {
        self.order.map_or(page.server_time, |order| order.of(page))
    }

    /// Maps the records of a page.
    pub fn add(&mut self, page: &Page) {
        self.observed_at = self.observed_at.max(Some(self.read_at(page)));
        for item in &page.items {
            self.rows_read += 1;
            self.add_item(page, item);
        }
    }

    /// The number of distinct records so far, rejected ones included. Callers limit a batch by it.
    pub fn rows(&self) -> usize {
        self.kept.len() + self.rejects.len()
    }

    fn add_item(&mut self, page: &Page, item: &Item) {
        let text = page.raw(item);
        let answer = AnswerContext {
            seen: self.read_at(page),
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
        let key_field = self.resource.descriptor().key_field;
        let record_id = record.peek("id").and_then(record::id).or(item.head.id);
        let made = made_key(&record, self.resource.descriptor().key_made_of);
        let key =
            made.or_else(|| record.read(&[key_field], "a uuid", &mut objections, record::uuid));
        let Some(key) = key.filter(|key| !key.is_nil()) else {
            if objections.is_empty() {
                let found = if key.is_some() {
                    "the nil uuid"
                } else {
                    "nothing"
                };
                objections.add(key_field, "a uuid", found);
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
            Resource::CustomFields => lists::custom_field(key, record, &mut objections),
            Resource::Chatbots => lists::chatbot(key, record, &mut objections),
            Resource::Templates => lists::template(key, record, &mut objections),
            Resource::Portfolios => lists::portfolio(key, record, &mut objections),
            Resource::OfficeHours => lists::office_hours(key, record, &mut objections),
        };
        let reading = Reading {
            at: self.read_at(page),
            certain: page.by_id || self.resource.is_list(),
        };
        if let Some(kept) = self.kept.get(&key) {
            let before = (kept.mapped.version, kept.reading);
            let now = (mapped.version, reading);
            if is_doubtful(before, now) || is_doubtful(now, before) {
                self.doubtful.insert(key);
            }
            if supersedes(before, now) {
                return;
            }
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
            reading,
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
        let reading = Reading {
            at: self.read_at(page),
            certain: page.by_id || self.resource.is_list(),
        };
        let (last, _) = self
            .rejects
            .entry((record_id, raw))
            .or_insert((reading, reject));
        last.at = last.at.max(reading.at);
        last.certain |= reading.certain;
    }

    /// The batch, parents first, each table by key.
    pub fn finish(mut self) -> Batch {
        let mut batch = Batch {
            resource: Some(self.resource),
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
        let newest: HashMap<Uuid, (Option<Timestamp>, Reading)> = kept
            .iter()
            .filter_map(|kept| Some((kept.record_id?, (kept.mapped.version, kept.reading))))
            .collect();
        batch.rejects = std::mem::take(&mut self.rejects)
            .into_values()
            .filter(|(reading, reject)| {
                let good = reject.record_id.and_then(|id| newest.get(&id));
                good.is_none_or(|&good| !supersedes(good, (reject.version, *reading)))
            })
            .map(|(_, reject)| reject)
            .collect();
        let whole: HashSet<Uuid> = batch.rejects.iter().filter_map(|r| r.record_id).collect();
        let table = tables::of(self.resource);
        let observed = table.columns.iter().any(|c| c.name == "observed_at");
        let mut rows = Vec::with_capacity(kept.len());
        for kept in kept {
            let mapped = kept.mapped;
            if self.doubtful.contains(&mapped.key) && !kept.reading.certain {
                batch.doubtful.push(mapped.key);
            }
            match (kept.reject, kept.record_id) {
                (Some(reject), _) => batch.rejects.push(reject),
                (None, Some(id)) if !whole.contains(&id) => {
                    batch.clean.push((id, mapped.version, kept.reading));
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
                reading: kept.reading,
                hash,
                unknown: mapped.unknown,
                values: mapped.row.finish(observed.then_some(kept.reading.at)),
                raw: kept.raw,
            });
        }
        push(&mut batch, table, rows);
        batch
    }

    /// A row for every tag of a contact, with the name shown last.
    fn tag_names(&self, kept: &[Kept]) -> Vec<Row> {
        let details = self.parents.of(Parent::Contact).values();
        let lists = kept
            .iter()
            .map(|kept| (kept.reading.at, &kept.mapped.tags))
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
                reading: Reading {
                    at: detail.seen,
                    certain: false,
                },
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

/// A key for a record without one, made of the fields that distinguish such records. `None` if the
/// resource has keys, or if the record has none of these fields.
fn made_key(record: &Record<'_>, of: &[&str]) -> Option<Uuid> {
    if of.is_empty() || record.peek("id").and_then(record::id).is_some() {
        return None;
    }
    let values: Vec<&str> = of
        .iter()
        .map(|field| record.peek(field).map_or("", |value| value.get()))
        .collect();
    if values.iter().all(|value| value.is_empty()) {
        return None;
    }
    Some(Uuid::new_v5(
        &Uuid::NAMESPACE_OID,
        values.join("\n").as_bytes(),
    ))
}

/// Whether one reading of a record counts more than another, by version and by when it was read.
fn supersedes(
    (version, reading): (Option<Timestamp>, Reading),
    (other_version, other): (Option<Timestamp>, Reading),
) -> bool {
    if reading.certain != other.certain {
        return if reading.certain {
            reading.at >= other.at
        } else {
            reading.at > other.at
        };
    }
    if reading.certain && reading.at != other.at {
        return reading.at > other.at;
    }
    match (version, other_version) {
        (Some(version), Some(other)) if version != other => version > other,
        _ => reading.at > other.at,
    }
}

/// Whether a list showed an older version than an earlier reading did. The list may be a stale
/// copy, or the version may be the newest with the time stamp of a clock that is behind.
fn is_doubtful(
    (version, reading): (Option<Timestamp>, Reading),
    (other_version, other): (Option<Timestamp>, Reading),
) -> bool {
    let stamps = version.zip(other_version);
    stamps.is_some_and(|(one, other)| one < other) && reading.at > other.at && !reading.certain
}

fn plain_row(key: Uuid, row: RowJson) -> Row {
    Row {
        key,
        version: None,
        reading: Reading {
            at: Timestamp::from_micros(0),
            certain: false,
        },
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
