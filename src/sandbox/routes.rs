//! From a request to an answer: which path means what.
//!
//! Pure but for the account: no network, no waiting. The order of the checks is the platform's:
//! the prefix, the token, the limits, and only then the route, so that an unknown one answers 401
//! (API notes, 12).

use serde_json::{Value, json};
use uuid::Uuid;

use super::account::Account;
use super::errors::{self, Answer};
use super::filter_body;
use super::json::array;
use super::query::{self, BadInput, Params};
use super::record::Session;
use super::render::{ContactDetails, Details, page, plain};
use super::{render_lists, webhooks};

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

const PREFIXES: [&str; 4] = ["/chat/", "/core/", "/crm/", "/auth/"];

impl Account {
    /// What stands before every answer; `None` lets the request through.
    pub(super) fn refuse(&mut self, request: &Request<'_>) -> Option<Answer> {
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
        if let (Some(status), "/chat/v1/session") = (self.moods.v1_withdrawn, request.path) {
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
    pub(super) fn answer(&mut self, request: &Request<'_>) -> Answer {
        self.settle();
        let answer = self.route(request);
        answer.unwrap_or_else(|BadInput(text)| self.internal(&text))
    }

    fn route(&mut self, request: &Request<'_>) -> Result<Answer, BadInput> {
        let params = Params(request.query);
        let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
        match (request.method, &*parts) {
            ("GET", ["chat", "v1", "session"]) => self.list_sessions(params, 1),
            ("GET", ["chat", "v2", "session"]) => self.list_sessions(params, 2),
            ("GET", ["chat", "v2", "session", id]) => self.one_session(params, id),
            ("GET", ["chat", "v1", "session", id, "message"]) => self.list_messages(params, id),
            ("GET", ["chat", "v1", "message"]) => match params.one("SessionId") {
                Some(id) => self.list_messages(params, id),
                None => Err(BadInput("SessionId é obrigatório.".to_owned())),
            },
            ("GET", ["chat", "v1", "message", id]) => Ok(self.one_message(id)),
            ("GET", ["chat", "v1", "channel"]) => self.list_channels(params),
            ("GET", ["chat", "v1", "chatbot"]) => self.list_bots(params),
            ("GET", ["core", "v1", "tag"]) => {
                Ok(self.list(|account| &account.company.tags, Self::render_tag))
            }
            ("GET", ["core", "v1", "tag", "color"]) => {
                let mut body = Vec::new();
                render_lists::colors(&mut body);
                Ok(Answer::good(body, 54))
            }
            ("GET", ["core", "v1", "contact"]) => self.list_contacts(params),
            ("POST", ["core", "v1", "contact", "filter"]) => {
                filter_body::contacts(self, request.body)
            }
            ("GET", ["core", "v1", "contact", id]) => self.one_contact(params, id),
            ("GET", ["core", "v1" | "v2", "department"]) => Ok(self.list(
                |account| &account.company.departments,
                |account, out, entry| account.render_department(out, entry, false, (true, true)),
            )),
            ("GET", ["core", "v1" | "v2", "department", id]) => self.one_department(params, id),
            ("GET", ["core", "v1", "department", id, "channel"]) => {
                let known = self
                    .company
                    .departments
                    .iter()
                    .any(|entry| entry.id.to_string() == **id);
                if known {
                    let body = json!({"scope": "ALL", "channels": null});
                    return Ok(Answer::good(body.to_string().into_bytes(), 1));
                }
                Ok(self.not_found())
            }
            ("GET", ["core", "v1", "agent"]) => {
                Ok(self.list(|account| &account.company.agents, Self::render_agent))
            }
            ("GET", ["core", "v1", "agent", id]) => {
                let found = Uuid::parse_str(id).ok().and_then(|id| {
                    let agent = self
                        .company
                        .agents
                        .iter()
                        .find(|agent| agent.id == id && agent.listed)?;
                    Some(Answer::one(|out| self.render_agent(out, agent)))
                });
                Ok(found.unwrap_or_else(|| self.not_found()))
            }
            (method, ["core", "v1", "webhook", rest @ ..]) => {
                Ok(self.webhook(method, rest, request.body))
            }
            _ => Ok(self.unauthorised()),
        }
    }

    fn list<T: 'static>(
        &self,
        list: impl Fn(&Self) -> &Vec<super::record::Entry<T>>,
        render: impl Fn(&Self, &mut Vec<u8>, &super::record::Entry<T>),
    ) -> Answer {
        let listed = list(self).iter().filter(|entry| entry.listed);
        let count = listed.clone().count();
        Answer::good(plain(listed, |out, entry| render(self, out, entry)), count)
    }

    fn list_sessions(&self, params: Params<'_>, version: u8) -> Result<Answer, BadInput> {
        let details = Details::read(params.all("IncludeDetails"))?;
        let (paging, total, mut found) = query::sessions(self, params, version)?;
        self.drop_hidden(&mut found, |index| self.session_id(index));
        let count = found.len();
        let mut body = Vec::with_capacity(512 + count * 3_000);
        page(&mut body, &paging, total, found, |out, index| {
            self.write_session(out, index, version, details);
        });
        Ok(Answer::good(body, count))
    }

    /// The visible session of an id in a path.
    fn find_session(&self, id: &str) -> Option<u32> {
        let index = self.session_index(Uuid::parse_str(id).ok()?)?;
        self.sessions
            .slot(index)
            .filter(|slot| slot.alive)
            .map(|_| index)
    }

    fn one_session(&mut self, params: Params<'_>, id: &str) -> Result<Answer, BadInput> {
        let details = Details::read(params.all("includeDetails"))?;
        Ok(match self.find_session(id) {
            Some(index) => Answer::one(|out| self.write_session(out, index, 2, details)),
            None => self.not_found(),
        })
    }

    fn list_contacts(&self, params: Params<'_>) -> Result<Answer, BadInput> {
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
    ) -> Answer {
        let count = found.len();
        let mut body = Vec::with_capacity(512 + count * 1_200);
        page(&mut body, paging, total, found, |out, index| {
            self.write_contact(out, index, details);
        });
        Answer::good(body, count)
    }

    fn one_contact(&mut self, params: Params<'_>, id: &str) -> Result<Answer, BadInput> {
        let details = ContactDetails::read(params.all("IncludeDetails"))?;
        let found = Uuid::parse_str(id).ok().and_then(|id| {
            let index = self.contact_index(id)?;
            self.contacts
                .slot(index)
                .filter(|slot| slot.alive)
                .map(|_| index)
        });
        Ok(match found {
            Some(index) => Answer::one(|out| self.write_contact(out, index, details)),
            None => self.not_found(),
        })
    }

    fn list_channels(&self, params: Params<'_>) -> Result<Answer, BadInput> {
        let wanted = params
            .one("ChannelType")
            .unwrap_or("All")
            .to_ascii_lowercase();
        if !["all", "whatsapp", "messenger", "instagram", "webchat"].contains(&&*wanted) {
            return Err(BadInput(format!("ChannelType inválido: {wanted}.")));
        }
        let listed = self.company.channels.iter().filter(|channel| {
            channel.listed
                && (wanted == "all" || channel.more.kind.to_ascii_lowercase().ends_with(&*wanted))
        });
        let count = listed.clone().count();
        Ok(Answer::good(
            plain(listed, |out, channel| self.render_channel(out, channel)),
            count,
        ))
    }

    fn list_bots(&self, params: Params<'_>) -> Result<Answer, BadInput> {
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
        Ok(Answer::good(body, count))
    }

    fn list_messages(&mut self, params: Params<'_>, id: &str) -> Result<Answer, BadInput> {
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
        Ok(Answer::good(body, count))
    }

    fn one_message(&mut self, id: &str) -> Answer {
        let found: Option<(Session, _)> = Uuid::parse_str(id).ok().and_then(|id| self.message(id));
        match found {
            Some((session, message)) => Answer::one(|out| message.render(out, &session)),
            None => self.not_found(),
        }
    }

    fn one_department(&mut self, params: Params<'_>, id: &str) -> Result<Answer, BadInput> {
        let shown = match params
            .one("includeDetails")
            .map(str::to_ascii_lowercase)
            .as_deref()
        {
            None => (false, false),
            Some("all") => (true, true),
            Some("agents") => (true, false),
            Some("channels") => (false, true),
            Some(other) => return Err(BadInput(format!("includeDetails inválido: {other}."))),
        };
        let found = Uuid::parse_str(id).ok().and_then(|id| {
            let entry = self
                .company
                .departments
                .iter()
                .find(|entry| entry.id == id && entry.listed)?;
            Some(Answer::one(|out| {
                self.render_department(out, entry, true, shown);
            }))
        });
        Ok(found.unwrap_or_else(|| self.not_found()))
    }

    fn webhook(&mut self, method: &str, rest: &[&str], body: &[u8]) -> Answer {
        let id = match rest {
            ["event"] if method == "GET" => {
                let mut out = Vec::new();
                array(&mut out, webhooks::EVENTS, webhooks::write_event);
                return Answer::good(out, webhooks::EVENTS.len());
            }
            ["subscription"] => None,
            ["subscription", id] => match Uuid::parse_str(id) {
                Ok(id) => Some(id),
                Err(_) => return self.not_found(),
            },
            _ => return self.unauthorised(),
        };
        match (method, id) {
            ("GET", None) => {
                let all = &self.webhooks.subscriptions;
                Answer::good(
                    plain(all, |out, one| self.render_subscription(out, one)),
                    all.len(),
                )
            }
            ("GET", Some(id)) => {
                let found = self.webhooks.subscriptions.iter().find(|one| one.id == id);
                let answer = found.map(|one| Answer::one(|out| self.render_subscription(out, one)));
                answer.unwrap_or_else(|| self.not_found())
            }
            ("DELETE", Some(id)) => {
                let before = self.webhooks.subscriptions.len();
                self.webhooks.subscriptions.retain(|one| one.id != id);
                if self.webhooks.subscriptions.len() == before {
                    return self.not_found();
                }
                Answer::good(Value::Null.to_string().into_bytes(), 0)
            }
            ("POST", None) | ("PUT", Some(_)) => match self.subscribe(id, body) {
                Ok(Some(one)) => Answer::one(|out| self.render_subscription(out, &one)),
                Ok(None) => self.not_found(),
                Err(webhooks::Invalid(why)) => errors::problem(400, "Bad Request", why),
            },
            _ => self.unauthorised(),
        }
    }
}
