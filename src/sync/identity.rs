//! Finds out the token's company, with as few requests as possible.
//!
//! Must not know what is stored, or what follows from an unexpected company.

use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::policy::{FailureAction, RunError};
use super::stop::unless_stopped;
use super::survey;
use crate::data::{Page, Resource, Source, SourceError, Span};

/// The company that a source's records belong to; `None` if the source shows no record.
///
/// A token that may read no resource at all is an error. If the token may not read one resource, another
/// resource is tried.
pub async fn company<S: Source>(
    source: &S,
    stop: &CancellationToken,
) -> Result<Option<Uuid>, RunError> {
    let mut refusal = None;
    let mut trouble = false;
    for resource in [Resource::Departments, Resource::Agents] {
        let list = unless_stopped(stop, source.list(resource)).await?;
        match list.map_err(RunError::from) {
            Ok(page) => {
                if let Some(company) = owner(&page) {
                    return Ok(Some(company));
                }
            }
            Err(error) if error.is_refusal() => refusal = Some(error),
            Err(error) => elsewhere(&mut trouble, error)?,
        }
    }
    for stream in [Resource::Contacts, Resource::Sessions]
        .map(Resource::streams)
        .concat()
    {
        let query = survey::everything(stream, Span::OPEN, 1);
        match survey::ask(source, &query, stop).await {
            Ok(page) => {
                if let Some(company) = owner(&page) {
                    return Ok(Some(company));
                }
                refusal = None;
            }
            Err(error) if error.is_refusal() => {}
            Err(error) => elsewhere(&mut trouble, error)?,
        }
    }
    // If every resource was refused, the token is invalid. An account without records has no company yet, and
    // no data that could be mixed up.
    refusal.map_or(Ok(None), Err)
}

/// The company that the records of a page belong to, if one of them says so.
pub fn owner(page: &Page) -> Option<Uuid> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Owned {
        company_id: Option<Uuid>,
    }
    page.items.iter().find_map(|item| {
        serde_json::from_str::<Owned>(page.raw(item))
            .ok()?
            .company_id
    })
}

/// Decides whether to try another resource after this error. After one malformed answer, another resource is
/// tried. A second malformed answer ends the search, since the retries of each one take a minute.
fn elsewhere(trouble: &mut bool, error: RunError) -> Result<(), RunError> {
    let is_nonsense = matches!(error, RunError::Source(SourceError::Malformed { .. }));
    if error.action() != FailureAction::NextResource || (is_nonsense && *trouble) {
        return Err(error);
    }
    *trouble |= is_nonsense;
    Ok(())
}
