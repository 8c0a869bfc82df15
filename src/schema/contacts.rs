//! Contacts from their own listing (API notes, 8).

use uuid::Uuid;

use super::batch::{AnswerContext, Mapped};
use super::mapper::{Extra, Mapper, RowJson, tags_hash, utm};
use super::record::{Objections, Record};
use super::tables;
use crate::data::ColumnGroup;

/// Maps a contact.
pub(super) fn map(
    id: Uuid,
    record: Record<'_>,
    answer: AnswerContext,
    objections: &mut Objections,
) -> Mapped {
    let mut row = RowJson::new(&tables::CONTACTS, id, 768);
    let mut extra = Extra::default();
    let mut m = Mapper {
        record,
        row: &mut row,
        objections,
    };

    m.time("createdAt", "created_at");
    let version = m.version();
    m.uuid("companyId", "company_id");
    m.text("name", "name");
    m.text("nameWhatsapp", "name_whatsapp");
    m.text("nameInstagram", "name_instagram");
    m.text("nameMessenger", "name_messenger");
    m.phone();
    m.text("email", "email");
    m.text("instagram", "instagram");
    m.text("messengerId", "messenger_id");
    m.text("annotation", "annotation");
    let mut tags = m.take_tags();
    m.word("status", "status");
    m.word("origin", "origin");
    m.time("importedAt", "imported_at");
    m.nested("utm", &mut extra, utm);
    m.json("customFields", "custom_fields");
    m.json("portfolioIds", "portfolio_ids");
    m.json("portfolioNames", "portfolio_names");
    m.json("metadata", "metadata");
    // An empty list means nothing if tags were not asked for.
    if answer.unknown.contains(ColumnGroup::CONTACT) {
        tags.ids = tags.ids.filter(|ids| !ids.is_empty());
    }
    let unknown = match &tags.ids {
        Some(ids) => {
            m.row.int("tags_hash", Some(tags_hash(ids)));
            ColumnGroup::NONE
        }
        None => ColumnGroup::CONTACT,
    };

    extra.rest(m.record);
    row.extra(extra);
    Mapped {
        key: id,
        version,
        row,
        unknown,
        tags,
        references: [None; 4],
    }
}
