//! Renders the small lists in the platform's JSON.

use uuid::Uuid;

use super::account::SandboxAccount;
use super::company::Bot;
use super::json::{Object, array};
use super::record::{Agent, Channel, Department, Tag};

/// A channel's identity, in the channel list and in sessions.
pub(super) fn identity(object: &mut Object<'_>, name: &str, channel: &Channel) {
    let whatsapp = channel.more.kind.ends_with("WhatsApp");
    object.object(name, |object| {
        match &channel.more.number {
            Some(number) => object.text("humanId", &format!("+{number}")),
            None => object.text("humanId", &format!("@{}", channel.name)),
        }
        object.text(
            "platform",
            if whatsapp {
                "WhatsApp"
            } else {
                channel.more.kind
            },
        );
        object.opt_text("provider", whatsapp.then_some("ExampleProvider"));
        object.null("providerVariable");
        object.null("pictureUrl");
        object.text("displayName", &channel.name);
    });
}

fn formatted(number: &str) -> String {
    super::json::formatted_phone(number.strip_prefix("55").unwrap_or(number))
}

impl SandboxAccount {
    pub(super) fn render_tag(&self, out: &mut Vec<u8>, tag: &Tag) {
        let mut object = Object::new(out, None);
        object.id("id", tag.id);
        object.time("createdAt", tag.created_at);
        object.time("updatedAt", tag.updated_at);
        object.text("name", &tag.name);
        object.opt_text("color", tag.more.color.as_deref());
        if self.moods.extra_fields {
            object.text("scope", "CONTACT");
        }
        object.end();
    }

    pub(super) fn render_channel(&self, out: &mut Vec<u8>, channel: &Channel) {
        let mut object = Object::new(out, None);
        object.id("id", channel.id);
        object.time("createdAt", channel.created_at);
        object.time("updatedAt", channel.updated_at);
        object.flag("active", channel.more.active);
        object.text("type", channel.more.kind);
        object.opt_text("number", channel.more.number.as_deref());
        object.opt_text(
            "numberFormatted",
            channel.more.number.as_deref().map(formatted).as_deref(),
        );
        if channel.more.identity {
            identity(&mut object, "identity", channel);
        } else {
            object.null("identity");
        }
        if self.moods.extra_fields {
            object.int("qualityRating", 3);
        }
        object.end();
    }

    /// A department as the list shows it (`single` false) or as the request by id does.
    pub(super) fn render_department(
        &self,
        out: &mut Vec<u8>,
        department: &Department,
        single: bool,
        (agents, channels): (bool, bool),
    ) {
        let mut object = Object::new(out, None);
        object.id("id", department.id);
        object.id("companyId", self.company.id);
        object.time("createdAt", department.created_at);
        object.null("directLinks");
        object.time("updatedAt", department.updated_at);
        object.text("name", &department.name);
        object.flag("isDefault", department.more.is_default);
        object.flag("distribuitionEnabled", true);
        object.text("restrictionType", "NONE");
        object.object("distributionConfig", |object| {
            object.flag("expirationIsEnabled", false);
            object.int("maximumDurationInMinutes", 0);
            object.int("inactivityTimeInMinutes", 0);
        });
        let number = self
            .company
            .departments
            .iter()
            .position(|other| other.id == department.id);
        if agents {
            let members = self.company.agents.iter().filter(|agent| {
                agent.listed
                    && agent
                        .more
                        .departments
                        .iter()
                        .any(|home| Some(usize::from(*home)) == number)
            });
            object.list("agents", members, |out, agent| {
                let mut object = Object::new(out, None);
                object.id("userId", agent.more.user_id);
                object.id("departmentId", department.id);
                object.flag("isAgent", true);
                object.flag("isSupervisor", agent.more.is_owner);
                object.end();
            });
        } else {
            object.null("agents");
        }
        if channels {
            let listed = self
                .company
                .channels
                .iter()
                .filter(|channel| channel.listed);
            object.list("channels", listed, |out, channel| {
                let mut object = Object::new(out, None);
                object.id("id", channel.id);
                object.opt_text("number", channel.more.number.as_deref());
                object.text("name", &channel.name);
                object.text("type", channel.more.kind);
                object.end();
            });
        } else {
            object.null("channels");
        }
        if single {
            object.opt_text("description", department.more.description.as_deref());
            object.flag("isPrivate", false);
        }
        if self.moods.extra_fields {
            object.text("icon", "box");
        }
        object.end();
    }

    pub(super) fn render_agent(&self, out: &mut Vec<u8>, agent: &Agent) {
        let mut object = Object::new(out, None);
        object.id("id", agent.id);
        object.time("createdAt", agent.created_at);
        object.time("updatedAt", agent.updated_at);
        object.id("companyId", self.company.id);
        object.id("userId", agent.more.user_id);
        object.text("name", &agent.name);
        object.opt_text("shortName", agent.name.split(' ').next());
        object.opt_text("email", agent.more.email.as_deref());
        object.opt_text("phoneNumber", agent.more.phone.as_deref());
        object.opt_text(
            "phoneNumberFormatted",
            agent
                .more
                .phone
                .as_deref()
                .map(super::json::formatted_phone)
                .as_deref(),
        );
        object.text(
            "profile",
            if agent.more.is_owner {
                "ADMIN"
            } else {
                "AGENT"
            },
        );
        object.flag("isOwner", agent.more.is_owner);
        let homes = agent
            .more
            .departments
            .iter()
            .filter_map(|home| self.company.departments.get(usize::from(*home)));
        object.list("departments", homes, |out, department| {
            let mut object = Object::new(out, None);
            object.id("agentId", agent.id);
            object.id("userId", agent.more.user_id);
            object.id("departmentId", department.id);
            object.flag("isAgent", true);
            object.flag("isSupervisor", agent.more.is_owner);
            object.end();
        });
        object.text(
            "availability",
            if agent.more.available {
                "AVAILABLE"
            } else {
                "UNAVAILABLE"
            },
        );
        if self.moods.extra_fields {
            object.int("capacity", 12);
        }
        object.end();
    }

    /// The one channel that the bots are on.
    pub(super) fn bot_channel(&self) -> Option<Uuid> {
        self.company.channels.first().map(|channel| channel.id)
    }

    /// The department that the bots pass sessions on to.
    pub(super) fn bot_department(&self) -> Option<Uuid> {
        self.company.departments.first().map(|entry| entry.id)
    }

    pub(super) fn render_bot(&self, out: &mut Vec<u8>, bot: &Bot) {
        let mut object = Object::new(out, None);
        object.id("id", bot.id);
        object.id("key", bot.key);
        object.time("createdAt", bot.created_at);
        object.time("updatedAt", bot.updated_at);
        object.id("companyId", self.company.id);
        object.flag("archived", bot.archived);
        object.text("name", bot.name);
        object.text("type", bot.kind);
        object.ids("channelIds", self.bot_channel());
        object.opt_id("defaultDepartmentId", self.bot_department());
        object.text("publishStatus", bot.status);
        object.texts("automationUsage", bot.usage.iter().copied());
        object.end();
    }
}

/// The palette: nine colours in six shades (API notes, 7).
pub(super) fn colors(out: &mut Vec<u8>) {
    const HUES: [(&str, &str); 9] = [
        ("BROWN", "8d6e63"),
        ("PURPLE", "9c27b0"),
        ("PINK", "e91e63"),
        ("RED", "f44336"),
        ("YELLOW", "ffc107"),
        ("GREEN", "4caf50"),
        ("BLUE", "2196f3"),
        ("SKY", "03a9f4"),
        ("GRAY", "9e9e9e"),
    ];
    let shades = HUES
        .into_iter()
        .flat_map(|hue| (1..=6).map(move |shade| (hue, shade)));
    array(out, shades, |out, ((hue, hex), shade)| {
        let mut object = Object::new(out, None);
        object.text("color", &format!("{hue}_{shade}00"));
        object.text("bgColor", &format!("#{hex}"));
        object.text("textColor", if shade > 3 { "#ffffff" } else { "#000000" });
        object.end();
    });
}
