//! Explains why a list is empty: counts the records without each filter.

use std::fmt::Write;

use super::record::number;
use crate::api::{Client, LiveQuery};
use crate::data::{SessionFilter, SourceError, Span};

/// The maximum number of requests for an explanation.
const MOST: usize = 6;

/// Says which filter probably excludes everything. Sends one request for each filter.
pub(super) async fn explain(client: &Client, queries: &[LiveQuery]) -> Result<String, SourceError> {
    let Some(query) = queries.first() else {
        return Ok("the account has no session".to_owned());
    };
    let parts = without_each(query);
    let mut counts = Vec::new();
    for (flag, mut query) in parts.into_iter().take(MOST) {
        query.number = 1;
        query.size = 1;
        query.details.clear();
        let page = client.sessions(&query).await?;
        counts.push((
            flag,
            page.total
                .unwrap_or(u64::try_from(page.items.len()).unwrap_or(u64::MAX)),
        ));
    }
    Ok(text("session", &counts))
}

/// Removes one filter.
type Change = fn(&mut SessionFilter);

/// For each filter of the query, the query without that filter.
fn without_each(query: &LiveQuery) -> Vec<(&'static str, LiveQuery)> {
    let filter = &query.filter;
    let changed = |change: Change| {
        let mut query = query.clone();
        change(&mut query.filter);
        query
    };
    let mut parts = Vec::new();
    if !query.created.is_open() {
        let mut query = query.clone();
        query.created = Span::OPEN;
        parts.push(("--from/--to", query));
    }
    let candidates: [(&str, bool, Change); 11] = [
        ("--status", filter.status.is_empty(), |f| f.status.clear()),
        ("--tag", filter.tags.is_empty(), |f| f.tags.clear()),
        ("--channel", filter.channels.is_empty(), |f| {
            f.channels.clear();
        }),
        ("--department", filter.department.is_none(), |f| {
            f.department = None;
        }),
        ("--agent", filter.user.is_none(), |f| f.user = None),
        ("--contact", filter.contact.is_none(), |f| f.contact = None),
        ("--updated-after/-before", filter.updated.is_open(), |f| {
            f.updated = Span::OPEN;
        }),
        ("--active-after/-before", filter.active.is_open(), |f| {
            f.active = Span::OPEN;
        }),
        ("--ended-after/-before", filter.ended.is_open(), |f| {
            f.ended = Span::OPEN;
        }),
        (
            "--interacted-after/-before",
            filter.interacted.is_open(),
            |f| f.interacted = Span::OPEN,
        ),
        ("--type", filter.kind.is_none(), |f| f.kind = None),
    ];
    for (flag, absent, change) in candidates {
        if !absent {
            parts.push((flag, changed(change)));
        }
    }
    parts
}

/// How many records there are without each filter, and which filter is probably too narrow.
pub(super) fn text(what: &str, counts: &[(&'static str, u64)]) -> String {
    let mut text = format!("no {what} matches");
    // Writing to a String cannot fail.
    match counts {
        [] => text = format!("the account has no {what}"),
        [(flag, count)] => {
            let _ = write!(
                text,
                " {flag}; without it there would be {}",
                number(*count)
            );
        }
        _ => {
            for (index, (flag, count)) in counts.iter().enumerate() {
                let start = if index == 0 { "; " } else { ", " };
                let _ = write!(text, "{start}without {flag}: {}", number(*count));
            }
            let most = counts.iter().max_by_key(|(_, count)| *count);
            match most {
                Some((flag, count)) if *count > 0 => {
                    let _ = write!(text, ". {flag} is probably too narrow");
                }
                _ => text.push_str(". The filters exclude everything only together"),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_is_left_out_once() {
        let query = LiveQuery {
            filter: SessionFilter {
                status: vec!["PENDING".into()],
                user: Some(uuid::Uuid::nil()),
                ..SessionFilter::default()
            },
            created: Span::after(crate::data::Timestamp::from_micros(0)),
            ..LiveQuery::default()
        };
        let parts = without_each(&query);
        let flags: Vec<_> = parts.iter().map(|(flag, _)| *flag).collect();
        assert_eq!(flags, ["--from/--to", "--status", "--agent"]);
        assert!(parts[0].1.created.is_open() && parts[0].1.filter == query.filter);
        assert!(parts[1].1.filter.status.is_empty() && parts[1].1.filter.user.is_some());
        assert!(without_each(&LiveQuery::default()).is_empty());
    }

    #[test]
    fn the_filter_whose_absence_helps_most_is_named() {
        assert_eq!(
            text("session", &[("--status", 0), ("--tag", 1234)]),
            "no session matches; without --status: 0, without --tag: 1,234. --tag is probably too narrow"
        );
        assert_eq!(
            text("session", &[("--status", 0), ("--tag", 0)]),
            "no session matches; without --status: 0, without --tag: 0. The filters exclude everything only together"
        );
        assert_eq!(
            text("session", &[("--tag", 7)]),
            "no session matches --tag; without it there would be 7"
        );
        assert_eq!(text("session", &[]), "the account has no session");
    }
}
