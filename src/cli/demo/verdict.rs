//! Compares the mirror with the simulated account: every row and every value, and that there are no
//! other rows.
//!
//! Tags are compared for contacts only. A session has the tags that its contact had when the session
//! was last read, and the account does not remember those.

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use crate::data::{ColumnGroup, Guard, Head, Item, Links, Page, Resource, Row, Table, Timestamp};
use crate::sandbox::SandboxAccount;
use crate::schema::BatchBuilder;
use crate::store::{AccountId, Store, StoreError};

/// How many records are compared at a time.
const PART: usize = 500;

/// How many differences are described. The others are only counted.
const DESCRIBED: usize = 5;

/// The one column of departments that only sessions have, not the list of departments.
const DEPARTMENT_TEXT: &str = "description";

/// All records of the account by resource, as JSON of the API.
pub(super) type Truth = Vec<(Resource, Vec<Value>)>;

/// All records that are visible now.
pub(super) fn truth(account: &mut SandboxAccount) -> Truth {
    vec![
        (Resource::Sessions, account.truth_sessions()),
        (Resource::Contacts, account.truth_contacts()),
        (Resource::Tags, account.truth_tags()),
        (Resource::Channels, account.truth_channels()),
        (Resource::Departments, account.truth_departments()),
        (Resource::Agents, account.truth_agents()),
        (Resource::CustomFields, account.truth_custom_fields()),
        (Resource::Chatbots, account.truth_chatbots()),
        (Resource::Templates, account.truth_templates()),
        (Resource::Portfolios, account.truth_portfolios()),
        (Resource::OfficeHours, account.truth_office_hours()),
    ]
}

/// A table compared with the resource that it mirrors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Compared {
    pub(super) resource: Resource,
    /// Records of the account.
    pub(super) records: u64,
    /// Rows of the mirror.
    pub(super) rows: u64,
    /// Values that were compared.
    pub(super) values: u64,
    /// Rows that differ, are missing, or should not exist.
    pub(super) differing: u64,
    /// Descriptions of the first differences.
    pub(super) differences: Vec<String>,
}

impl Compared {
    fn note(&mut self, difference: impl FnOnce() -> String) {
        self.differing += 1;
        if self.differences.len() < DESCRIBED {
            self.differences.push(difference());
        }
    }
}

/// Compares row by row.
pub(super) async fn compare(
    store: &Store,
    account: AccountId,
    truth: &Truth,
) -> Result<Vec<Compared>, StoreError> {
    let mut all = Vec::with_capacity(truth.len());
    for (resource, records) in truth {
        let mut stored = store.all_versions(account, *resource).await?;
        stored.retain(|_, version| !version.removed);
        let mut compared = Compared {
            resource: *resource,
            records: records.len() as u64,
            rows: stored.len() as u64,
            values: 0,
            differing: 0,
            differences: Vec::new(),
        };
        for part in records.chunks(PART) {
            let (writes, links) = mapped(*resource, part);
            compare_tags(store, &links, &mut compared).await?;
            for (table, rows) in writes {
                let keys: Vec<Uuid> = rows.iter().map(|row| row.key).collect();
                let found = store.row_objects(account, table, &keys).await?;
                for row in &rows {
                    if table.name == resource.name() {
                        stored.remove(&row.key);
                    }
                    match found.get(&row.key) {
                        Some(found) => compare_row(table, row, found, &mut compared),
                        None => compared.note(|| format!("{} is missing in the mirror", row.key)),
                    }
                }
            }
        }
        for key in stored.keys() {
            compared.note(|| format!("{key} is in the mirror but not in the account"));
        }
        all.push(compared);
    }
    Ok(all)
}

/// Compares the tags of contacts.
async fn compare_tags(
    store: &Store,
    links: &[Links],
    compared: &mut Compared,
) -> Result<(), StoreError> {
    let owners: Vec<Uuid> = links.iter().map(|links| links.owner).collect();
    let mut stored = store.contact_tags(&owners).await?;
    for Links { owner, tags } in links {
        compared.values += tags.len() as u64;
        let mut found = stored.remove(owner).unwrap_or_default();
        found.sort_unstable();
        if found != *tags {
            compared.note(|| format!("{owner} has other tags"));
        }
    }
    Ok(())
}

/// The rows that these records and their nested records map to, and the tags of contacts.
fn mapped(resource: Resource, records: &[Value]) -> (Vec<(&'static Table, Vec<Row>)>, Vec<Links>) {
    let mut body = String::new();
    let mut items = Vec::with_capacity(records.len());
    for record in records {
        let start = body.len();
        body.push_str(&record.to_string());
        let field = |name: &str| record.get(name).and_then(Value::as_str);
        let time = |name: &str| field(name).and_then(|text| Timestamp::parse(text).ok());
        let head = Head {
            id: field("id").and_then(|text| Uuid::parse_str(text).ok()),
            updated_at: time("updatedAt"),
            created_at: time("createdAt"),
            last_interaction_at: time("lastInteractionDate"),
        };
        let raw = start..body.len();
        items.push(Item { head, raw });
    }
    let page = Page {
        total: Some(items.len() as u64),
        ..Page::new(Arc::from(body), items, Timestamp::from_micros(0))
    };
    let mut builder = BatchBuilder::new(resource, false);
    builder.add(&page);
    let batch = builder.finish();
    let writes = batch
        .writes
        .into_iter()
        .filter(|write| write.table.guard != Guard::Absent)
        .map(|write| (write.table, write.rows))
        .collect();
    let links = match resource {
        Resource::Contacts => batch.contact_tags,
        _ => Vec::new(),
    };
    (writes, links)
}

fn compare_row(table: &Table, row: &Row, found: &Value, compared: &mut Compared) {
    let expected: Value = serde_json::from_str(&row.object(table)).unwrap_or_default();
    // observed_at belongs to the mirror, and version 1 of the session list has no type. A column that
    // both the resource's own list and sessions have is compared once, with the list.
    let columns = table.columns.iter().filter(|column| {
        let told_by_the_list =
            table.guard == Guard::Observed && column.shared && column.name != DEPARTMENT_TEXT;
        column.name != "observed_at"
            && column.group != ColumnGroup::SESSION_TYPE
            && (column.group == ColumnGroup::NONE || !row.unknown.contains(column.group))
            && !told_by_the_list
    });
    let mut differing = Vec::new();
    for column in columns {
        compared.values += 1;
        if column.plain(&expected[column.name]) != column.plain(&found[column.name]) {
            differing.push(column.name);
        }
    }
    if !differing.is_empty() {
        compared.note(|| {
            let what = if table.guard == Guard::Observed {
                format!("{} {}", table.name, row.key)
            } else {
                row.key.to_string()
            };
            format!("{what} differs in {}", differing.join(", "))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::OpenOptions;

    #[tokio::test]
    async fn a_contact_without_its_tags_differs() {
        let options = OpenOptions::default();
        let store = Store::open("sqlite::memory:", &options).await.unwrap();
        store.migrate().await.unwrap();
        let mut compared = Compared {
            resource: Resource::Contacts,
            records: 2,
            rows: 2,
            values: 0,
            differing: 0,
            differences: Vec::new(),
        };
        let links = [vec![Uuid::from_u128(7)], Vec::new()]
            .map(|tags| Links {
                owner: Uuid::from_u128(tags.len() as u128),
                tags,
            })
            .to_vec();
        let compare = compare_tags(&store, &links, &mut compared);
        compare.await.unwrap();
        assert_eq!(compared.differing, 1);
        let owner = links[0].owner;
        assert_eq!(compared.differences, [format!("{owner} has other tags")]);
    }
}
