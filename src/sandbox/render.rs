//! Renders sessions and contacts in the platform's JSON.

use uuid::Uuid;

use super::account::SandboxAccount;
use super::ids::{self, IdKind};
use super::json::{Object, Thinning, array, formatted_phone, value};
use super::record::{Contact, Session, Utm};
use super::slots::{ContactSlot, SessionSlot};
use super::{poison, query};

/// Where a record is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// On a page.
    List,
    /// By its id.
    Single,
    /// Nowhere: everything that is shown of it anywhere, and no null field left out.
    Truth,
}

/// Which of a session's fields are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub(super) version: u8,
    pub(super) details: Details,
    pub(super) place: Place,
}

impl View {
    pub(super) const TRUTH: Self = Self {
        version: 2,
        details: Details::ALL,
        place: Place::Truth,
    };
}

/// Which details of a session were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Details(u8);

impl Details {
    const ALL: Self = Self(63);
    const AGENT: u8 = 1;
    const DEPARTMENT: u8 = 2;
    const CONTACT: u8 = 4;
    const CHANNEL_TYPE: u8 = 8;
    const CLASSIFICATION: u8 = 16;
    const CHANNEL: u8 = 32;

    /// From the values of `IncludeDetails` (API notes, 4.4), which are read as they are written
    /// (API notes, 12).
    pub(super) fn read<'a>(values: impl Iterator<Item = &'a str>) -> Result<Self, query::BadInput> {
        let mut all = 0;
        for value in values {
            all |= match value {
                "Undefined" => 0,
                "AgentDetails" => Self::AGENT,
                "DepartmentsDetails" => Self::DEPARTMENT,
                "ContactDetails" => Self::CONTACT,
                "ChannelTypeDetails" => Self::CHANNEL_TYPE,
                "ClassificationDetails" => Self::CLASSIFICATION,
                "ChannelDetails" => Self::CHANNEL,
                _ => return Err(query::BadInput::detail(value)),
            };
        }
        Ok(Self(all))
    }

    fn has(self, detail: u8) -> bool {
        self.0 & detail != 0
    }
}

/// Which details of a contact were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ContactDetails {
    pub(super) tags: bool,
    pub(super) custom_fields: bool,
    pub(super) portfolios: bool,
}

impl ContactDetails {
    pub(super) const ALL: Self = Self {
        tags: true,
        custom_fields: true,
        portfolios: true,
    };

    pub(super) fn read<'a>(values: impl Iterator<Item = &'a str>) -> Result<Self, query::BadInput> {
        let mut details = Self::default();
        for value in values {
            match value {
                "Tags" => details.tags = true,
                "CustomFields" => details.custom_fields = true,
                "Portfolios" => details.portfolios = true,
                _ => return Err(query::BadInput::detail(value)),
            }
        }
        Ok(details)
    }
}

pub(super) fn utm(object: &mut Object<'_>, utm: Option<&Utm>) {
    let Some(utm) = utm else {
        return object.null("utm");
    };
    object.object("utm", |object| {
        object.opt_text("sourceId", utm.source_id.as_deref());
        object.opt_text("source", utm.source.as_deref());
        object.null("clid");
        object.opt_text("medium", utm.medium.as_deref());
        object.opt_text("campaign", utm.campaign.as_deref());
        object.opt_text("content", utm.content.as_deref());
        object.opt_text("headline", utm.headline.as_deref());
        object.null("term");
        object.opt_text("referralUrl", utm.referral_url.as_deref());
    });
}

impl SandboxAccount {
    fn thinning(&self, id: Uuid, whole: bool) -> Option<Thinning> {
        if whole {
            None
        } else {
            Thinning::new(self.moods.absent_share, id)
        }
    }

    fn extra(&self, object: &mut Object<'_>, id: Uuid) {
        if self.moods.extra_fields {
            let [first, ..] = *id.as_bytes();
            object.int("sentimentScore", i64::from(first % 5));
            object.object("vendorBeta", |object| {
                object.flag("enabled", first.is_multiple_of(2));
                object.text("cohort", "b");
            });
        }
    }

    /// Writes the session at an index as an answer shows it, poison included.
    pub(super) fn write_session(&self, out: &mut Vec<u8>, index: u32, view: View) {
        let Some(slot) = self.sessions.slot(index) else {
            return value(out, &());
        };
        let session = self.session_of(index, slot, self.sessions.changed(index));
        match self.poison_of(session.id) {
            None => self.render_session(out, &session, slot, view),
            Some(kind) => {
                let mut clean = Vec::new();
                self.render_session(&mut clean, &session, slot, view);
                poison::spoil_session(out, &clean, kind);
            }
        }
    }

    /// Writes a session as it should be.
    pub(super) fn render_session(
        &self,
        out: &mut Vec<u8>,
        session: &Session,
        slot: &SessionSlot,
        view: View,
    ) {
        let View {
            version,
            details,
            place,
        } = view;
        let thinning = self.thinning(session.id, place == Place::Truth);
        let object =
            &mut Object::new(out, thinning).with_placeholders(self.moods.dotnet_placeholders);
        object.id("id", session.id);
        object.time("createdAt", session.created_at);
        object.time("updatedAt", session.updated_at);
        object.time("startAt", session.start_at);
        object.opt_time("endAt", session.end_at);
        object.text("status", session.status.as_str());
        object.id("companyId", self.company.id);
        if !(place == Place::List
            && self.moods.contact_id_unlisted
            && self.told_contact(slot, details).is_some())
        {
            object.opt_id("contactId", session.contact_id);
        }
        object.id("channelId", session.channel_id);
        object.opt_id("departmentId", session.department_id);
        object.opt_id("userId", session.user_id);
        object.text(
            "previewUrl",
            &format!(
                "https://app.example.com/chat2/sessions/{}",
                session.id.hyphenated()
            ),
        );
        object.opt_text("title", session.title.as_deref());
        object.opt_text("number", session.number.as_deref());
        utm(object, session.utm.as_ref());
        object.opt_text("origin", session.origin.as_deref());
        self.contact_details(object, slot, details);
        self.agent_details(object, slot, details);
        self.channel_details(object, slot, details);
        self.department_details(object, slot, details);
        match session
            .classification
            .as_ref()
            .filter(|_| details.has(Details::CLASSIFICATION))
        {
            None => object.null("classification"),
            Some(classification) => object.object("classification", |object| {
                object.id("id", classification.id);
                object.text("category", classification.category.as_str());
                object.opt_text("categoryDescription", classification.description.as_deref());
                object.real("amount", classification.amount);
                object.opt_text("categoryName", classification.name.as_deref());
            }),
        }
        object.opt_text("statusDescription", session.status_description.as_deref());
        object.opt_text("timeService", session.time_service.as_deref());
        object.opt_text("timeWait", session.time_wait.as_deref());
        object.opt_time("firstResponseAt", session.first_response_at);
        object.opt_id("botId", session.bot_id);
        object.int("unreadCount", session.unread_count.into());
        object.opt_text("lastMessageText", session.last_message_text.as_deref());
        object.opt_time("lastInteractionDate", session.last_interaction);
        object.opt_time("lastMessageOut", session.last_message_out);
        object.opt_time("lastMessageIn", session.last_message_in);
        object.text("windowStatus", session.window_status.as_str());
        object.opt_value("metadata", session.metadata.as_ref());
        let channel = self.company.channels.get(usize::from(slot.channel));
        match channel.filter(|entry| details.has(Details::CHANNEL_TYPE) && !entry.name.is_empty()) {
            Some(channel) => object.text("channelType", channel.more.session_kind),
            None => object.null("channelType"),
        }
        if version >= 2 {
            object.text("type", session.kind.as_str());
        }
        self.extra(object, session.id);
        out.push(b'}');
    }

    /// The contact that a session tells something of.
    fn told_contact(&self, slot: &SessionSlot, details: Details) -> Option<&ContactSlot> {
        let asked = details.has(Details::CONTACT);
        let contact = self.contacts.slot(slot.contact).filter(|_| asked)?;
        contact.alive.then_some(contact)
    }

    fn contact_details(&self, object: &mut Object<'_>, slot: &SessionSlot, details: Details) {
        let Some(contact_slot) = self.told_contact(slot, details) else {
            return object.null("contactDetails");
        };
        let contact = self.contact_of(
            slot.contact,
            contact_slot,
            self.contacts.changed(slot.contact),
        );
        object.object("contactDetails", |object| {
            object.id("id", contact.id);
            object.opt_text("name", contact.name.as_deref());
            object.opt_text("pictureUrl", contact.picture_url.as_deref());
            object.opt_text("phonenumber", contact.phone.as_deref());
            object.opt_text("instagram", contact.instagram.as_deref());
            object.opt_text(
                "phonenumberFormatted",
                contact.phone.as_deref().map(formatted_phone).as_deref(),
            );
            let tags = contact_slot.tags;
            object.ids("tagsId", self.company.shown_tags(tags).map(|tag| tag.id));
            object.texts(
                "tagsName",
                self.company.shown_tags(tags).map(|tag| tag.name.as_ref()),
            );
            object.text("status", contact.status.as_str());
        });
    }

    fn agent_details(&self, object: &mut Object<'_>, slot: &SessionSlot, details: Details) {
        let agent = self.company.agents.get(usize::from(slot.agent));
        match agent.filter(|agent| details.has(Details::AGENT) && !agent.name.is_empty()) {
            None => object.null("agentDetails"),
            Some(agent) => object.object("agentDetails", |object| {
                object.id("id", agent.id);
                object.id("userId", agent.more.user_id);
                object.text("name", &agent.name);
                object.opt_text("shortName", agent.name.split(' ').next());
                object.opt_text("phoneNumber", agent.more.phone.as_deref());
                object.opt_text("email", agent.more.email.as_deref());
                object.null("pictureFileId");
                object.null("pictureUrl");
            }),
        }
    }

    fn channel_details(&self, object: &mut Object<'_>, slot: &SessionSlot, details: Details) {
        let channel = self.company.channels.get(usize::from(slot.channel));
        match channel.filter(|entry| details.has(Details::CHANNEL) && entry.more.identity) {
            None => object.null("channelDetails"),
            Some(channel) => super::render_lists::identity(object, "channelDetails", channel),
        }
    }

    fn department_details(&self, object: &mut Object<'_>, slot: &SessionSlot, details: Details) {
        let found = self.company.departments.get(usize::from(slot.department));
        match found.filter(|entry| details.has(Details::DEPARTMENT) && !entry.name.is_empty()) {
            None => object.null("departmentDetails"),
            Some(department) => object.object("departmentDetails", |object| {
                object.id("id", department.id);
                object.id("companyId", self.company.id);
                object.text("name", &department.name);
                object.opt_text("description", department.more.description.as_deref());
                object.flag("isDefault", department.more.is_default);
                object.flag("isSupervisor", false);
            }),
        }
    }

    /// Writes the contact at an index as an answer shows it, poison included.
    pub(super) fn write_contact(&self, out: &mut Vec<u8>, index: u32, details: ContactDetails) {
        let Some(slot) = self.contacts.slot(index) else {
            return value(out, &());
        };
        let contact = self.contact_of(index, slot, self.contacts.changed(index));
        match self.poison_of(contact.id) {
            None => self.render_contact(out, &contact, slot, details, false),
            Some(kind) => {
                let mut clean = Vec::new();
                self.render_contact(&mut clean, &contact, slot, details, false);
                poison::spoil_contact(out, &clean, kind);
            }
        }
    }

    /// Writes a contact; `whole` leaves no null field out.
    pub(super) fn render_contact(
        &self,
        out: &mut Vec<u8>,
        contact: &Contact,
        slot: &ContactSlot,
        details: ContactDetails,
        whole: bool,
    ) {
        let thinning = self.thinning(contact.id, whole);
        let object =
            &mut Object::new(out, thinning).with_placeholders(self.moods.dotnet_placeholders);
        let social = contact.instagram.is_some();
        let name = contact.name.as_deref();
        object.id("id", contact.id);
        object.time("createdAt", contact.created_at);
        object.time("updatedAt", contact.updated_at);
        object.id("companyId", self.company.id);
        object.opt_text("name", name);
        object.opt_text("nameWhatsapp", name.filter(|_| !social));
        object.opt_text("nameInstagram", name.filter(|_| social));
        object.null("nameMessenger");
        object.opt_text("phoneNumber", contact.phone.as_deref());
        object.opt_text(
            "phoneNumberFormatted",
            contact.phone.as_deref().map(formatted_phone).as_deref(),
        );
        object.opt_text("email", contact.email.as_deref());
        object.opt_text("instagram", contact.instagram.as_deref());
        object.null("messengerId");
        object.opt_text("annotation", contact.annotation.as_deref());
        if details.tags || self.moods.tags_unasked {
            object.ids(
                "tagIds",
                self.company.shown_tags(slot.tags).map(|tag| tag.id),
            );
            object.texts(
                "tagNames",
                self.company
                    .shown_tags(slot.tags)
                    .map(|tag| tag.name.as_ref()),
            );
        } else {
            object.null("tagIds");
            object.null("tagNames");
        }
        object.text("status", contact.status.as_str());
        object.text("origin", contact.origin.as_str());
        object.opt_time("importedAt", contact.imported_at);
        utm(object, contact.utm.as_ref());
        object.opt_value(
            "customFields",
            contact
                .custom_fields
                .as_ref()
                .filter(|_| details.custom_fields),
        );
        if details.portfolios {
            let portfolios = self.company.catalog.portfolios_of(contact.id);
            object.ids("portfolioIds", portfolios.iter().map(|(id, _)| *id));
            object.texts("portfolioNames", portfolios.iter().map(|(_, name)| *name));
        } else {
            object.null("portfolioIds");
            object.null("portfolioNames");
        }
        object.opt_value("metadata", contact.metadata.as_ref());
        self.extra(object, contact.id);
        out.push(b'}');
    }

    /// An id made up for an error, so that the same run shows the same ones.
    pub(super) fn error_id(&mut self) -> Uuid {
        self.made += 1;
        ids::id(self.year.seed, IdKind::Error, self.made)
    }
}

/// A page of records in the platform's envelope.
pub(super) fn page<T>(
    out: &mut Vec<u8>,
    paging: &query::Paging,
    total: usize,
    items: impl IntoIterator<Item = T>,
    write: impl FnMut(&mut Vec<u8>, T),
) {
    let told = paging
        .totals
        .tell(total, paging.size as usize, paging.number as usize);
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let mut object = Object::new(out, None);
    if let Some(repeated) = &paging.repeated {
        object.int("pageNumber", paging.echo(total, repeated).into());
        object.int("pageSize", paging.size.into());
        object.opt_text("orderBy", repeated.order_by.as_deref());
        object.opt_text("orderDirection", repeated.direction);
    }
    object.list("items", items, write);
    if let Some(items) = told.items {
        object.int("totalItems", count(items));
    }
    if let Some(pages) = told.pages {
        object.int("totalPages", count(pages));
    }
    if let Some(more) = told.more {
        object.flag("hasMorePages", more);
    }
    object.end();
}

/// A plain array of records.
pub(super) fn plain<T>(
    items: impl IntoIterator<Item = T>,
    write: impl FnMut(&mut Vec<u8>, T),
) -> Vec<u8> {
    let mut out = Vec::new();
    array(&mut out, items, write);
    out
}
