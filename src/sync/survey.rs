//! Counting before reading: what a range holds, and what reading it would cost. Writes nothing.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::plan;
use super::policy::RunError;
use super::walk::{WalkError, WalkSettings};
use crate::data::{
    Order, Page, PageQuery, Resource, SessionFilter, Source, Span, Stream, StreamState, Timestamp,
};

/// What reading something would take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Records.
    pub records: u64,
    /// Requests, at least; those for the estimate not included.
    pub requests: u64,
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
    /// Creation of the record that the server shows first when asked for the oldest.
    pub(super) oldest: Option<Timestamp>,
    pub(super) server_time: Timestamp,
}

/// The question for everything of a stream within a range of creation times.
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

/// Asks, unless the operator wants to stop.
pub(super) async fn ask<S: Source>(
    source: &S,
    query: &PageQuery,
    stop: &CancellationToken,
) -> Result<Page, RunError> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(WalkError::Stopped.into()),
        page = source.page(query) => Ok(page?),
    }
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
        oldest: page
            .items
            .iter()
            .filter_map(|item| item.head.created_at)
            .min(),
        server_time: page.server_time,
    })
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
            let total = survey(source, range, page_size, stop).await?.total;
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
    let records = count(&ask(source, &query, stop).await?);
    let requests = u64::from(plan::pages(records, settings.page_size).max(1));
    Ok(Some(Estimate { records, requests }))
}
