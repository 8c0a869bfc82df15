//! The proof that records can be asked for by their ids, from a source that has one record.

use std::sync::Arc;

use helena_sync::data::{
    ByIdProof, Head, Item, Page, PageQuery, Resource, Source, SourceError, Timestamp, Usage,
};
use uuid::Uuid;

struct One(Uuid);

impl One {
    fn page(&self) -> Page {
        let item = Item {
            head: Head {
                id: Some(self.0),
                ..Head::default()
            },
            raw: 0..2,
        };
        Page::new(Arc::from("{}"), vec![item], Timestamp::from_micros(0))
    }
}

impl Source for One {
    async fn page(&self, _: &PageQuery) -> Result<Page, SourceError> {
        Ok(self.page())
    }
    async fn list(&self, _: Resource) -> Result<Page, SourceError> {
        Ok(self.page())
    }
    async fn by_id(&self, _: Resource, _: Uuid) -> Result<Page, SourceError> {
        Ok(self.page())
    }
    fn usage(&self) -> Usage {
        Usage::default()
    }
}

pub(crate) async fn proof(resource: Resource) -> ByIdProof {
    let source = One(Uuid::from_u128(1));
    let proof = ByIdProof::obtain(&source, resource, None).await;
    proof.unwrap().unwrap()
}
