//! `POST /core/v1/contact/filter`: the contact list with its filters in a body.
//!
//! Unknown fields are ignored, like unknown parameters. A known field of another type is bad
//! input. A null or empty field filters nothing.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::Ticks;
use super::account::SandboxAccount;
use super::errors::Reply;
use super::query::{self, BadInput, Paging, Range, bad, same};
use super::record::{Contact, ContactStatus, Origin};
use super::render::ContactDetails;

/// The fields of an object in a body.
#[derive(Debug, Clone, Copy)]
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn get(self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn wrong(self, key: &str) -> BadInput {
        let text = self.0.get(key).map(Value::to_string).unwrap_or_default();
        bad(key, &text.chars().take(60).collect::<String>())
    }

    fn text(self, key: &str) -> Result<Option<&'a str>, BadInput> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(_) => Err(self.wrong(key)),
        }
    }

    fn read<T>(self, key: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, BadInput> {
        self.text(key)?
            .map(|text| read(text).ok_or_else(|| self.wrong(key)))
            .transpose()
    }

    fn texts(self, key: &str) -> Result<Vec<&'a str>, BadInput> {
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => values
                .iter()
                .map(|value| value.as_str().ok_or_else(|| self.wrong(key)))
                .collect(),
            Some(_) => Err(self.wrong(key)),
        }
    }

    fn ids(self, key: &str) -> Result<Vec<Uuid>, BadInput> {
        let texts = self.texts(key)?.into_iter();
        texts
            .map(|text| Uuid::parse_str(text).map_err(|_| self.wrong(key)))
            .collect()
    }

    fn number(self, key: &str) -> Result<Option<u32>, BadInput> {
        self.get(key)
            .map(|value| {
                let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
                number.ok_or_else(|| self.wrong(key))
            })
            .transpose()
    }

    fn fields(self, key: &str) -> Result<Option<Self>, BadInput> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(Self(fields))),
            Some(_) => Err(self.wrong(key)),
        }
    }

    fn range(self, key: &str, account: &SandboxAccount) -> Result<Range, BadInput> {
        let (mut after, mut before) = (None, None);
        if let Some(range) = self.fields(key)? {
            after = range.read("after", Ticks::parse)?;
            before = range.read("before", Ticks::parse)?;
        }
        Ok(Range::new(after, before, &account.moods))
    }
}

/// The page of contacts that a body asks for.
pub(super) fn contacts(account: &SandboxAccount, body: &[u8]) -> Result<Reply, BadInput> {
    let body: Value =
        serde_json::from_slice(body).map_err(|_| BadInput::of("O corpo não é JSON."))?;
    let Value::Object(fields) = &body else {
        return Err(BadInput::of("O corpo não é um objeto."));
    };
    let fields = Fields(fields);
    let paging = Paging::new(
        fields.number("pageNumber")?,
        fields.number("pageSize")?,
        fields.text("orderBy")?.map(str::to_owned),
        fields.text("orderDirection")?,
        fields.range("createdAt", account)?,
        fields.range("updatedAt", account)?,
        &account.moods,
    )?;
    let details = ContactDetails::read(fields.texts("includeDetails")?.into_iter())?;
    let status = fields
        .read("status", ContactStatus::listed)?
        .unwrap_or(ContactStatus::Active);
    let ids = fields.ids("tagIds")?;
    let names = fields.texts("tagNames")?;
    let tagged = !ids.is_empty() || !names.is_empty();
    let mask = account.company.tag_mask(|tag| {
        tag.listed && (ids.contains(&tag.id) || names.iter().any(|name| same(name, &tag.name)))
    });
    let portfolios = (fields.ids("portfolioIds")?, fields.texts("portfolioNames")?);
    let in_portfolio = |contact: Option<Uuid>| {
        let (ids, names) = &portfolios;
        let own = contact.map(|id| account.company.catalog.portfolios_of(id));
        let is_asked =
            |(id, own): &(Uuid, &str)| ids.contains(id) || names.iter().any(|name| same(name, own));
        ids.is_empty() && names.is_empty() || own.iter().flatten().any(is_asked)
    };
    let asked = Asked::read(fields)?;
    let (total, mut found) = query::contacts(
        account,
        &paging,
        status,
        Some(&|index, slot| {
            in_portfolio(account.contact_id(index))
                && (!tagged || slot.tags & mask != 0)
                && (asked.is_nothing()
                    || asked.fits(&account.contact_of(
                        index,
                        slot,
                        account.contacts.changed(index),
                    )))
        }),
    );
    account.drop_hidden(&mut found, |index| account.contact_id(index));
    Ok(account.contact_page(&paging, total, found, details))
}

/// What is asked of the whole record.
#[derive(Debug, PartialEq)]
struct Asked<'a> {
    /// In name, phone number and e-mail address.
    anywhere: Option<&'a str>,
    name: Option<&'a str>,
    phone: Option<&'a str>,
    email: Option<&'a str>,
    instagram: Option<&'a str>,
    origin: Option<Origin>,
    custom_fields: Vec<(&'a str, &'a Value)>,
    metadata: Vec<(&'a str, &'a Value)>,
}

impl<'a> Asked<'a> {
    fn read(fields: Fields<'a>) -> Result<Self, BadInput> {
        let pairs = |key: &str| -> Result<Vec<(&'a str, &'a Value)>, BadInput> {
            let pairs = fields.fields(key)?.into_iter().flat_map(|Fields(map)| map);
            Ok(pairs
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name.as_str(), value))
                .collect())
        };
        let metadata = pairs("metadata")?;
        if !metadata.iter().all(|(_, value)| value.is_string()) {
            return Err(fields.wrong("metadata"));
        }
        Ok(Self {
            anywhere: fields.text("textFilter")?,
            name: fields.text("name")?,
            phone: fields.text("phoneNumber")?,
            email: fields.text("email")?,
            instagram: fields.text("instagram")?,
            origin: fields.read("origin", Origin::read)?,
            custom_fields: pairs("customFields")?,
            metadata,
        })
    }

    fn is_nothing(&self) -> bool {
        let texts = [
            self.anywhere,
            self.name,
            self.phone,
            self.email,
            self.instagram,
        ];
        texts.iter().all(Option::is_none)
            && self.origin.is_none()
            && self.custom_fields.is_empty()
            && self.metadata.is_empty()
    }

    fn fits(&self, contact: &Contact) -> bool {
        let holds = |wanted: Option<&str>, values: &[Option<&str>]| {
            wanted.is_none_or(|wanted| {
                let wanted = wanted.to_lowercase();
                values
                    .iter()
                    .flatten()
                    .any(|value| value.to_lowercase().contains(&wanted))
            })
        };
        let all = |wanted: &[(&str, &Value)], values: Option<&Value>| {
            wanted
                .iter()
                .all(|(key, wanted)| values.is_some_and(|values| matches(&values[*key], wanted)))
        };
        let (name, phone, email, instagram) = (
            contact.name.as_deref(),
            contact.phone.as_deref(),
            contact.email.as_deref(),
            contact.instagram.as_deref(),
        );
        holds(self.anywhere, &[name, phone, email])
            && holds(self.name, &[name])
            && holds(self.phone, &[phone])
            && holds(self.email, &[email])
            && holds(self.instagram, &[instagram])
            && self.origin.is_none_or(|origin| contact.origin == origin)
            && all(&self.custom_fields, contact.custom_fields.as_ref())
            && all(&self.metadata, contact.metadata.as_ref())
    }
}

/// Whether a value is the one asked for; of several values one is enough.
fn matches(value: &Value, wanted: &Value) -> bool {
    value == wanted
        || value
            .as_array()
            .is_some_and(|values| values.contains(wanted))
}
