//! The breakdown of a report as CSV.
//!
//! By default as RFC 4180 has it, with columns named as in JSON. In Portuguese as the spreadsheets of Brazil
//! open it: semicolons, decimal commas, a byte order mark. Texts stand in quotes, and what a spreadsheet would
//! take for a formula gets an apostrophe, also where the spreadsheet separates by another character.

use csv::{QuoteStyle, Terminator, WriterBuilder};

use super::Report;
use super::language::Language;
use super::sheet::{Kind, Value};
use super::words::Words;
use crate::output::{harmless, quoted};

/// A number of at most six decimals.
fn decimal(number: f64, language: Language) -> String {
    let text = format!("{number:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let text = if text == "-0" { "0" } else { text };
    language.pick(text, &text.replace('.', ",")).to_owned()
}

fn cell(value: &Value, language: Language, is_exact: bool) -> String {
    match value {
        Value::None => String::new(),
        Value::Text(text) | Value::Link(text, _) if is_exact => quoted(text),
        Value::Text(text) | Value::Link(text, _) => quoted(&harmless(text)),
        Value::Date(date) => match language {
            Language::En => date.to_string(),
            Language::PtBr => language.date(*date),
        },
        other => other
            .number()
            .map_or_else(String::new, |number| decimal(number, language)),
    }
}

/// The breakdown.
pub(super) fn render(report: &Report, language: Language) -> Result<Vec<u8>, csv::Error> {
    let sheet = Words::whole(report, language).by_sheet();
    let mut bytes = Vec::new();
    let mut builder = WriterBuilder::new();
    builder
        // Texts are quoted here already, and numbers are not: "" is no missing number for databases.
        .quote_style(QuoteStyle::Never)
        .terminator(Terminator::CRLF);
    if language == Language::PtBr {
        bytes.extend_from_slice("\u{feff}".as_bytes());
        builder.delimiter(b';');
    }
    let mut writer = builder.from_writer(bytes);
    // In Portuguese durations are in minutes, too.
    let has_minutes = |kind| kind == Kind::Seconds && language == Language::PtBr;
    let mut heads = Vec::new();
    for column in &sheet.columns {
        match language {
            Language::En if column.kind == Kind::Seconds => {
                heads.push(format!("{}_seconds", column.key));
            }
            Language::En => heads.push(column.key.to_owned()),
            Language::PtBr if has_minutes(column.kind) => {
                heads.push(quoted(&format!("{} (s)", column.head)));
                heads.push(quoted(&format!("{} (min)", column.head)));
            }
            Language::PtBr => heads.push(quoted(&column.head)),
        }
    }
    writer.write_record(&heads)?;
    for row in &sheet.rows {
        let mut cells = Vec::new();
        for (value, column) in row.iter().zip(&sheet.columns) {
            cells.push(cell(value, language, report.is_exact));
            if has_minutes(column.kind) {
                let minutes = value.number().map(|seconds| seconds / 60.0);
                cells.push(minutes.map_or_else(String::new, |minutes| {
                    format!("{minutes:.1}").replace('.', ",")
                }));
            }
        }
        writer.write_record(&cells)?;
    }
    writer
        .into_inner()
        .map_err(|error| csv::Error::from(error.into_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_mark_of_their_language() {
        assert_eq!(decimal(22.5, Language::PtBr), "22,5");
        assert_eq!(decimal(22.5, Language::En), "22.5");
        assert_eq!(decimal(1_234.0, Language::PtBr), "1234");
        assert_eq!(decimal(-0.000_000_1, Language::En), "0");
        assert_eq!(decimal(100.0, Language::En), "100");
    }
}
