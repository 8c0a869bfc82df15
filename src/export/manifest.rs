//! What an export consists of, as a file beside it.

use chrono::NaiveDate;
use serde::ser::{SerializeStruct as _, Serializer};
use serde::{Deserialize, Serialize};

use super::{Altered, DayRange};
use crate::data::Timestamp;
use crate::store::{Relation, RelationColumn};

/// The whole of it.
#[derive(Debug, Clone, Serialize)]
pub struct Manifest {
    /// The version of the program.
    pub helena_sync: &'static str,
    /// Everything that was committed before is in the files.
    pub snapshot_at: Timestamp,
    /// The form of files.
    pub format: &'static str,
    /// The language of CSV and workbooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<&'static str>,
    /// What separates values of CSV.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<String>,
    /// The zone of times: `UTC`, or that of the reports, whose clocks they show.
    pub times: String,
    /// The zone of days.
    pub days: String,
    /// The accounts.
    pub accounts: Vec<ExportedAccount>,
    /// The tables and views.
    pub tables: Vec<ExportedTable>,
}

/// An account.
#[derive(Debug, Clone, Serialize)]
pub struct ExportedAccount {
    /// `account_id` of its rows.
    pub id: i64,
    /// Its name in the configuration.
    pub name: String,
    /// Up to when changes of its sessions were read; null before the first load.
    pub as_of: Option<Timestamp>,
    /// Whether the first load has read all sessions and contacts of which the files have rows.
    pub complete: bool,
}

/// A table or view.
#[derive(Debug, Clone, Serialize)]
pub struct ExportedTable {
    /// Its name.
    pub name: &'static str,
    /// Whether it is a view.
    pub is_view: bool,
    /// The first day; null for no limit.
    pub from: Option<NaiveDate>,
    /// The last day, included; null for no limit.
    pub to: Option<NaiveDate>,
    /// How many rows were left out because they belong to no day.
    pub undated_rows: u64,
    /// Its columns.
    #[serde(serialize_with = "columns")]
    pub columns: Vec<RelationColumn>,
    /// Its files.
    pub files: Vec<ExportedFile>,
}

/// A file.
#[derive(Debug, Clone, Serialize)]
pub struct ExportedFile {
    /// Its name.
    pub name: String,
    /// The month of its rows, if there is a file for each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub month: Option<String>,
    /// How many rows it has.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// Its hash.
    pub sha256: String,
    /// What it has in another way than it is stored.
    #[serde(flatten)]
    pub altered: Altered,
}

impl ExportedTable {
    pub(super) fn new(of: &Relation, days: DayRange) -> Self {
        Self {
            name: of.name,
            is_view: of.is_view,
            from: days.from,
            to: days.to,
            undated_rows: 0,
            columns: of.columns.clone(),
            files: Vec::new(),
        }
    }

    /// The rows of all files.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }
}

/// What is read of the manifest of an earlier export, of this version of the program or another one.
#[derive(Deserialize)]
struct Earlier {
    tables: Vec<EarlierTable>,
}

#[derive(Deserialize)]
struct EarlierTable {
    files: Vec<EarlierFile>,
}

#[derive(Deserialize)]
struct EarlierFile {
    name: String,
}

/// The names of the files of an earlier export; none if the text is no manifest.
pub(super) fn names_in(text: &[u8]) -> Vec<String> {
    let earlier: Option<Earlier> = serde_json::from_slice(text).ok();
    let tables = earlier.into_iter().flat_map(|it| it.tables);
    let files = tables.flat_map(|table| table.files);
    files.map(|file| file.name).collect()
}

impl Manifest {
    /// As a file.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// What all files have in another way than it is stored.
    pub fn altered(&self) -> Altered {
        let files = self.tables.iter().flat_map(|table| &table.files);
        files.fold(Altered::default(), |sum, file| Altered {
            guarded: sum.guarded + file.altered.guarded,
            cut: sum.cut + file.altered.cut,
        })
    }
}

impl Serialize for Altered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut altered = serializer.serialize_struct("Altered", 2)?;
        if self.guarded > 0 {
            altered.serialize_field("guarded_texts", &self.guarded)?;
        }
        if self.cut > 0 {
            altered.serialize_field("cut_texts", &self.cut)?;
        }
        altered.end()
    }
}

#[derive(Serialize)]
struct Column {
    name: &'static str,
    r#type: &'static str,
}

fn columns<S: Serializer>(columns: &[RelationColumn], serializer: S) -> Result<S::Ok, S::Error> {
    let columns = columns.iter().map(|column| Column {
        name: column.name,
        r#type: column.kind.as_str(),
    });
    serializer.collect_seq(columns)
}
