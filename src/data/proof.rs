//! The proof that records of a resource can be read by id.

use std::sync::Arc;

use uuid::Uuid;

use super::{Direction, Order, OrderField, PageQuery, Resource, Source, SourceError, Span, Stream};

/// How many records of one age are tried. One of them may have been deleted meanwhile, or may not be
/// readable by id.
const TRIED: u32 = 3;

/// The proof that a listed record can be read by id.
///
/// If the platform withdraws the route, its answer for every record is the same as for a deleted
/// one. So a record counts as deleted only with this value (see
/// [`StateChange::Gone`](super::StateChange::Gone)), and only [`ByIdProof::obtain`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByIdProof {
    resource: Resource,
}

impl ByIdProof {
    /// The resource.
    pub const fn resource(&self) -> Resource {
        self.resource
    }

    /// Reads a record by id: the one that was found last, if there is one, else listed ones of
    /// several ages. `None` if no record is listed, which proves nothing. An error if no listed
    /// record can be read by id.
    ///
    /// The newest records go first, since old ones may be archived where reads by id do not find
    /// them. But new ones may belong to a department that the token may not see, or may not be
    /// replicated yet. So it also tries others.
    pub async fn obtain<S: Source>(
        source: &S,
        resource: Resource,
        found: Option<Uuid>,
    ) -> Result<Option<Self>, SourceError> {
        if let Some(id) = found
            && finds(source, resource, id).await.is_ok()
        {
            return Ok(Some(Self { resource }));
        }
        let mut failure = None;
        for (direction, field) in AGES {
            for stream in resource.streams() {
                let page = source
                    .page(&first(stream, Order { field, direction }))
                    .await?;
                for id in page.items.iter().filter_map(|item| item.head.id) {
                    match finds(source, resource, id).await {
                        Ok(()) => return Ok(Some(Self { resource })),
                        Err(error) => failure = failure.or(Some(error)),
                    }
                }
            }
            if failure.is_none() {
                // Nothing is listed.
                return Ok(None);
            }
        }
        failure.map_or(Ok(None), Err)
    }
}

/// Fails unless this record is found by its id.
async fn finds<S: Source>(source: &S, resource: Resource, id: Uuid) -> Result<(), SourceError> {
    let page = source.by_id(resource, id).await?;
    if page.items.iter().any(|item| item.head.id == Some(id)) {
        return Ok(());
    }
    Err(SourceError::Malformed {
        request: format!("reading {resource} by id"),
        attempts: 1,
        detail: format!("the list shows {id}, but reading it by id does not find it"),
    })
}

/// The records created last, those created first, and those changed last.
const AGES: [(Direction, OrderField); 3] = [
    (Direction::Descending, OrderField::CreatedAt),
    (Direction::Ascending, OrderField::CreatedAt),
    (Direction::Descending, OrderField::UpdatedAt),
];

/// The first records of a stream in an order.
fn first(stream: Stream, order: Order) -> PageQuery {
    PageQuery {
        stream,
        created: Span::OPEN,
        updated: Span::OPEN,
        filter: Arc::default(),
        order: Some(order),
        number: 1,
        size: TRIED,
    }
}
