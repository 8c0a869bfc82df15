//! What can be exported: every table and view with the types of its columns, and by what its rows are
//! limited to days, ordered, and divided into months.
//!
//! Names and types are those of the documents, which tests hold equal to both databases.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::dictionary::meanings;
use crate::data::Resource;

const TYPES: &str = include_str!("../../docs/tools/dbt/sources.yml");

/// The type of a column, the same for both databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellType {
    /// Text.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// A floating-point number of 64 bits.
    Real,
    /// True or false.
    Boolean,
    /// A day of the reports' time zone.
    Date,
    /// An instant, in microseconds.
    Timestamp,
    /// A key.
    Uuid,
    /// A JSON document.
    Json,
}

impl CellType {
    /// Its name in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Real => "real",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Uuid => "uuid",
            Self::Json => "json",
        }
    }

    fn of_postgres(name: &str) -> Option<Self> {
        Some(match name {
            "text" => Self::Text,
            "bigint" | "integer" => Self::Integer,
            "double precision" => Self::Real,
            "boolean" => Self::Boolean,
            "date" => Self::Date,
            "timestamp with time zone" => Self::Timestamp,
            "uuid" => Self::Uuid,
            "json" | "jsonb" => Self::Json,
            _ => return None,
        })
    }
}

/// A column of a table or view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelationColumn {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: CellType,
}

/// What says to which days a row belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowTime {
    /// An instant in this column.
    Instant(&'static str),
    /// A day in this column.
    Day(&'static str),
    /// The first day of a month in this column.
    Month(&'static str),
    /// The creation of the row of a table that this column refers to.
    Of {
        /// The table.
        table: &'static str,
        /// The column that has its id.
        key: &'static str,
    },
}

/// A table or view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Its name.
    pub name: &'static str,
    /// Whether it is a view.
    pub is_view: bool,
    /// Its columns, in order.
    pub columns: Vec<RelationColumn>,
}

/// All tables and views, in the order of the documents.
pub fn relations() -> &'static [Relation] {
    static ALL: LazyLock<Vec<Relation>> = LazyLock::new(|| {
        let types = types();
        let tables = meanings().into_iter();
        let tables = tables.map(|table| Relation {
            name: table.table,
            is_view: table.is_view,
            columns: table
                .columns
                .iter()
                .filter_map(|(name, _)| {
                    let kind = *types.get(&(table.table, *name))?;
                    Some(RelationColumn { name, kind })
                })
                .collect(),
        });
        tables.collect()
    });
    &ALL
}

/// The type of each column, by table and name.
fn types() -> HashMap<(&'static str, &'static str), CellType> {
    let (mut types, mut table, mut column) = (HashMap::new(), "", "");
    for line in TYPES.lines() {
        if let Some(name) = line.strip_prefix("      - name: ") {
            table = name;
        } else if let Some(name) = line.strip_prefix("          - name: ") {
            column = name;
        } else if let Some(name) = line.strip_prefix("            data_type: ")
            && let Some(kind) = CellType::of_postgres(name)
        {
            types.insert((table, column), kind);
        }
    }
    types
}

impl Relation {
    /// Whether it has a column.
    pub(super) fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|it| it.name == column)
    }

    /// The column that names the account, if rows belong to one.
    pub(super) fn account(&self) -> Option<&'static str> {
        match self.name {
            "accounts" => Some("id"),
            _ => self.has("account_id").then_some("account_id"),
        }
    }

    /// What says to which days its rows belong; `None` if it is always read whole.
    pub fn time(&self) -> Option<RowTime> {
        let of = |table, key| Some(RowTime::Of { table, key });
        match self.name {
            "sessions" | "contacts" | "backfills" => Some(RowTime::Instant("created_at")),
            "session_tags" | "session_tags_removed" => of("sessions", "session_id"),
            "contact_tags"
            | "contact_tags_removed"
            | "contact_custom_fields"
            | "contact_portfolios" => of("contacts", "contact_id"),
            "session_changes" => Some(RowTime::Instant("observed_at")),
            "state_changes" => Some(RowTime::Instant("changed_at")),
            "sync_runs" => Some(RowTime::Instant("started_at")),
            "rejects" => Some(RowTime::Instant("first_seen_at")),
            "report_open_hours" => Some(RowTime::Instant("starts_at")),
            "report_stage_times" => Some(RowTime::Instant("entered_at")),
            _ if self.has("day") => Some(RowTime::Day("day")),
            "report_agents" | "report_departments" | "report_channels" | "report_tags"
            | "report_campaigns" => Some(RowTime::Month("month")),
            _ => None,
        }
    }

    /// The resource whose first load must be complete for its rows to be; `None` if it is read as a whole,
    /// or made by this program.
    pub fn loaded_with(&self) -> Option<Resource> {
        match self.name {
            "report_days" | "report_open_hours" | "report_settings" => None,
            name if name.starts_with("session") || name.starts_with("report_") => {
                Some(Resource::Sessions)
            }
            name if name.starts_with("contact") => Some(Resource::Contacts),
            _ => None,
        }
    }

    /// Whether it may have rows that belong to no day, although the others do.
    pub fn has_undated(&self) -> bool {
        matches!(self.name, "sessions" | "contacts")
            || matches!(self.time(), Some(RowTime::Of { .. }))
    }

    /// A table with an index by account and this column, which says in which months there are rows;
    /// `None` if it is read as one.
    pub(super) fn months_of(&self) -> Option<(&'static str, &'static str)> {
        match self.name {
            "sessions" | "report_sessions" => Some(("sessions", "created_at")),
            "contacts" => Some(("contacts", "created_at")),
            "report_completed" => Some(("sessions", "end_at")),
            _ => None,
        }
    }

    /// Whether it is read month by month, and can be a file for each.
    pub fn has_months(&self) -> bool {
        self.months_of().is_some()
    }

    /// The columns by which its rows are ordered.
    pub(super) fn order(&self) -> &'static [&'static str] {
        match self.name {
            "sessions" | "contacts" | "report_sessions" | "report_backlog" => &["created_at", "id"],
            "report_completed" => &["day", "id"],
            "agents" => &["account_id", "user_id"],
            "contact_tags" | "contact_tags_removed" => &["contact_id", "tag_id"],
            "session_tags" | "session_tags_removed" => &["session_id", "tag_id"],
            "session_changes" => &["session_id", "change_seq", "field"],
            "custom_field_options" => &["account_id", "custom_field_id", "position", "option_id"],
            "contact_custom_fields" => &["account_id", "contact_id", "custom_field_id", "key"],
            "contact_portfolios" => &["account_id", "contact_id", "portfolio_id"],
            "raw_records" => &["id", "resource"],
            "leases" | "report_quality" => &["account_id"],
            "alert_messages" => &["alert_id", "channel"],
            "instances" => &["host", "boot_id", "pid_namespace", "pid", "process_start"],
            "doorbell_calls" => &["account_id", "resource", "record"],
            "sync_state" => &["account_id", "resource", "partition"],
            "rechecks" => &["account_id", "resource", "record_id"],
            "report_days" => &["day"],
            "report_open_hours" => &["starts_at"],
            "report_daily" | "report_backlog_daily" => &["account_id", "day"],
            "report_daily_times" => &["account_id", "day", "metric"],
            "report_hours" => &["account_id", "day", "hour"],
            "report_agents" => &["account_id", "month", "user_id"],
            "report_departments" => &["account_id", "month", "department_id"],
            "report_channels" => &["account_id", "month", "channel_id"],
            "report_tags" => &["account_id", "month", "tag_id"],
            "report_campaigns" => &[
                "account_id",
                "month",
                "utm_campaign",
                "utm_source",
                "utm_medium",
                "utm_source_id",
                "has_click_id",
            ],
            "report_reopened" => &["account_id", "session_id", "reopened_at"],
            "report_transfers" => &["account_id", "session_id", "transferred_at", "kind"],
            "report_stage_times" => &["account_id", "session_id", "entered_at"],
            _ => &["id"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_type_and_every_order_and_time_a_column() {
        let documented: usize = meanings().iter().map(|table| table.columns.len()).sum();
        let typed: usize = relations().iter().map(|it| it.columns.len()).sum();
        assert_eq!(typed, documented);
        for relation in relations() {
            for column in relation.order() {
                assert!(relation.has(column), "{} {column}", relation.name);
            }
            let Some(
                RowTime::Instant(column)
                | RowTime::Day(column)
                | RowTime::Month(column)
                | RowTime::Of { key: column, .. },
            ) = relation.time()
            else {
                continue;
            };
            assert!(relation.has(column), "{} {column}", relation.name);
        }
    }
}
