//! Reads a window page by page, and compares every record of a page.
//!
//! Owns which page of a window is the last one, and what a page proves of a record. Must not know why a
//! window is read.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::windows::lies_in;
use super::{Comparing, Difference, ListedVersion, Sides, Step};
use crate::data::{
    ColumnGroup, Guard, Head, Page, PageQuery, RecheckReason, Resource, Row, Source, SourceError,
    Span, StateChange, Table,
};
use crate::schema::BatchBuilder;
use crate::store::StoredVersion;
use crate::sync::plan;
use crate::sync::policy::RunError;
use crate::sync::survey;
use crate::sync::verify::Mirror;
use crate::sync::walk::leaves;

/// After this many pages in a row that show nothing new, although more are said to follow, the server counts
/// as ignoring the page number.
const MOST_STALE: u32 = 3;

/// If a row was written so long ago, no replica shows an older version of the record now.
const STORED_LONG_AGO: Duration = Duration::from_hours(1);

/// A window that is being read.
#[derive(Debug)]
pub(super) struct Reading {
    span: Span,
    query: PageQuery,
    seen: HashSet<Uuid>,
    stale: u32,
    /// Whether the page before showed nothing.
    blank: bool,
}

/// What was found on a page.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Records that differ.
    pub(super) differing: Vec<Uuid>,
    /// Records of which the page may show a stale version.
    doubtful: Vec<Uuid>,
    /// Records that need not be read by id any more, if they were queued for it.
    listed: Vec<Uuid>,
}

impl Comparing {
    pub(super) fn reading<S: Source>(&self, on: &Sides<'_, S>, span: Span) -> Step {
        let size = on.mirror.settings.page_size;
        Step::Read(Reading {
            span,
            query: survey::everything(self.stream, plan::widen(span), size),
            seen: HashSet::new(),
            stale: 0,
            blank: false,
        })
    }

    /// Reads the next page of a window.
    pub(super) async fn read<S: Source>(
        &mut self,
        on: &Sides<'_, S>,
        mut reading: Reading,
    ) -> Result<(), RunError> {
        let page = on.ask(&reading.query).await?;
        let depth = on.mirror.settings.window_pages;
        let query = &mut reading.query;
        let pages = plan::pages(page.total.unwrap_or(0), query.size);
        let follows = !leaves(&page, query.created, |head| head.created_at);
        if query.number == 1 && pages > depth && follows {
            let parts = plan::split(reading.span, pages, depth);
            if !parts.is_empty() {
                let parts = parts.into_iter().map(|part| self.reading(on, part));
                let parts: Vec<Step> = parts.collect();
                self.steps.extend(parts);
                return Ok(());
            }
        }
        let ids: Vec<Uuid> = page.items.iter().filter_map(|item| item.head.id).collect();
        let before = reading.seen.len();
        if self.is_uncounted {
            let is_new = |head: &Head| head.id.is_none_or(|id| !reading.seen.contains(&id));
            let heads = page.items.iter().map(|item| &item.head);
            let new = heads.filter(|head| is_new(head) && lies_in(reading.span, head.created_at));
            self.found.shown += new.count() as u64;
        }
        reading.seen.extend(&ids);
        let is_stale = !ids.is_empty() && reading.seen.len() == before;
        reading.stale = if is_stale { reading.stale + 1 } else { 0 };
        // A server may answer a request past the end with its last page.
        let seen = reading.seen.len() as u64;
        let is_all = is_stale && page.total.is_some_and(|total| seen >= total);
        // A page is not the last one only because some of its records are not shown. Nor is it the last one
        // if only counts say so that its records contradict.
        let counted = u64::from(reading.query.number) * u64::from(reading.query.size);
        let counts_on = page.total.is_some_and(|total| total > counted);
        let ends = page.items.is_empty() && (reading.blank || !page.silent);
        reading.blank = page.items.is_empty();
        let shows_on = !ends && (page.has_more || page.is_doubtful());
        let more = (counts_on || shows_on) && !is_all;
        if more && reading.stale >= MOST_STALE {
            return Err(SourceError::Malformed {
                request: format!("a page of {}", self.stream),
                attempts: MOST_STALE,
                detail: "it repeats the page before: the server ignores PageNumber".to_owned(),
            }
            .into());
        }
        self.take_page(on, page).await?;
        if more {
            reading.query.number += 1;
            self.steps.push(Step::Read(reading));
            return Ok(());
        }
        let Mirror { store, account, .. } = on.mirror;
        let mut unseen = store
            .ids_created(account, self.stream, reading.span)
            .await?;
        unseen.retain(|id| !reading.seen.contains(id) && !self.unlisted.contains_key(id));
        self.read.push(reading.span);
        self.queue(on, unseen, RecheckReason::NotListed).await
    }

    /// Compares the records of a page. If some of them differ, sends the page to be stored.
    pub(super) async fn take_page<S: Source>(
        &mut self,
        on: &Sides<'_, S>,
        page: Page,
    ) -> Result<(), RunError> {
        let findings = self.compare_page(on, &page).await?;
        if !findings.differing.is_empty() || !findings.listed.is_empty() {
            let mut state_changes = self.differing(findings.differing);
            state_changes.extend(self.rechecked(findings.listed));
            on.send(Some(page), state_changes).await?;
        }
        self.queue(on, findings.doubtful, RecheckReason::Older)
            .await
    }

    pub(super) fn differing(&self, keys: Vec<Uuid>) -> Vec<StateChange> {
        let resource = self.stream.resource;
        let differing = StateChange::Differing { resource, keys };
        vec![differing]
            .into_iter()
            .filter(
                |change| !matches!(change, StateChange::Differing { keys, .. } if keys.is_empty()),
            )
            .collect()
    }

    pub(super) fn rechecked(&self, ids: Vec<Uuid>) -> Option<StateChange> {
        let resource = self.stream.resource;
        (!ids.is_empty()).then_some(StateChange::Rechecked { resource, ids })
    }

    /// Compares the records of a page with what is stored now.
    pub(super) async fn compare_page<S: Source>(
        &mut self,
        on: &Sides<'_, S>,
        page: &Page,
    ) -> Result<Findings, RunError> {
        let Mirror {
            store,
            account,
            clock,
            ..
        } = on.mirror;
        let now = clock.now();
        let resource = self.stream.resource;
        let ids: Vec<Uuid> = page.items.iter().filter_map(|item| item.head.id).collect();
        let stored = store.versions(account, resource, &ids).await?;
        let (table, rows) = mapped(resource, page);
        let mut findings = Findings::default();
        let mut same_version = Vec::new();
        // A stale replica may show the earlier version of a record that changed within the overlap. A version
        // that was stored long ago was shown long ago, whatever its stamp.
        let read_until = self.read_until;
        let settled = |stored: &StoredVersion| {
            let changed = stored.updated_at;
            changed.is_some_and(|at| at <= read_until) || stored.synced_at + STORED_LONG_AGO <= now
        };
        for item in &page.items {
            let Some(id) = item.head.id else {
                self.found.rejected += 1;
                continue;
            };
            let row = rows.get(&id);
            let shown = ListedVersion {
                // The version as it would be stored.
                version: row.map_or(item.head.updated_at, |row| row.version),
                partition: self.partition(page.raw(item)),
                hash: None,
            };
            let stored = stored.get(&id);
            if self.unlisted.remove(&id).is_some() {
                findings.listed.push(id);
            }
            let Some(how) = shown.differs(stored) else {
                let hash = stored.and_then(|stored| stored.hash);
                if self.doubted.contains(&id) && stored.is_some_and(settled) {
                    self.doubted.remove(&id);
                    findings.listed.push(id);
                }
                if let Some(row) = row.filter(|row| hash != Some(row.hash)) {
                    same_version.push((row, shown, hash.is_some()));
                }
                continue;
            };
            if self.rejected.contains(&id) {
                self.found.rejected += 1;
                continue;
            }
            if shown.version > Some(self.read_until) {
                self.found.unread += 1;
                continue;
            }
            if how == Difference::Newer {
                let settled = page.by_id || stored.is_some_and(settled);
                findings.listed.retain(|listed| *listed != id);
                if !settled {
                    findings.doubtful.push(id);
                    continue;
                }
                findings.listed.push(id);
            }
            self.found.note(id, how, shown);
            findings.differing.push(id);
        }
        if let Some(table) = table.filter(|_| !same_version.is_empty()) {
            let keys: Vec<Uuid> = same_version.iter().map(|(row, ..)| row.key).collect();
            let objects = store.row_objects(account, table, &keys).await?;
            for (row, shown, is_whole) in same_version {
                let object = objects.get(&row.key);
                if object.is_some_and(|object| is_altered(table, row, object, is_whole)) {
                    let hash = Some(row.hash);
                    let shown = ListedVersion { hash, ..shown };
                    self.found.note(row.key, Difference::Altered, shown);
                    findings.differing.push(row.key);
                }
            }
        }
        Ok(findings)
    }

    /// The partition that a record itself names, if the resource has several partitions.
    fn partition(&self, raw: &str) -> Option<String> {
        #[derive(Deserialize)]
        struct Record {
            status: String,
        }
        if self.stream.partition.is_whole() {
            return None;
        }
        let record: Option<Record> = serde_json::from_str(raw).ok();
        record.map(|record| record.status)
    }
}

/// The table of a stream's records, and the rows to which the records of a page are mapped.
fn mapped(resource: Resource, page: &Page) -> (Option<&'static Table>, HashMap<Uuid, Row>) {
    let mut builder = BatchBuilder::new(resource, false);
    builder.add(page);
    let own =
        builder.finish().writes.into_iter().find(|write| {
            write.table.guard == Guard::Version && write.table.name == resource.name()
        });
    match own {
        Some(write) => {
            let rows = write.rows.into_iter().map(|row| (row.key, row));
            (Some(write.table), rows.collect())
        }
        None => (None, HashMap::new()),
    }
}

/// Whether a stored row of the same version has different content than a record that is shown, in the columns
/// that the record's answer has. Columns that only some answers have are compared only if the stored row has
/// a value. If the stored row does not equal any version (`is_whole` is false), other records' answers may
/// have filled its shared columns, so those are not compared.
fn is_altered(table: &Table, row: &Row, stored: &Value, is_whole: bool) -> bool {
    let shown: Value = serde_json::from_str(&row.object(table)).unwrap_or_default();
    let mut columns = table.known(row.unknown).filter(|column| {
        column.name != "observed_at"
            && (column.group == ColumnGroup::NONE || !stored[column.name].is_null())
            && (is_whole || !column.shared)
    });
    columns.any(|column| column.plain(&shown[column.name]) != column.plain(&stored[column.name]))
}
