//! Counts the records of a range and the requests to read it. Writes nothing.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::plan;
use super::policy::RunError;
use super::stop::unless_stopped;
use super::walk::{Climb, Mark, PROBE_SIZE, WalkSettings};
use crate::data::{
    Direction, Order, OrderField, Page, PageQuery, Resource, SessionFilter, Source, Span, Stream,
    StreamState, Timestamp,
};

/// What it takes to read a range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Records.
    pub records: u64,
    /// The minimum number of requests, without those for the estimate.
    pub requests: u64,
    /// Whether some answers have no total, so that there may be more records.
    pub uncounted: bool,
}

/// A part of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range<'a> {
    pub(super) stream: Stream,
    pub(super) created: Span,
    pub(super) filter: &'a SessionFilter,
}

/// What a range holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Survey {
    pub(super) total: u64,
    pub(super) uncounted: bool,
    /// Creation time of the first record that the server shows if the oldest is requested.
    pub(super) oldest: Option<Timestamp>,
    pub(super) server_time: Timestamp,
}

/// The query for all records of a stream that were created within a range.
pub(super) fn everything(stream: Stream, created: Span, size: u32) -> PageQuery {
    PageQuery {
        stream,
        created,
        updated: Span::OPEN,
        filter: Arc::default(),
        order: Some(Order::CREATED),
        number: 1,
        size,
    }
}

/// Sends a query, unless the operator stops the program.
pub(super) async fn ask<S: Source>(
    source: &S,
    query: &PageQuery,
    stop: &CancellationToken,
) -> Result<Page, RunError> {
    Ok(unless_stopped(stop, source.page(query)).await??)
}

pub(super) async fn survey<S: Source>(
    source: &S,
    range: Range<'_>,
    page_size: u32,
    stop: &CancellationToken,
) -> Result<Survey, RunError> {
    let query = PageQuery {
        filter: Arc::new(range.filter.clone()),
        ..everything(range.stream, plan::widen(range.created), page_size)
    };
    let page = ask(source, &query, stop).await?;
    Ok(Survey {
        total: count(&page),
        uncounted: page.total.is_none(),
        oldest: page
            .items
            .iter()
            .filter_map(|item| item.head.created_at)
            .min(),
        server_time: page.server_time,
    })
}

/// The newest change that the server shows of a stream. If all changes are later than `until`, the server's
/// time, the result is `until`. `None` if the stream shows no change.
pub(super) async fn newest<S: Source>(
    source: &S,
    stream: Stream,
    until: Timestamp,
    stop: &CancellationToken,
) -> Result<Option<Mark>, RunError> {
    let query = PageQuery {
        order: Some(Order {
            field: OrderField::UpdatedAt,
            direction: Direction::Descending,
        }),
        ..everything(stream, Span::OPEN, PROBE_SIZE)
    };
    let page = ask(source, &query, stop).await?;
    let later = page
        .items
        .iter()
        .any(|item| item.head.updated_at > Some(until));
    let later = later.then_some(Mark {
        to: until,
        seen_at: page.server_time,
    });
    let mut climb = Climb::new(query, until);
    let mut goes_on = climb.take(&page);
    while goes_on {
        goes_on = climb.take(&ask(source, climb.query(), stop).await?);
    }
    Ok(climb.best.or(later))
}

fn count(page: &Page) -> u64 {
    page.total.unwrap_or(page.items.len() as u64)
}

/// How much a backfill would read.
pub async fn estimate<S: Source>(
    source: &S,
    resource: Resource,
    created: Span,
    filters: &[SessionFilter],
    page_size: u32,
    stop: &CancellationToken,
) -> Result<Estimate, RunError> {
    let mut estimate = Estimate::default();
    for filter in filters {
        for stream in resource.streams() {
            let range = Range {
                stream,
                created,
                filter,
            };
            let survey = survey(source, range, page_size, stop).await?;
            let total = survey.total;
            estimate.uncounted |= survey.uncounted;
            estimate.records += total;
            estimate.requests += u64::from(plan::pages(total, page_size).max(1));
        }
    }
    Ok(estimate)
}

/// How much an incremental pass from this state would read now; `None` if nothing was loaded yet.
pub async fn estimate_changes<S: Source>(
    source: &S,
    state: &StreamState,
    settings: &WalkSettings,
    stop: &CancellationToken,
) -> Result<Option<Estimate>, RunError> {
    let Some(watermark) = state.watermark else {
        return Ok(None);
    };
    let query = PageQuery {
        updated: Span::after(plan::start(state, watermark, settings.overlap)),
        order: Some(Order::UPDATED),
        ..everything(state.stream, Span::OPEN, settings.page_size)
    };
    let page = ask(source, &query, stop).await?;
    let records = count(&page);
    let requests = u64::from(plan::pages(records, settings.page_size).max(1));
    Ok(Some(Estimate {
        records,
        requests,
        uncounted: page.total.is_none(),
    }))
}
