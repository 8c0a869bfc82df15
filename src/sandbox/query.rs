//! List requests: reads parameters, builds filters and selects a page.

use serde_json::Value;
use uuid::Uuid;

use super::Ticks;
use super::account::SandboxAccount;
use super::choices::Totals;
use super::config::{Moods, Poison};
use super::ranked::Ranked;
use super::record::{ContactStatus, SessionKind, Status};
use super::slots::{ContactSlot, NO_CONTACT, NONE, SessionSlot};
use super::table::{Slot, Table};

/// Input that the platform reports as an internal error (API notes, 12): its key and its text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadInput(pub(super) &'static str, pub(super) String);

impl BadInput {
    /// A value that cannot be read.
    pub(super) fn of(text: impl Into<String>) -> Self {
        Self("ERROR_INTERNAL", text.into())
    }

    /// A value outside the list of `IncludeDetails`.
    pub(super) fn detail(value: &str) -> Self {
        Self("FORM_ERROR", format!("IncludeDetails inválido: {value}."))
    }
}

/// Decoded query parameters, spelt exactly as documented; everything else is ignored, as on the
/// platform (API notes, 3.4).
#[derive(Debug, Clone, Copy)]
pub(super) struct Params<'a>(pub(super) &'a [(String, String)]);

impl<'a> Params<'a> {
    /// The values of a repeated parameter; empty ones count as absent.
    pub(super) fn all(self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn one(self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    fn read<T>(
        self,
        name: &'a str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, BadInput> {
        self.one(name)
            .map(|text| read(text).ok_or_else(|| bad(name, text)))
            .transpose()
    }

    pub(super) fn read_all<T>(
        self,
        name: &'a str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, BadInput> {
        self.all(name)
            .map(|text| read(text).ok_or_else(|| bad(name, text)))
            .collect()
    }

    /// The keys and values of a parameter that is written `name[key]=value` (`deepObject` in the
    /// contract).
    fn pairs(self, name: &str) -> Vec<(&'a str, &'a str)> {
        let key = |text: &'a str| {
            text.strip_prefix(name)?
                .strip_prefix('[')?
                .strip_suffix(']')
        };
        self.0
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .filter_map(|(text, value)| Some((key(text)?, value.as_str())))
            .collect()
    }
}

pub(super) fn bad(name: &str, text: &str) -> BadInput {
    BadInput::of(format!("O valor '{text}' não é válido para {name}."))
}

pub(super) fn uuid(text: &str) -> Option<Uuid> {
    Uuid::parse_str(text).ok()
}

/// Instants from `from` on and before `to`, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    from: i64,
    to: i64,
}

impl Range {
    pub(super) const OPEN: Self = Self {
        from: i64::MIN,
        to: i64::MAX,
    };

    /// What `After` and `Before` let through in a mood: whether the ends belong to it and how
    /// precisely it compares are both turned into a half-open range, once.
    pub(super) fn new(after: Option<Ticks>, before: Option<Ticks>, moods: &Moods) -> Self {
        let step = moods.precision.step();
        let floor = |at: Ticks| at.0 - at.0.rem_euclid(step);
        Self {
            from: after.map_or(i64::MIN, |at| {
                floor(at) + if moods.after_inclusive { 0 } else { step }
            }),
            to: before.map_or(i64::MAX, |at| {
                floor(at) + if moods.before_inclusive { step } else { 0 }
            }),
        }
    }

    fn is_open(self) -> bool {
        self == Self::OPEN
    }

    fn holds(self, ticks: i64) -> bool {
        self.is_open() || (ticks != NONE && self.from <= ticks && ticks < self.to)
    }
}

fn range(params: Params<'_>, field: &str, moods: &Moods) -> Result<Range, BadInput> {
    let (after, before) = (format!("{field}.After"), format!("{field}.Before"));
    let read = |name: &str| {
        Params(params.0)
            .one(name)
            .map(|text| Ticks::parse(text).ok_or_else(|| bad(name, text)))
            .transpose()
    };
    Ok(Range::new(read(&after)?, read(&before)?, moods))
}

/// The order of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Created,
    Updated,
    Interaction,
}

/// Whether a record belongs to an answer, by its slot and its index.
pub(super) type Keep<'a, S> = dyn Fn(u32, &S) -> bool + 'a;

/// What an answer repeats of its question.
#[derive(Debug, Clone)]
pub(super) struct Repeated {
    pub(super) number: u32,
    pub(super) order_by: Option<String>,
    pub(super) direction: Option<&'static str>,
}

/// Which page, in which order.
#[derive(Debug, Clone)]
pub(super) struct Paging {
    pub(super) number: u32,
    pub(super) size: u32,
    /// `None` leaves the fields out.
    pub(super) repeated: Option<Repeated>,
    pub(super) totals: Totals,
    key: Key,
    descending: bool,
    pub(super) created: Range,
    pub(super) updated: Range,
    /// Behind the last page comes the last page again.
    clamps: bool,
    echo_sent: bool,
}

impl Paging {
    pub(super) fn read(params: Params<'_>, moods: &Moods) -> Result<Self, BadInput> {
        let number = params.read("PageNumber", |text| text.parse().ok())?;
        let size = params.read("PageSize", |text| text.parse().ok())?;
        let order_by = params.one("OrderBy").map(str::to_owned);
        let direction = params.one("OrderDirection");
        let created = range(params, "CreatedAt", moods)?;
        let updated = range(params, "UpdatedAt", moods)?;
        Self::new(number, size, order_by, direction, created, updated, moods)
    }

    /// From values that came in a query or in a body.
    pub(super) fn new(
        number: Option<u32>,
        size: Option<u32>,
        order_by: Option<String>,
        direction: Option<&str>,
        created: Range,
        updated: Range,
        moods: &Moods,
    ) -> Result<Self, BadInput> {
        let size = size.unwrap_or(15);
        if !(1..=100).contains(&size) {
            return Err(BadInput::of("PageSize deve estar entre 1 e 100."));
        }
        let direction = direction
            .map(|text| match text.to_ascii_uppercase().as_str() {
                "ASCENDING" => Ok("ASCENDING"),
                "DESCENDING" => Ok("DESCENDING"),
                _ => Err(bad("OrderDirection", text)),
            })
            .transpose()?;
        let known = match order_by.as_deref().map(str::to_ascii_lowercase).as_deref() {
            _ if moods.ignore_order => None,
            Some("createdat") => Some(Key::Created),
            Some("updatedat") => Some(Key::Updated),
            Some("lastinteractionat") => Some(Key::Interaction),
            _ => None,
        };
        let asked = number.unwrap_or(1).max(1);
        let number = if moods.ignore_page_number { 1 } else { asked };
        // A direction without a field has no effect (API notes, 3.3).
        let descending = direction == Some("DESCENDING") && known.is_some();
        // What is ignored is not repeated (API notes, 17).
        let heard = known.is_some() || moods.echo_sent;
        let repeated = (!moods.no_echo).then(|| Repeated {
            number: if moods.echo_sent { asked } else { number },
            order_by: order_by.filter(|_| heard),
            direction: direction.filter(|_| heard),
        });
        let unless = |ignored, range| if ignored { Range::OPEN } else { range };
        Ok(Self {
            number,
            size,
            repeated,
            totals: moods.totals,
            key: known.unwrap_or(Key::Created),
            descending,
            created: unless(moods.ignore_created_filter, created),
            updated: unless(moods.ignore_updated_filter, updated),
            clamps: moods.clamp_page_number,
            echo_sent: moods.echo_sent,
        })
    }

    /// The number of the page that is shown of so many records.
    fn shown(&self, total: usize) -> u32 {
        let pages = u32::try_from(total.div_ceil(self.size as usize)).unwrap_or(u32::MAX);
        if self.clamps {
            self.number.min(pages.max(1))
        } else {
            self.number
        }
    }

    /// The number of the page as an answer repeats it.
    pub(super) fn echo(&self, total: usize, repeated: &Repeated) -> u32 {
        if self.clamps && !self.echo_sent {
            self.shown(total)
        } else {
            repeated.number
        }
    }

    /// The positions of the page among `total` records in ascending order.
    fn positions(&self, total: usize) -> (usize, usize) {
        let size = self.size as usize;
        let number = self.shown(total) as usize;
        let from = (number - 1).saturating_mul(size).min(total);
        let to = from.saturating_add(size).min(total);
        if self.descending {
            (total - to, total - from)
        } else {
            (from, to)
        }
    }

    fn turned(&self, mut page: Vec<u32>) -> Vec<u32> {
        if self.descending {
            page.reverse();
        }
        page
    }

    /// How many records match, and the slots of the page.
    fn choose<S: Slot, R: Clone>(
        &self,
        table: &Table<S, R>,
        keep: Option<&Keep<'_, S>>,
        interaction: impl Fn(&S) -> i64,
    ) -> (usize, Vec<u32>) {
        let within = |order: &Ranked, range: Range| {
            if range.is_open() {
                return (0, order.len());
            }
            let from = order.below(range.from);
            (from, order.below(range.to).max(from))
        };
        let created = within(&table.by_created, self.created);
        let updated = within(&table.by_updated, self.updated);
        let direct = match self.key {
            Key::Created if self.updated.is_open() => Some((&table.by_created, created)),
            Key::Updated if self.created.is_open() => Some((&table.by_updated, updated)),
            _ => None,
        };
        if let (Some((order, (first, last))), None) = (direct, keep) {
            let (from, to) = self.positions(last - first);
            let page = order.slots(first + from, first + to).collect();
            return (last - first, self.turned(page));
        }
        // The narrower window is searched; at equal cost the one that is in order already.
        let (few, many) = (created.1 - created.0, updated.1 - updated.0);
        let by_created = if self.key == Key::Created {
            few / 2 <= many
        } else {
            few < many / 2
        };
        let (order, (first, last)) = if by_created {
            (&table.by_created, created)
        } else {
            (&table.by_updated, updated)
        };
        let mut found: Vec<(i64, u32)> = Vec::new();
        for index in order.slots(first, last) {
            let Some(slot) = table.slot(index) else {
                continue;
            };
            if self.created.holds(slot.created())
                && self.updated.holds(slot.updated())
                && keep.is_none_or(|keep| keep(index, slot))
            {
                let key = match self.key {
                    Key::Created => slot.created(),
                    Key::Updated => slot.updated(),
                    Key::Interaction => interaction(slot),
                };
                found.push((key, index));
            }
        }
        let in_order = match self.key {
            Key::Created => by_created,
            Key::Updated => !by_created,
            Key::Interaction => false,
        };
        if !in_order {
            found.sort_unstable();
        }
        let (from, to) = self.positions(found.len());
        let page = found[from..to].iter().map(|(_, index)| *index).collect();
        (found.len(), self.turned(page))
    }
}

impl Paging {
    /// The page of a list that is made anew for every answer: its records with both dates.
    pub(super) fn of_list<T>(&self, mut list: Vec<(i64, i64, T)>) -> (usize, Vec<T>) {
        list.retain(|(created, updated, _)| {
            self.created.holds(*created) && self.updated.holds(*updated)
        });
        list.sort_by_key(|(created, updated, _)| {
            if self.key == Key::Updated {
                *updated
            } else {
                *created
            }
        });
        let total = list.len();
        let (from, to) = self.positions(total);
        let mut page: Vec<T> = list.drain(from..to).map(|(.., record)| record).collect();
        if self.descending {
            page.reverse();
        }
        (total, page)
    }
}

/// How many sessions match a question, and the page of them.
pub(super) fn sessions(
    account: &SandboxAccount,
    params: Params<'_>,
    version: u8,
) -> Result<(Paging, usize, Vec<u32>), BadInput> {
    let moods = &account.moods;
    let paging = Paging::read(params, moods)?;
    let statuses = params.read_all("Status", Status::read)?;
    let kind = if version >= 2 {
        params.read("Type", SessionKind::read)?
    } else {
        None
    };
    let department = params.read("DepartmentId", uuid)?.map(|id| {
        account
            .company
            .departments
            .iter()
            .position(|entry| entry.id == id)
    });
    let agent = params.read("UserId", uuid)?.map(|id| {
        account
            .company
            .agents
            .iter()
            .position(|entry| entry.more.user_id == id)
    });
    let contact = params
        .read("ContactId", uuid)?
        .map(|id| account.contact_index(id));
    let channels: Vec<Option<usize>> = params
        .read_all("ChannelsId", uuid)?
        .into_iter()
        .map(|id| {
            account
                .company
                .channels
                .iter()
                .position(|entry| entry.id == id)
        })
        .collect();
    let tag_ids = params.read_all("TagsId", uuid)?;
    let tag_names: Vec<&str> = params.all("TagsName").collect();
    let tagged = !tag_ids.is_empty() || !tag_names.is_empty();
    let tags = account.company.tag_mask(|tag| {
        (tag.listed || tag.more.dangling)
            && (tag_ids.is_empty() || tag_ids.contains(&tag.id))
            && (tag_names.is_empty() || tag_names.iter().any(|name| same(name, &tag.name)))
    });
    let ended = range(params, "EndAt", moods)?;
    let active = range(params, "ActiveAt", moods)?;
    let interacted = range(params, "LastInteractionAt", moods)?;
    // No client shows how it is written (API notes, 4.2): as the contract's file has it.
    let metadata = if version >= 2 {
        params.pairs("Metadata")
    } else {
        Vec::new()
    };
    let hides_groups = version == 1 && moods.v1_hides_groups;
    let hides_undated = account.has_undated() && !paging.created.is_open();
    let is_undated = |index: u32| {
        let id = account.session_id(index);
        id.is_some_and(|id| account.poison_of(id) == Some(Poison::Undated))
    };
    let plain = statuses.is_empty()
        && !hides_undated
        && kind.is_none()
        && !hides_groups
        && department.is_none()
        && agent.is_none()
        && contact.is_none()
        && channels.is_empty()
        && !tagged
        && metadata.is_empty()
        && ended.is_open()
        && active.is_open()
        && interacted.is_open();
    let is = |index: u16, wanted: Option<usize>| wanted == Some(usize::from(index));
    let keep = |index: u32, slot: &SessionSlot| {
        (statuses.is_empty() || statuses.contains(&slot.status))
            && kind.is_none_or(|kind| slot.kind == kind)
            && !(hides_groups && slot.kind == SessionKind::Group)
            && !(hides_undated && is_undated(index))
            && department.is_none_or(|wanted| is(slot.department, wanted))
            && agent.is_none_or(|wanted| is(slot.agent, wanted))
            && contact.is_none_or(|wanted| wanted == Some(slot.contact))
            && (channels.is_empty() || channels.iter().any(|wanted| is(slot.channel, *wanted)))
            && ended.holds(slot.end)
            && active.holds(slot.interaction.max(slot.created))
            && interacted.holds(slot.interaction)
            && (!tagged || tags_of(account, slot) & tags != 0)
            // The one question that needs the whole record is asked last.
            && (metadata.is_empty() || tells(account, index, slot, &metadata))
    };
    let keep: Option<&Keep<'_, SessionSlot>> = if plain { None } else { Some(&keep) };
    let (total, page) = paging.choose(&account.sessions, keep, |slot| slot.interaction);
    Ok((paging, total, page))
}

/// Whether a session's metadata has all these values.
fn tells(
    account: &SandboxAccount,
    index: u32,
    slot: &SessionSlot,
    wanted: &[(&str, &str)],
) -> bool {
    let session = account.session_of(index, slot, account.sessions.changed(index));
    session.metadata.is_some_and(|metadata| {
        wanted.iter().all(|(key, wanted)| match &metadata[*key] {
            Value::Null => false,
            Value::String(text) => text == wanted,
            other => serde_json::from_str::<Value>(wanted).is_ok_and(|wanted| wanted == *other),
        })
    })
}

fn tags_of(account: &SandboxAccount, slot: &SessionSlot) -> u128 {
    if slot.contact == NO_CONTACT {
        return 0;
    }
    account
        .contacts
        .slot(slot.contact)
        .filter(|contact| contact.alive)
        .map_or(0, |contact| contact.tags)
}

pub(super) fn same(left: &str, right: &str) -> bool {
    left.to_lowercase() == right.to_lowercase()
}

/// How many contacts of a status match, and the page of them.
pub(super) fn contacts(
    account: &SandboxAccount,
    paging: &Paging,
    status: ContactStatus,
    more: Option<&Keep<'_, ContactSlot>>,
) -> (usize, Vec<u32>) {
    let keep = |index: u32, slot: &ContactSlot| {
        slot.status == status && more.is_none_or(|more| more(index, slot))
    };
    paging.choose(&account.contacts, Some(&keep), |slot| slot.updated)
}

/// The status parameter of the contact list; ACTIVE if absent (API notes, 8).
pub(super) fn contact_status(params: Params<'_>) -> Result<ContactStatus, BadInput> {
    Ok(params
        .read("Status", ContactStatus::listed)?
        .unwrap_or(ContactStatus::Active))
}
