//! Lists that sessions and contacts do not depend on: custom fields, templates, portfolios and
//! opening hours, and their answers.

use serde_json::{Value, json};
use uuid::Uuid;

use super::Ticks;
use super::account::SandboxAccount;
use super::choices::List;
use super::errors::Reply;
use super::ids::{self, IdKind};
use super::names;
use super::odd::is_lost;
use super::query::{self, BadInput, Params};
use super::render::page;
use super::ticks::DAY;

/// A record's JSON, and the values by which it is found.
#[derive(Debug, Clone)]
pub(super) struct ListRecord {
    pub(super) id: Uuid,
    created_at: Ticks,
    updated_at: Ticks,
    value: Value,
}

/// The lists, each in its order.
#[derive(Debug, Clone)]
pub(super) struct Catalog {
    custom_fields: Vec<ListRecord>,
    templates: Vec<ListRecord>,
    portfolios: Vec<ListRecord>,
    office_hours: Vec<Value>,
    /// The portfolios that contacts are in, even if the list changes.
    memberships: Vec<(Uuid, String)>,
}

/// Builds the records of one list.
struct Maker {
    seed: u64,
    of: IdKind,
    until: Ticks,
    company: Uuid,
    made: Vec<ListRecord>,
}

impl Maker {
    fn new(seed: u64, of: IdKind, until: Ticks) -> Self {
        Self {
            seed,
            of,
            until,
            company: ids::id(seed, IdKind::Company, 0),
            made: Vec::new(),
        }
    }

    /// Adds a record with these fields in addition to the common ones.
    fn add(&mut self, fields: Value) -> Uuid {
        let number = u32::try_from(self.made.len()).unwrap_or(u32::MAX);
        let mut dice = ids::dice(self.seed, self.of, number);
        let created = self.until.0 - 420 * DAY - dice.i64(0..200 * DAY);
        let (created_at, updated_at) = (Ticks(created), Ticks(created + dice.i64(0..400 * DAY)));
        let id = ids::id(self.seed, self.of, number);
        let mut value = json!({
            "id": id,
            "createdAt": created_at.to_string(),
            "updatedAt": updated_at.to_string(),
            "companyId": self.company,
        });
        if let (Value::Object(all), Value::Object(fields)) = (&mut value, fields) {
            all.extend(fields);
        }
        self.made.push(ListRecord {
            id,
            created_at,
            updated_at,
            value,
        });
        id
    }
}

fn custom_fields(seed: u64, until: Ticks) -> Vec<ListRecord> {
    let mut maker = Maker::new(seed, IdKind::CustomField, until);
    let options = |names: &[&str]| -> Value {
        let options = names.iter().zip(1..);
        options
            .map(|(name, number)| json!({"id": number.to_string(), "name": name}))
            .collect()
    };
    let field = |entity: &str, kind: &str, name: &str, key: &str, position: i32| {
        json!({
            "parentId": null, "type": kind, "entityType": entity, "scopeId": null, "name": name,
            "key": key, "position": position, "required": false, "visible": true,
            "isValueRange": false, "options": null, "children": null,
        })
    };
    let group = maker.add(field("CONTACT", "GROUP", "Cadastro", "cadastro", 0));
    for (at, (kind, name, key, choices)) in [
        ("STRING", "Cidade", "cidade", None),
        (
            "MULTISELECT",
            "Interesses",
            "interesses",
            Some(&names::INTERESTS[..]),
        ),
        ("DATE", "Data de nascimento", "nascimento", None),
        ("BOOLEAN", "Aceita novidades", "aceita_novidades", None),
    ]
    .into_iter()
    .enumerate()
    {
        let position = i32::try_from(at).unwrap_or(0) + 1;
        let mut fields = field("CONTACT", kind, name, key, position);
        fields["parentId"] = json!(group);
        if let Some(choices) = choices {
            fields["options"] = options(choices);
        }
        maker.add(fields);
    }
    let mut deal = field(
        "PANEL",
        "SINGLESELECT",
        "Forma de pagamento",
        "pagamento",
        0,
    );
    deal["options"] = options(&["Pix", "Cartão", "Boleto"]);
    deal["scopeId"] = json!(ids::id(seed, IdKind::CustomField, 1_000));
    maker.add(deal);
    maker.made
}

fn templates(seed: u64, until: Ticks) -> Vec<ListRecord> {
    let mut maker = Maker::new(seed, IdKind::Template, until);
    for (name, category, status, text, params) in [
        (
            "lembrete_retirada",
            "UTILITY",
            "APPROVED",
            "Olá {{1}}, seu pedido {{2}} está pronto para retirada.",
            json!([{"name": "1", "type": "TEXT"}, {"name": "2", "type": "TEXT"}]),
        ),
        (
            "black_friday",
            "MARKETING",
            "APPROVED",
            "Só hoje: 20% em toda a loja.",
            json!([]),
        ),
        (
            "pesquisa_pos_venda",
            "MARKETING",
            "REJECTED",
            "De 0 a 10, quanto você nos indicaria?",
            json!([]),
        ),
    ] {
        maker.add(json!({
            "name": name, "type": "TEXT", "category": category, "language": "pt_BR",
            "status": status, "text": text, "params": params,
        }));
    }
    maker.made
}

fn portfolios(seed: u64, until: Ticks) -> Vec<ListRecord> {
    let mut maker = Maker::new(seed, IdKind::Portfolio, until);
    for (at, (name, kind)) in [("Atacado", "SINGLE"), ("Clientes antigos", "MULTIPLE")]
        .into_iter()
        .enumerate()
    {
        let number = u32::try_from(at).unwrap_or(0);
        maker.add(json!({
            "active": true, "name": name, "automaticAttribution": at == 0,
            "expirationDurationInMonths": if at == 0 { json!(12) } else { Value::Null },
            "contactsCount": null, "type": kind,
            "departments": [{
                "departmentId": ids::id(seed, IdKind::Department, number),
                "userIds": [ids::id(seed, IdKind::User, number)],
            }],
        }));
    }
    maker.made
}

fn office_hours() -> Vec<Value> {
    let days = [
        "MONDAY",
        "TUESDAY",
        "WEDNESDAY",
        "THURSDAY",
        "FRIDAY",
        "SATURDAY",
    ];
    days.into_iter()
        .map(|day| {
            let end = if day == "SATURDAY" {
                "13:00:00"
            } else {
                "18:00:00"
            };
            json!({
                "dayWeek": day, "startTime": "08:00:00", "endTime": end, "timezoneDiff": "-03:00",
                "limitHours": null,
            })
        })
        .collect()
}

impl Catalog {
    pub(super) fn new(seed: u64, until: Ticks) -> Self {
        let portfolios = portfolios(seed, until);
        let name = |shown: &ListRecord| shown.value["name"].as_str().unwrap_or_default().to_owned();
        let memberships = portfolios.iter().map(|shown| (shown.id, name(shown)));
        Self {
            custom_fields: custom_fields(seed, until),
            templates: templates(seed, until),
            memberships: memberships.collect(),
            portfolios,
            office_hours: office_hours(),
        }
    }

    /// The portfolios that a contact is in, by their ids and names.
    pub(super) fn portfolios_of(&self, contact: Uuid) -> Vec<(Uuid, &str)> {
        let (draw, _) = contact.as_u64_pair();
        let draw = ids::mix(draw);
        let is_in = |at: usize| match at {
            0 => draw.is_multiple_of(12),
            _ => (draw / 12).is_multiple_of(9),
        };
        let all = self.memberships.iter().enumerate();
        all.filter(|(at, _)| is_in(*at))
            .map(|(_, (id, name))| (*id, name.as_str()))
            .collect()
    }
}

impl SandboxAccount {
    /// The records of a list that is made of nothing else, as they are shown, of one entity type.
    fn listed(&self, list: List, entity: Option<&str>) -> Vec<&ListRecord> {
        let catalog = &self.company.catalog;
        let all = match list {
            List::CustomFields => &catalog.custom_fields,
            List::Templates => &catalog.templates,
            List::Portfolios => &catalog.portfolios,
            _ => return Vec::new(),
        };
        let fits =
            |shown: &&ListRecord| entity.is_none_or(|entity| shown.value["entityType"] == entity);
        all.iter().filter(fits).collect()
    }

    pub(super) fn list_custom_fields(&mut self, entity: &str) -> Result<Reply, BadInput> {
        if !["CONTACT", "PANEL"].contains(&entity) {
            return Err(BadInput::of(format!("EntityType inválido: {entity}.")));
        }
        let lacking = self.loss(List::CustomFields);
        let shown: Vec<&Value> = self
            .listed(List::CustomFields, Some(entity))
            .into_iter()
            .filter(|shown| !is_lost(shown.id, lacking))
            .map(|shown| &shown.value)
            .collect();
        Ok(Reply::good(
            json!(shown).to_string().into_bytes(),
            shown.len(),
        ))
    }

    /// A page of templates or portfolios.
    pub(super) fn list_catalog(
        &self,
        list: List,
        params: Params<'_>,
        details: &[&str],
    ) -> Result<Reply, BadInput> {
        let wanted: Vec<&str> = params.all("IncludeDetails").collect();
        if let Some(unknown) = wanted.iter().find(|name| !details.contains(name)) {
            return Err(BadInput::detail(unknown));
        }
        let paging = query::Paging::read(params, &self.moods)?;
        let all = self.listed(list, None).into_iter();
        let (total, found) = paging.of_list(
            all.map(|shown| (shown.created_at.0, shown.updated_at.0, &shown.value))
                .collect(),
        );
        let count = found.len();
        let mut body = Vec::new();
        page(&mut body, &paging, total, found, |out, value| {
            out.extend_from_slice(value.to_string().as_bytes());
        });
        Ok(Reply::good(body, count))
    }

    pub(super) fn list_office_hours(&self) -> Reply {
        let hours = &self.company.catalog.office_hours;
        Reply::good(json!(hours).to_string().into_bytes(), hours.len())
    }

    fn truth_of(&self, list: List) -> Vec<Value> {
        let shown = self.listed(list, None).into_iter();
        shown.map(|shown| shown.value.clone()).collect()
    }

    /// The custom fields of contacts and panels.
    pub fn truth_custom_fields(&self) -> Vec<Value> {
        self.truth_of(List::CustomFields)
    }

    /// The message templates.
    pub fn truth_templates(&self) -> Vec<Value> {
        self.truth_of(List::Templates)
    }

    /// The portfolios.
    pub fn truth_portfolios(&self) -> Vec<Value> {
        self.truth_of(List::Portfolios)
    }

    /// The opening hours.
    pub fn truth_office_hours(&self) -> Vec<Value> {
        self.company.catalog.office_hours.clone()
    }

    /// Changes a field of a record of a list, by its position; its `updatedAt` moves.
    pub fn change_listed(&mut self, list: List, at: usize, field: &str, to: Value) -> bool {
        let stamp = self.stamp();
        let catalog = &mut self.lists_mut().catalog;
        let all = match list {
            List::CustomFields => &mut catalog.custom_fields,
            List::Templates => &mut catalog.templates,
            List::Portfolios => &mut catalog.portfolios,
            List::OfficeHours => {
                let Some(hours) = catalog.office_hours.get_mut(at) else {
                    return false;
                };
                hours[field] = to;
                return true;
            }
            _ => return false,
        };
        let Some(shown) = all.get_mut(at) else {
            return false;
        };
        shown.value[field] = to;
        shown.updated_at = stamp;
        shown.value["updatedAt"] = json!(stamp.to_string());
        true
    }

    /// Removes a record from a list, by its position.
    pub fn drop_listed(&mut self, list: List, at: usize) -> bool {
        let catalog = &mut self.lists_mut().catalog;
        let all = match list {
            List::CustomFields => &mut catalog.custom_fields,
            List::Templates => &mut catalog.templates,
            List::Portfolios => &mut catalog.portfolios,
            List::OfficeHours if at < catalog.office_hours.len() => {
                catalog.office_hours.remove(at);
                return true;
            }
            _ => return false,
        };
        if at >= all.len() {
            return false;
        }
        all.remove(at);
        true
    }
}
