//! Generates a whole record from a sketch: texts, names, numbers and ids.

use std::borrow::Cow;

use serde_json::json;
use uuid::Uuid;

use super::Ticks;
use super::calendar::day_number;
use super::chance::lognormal;
use super::company::{Company, NOBODY};
use super::ids::{self, IdKind};
use super::messages;
use super::names;
use super::plan;
use super::record::{
    Category, Classification, Contact, Origin, Session, Status, Utm, WindowStatus,
};
use super::slots::{ContactSlot, NO_CONTACT, NONE};
use super::ticks::{DAY, SECOND};
use super::year::{Sketch, Year, span};

/// The department that keeps customers.
const RETENTION: u16 = 4;

fn some(ticks: i64) -> Option<Ticks> {
    (ticks != NONE).then_some(Ticks(ticks))
}

/// Text of a status in the account's language.
pub(super) fn description(status: Status) -> &'static str {
    match status {
        Status::Undefined => "Indefinido",
        Status::Started => "Iniciado",
        Status::Pending => "Aguardando atendimento",
        Status::InProgress => "Em atendimento",
        Status::Completed => "Concluído",
        Status::Hidden => "Oculto",
    }
}

fn channel_id(company: &Company, index: u16) -> Uuid {
    company
        .channels
        .get(usize::from(index))
        .map_or(Uuid::nil(), |entry| entry.id)
}

/// Ads of a campaign.
const ADS: u64 = 12;

/// The id of an ad of a campaign: the first ones bring most of the visitors.
fn ad(campaign: u8, dice: &mut fastrand::Rng) -> String {
    let drawn = dice.u64(..100_000_000_000_000);
    let ad = (drawn % ADS).min(drawn / ADS % ADS);
    // A prime number, so that the ids look nothing alike.
    let id = (u64::from(campaign) * ADS + ad + 1) * 83_047_736_851 % 100_000_000_000_000;
    format!("1202{id:014}")
}

/// Where a visitor came from: a campaign, nowhere, or a null object.
pub(super) fn utm(campaign: Option<u8>, dice: &mut fastrand::Rng) -> Option<Utm> {
    let number = campaign.unwrap_or_default();
    let campaign = campaign.and_then(|campaign| names::CAMPAIGNS.get(usize::from(campaign)));
    let Some(campaign) = campaign else {
        return dice.bool().then(Utm::default);
    };
    Some(Utm {
        source_id: Some(Cow::Owned(ad(number, dice))),
        source: Some(Cow::Borrowed(campaign.source)),
        medium: Some(Cow::Borrowed(campaign.medium)),
        campaign: Some(Cow::Borrowed(campaign.name)),
        content: None,
        headline: campaign.headline.map(Cow::Borrowed),
        referral_url: (dice.u32(..2) == 0)
            .then_some(Cow::Borrowed("https://fb.me/2aBcDeF?x=1&y=2")),
    })
}

/// The messaging window at an instant: it is open for a day after the contact's last message. As
/// everything else of a session, it is what it was when the session last changed.
pub(super) fn window(last_in: Option<Ticks>, now: Ticks) -> WindowStatus {
    match last_in {
        None => WindowStatus::NotStarted,
        Some(at) if now.0 - at.0 < DAY => WindowStatus::Active,
        Some(_) => WindowStatus::Expired,
    }
}

/// Whether a contact of the year is known by an Instagram name and not by a phone number.
pub(super) fn is_social(seed: u64, number: u32) -> bool {
    ids::drawn(seed, IdKind::Contact, number, 0) % 100 < 16
}

/// A classification of a category, with an amount where something was sold. Of what was not sold,
/// agents seldom note the price.
pub(super) fn classify(
    seed: u64,
    number: u32,
    category: Category,
    department: u16,
    dice: &mut fastrand::Rng,
) -> Classification {
    let (name, texts): (_, &[&str]) = match (category, department) {
        (Category::Won, RETENTION) => ("Ganho", &names::WON[2..]),
        (Category::Won, 0) => ("Ganho", &names::WON[..=usize::from(dice.u32(..6) == 0)]),
        (Category::Won, _) => ("Ganho", &names::WON[1..2]),
        (Category::Lost, _) => ("Perdido", &names::LOST),
        (Category::Info, 2) => ("Informação", &names::INFO[..2]),
        (Category::Info, 5) => ("Informação", &names::INFO[2..]),
        (Category::Info, _) => ("Informação", &names::INFO),
        (Category::Other | Category::Undefined, _) => ("Outros", &names::OTHER),
    };
    let cents = match category {
        Category::Won if department == RETENTION => lognormal(dice, 11_900.0, 0.45).round(),
        Category::Won => lognormal(dice, 28_900.0, 0.95).round(),
        Category::Lost if dice.u32(..10) < 3 => lognormal(dice, 24_900.0, 0.8).round(),
        _ => 0.0,
    };
    // One reason is more usual than the next.
    let most = dice.usize(..texts.len());
    Classification {
        id: ids::id(seed, IdKind::Classification, number),
        category,
        name: Some(Cow::Borrowed(name)),
        description: Some(Cow::Borrowed(texts[dice.usize(..=most)])),
        amount: cents / 100.0,
    }
}

/// The whole session of a sketch.
pub(super) fn session(
    year: &Year,
    number: u32,
    sketch: &Sketch,
    contact_id: impl Fn(u32) -> Option<Uuid>,
    company: &Company,
) -> Session {
    let seed = year.seed;
    let slot = &sketch.slot;
    let mut dice = ids::dice(seed, IdKind::Message, number);
    let answered = some(sketch.answered);
    let end = some(slot.end);
    // Of what goes on, both are what they were at the year's end.
    let until = end.unwrap_or(year.until());
    Session {
        id: ids::id(seed, IdKind::Session, number),
        created_at: Ticks(slot.created),
        updated_at: Ticks(slot.updated),
        start_at: Ticks(slot.created - slot.created.rem_euclid(SECOND).min(400_000)),
        end_at: end,
        status: slot.status,
        contact_id: (slot.contact != NO_CONTACT)
            .then(|| contact_id(slot.contact))
            .flatten(),
        channel_id: channel_id(company, slot.channel),
        department_id: company
            .departments
            .get(usize::from(slot.department))
            .map(|entry| entry.id),
        user_id: (slot.agent != NOBODY)
            .then(|| company.agents.get(usize::from(slot.agent)))
            .flatten()
            .map(|entry| entry.more.user_id),
        title: None,
        number: (dice.u32(..20) != 0).then(|| {
            Cow::Owned(format!(
                "{}{:05}",
                day_number(slot.created),
                number % 100_000
            ))
        }),
        utm: utm(sketch.campaign, &mut dice),
        origin: (dice.u32(..30) == 0).then_some(Cow::Borrowed("widget")),
        classification: sketch
            .outcome
            .map(|category| classify(seed, number, category, slot.department, &mut dice)),
        status_description: (dice.u32(..4) != 0).then(|| Cow::Borrowed(description(slot.status))),
        time_service: answered.map(|answered| span(until.0 - answered.0)),
        // Whoever only spoke with the bot waited for nobody.
        time_wait: (!sketch.contained).then(|| span(answered.unwrap_or(until).0 - slot.created)),
        first_response_at: answered,
        bot_id: sketch
            .bot
            .then(|| company.bots.first().map(|bot| bot.id))
            .flatten(),
        unread_count: if slot.status.is_open() && answered.is_none() {
            i32::try_from(messages::unanswered(seed, number)).unwrap_or(1)
        } else {
            0
        },
        last_message_text: Some(Cow::Borrowed(messages::last_text(seed, number, sketch))),
        last_interaction: some(slot.interaction),
        last_message_out: some(sketch.last_out),
        last_message_in: some(sketch.last_in),
        window_status: window(some(sketch.last_in), year.until()),
        metadata: (dice.u32(..25) == 0)
            .then(|| json!({"lead_ref": format!("A-{}", dice.u32(1_000..9_999))})),
        kind: slot.kind,
    }
}

/// The whole contact of a slot.
pub(super) fn contact(
    seed: u64,
    number: u32,
    id: Uuid,
    slot: &ContactSlot,
    company: &Company,
) -> Contact {
    let mut dice = ids::dice(seed, IdKind::Picture, number);
    let first = names::FIRST_NAMES[dice.usize(..names::FIRST_NAMES.len())];
    let last = names::LAST_NAMES[dice.usize(..names::LAST_NAMES.len())];
    let social = is_social(seed, number);
    let origin = match dice.u32(..20) {
        0..16 => Origin::CreatedFromHub,
        16..18 => Origin::CreatedByUser,
        _ => Origin::Imported,
    };
    let area = names::AREA_CODES[dice.usize(..names::AREA_CODES.len())];
    let name = match dice.u32(..50) {
        0 => None,
        1..4 => Some(Cow::Borrowed(first)),
        4 => Some(Cow::Owned(format!("{first} 🌻"))),
        _ => Some(Cow::Owned(format!("{first} {last}"))),
    };
    Contact {
        id,
        created_at: Ticks(slot.created),
        updated_at: Ticks(slot.updated),
        name,
        phone: (!social).then(|| Cow::Owned(format!("+55|{area}9{:08}", dice.u32(..100_000_000)))),
        email: (dice.u32(..5) == 0).then(|| Cow::Owned(format!("cliente{number}@example.com"))),
        instagram: social.then(|| Cow::Owned(format!("{}.{number}", ascii(first)))),
        annotation: (dice.u32(..40) == 0).then_some(Cow::Borrowed("Prefere contato à tarde")),
        tags: company.shown_tags(slot.tags).map(|tag| tag.id).collect(),
        status: slot.status,
        origin,
        imported_at: (origin == Origin::Imported).then_some(Ticks(slot.created)),
        utm: utm(
            plan::campaign(seed, IdKind::Contact, number, slot.created),
            &mut dice,
        ),
        custom_fields: match dice.u32(..4) {
            0 => Some(json!({
                "cidade": names::CITIES[dice.usize(..names::CITIES.len())],
                "interesses": [names::INTERESTS[dice.usize(..names::INTERESTS.len())]],
            })),
            1 => Some(json!({})),
            _ => None,
        },
        metadata: None,
        picture_url: (dice.u32(..3) == 0)
            .then(|| Cow::Owned(format!("https://cdn.example.com/contacts/{number}.jpg"))),
    }
}

pub(super) fn ascii(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphabetic)
        .map(|letter| letter.to_ascii_lowercase())
        .collect()
}
