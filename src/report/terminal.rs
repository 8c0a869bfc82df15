//! A report as plain tables: for a terminal, and as Markdown.

use std::fmt::Write as _;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::Report;
use super::language::Language;
use super::sheet::{Kind, Sheet};
use super::words::Words;
use crate::output::cell;

/// For a terminal: the head, the figures, the times and the breakdown.
pub(super) fn table(report: &Report, language: Language, width: Option<u16>) -> String {
    let words = Words::new(report, language);
    let mut text = String::new();
    // Writing to a String cannot fail.
    let head = words.head();
    let longest = head.iter().map(|(what, _)| what.chars().count()).max();
    for (what, value) in head {
        let space = longest.unwrap_or(0) - what.chars().count() + 2;
        let _ = writeln!(text, "{what}{}{}", " ".repeat(space), cell(&value));
    }
    let question = &report.figures.question;
    let mut sheets = vec![
        words.figures_sheet(),
        words.times_sheet(),
        words.short(question.by, &report.figures.by),
    ];
    if question.by == crate::reporting::By::Tag {
        sheets[2].notes = words.by_sheet().notes;
    }
    if report.has_definitions {
        sheets.push(words.quality());
    }
    for sheet in &mut sheets {
        if sheet.key == "figures" || sheet.key == "times" {
            without_empty_columns(sheet);
        }
        let _ = write!(text, "\n{}\n", sheet.title.to_uppercase());
        text.push_str(&laid_out(sheet, words, width));
        for note in &sheet.notes {
            let _ = writeln!(text, "{note}");
        }
    }
    if report.has_definitions {
        let title = words.definitions_sheet().title;
        let _ = write!(text, "\n{}\n", title.to_uppercase());
        for (name, meaning) in words.definitions() {
            let _ = writeln!(text, "{name}: {meaning}");
        }
    }
    text.replace('\u{a0}', " ")
}

/// Leaves out what is empty in every row.
fn without_empty_columns(sheet: &mut Sheet) {
    let mut place = sheet.columns.len();
    while place > 0 {
        place -= 1;
        if sheet
            .rows
            .iter()
            .all(|row| row[place] == super::Value::None)
        {
            sheet.columns.remove(place);
            for row in &mut sheet.rows {
                row.remove(place);
            }
        }
    }
}

/// A table with as many columns, from the left, as the terminal has room for.
fn laid_out(sheet: &Sheet, words: Words<'_>, width: Option<u16>) -> String {
    let shown: Vec<Vec<String>> = sheet
        .rows
        .iter()
        .map(|row| row.iter().map(|value| cell(&words.shown(value))).collect())
        .collect();
    let mut count = 0;
    let mut taken = 0;
    for (place, column) in sheet.columns.iter().enumerate() {
        let lengths = shown.iter().map(|row| row[place].chars().count());
        let longest = lengths.chain([column.head.chars().count()]).max();
        // The cell's padding is a column on either side.
        taken += 2 + longest.unwrap_or(0);
        if place > 0 && width.is_some_and(|width| taken > usize::from(width)) {
            break;
        }
        count += 1;
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(sheet.columns.iter().take(count).map(|it| it.head.as_str()));
    for row in &shown {
        table.add_row(row.iter().take(count));
    }
    for (place, column) in sheet.columns.iter().take(count).enumerate() {
        if column.kind != Kind::Text
            && let Some(column) = table.column_mut(place)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = String::new();
    for line in table.lines() {
        // The column padding before the first cell.
        let line = line.strip_prefix(' ').unwrap_or(&line).trim_end();
        let _ = writeln!(text, "{line}");
    }
    text
}

/// As Markdown: all sections.
pub(super) fn markdown(report: &Report, language: Language) -> String {
    let words = Words::new(report, language);
    let mut text = format!("# {}\n\n", plain(&words.title()));
    for (what, value) in words.head() {
        let _ = writeln!(text, "- **{what}**: {}", plain(&value));
    }
    let changes = words.changes();
    if !changes.is_empty() {
        let title = language.pick("Largest changes", "Maiores mudanças");
        let _ = write!(text, "\n## {title}\n\n");
        for change in changes {
            let _ = writeln!(text, "- {}", plain(&change));
        }
    }
    for sheet in words.sheets() {
        let is_elsewhere = sheet.key == "about";
        let is_unasked = !report.has_definitions && matches!(sheet.key, "quality" | "definitions");
        // As on the page: a breakdown that a section has anyway is shown only where it is asked for.
        let is_twice = sheet.key == "by" && !report.is_by_asked;
        if is_elsewhere || is_unasked || is_twice || sheet.rows.is_empty() {
            continue;
        }
        let _ = write!(text, "\n## {}\n\n", plain(&sheet.title));
        for note in &sheet.notes {
            let _ = write!(text, "{}\n\n", plain(note));
        }
        let heads: Vec<String> = sheet.columns.iter().map(|it| plain(&it.head)).collect();
        let _ = writeln!(text, "| {} |", heads.join(" | "));
        let lines = sheet.columns.iter().map(|column| match column.kind {
            Kind::Text => "---",
            Kind::Number | Kind::Seconds => "---:",
        });
        let _ = writeln!(text, "| {} |", lines.collect::<Vec<_>>().join(" | "));
        for row in &sheet.rows {
            let cells = row.iter().map(|value| plain(&words.shown(value)));
            let _ = writeln!(text, "| {} |", cells.collect::<Vec<_>>().join(" | "));
        }
    }
    text.replace('\u{a0}', " ")
}

/// A text of which Markdown makes nothing.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in cell(text).chars() {
        match c {
            '<' => plain.push_str("&lt;"),
            '&' => plain.push_str("&amp;"),
            '\\' | '|' | '*' | '_' | '`' | '[' | ']' | '#' | '~' | '!' => {
                plain.push('\\');
                plain.push(c);
            }
            c => plain.push(c),
        }
    }
    plain
}
