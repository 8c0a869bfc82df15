//! Flattens records for CSV: all columns of their table, and the names of the records that their ids
//! refer to.
//!
//! Must not know how a field is read. It uses the same mapping as the database.

use std::io::{self, Write};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::record::Fields;
use crate::data::{Item, Page, Resource, Table};
use crate::output::{Format, Printer, terminal_width};
use crate::schema::{BatchBuilder, tables};

/// Columns that only the program itself needs.
const OWN: [&str; 2] = ["tags_hash", "observed_at"];

/// Separates the names of tags.
const SEPARATOR: &str = ";";

/// An additional column: its name, and the function that reads it.
type Name = (&'static str, fn(&Fields<'_>) -> Option<String>);

const OF_SESSIONS: &[Name] = &[
    ("contact_name", |fields| {
        fields.text(&["contactDetails", "name"])
    }),
    ("contact_phone", |fields| {
        fields
            .text(&["contactDetails", "phonenumberFormatted"])
            .or_else(|| fields.text(&["contactDetails", "phonenumber"]))
    }),
    ("agent_name", |fields| {
        fields.text(&["agentDetails", "name"])
    }),
    ("department_name", department),
    ("channel_name", |fields| {
        fields.text(&["channelDetails", "displayName"])
    }),
    ("tags", |fields| tags(fields.0.get("contactDetails")?)),
];

const OF_CONTACTS: &[Name] = &[("tags", |fields| tags(fields.0))];

/// The name of a session's department. The contract says that it is one object; some clients saw a
/// list with one object (API notes, 4.5).
pub(super) fn department(fields: &Fields<'_>) -> Option<String> {
    fields
        .text(&["departmentDetails", "name"])
        .or_else(|| fields.text(&["departmentsDetails", "0", "name"]))
}

fn tags(owner: &Value) -> Option<String> {
    let names = owner.get("tagNames").or_else(|| owner.get("tagsName"))?;
    let names: Vec<&str> = names.as_array()?.iter().filter_map(Value::as_str).collect();
    Some(names.join(SEPARATOR))
}

/// Turns the records of a resource into cells.
#[derive(Clone, Copy)]
pub(super) struct Flat {
    resource: Resource,
    table: &'static Table,
    names: &'static [Name],
}

impl Flat {
    pub(super) const fn of(resource: Resource) -> Self {
        let names: &[Name] = match resource {
            Resource::Sessions => OF_SESSIONS,
            Resource::Contacts => OF_CONTACTS,
            _ => &[],
        };
        Self {
            resource,
            table: tables::of(resource),
            names,
        }
    }

    /// The names of the columns.
    pub(super) fn columns(self) -> Vec<&'static str> {
        let names = self.names.iter().map(|(name, _)| *name);
        self.stored().chain(names).collect()
    }

    fn stored(self) -> impl Iterator<Item = &'static str> {
        let columns = self.table.columns.iter().map(|column| column.name);
        columns.filter(|name| !OWN.contains(name))
    }

    /// A record's cells, one for each column. The cell of an unreadable field is empty.
    pub(super) fn cells(self, page: &Page, item: &Item) -> Vec<String> {
        let value: Value = serde_json::from_str(page.raw(item)).unwrap_or_default();
        let fields = Fields(&value);
        let mut row = self.row(page, item);
        // A record with an invalid id has no row. Its id is printed, so that it can be found.
        if row.is_empty()
            && let Some(id) = fields.text(&["id"])
        {
            row.insert("id".to_owned(), Value::String(id));
        }
        let names = self.names.iter().map(|(_, read)| read(&fields));
        self.stored()
            .map(|name| row.get(name).map(text).unwrap_or_default())
            .chain(names.map(Option::unwrap_or_default))
            .collect()
    }

    fn row(self, page: &Page, item: &Item) -> Map<String, Value> {
        let mut builder = BatchBuilder::new(self.resource, false);
        builder.add(&Page {
            unknown: page.unknown,
            ..Page::new(Arc::clone(&page.body), vec![item.clone()], page.server_time)
        });
        let batch = builder.finish();
        let written = batch.writes.iter().find(|write| write.table == self.table);
        written
            .and_then(|write| write.rows.first())
            .and_then(|row| serde_json::from_str(&row.object(self.table)).ok())
            .unwrap_or_default()
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Prints records of a list. A table has the most important columns, CSV has all.
pub(super) struct Records<W: Write> {
    printer: Printer<W>,
    flat: Option<Flat>,
}

impl<W: Write> Records<W> {
    pub(super) fn new(
        out: W,
        format: Format,
        resource: Resource,
        columns: &[&str],
        is_exact: bool,
    ) -> io::Result<Self> {
        let flat = (format == Format::Csv).then(|| Flat::of(resource));
        let all = flat.map(Flat::columns);
        let columns = all.as_deref().unwrap_or(columns);
        let printer = Printer::new(out, format, columns, terminal_width())?.exact(is_exact);
        Ok(Self { printer, flat })
    }

    /// Prints a record. `cells` makes the table's cells from the record's JSON.
    pub(super) fn record(
        &mut self,
        page: &Page,
        item: &Item,
        cells: impl FnOnce(&str) -> Vec<String>,
    ) -> io::Result<()> {
        let raw = page.raw(item);
        let cells = match self.flat {
            Some(flat) => flat.cells(page, item),
            None => cells(raw),
        };
        self.printer.record(&cells, raw)
    }

    /// Ends the output and returns the number of records.
    pub(super) fn finish(self) -> io::Result<u64> {
        self.printer.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Head, Timestamp};

    fn cell(resource: Resource, raw: &str, column: &str) -> String {
        let page = Page::new(
            Arc::from(raw),
            vec![Item {
                head: Head::default(),
                raw: 0..raw.len(),
            }],
            Timestamp::from_micros(0),
        );
        let flat = Flat::of(resource);
        let at = flat.columns().iter().position(|name| *name == column);
        let cells = flat.cells(&page, &page.items[0]);
        assert_eq!(cells.len(), flat.columns().len());
        cells[at.unwrap()].clone()
    }

    #[test]
    fn a_session_is_flat_with_whole_times_and_the_names_of_what_it_refers_to() {
        let raw = r#"{"id":"00000000-0000-4000-8000-00000000000a","createdAt":"2026-01-01T03:00:00.1Z",
            "utm":{"source":"ads"},"classification":{"category":"WON","amount":12.5},"unreadCount":3,
            "contactDetails":{"id":"00000000-0000-4000-8000-00000000000b","name":"Ana",
            "phonenumberFormatted":"(11) 9","tagsName":["VIP","B2B"]},"agentDetails":{"name":"Zé"},
            "departmentsDetails":[{"name":"Vendas"}],"channelDetails":null,"metadata":{"a":1}}"#;
        for (column, expected) in [
            ("id", "00000000-0000-4000-8000-00000000000a"),
            ("created_at", "2026-01-01T03:00:00.100000Z"),
            ("utm_source", "ads"),
            ("classification_category", "WON"),
            ("classification_amount", "12.5"),
            ("unread_count", "3"),
            ("end_at", ""),
            ("contact_name", "Ana"),
            ("contact_phone", "(11) 9"),
            ("agent_name", "Zé"),
            ("department_name", "Vendas"),
            ("channel_name", ""),
            ("tags", "VIP;B2B"),
            ("metadata", "{\"a\":1}"),
        ] {
            assert_eq!(cell(Resource::Sessions, raw, column), expected, "{column}");
        }
    }

    #[test]
    fn a_record_that_cannot_be_read_is_still_to_be_found() {
        assert_eq!(cell(Resource::Contacts, r#"{"id":"x"}"#, "id"), "x");
        assert_eq!(cell(Resource::Tags, "[]", "name"), "");
    }

    #[test]
    fn what_the_program_keeps_for_itself_is_no_column() {
        for resource in Resource::ALL {
            let columns = Flat::of(resource).columns();
            assert!(columns.contains(&resource.descriptor().key), "{resource}");
            assert!(!columns.contains(&"observed_at"), "{resource}");
            assert!(!columns.contains(&"tags_hash"), "{resource}");
        }
    }
}
