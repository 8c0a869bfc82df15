//! From a request to an answer: which handler serves which path.
//!
//! The only side effects are on the account: no network, no waiting. The order of the checks is
//! that of the platform: prefix, token, rate limits, then the route. An unknown route therefore
//! answers 401 (API notes, 12).

use serde_json::{Value, json};
use uuid::Uuid;

use super::account::SandboxAccount;
use super::choices::List;
use super::errors::{self, Reply};
use super::filter_body;
use super::json::array;
use super::odd::is_lost;
use super::query::{self, BadInput, Params};
use super::record::{Channel, Entry, Session};
use super::render::{ContactDetails, Details, Place, View, page, plain};
use super::{poison, render_lists, webhooks};

/// A request, read.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a [(String, String)],
    pub(super) body: &'a [u8],
    /// Whether it carried the account's token.
    pub(super) authorised: bool,
}

impl Request<'_> {
    /// The record that is asked for by its id.
    pub(super) fn by_id(&self) -> Option<Uuid> {
        let (_, last) = self.path.rsplit_once('/')?;
        let reads = self.method == "GET" && !self.path.contains("/webhook/");
        Uuid::parse_str(last).ok().filter(|_| reads)
    }
}

const PREFIXES: [&str; 4] = ["/chat/", "/core/", "/crm/", "/auth/"];

impl SandboxAccount {
    /// What stands before every answer; `None` lets the request through.
    pub(super) fn refuse(&mut self, request: &Request<'_>) -> Option<Reply> {
        if !PREFIXES
            .iter()
            .any(|prefix| request.path.starts_with(prefix))
        {
            return Some(errors::problem(
                400,
                "Bad Request",
                "Prefixo de serviço ausente.",
            ));
        }
        if !request.authorised {
            return Some(self.unauthorised());
        }
        let now = self.now();
        if let Err(wait) = self.limiter.admit(&self.limits, now.0) {
            return Some(errors::too_many(errors::retry_after(
                self.faults.retry_after,
                now,
                wait,
            )));
        }
        let withdrawn = match request.path {
            "/chat/v1/session" => self.moods.v1_withdrawn,
            "/chat/v2/session" => self.moods.v2_withdrawn,
            _ => None,
        };
        if let Some(status) = withdrawn {
            return Some(match status {
                401 => self.unauthorised(),
                status => errors::problem(status, "Gone", "Versão descontinuada."),
            });
        }
        if self
            .moods
            .refused
            .iter()
            .any(|prefix| request.path.starts_with(prefix.as_str()))
        {
            return Some(self.unauthorised());
        }
        None
    }

    /// The answer to a request that was let through.
    pub(super) fn answer(&mut self, request: &Request<'_>) -> Reply {
        self.settle();
        self.tend_webhooks();
        if let Some(refused) = self.refuse_id(request) {
            return refused;
        }
        let answer = self.route_lagging(request);
        answer.unwrap_or_else(|BadInput(key, text)| self.exception(500, &json!(500), key, &text))
    }

    pub(super) fn route(&mut self, request: &Request<'_>) -> Result<Reply, BadInput> {
        let params = Params(request.query);
        let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
        match (request.method, &*parts) {
            ("GET", ["chat", "v1", "session"]) => self.list_sessions(params, 1),
            ("GET", ["chat", "v2", "session"]) => self.list_sessions(params, 2),
            ("GET", ["chat", "v2", "session", id]) => self.one_session(params, id),
            ("GET", ["chat", "v1", "session", id, "message"]) => self.list_messages(params, id),
            ("GET", ["chat", "v1", "message"]) => match params.one("SessionId") {
                Some(id) => self.list_messages(params, id),
                None => Err(BadInput::of("SessionId é obrigatório.")),
            },
            ("GET", ["chat", "v1", "message", id]) => Ok(self.one_message(id)),
            ("GET", ["chat", "v1", "channel"]) => self.list_channels(params),
            ("GET", ["chat", "v1", "chatbot"]) => self.list_bots(params),
            ("GET", ["core", "v1", "tag"]) => {
                let lacking = self.loss(List::Tags);
                Ok(self.list(
                    lacking,
                    |account| &account.company.tags,
                    |_| true,
                    Self::render_tag,
                ))
            }
            ("GET", ["core", "v1", "tag", "color"]) => {
                let mut body = Vec::new();
                render_lists::colors(&mut body);
                Ok(Reply::good(body, 54))
            }
            ("GET", ["core", "v1", "contact", "custom-field"]) => {
                self.list_custom_fields("CONTACT")
            }
            ("GET", ["core", "v1", "custom-field"]) => {
                self.list_custom_fields(params.one("EntityType").unwrap_or("CONTACT"))
            }
            ("GET", ["chat", "v1", "template"]) => {
                self.list_catalog(List::Templates, params, &["Params"])
            }
            ("GET", ["core", "v1", "portfolio"]) => {
                self.list_catalog(List::Portfolios, params, &["Departments", "ContactCount"])
            }
            ("GET", ["core", "v1", "company", "officehours"]) => Ok(self.list_office_hours()),
            ("GET", ["core", "v1", "contact"]) => self.list_contacts(params),
            ("POST", ["core", "v1", "contact", "filter"]) => {
                filter_body::contacts(self, request.body)
            }
            ("GET", ["core", "v1", "contact", id]) => self.one_contact(params, id),
            ("GET", ["core", "v1" | "v2", "department"]) => {
                let lacking = self.loss(List::Departments);
                Ok(self.list(
                    lacking,
                    |account| &account.company.departments,
                    |_| true,
                    |account, out, entry| {
                        account.render_department(out, entry, false, (true, true));
                    },
                ))
            }
            ("GET", ["core", "v1" | "v2", "department", id]) => self.one_department(params, id),
            ("GET", ["core", "v1", "department", id, "channel"]) => {
                let known = self
                    .company
                    .departments
                    .iter()
                    .any(|entry| entry.id.to_string() == **id);
                if known {
                    let body = json!({"scope": "ALL", "channels": null});
                    return Ok(Reply::good(body.to_string().into_bytes(), 1));
                }
                Ok(self.not_found())
            }
            ("GET", ["core", "v1", "agent"]) => {
                let lacking = self.loss(List::Agents);
                Ok(self.list(
                    lacking,
                    |account| &account.company.agents,
                    |_| true,
                    Self::render_agent,
                ))
            }
            ("GET", ["core", "v1", "agent", id]) => {
                let found = Uuid::parse_str(id).ok().and_then(|id| {
                    let agent = self
                        .company
                        .agents
                        .iter()
                        .find(|agent| agent.id == id && agent.listed)?;
                    Some(Reply::one(|out| self.render_agent(out, agent)))
                });
                Ok(found.unwrap_or_else(|| self.not_found()))
            }
            (method, ["core", "v1", "webhook", rest @ ..]) => {
                Ok(self.webhook(method, rest, request.body))
            }
            _ => Ok(self.no_route()),
        }
    }

    fn list<T: 'static>(
        &self,
        lacking: f64,
        list: impl Fn(&Self) -> &Vec<Entry<T>>,
        fits: impl Fn(&Entry<T>) -> bool,
        render: impl Fn(&Self, &mut Vec<u8>, &Entry<T>),
    ) -> Reply {
        let shown = |entry: &&Entry<T>| entry.listed && fits(entry) && !is_lost(entry.id, lacking);
        let listed = list(self).iter().filter(shown);
        let count = listed.clone().count();
        let body = plain(listed, |out, entry| match self.broken_stamp(entry.id) {
            None => render(self, out, entry),
            Some(kind) => {
                let mut clean = Vec::new();
                render(self, &mut clean, entry);
                poison::spoil_entry(out, &clean, kind);
            }
        });
        Reply::good(body, count)
    }

    fn list_sessions(&self, params: Params<'_>, version: u8) -> Result<Reply, BadInput> {
        let details = Details::read(params.all("IncludeDetails"))?;
        let (paging, total, mut found) = query::sessions(self, params, version)?;
        self.drop_hidden(&mut found, |index| self.session_id(index));
        let count = found.len();
        let mut body = Vec::with_capacity(512 + count * 3_000);
        let view = View {
            version,
            details,
            place: Place::List,
        };
        page(&mut body, &paging, total, found, |out, index| {
            self.write_session(out, index, view);
        });
        Ok(Reply::good(body, count))
    }

    /// The visible session of an id in a path.
    fn find_session(&self, id: &str) -> Option<u32> {
        let id = Uuid::parse_str(id).ok().filter(|id| !self.is_ghost(*id))?;
        let index = self.session_index(id)?;
        self.sessions
            .slot(index)
            .filter(|slot| slot.alive)
            .map(|_| index)
    }

    fn one_session(&mut self, params: Params<'_>, id: &str) -> Result<Reply, BadInput> {
        let details = Details::read(params.all("includeDetails"))?;
        let view = View {
            version: 2,
            details,
            place: Place::Single,
        };
        Ok(match self.find_session(id) {
            Some(index) => Reply::one(|out| self.write_session(out, index, view)),
            None => self.not_found(),
        })
    }

    fn list_contacts(&self, params: Params<'_>) -> Result<Reply, BadInput> {
        let details = ContactDetails::read(params.all("IncludeDetails"))?;
        let status = query::contact_status(params)?;
        let paging = query::Paging::read(params, &self.moods)?;
        let (total, mut found) = query::contacts(self, &paging, status, None);
        self.drop_hidden(&mut found, |index| self.contact_id(index));
        Ok(self.contact_page(&paging, total, found, details))
    }

    pub(super) fn contact_page(
        &self,
        paging: &query::Paging,
        total: usize,
        found: Vec<u32>,
        details: ContactDetails,
    ) -> Reply {
        let count = found.len();
        let mut body = Vec::with_capacity(512 + count * 1_200);
        page(&mut body, paging, total, found, |out, index| {
            self.write_contact(out, index, details);
        });
        Reply::good(body, count)
    }

    fn one_contact(&mut self, params: Params<'_>, id: &str) -> Result<Reply, BadInput> {
        let details = ContactDetails::read(params.all("IncludeDetails"))?;
        let id = Uuid::parse_str(id).ok().filter(|id| !self.is_ghost(*id));
        let found = id.and_then(|id| {
            let index = self.contact_index(id)?;
            self.contacts
                .slot(index)
                .filter(|slot| slot.alive)
                .map(|_| index)
        });
        Ok(match found {
            Some(index) => Reply::one(|out| self.write_contact(out, index, details)),
            None => self.not_found(),
        })
    }

    fn list_channels(&mut self, params: Params<'_>) -> Result<Reply, BadInput> {
        let wanted = params
            .one("ChannelType")
            .unwrap_or("All")
            .to_ascii_lowercase();
        if !["all", "whatsapp", "messenger", "instagram", "webchat"].contains(&&*wanted) {
            return Err(BadInput::of(format!("ChannelType inválido: {wanted}.")));
        }
        let lacking = self.loss(List::Channels);
        let fits = |channel: &Channel| {
            wanted == "all" || channel.more.kind.to_ascii_lowercase().ends_with(&*wanted)
        };
        Ok(self.list(
            lacking,
            |account| &account.company.channels,
            fits,
            Self::render_channel,
        ))
    }

    fn list_bots(&self, params: Params<'_>) -> Result<Reply, BadInput> {
        let paging = query::Paging::read(params, &self.moods)?;
        let name = params.one("Name").map(str::to_lowercase);
        let words = |key: &'static str, known: &'static [&'static str]| {
            params.read_all(key, |text| {
                known.iter().find(|word| word.eq_ignore_ascii_case(text))
            })
        };
        let kinds = words("Types", &["Reactive", "Automation"])?;
        let statuses = words(
            "PublishStatuses",
            &["Not_Published", "Publishing", "Ready", "Failed"],
        )?;
        let usages = words(
            "AutomationUsages",
            &["Api", "Manual", "Campaign", "Sequence"],
        )?;
        let channels = params.read_all("ChannelIds", query::uuid)?;
        let departments = params.read_all("DefaultDepartmentIds", query::uuid)?;
        let is_any = |wanted: &[&&str], value: &str| {
            wanted.is_empty() || wanted.iter().any(|word| word.eq_ignore_ascii_case(value))
        };
        let holds = |wanted: &[Uuid], value: Option<Uuid>| {
            wanted.is_empty() || value.is_some_and(|value| wanted.contains(&value))
        };
        let (channel, department) = (self.bot_channel(), self.bot_department());
        let bots = self.company.bots.iter().filter(|bot| {
            name.as_deref()
                .is_none_or(|name| bot.name.to_lowercase().contains(name))
                && is_any(&kinds, bot.kind)
                && is_any(&statuses, bot.status)
                && (usages.is_empty() || bot.usage.iter().any(|usage| is_any(&usages, usage)))
                && holds(&channels, channel)
                && holds(&departments, department)
        });
        let (total, found) = paging.of_list(
            bots.map(|bot| (bot.created_at.0, bot.updated_at.0, bot))
                .collect(),
        );
        let count = found.len();
        let mut body = Vec::new();
        page(&mut body, &paging, total, found, |out, bot| {
            self.render_bot(out, bot);
        });
        Ok(Reply::good(body, count))
    }

    fn list_messages(&mut self, params: Params<'_>, id: &str) -> Result<Reply, BadInput> {
        let paging = query::Paging::read(params, &self.moods)?;
        let Some((index, session)) = self.find_session(id).and_then(|index| {
            let slot = self.sessions.slot(index)?;
            Some((
                index,
                self.session_of(index, slot, self.sessions.changed(index)),
            ))
        }) else {
            return Ok(self.not_found());
        };
        let said = self.sessions.slot(index).map_or(0, |slot| slot.said);
        let messages = self.messages(index, said).into_iter();
        let (total, found) = paging.of_list(
            messages
                .map(|message| (message.at.0, message.updated_at.0, message))
                .collect(),
        );
        let count = found.len();
        let mut body = Vec::new();
        page(&mut body, &paging, total, found, |out, message| {
            message.render(out, &session);
        });
        Ok(Reply::good(body, count))
    }

    fn one_message(&mut self, id: &str) -> Reply {
        let found: Option<(Session, _)> = Uuid::parse_str(id).ok().and_then(|id| self.message(id));
        match found {
            Some((session, message)) => Reply::one(|out| message.render(out, &session)),
            None => self.not_found(),
        }
    }

    fn one_department(&mut self, params: Params<'_>, id: &str) -> Result<Reply, BadInput> {
        let shown = match params.one("includeDetails") {
            None => (false, false),
            Some("All") => (true, true),
            Some("Agents") => (true, false),
            Some("Channels") => (false, true),
            Some(other) => return Err(BadInput::detail(other)),
        };
        let found = Uuid::parse_str(id).ok().and_then(|id| {
            let entry = self
                .company
                .departments
                .iter()
                .find(|entry| entry.id == id && entry.listed)?;
            Some(Reply::one(|out| {
                self.render_department(out, entry, true, shown);
            }))
        });
        Ok(found.unwrap_or_else(|| self.not_found()))
    }

    fn webhook(&mut self, method: &str, rest: &[&str], body: &[u8]) -> Reply {
        let id = match rest {
            ["event"] if method == "GET" => {
                let mut out = Vec::new();
                array(&mut out, webhooks::EVENTS, webhooks::write_event);
                return Reply::good(out, webhooks::EVENTS.len());
            }
            ["subscription"] => None,
            ["subscription", id] => match Uuid::parse_str(id) {
                Ok(id) => Some(id),
                Err(_) => return self.not_found(),
            },
            _ => return self.no_route(),
        };
        match (method, id) {
            ("GET", None) => {
                let all = &self.webhooks.subscriptions;
                Reply::good(
                    plain(all, |out, one| self.render_subscription(out, one)),
                    all.len(),
                )
            }
            ("GET", Some(id)) => {
                let found = self.webhooks.subscriptions.iter().find(|one| one.id == id);
                let answer = found.map(|one| Reply::one(|out| self.render_subscription(out, one)));
                answer.unwrap_or_else(|| self.not_found())
            }
            ("DELETE", Some(id)) => {
                let before = self.webhooks.subscriptions.len();
                self.webhooks.subscriptions.retain(|one| one.id != id);
                if self.webhooks.subscriptions.len() == before {
                    return self.not_found();
                }
                Reply::good(Value::Null.to_string().into_bytes(), 0)
            }
            ("POST", None) | ("PUT", Some(_)) => match self.subscribe(id, body) {
                Ok(Some(one)) => Reply::one(|out| self.render_subscription(out, &one)),
                Ok(None) => self.not_found(),
                Err(webhooks::Invalid(why)) => errors::problem(400, "Bad Request", why),
            },
            _ => self.no_route(),
        }
    }
}
