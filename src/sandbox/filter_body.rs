//! `POST /core/v1/contact/filter`: the contact list with its questions in a body.

use serde_json::Value;
use uuid::Uuid;

use super::Ticks;
use super::account::Account;
use super::errors::Answer;
use super::query::{self, BadInput, Paging, Range, same};
use super::record::{Contact, ContactStatus, Origin};
use super::render::ContactDetails;

fn text<'a>(body: &'a Value, key: &str) -> Option<&'a str> {
    body[key].as_str().filter(|text| !text.is_empty())
}

fn texts<'a>(body: &'a Value, key: &str) -> Vec<&'a str> {
    body[key]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

fn instant(range: &Value, key: &str) -> Result<Option<Ticks>, BadInput> {
    text(range, key)
        .map(|text| Ticks::parse(text).ok_or_else(|| BadInput(format!("Data inválida: {text}."))))
        .transpose()
}

fn number(body: &Value, key: &str) -> Option<u32> {
    body[key]
        .as_u64()
        .and_then(|number| u32::try_from(number).ok())
}

/// The page of contacts that a body asks for.
pub(super) fn contacts(account: &Account, body: &[u8]) -> Result<Answer, BadInput> {
    let body: Value =
        serde_json::from_slice(body).map_err(|_| BadInput("O corpo não é JSON.".to_owned()))?;
    let moods = &account.moods;
    let range = |key: &str| -> Result<Range, BadInput> {
        let range = &body[key];
        Ok(Range::new(
            instant(range, "after")?,
            instant(range, "before")?,
            moods,
        ))
    };
    let paging = Paging::new(
        number(&body, "pageNumber"),
        number(&body, "pageSize"),
        text(&body, "orderBy").map(str::to_owned),
        text(&body, "orderDirection"),
        range("createdAt")?,
        range("updatedAt")?,
        moods,
    )?;
    let details = ContactDetails::read(texts(&body, "includeDetails").into_iter())?;
    let status = match text(&body, "status") {
        None => ContactStatus::Active,
        Some(text) => ContactStatus::read(text)
            .ok_or_else(|| BadInput(format!("status inválido: {text}.")))?,
    };
    let ids: Vec<Uuid> = texts(&body, "tagIds")
        .into_iter()
        .filter_map(|id| Uuid::parse_str(id).ok())
        .collect();
    let names = texts(&body, "tagNames");
    let tagged = !ids.is_empty() || !names.is_empty();
    let mask = account.company.tag_mask(|tag| {
        tag.listed && (ids.contains(&tag.id) || names.iter().any(|name| same(name, &tag.name)))
    });
    let asks = [
        "textFilter",
        "name",
        "phoneNumber",
        "email",
        "instagram",
        "origin",
    ];
    let by_text = asks.iter().any(|key| text(&body, key).is_some());
    let (total, found) = query::contacts(
        account,
        &paging,
        status,
        Some(&|index, slot| {
            (!tagged || slot.tags & mask != 0)
                && (!by_text
                    || fits(
                        &body,
                        &account.contact_of(index, slot, account.contacts.changed(index)),
                    ))
        }),
    );
    Ok(account.contact_page(&paging, total, found, details))
}

fn fits(body: &Value, contact: &Contact) -> bool {
    let holds = |key: &str, values: &[Option<&str>]| {
        text(body, key).is_none_or(|wanted| {
            let wanted = wanted.to_lowercase();
            values
                .iter()
                .flatten()
                .any(|value| value.to_lowercase().contains(&wanted))
        })
    };
    let (name, phone, email, instagram) = (
        contact.name.as_deref(),
        contact.phone.as_deref(),
        contact.email.as_deref(),
        contact.instagram.as_deref(),
    );
    holds("textFilter", &[name, phone, email])
        && holds("name", &[name])
        && holds("phoneNumber", &[phone])
        && holds("email", &[email])
        && holds("instagram", &[instagram])
        && text(body, "origin").is_none_or(|origin| Origin::read(origin) == Some(contact.origin))
}
