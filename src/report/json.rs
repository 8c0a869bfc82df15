//! A report as JSON: whole numbers, seconds, shares of 1.

use serde_json::{Map, Value as Json, json};

use super::Report;
use super::language::Language;
use super::sheet::{Sheet, Value};
use super::words::Words;
use crate::reporting::{Period, Times};

/// Sections that stand in it in another form.
const ELSEWHERE: [&str; 4] = ["about", "figures", "times", "definitions"];

#[expect(clippy::cast_possible_truncation, reason = "it is whole")]
fn number(number: f64) -> Json {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        json!(number as i64)
    } else {
        json!(number)
    }
}

fn value(value: &Value) -> Json {
    match value {
        Value::None => Json::Null,
        Value::Text(text) => json!(text),
        Value::Link(text, url) => json!({"text": text, "url": url}),
        Value::Date(date) => json!(date.to_string()),
        other => other.number().map_or(Json::Null, number),
    }
}

fn rows(sheet: &Sheet) -> Json {
    let row = |row: &Vec<Value>| {
        let columns = sheet.columns.iter().map(|column| column.key.to_owned());
        Json::Object(columns.zip(row.iter().map(value)).collect())
    };
    sheet.rows.iter().map(row).collect()
}

fn times(times: &Times) -> Json {
    json!({"n": times.n, "average": times.average, "median": times.median, "p90": times.p90})
}

/// The whole report.
pub(super) fn render(report: &Report) -> Result<Vec<u8>, serde_json::Error> {
    // Names for programs are the same in every language.
    let words = Words::whole(report, Language::En);
    let zone = report.zone();
    let period = |period: &Period| {
        let (starts, ends) = period.instants(zone);
        let at = |micros| crate::data::Timestamp::from_micros(micros).to_string();
        json!({
            "from": period.from.to_string(),
            "to": period.to.to_string(),
            "days": period.days(),
            "starts_at": at(starts),
            "ends_at": at(ends),
            "is_open": period.until.is_some(),
        })
    };
    let question = &report.figures.question;
    let filters = report.filters.iter();
    let filters: Map<String, Json> = filters
        .map(|filter| (filter.of.to_owned(), json!(filter.names)))
        .collect();
    let mut figures = Map::new();
    for figure in words.figures() {
        let of = json!({
            "value": value(&figure.value),
            "n": figure.n,
            "before": value(&figure.before),
            "n_before": report.figures.before.as_ref().map(|_| figure.n_before),
            "change": figure.moved().map(super::Moved::value),
        });
        figures.insert(figure.key.to_owned(), of);
    }
    let mut metrics = Map::new();
    for metric in words.metrics() {
        let mut of = times(&metric.times);
        of["before"] = metric.before.as_ref().map_or(Json::Null, times);
        metrics.insert(metric.key.to_owned(), of);
    }
    let mut sections = Map::new();
    for sheet in words.sheets() {
        if !ELSEWHERE.contains(&sheet.key) {
            sections.insert(sheet.key.to_owned(), rows(&sheet));
        }
    }
    let mut whole = json!({
        "account": report.account,
        "period": period(&question.period),
        "compared": question.compared.as_ref().map(period),
        "time_zone": zone.name(),
        "as_of": report.as_of.map(|at| at.to_string()),
        "open_hours": report.has_hours().then(|| report.settings.hours.describe()),
        "currency": report.settings.currency,
        "filters": filters,
        "is_partial": report.is_partial,
        "is_in_progress": words.is_in_progress(),
        "is_provisional": words.is_provisional(),
        "notes": words.period_notes(),
        "by": question.by.as_str(),
        "verified_at": report.verified.map(|(at, _)| at.to_string()),
        "verified_differing": report.verified.map(|(_, differing)| differing),
        "figures": figures,
        "times": metrics,
        "sections": sections,
    });
    if report.has_definitions {
        let definitions = words.definitions().into_iter();
        whole["definitions"] = definitions
            .map(|(name, meaning)| (name.to_owned(), json!(meaning)))
            .collect::<Map<_, _>>()
            .into();
        whole["calibration"] = json!(words.calibration());
    }
    let mut bytes = serde_json::to_vec_pretty(&whole)?;
    bytes.push(b'\n');
    Ok(bytes)
}
