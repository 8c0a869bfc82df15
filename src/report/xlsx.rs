//! A report as a workbook: a sheet for each section, with real numbers and days, and a head that stays.

use rust_xlsxwriter::{
    Color, DocProperties, ExcelDateTime, Format, FormatAlign, FormatBorder, Url, Workbook,
    Worksheet, XlsxError,
};

use super::Report;
use super::language::Language;
use super::sheet::{Kind, Sheet, Value};
use super::words::Words;

/// As long as a name of a sheet may be.
const LONGEST_NAME: usize = 31;

/// As long as a text in a cell may be.
const LONGEST_TEXT: usize = 32_767;

/// The formats of cells.
struct Formats {
    head: Format,
    head_right: Format,
    text: Format,
    date: Format,
    count: Format,
    decimal: Format,
    share: Format,
    money: Format,
    duration: Format,
    link: Format,
    note: Format,
}

impl Formats {
    fn new(language: Language, currency: &str) -> Self {
        let line = Color::RGB(0x00C9_CED6);
        let head = Format::new()
            .set_bold()
            .set_text_wrap()
            .set_align(FormatAlign::Top)
            .set_border_bottom(FormatBorder::Thin)
            .set_border_bottom_color(line);
        let symbol = language.money(0.0, currency);
        let symbol = symbol.split('\u{a0}').next().unwrap_or_default();
        // Nothing of the configuration may end the quotes.
        let symbol = symbol.replace('"', "");
        let number = |format: &str| {
            Format::new()
                .set_num_format(format)
                .set_align(FormatAlign::Right)
        };
        Self {
            head_right: head.clone().set_align(FormatAlign::Right),
            head,
            text: Format::new().set_align(FormatAlign::Top),
            date: Format::new()
                .set_num_format(language.pick("yyyy-mm-dd", "dd/mm/yyyy"))
                .set_align(FormatAlign::Left),
            count: number("#,##0"),
            decimal: number("#,##0.0"),
            share: number("0.0%"),
            money: number(&format!("\"{symbol}\"\\ #,##0.00")),
            // A day's part that may be longer than a day.
            duration: number("[h]:mm:ss"),
            link: Format::new()
                .set_font_color(Color::RGB(0x001F_5FBF))
                .set_underline(rust_xlsxwriter::FormatUnderline::Single),
            note: Format::new().set_font_color(Color::RGB(0x0059_6270)),
        }
    }
}

/// The whole report.
pub(super) fn render(report: &Report, language: Language) -> Result<Vec<u8>, XlsxError> {
    let words = Words::whole(report, language);
    let formats = Formats::new(language, &report.settings.currency);
    let mut workbook = Workbook::new();
    // The time of the data instead of the present, so that the same data give the same bytes.
    let written = report.as_of.map_or_else(
        || ExcelDateTime::from_ymd(2020, 1, 1),
        |at| ExcelDateTime::from_timestamp(at.micros().div_euclid(1_000_000)),
    )?;
    let properties = DocProperties::new()
        .set_title(words.title())
        .set_creation_datetime(&written);
    workbook.set_properties(&properties);
    let mut names: Vec<String> = Vec::new();
    for sheet in words.sheets() {
        if sheet.rows.is_empty() || sheet.key == "by" && !report.is_by_asked {
            continue;
        }
        let name = named(&sheet.title, &names);
        names.push(name.to_lowercase());
        let page = workbook.add_worksheet();
        page.set_name(&name)?;
        fill(page, &sheet, words, &formats)?;
    }
    workbook.save_to_buffer()
}

/// A name that no other sheet has, without what Excel forbids.
fn named(title: &str, names: &[String]) -> String {
    let clean: String = title
        .chars()
        .map(|c| if "[]:*?/\\'".contains(c) { '-' } else { c })
        .take(LONGEST_NAME - 3)
        .collect();
    let mut name = clean.clone();
    let mut number = 2;
    while names.contains(&name.to_lowercase()) {
        name = format!("{clean} {number}");
        number += 1;
    }
    name
}

fn short(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).collect()
}

fn fill(
    page: &mut Worksheet,
    sheet: &Sheet,
    words: Words<'_>,
    formats: &Formats,
) -> Result<(), XlsxError> {
    let language = words.lang;
    // In Portuguese durations are in minutes, too.
    let has_minutes = |kind| kind == Kind::Seconds && language == Language::PtBr;
    let mut column = 0;
    for it in &sheet.columns {
        let format = match it.kind {
            Kind::Text => &formats.head,
            Kind::Number | Kind::Seconds => &formats.head_right,
        };
        let head = match it.kind {
            Kind::Seconds => format!("{} (s)", it.head),
            Kind::Text | Kind::Number => it.head.clone(),
        };
        page.write_with_format(0, column, head, format)?;
        page.set_column_width(column, width(sheet, words, it))?;
        column += 1;
        if has_minutes(it.kind) {
            page.write_with_format(0, column, format!("{} (min)", it.head), format)?;
            page.set_column_width(column, width(sheet, words, it))?;
            column += 1;
        }
    }
    // Room for heads of two lines, which not every program makes by itself.
    page.set_row_height(0, 32)?;
    page.set_freeze_panes(1, 1)?;
    let mut line = 0;
    for row in &sheet.rows {
        line += 1;
        let mut column = 0;
        for (value, it) in row.iter().zip(&sheet.columns) {
            match value.number().filter(|_| it.kind == Kind::Seconds) {
                Some(seconds) => {
                    page.write_number_with_format(line, column, seconds, &formats.count)?;
                }
                None => write(page, line, column, value, formats)?,
            }
            column += 1;
            if has_minutes(it.kind) {
                if let Some(seconds) = value.number() {
                    let minutes = (seconds / 6.0).round() / 10.0;
                    page.write_with_format(line, column, minutes, &formats.decimal)?;
                }
                column += 1;
            }
        }
    }
    for note in &sheet.notes {
        line += 1;
        page.write_with_format(line + 1, 0, short(note), &formats.note)?;
    }
    page.set_landscape();
    page.set_print_fit_to_pages(1, 0);
    page.set_repeat_rows(0, 0)?;
    Ok(())
}

fn write(
    page: &mut Worksheet,
    row: u32,
    column: u16,
    value: &Value,
    formats: &Formats,
) -> Result<(), XlsxError> {
    match value {
        Value::None => {}
        Value::Text(text) => {
            // As a text, whatever it begins with.
            page.write_string_with_format(row, column, short(text), &formats.text)?;
        }
        Value::Link(text, url) => {
            // Excel's own limit of an address.
            if url.chars().count() <= 2_000 {
                let link = Url::new(url).set_text(short(text));
                page.write_url_with_format(row, column, link, &formats.link)?;
            } else {
                page.write_string_with_format(row, column, short(text), &formats.text)?;
            }
        }
        Value::Date(date) => {
            page.write_date_with_format(row, column, date, &formats.date)?;
        }
        Value::Seconds(seconds) | Value::FewSeconds(seconds) => {
            page.write_number_with_format(row, column, seconds / 86_400.0, &formats.duration)?;
        }
        other => {
            let format = match other {
                Value::Number(_) => &formats.decimal,
                Value::Share(_) | Value::Moved(_) => &formats.share,
                Value::Money(_) => &formats.money,
                _ => &formats.count,
            };
            if let Some(number) = other.number() {
                page.write_number_with_format(row, column, number, format)?;
            }
        }
    }
    Ok(())
}

/// As wide as its values need, within reason.
#[expect(clippy::cast_precision_loss, reason = "widths are small")]
fn width(sheet: &Sheet, words: Words<'_>, column: &super::Column) -> f64 {
    let place = sheet.columns.iter().position(|it| it.key == column.key);
    let values = sheet
        .rows
        .iter()
        .filter_map(|row| row.get(place?))
        .map(|value| words.shown(value).chars().count());
    let head = column.head.chars().count();
    let head = if column.kind == Kind::Text {
        head
    } else {
        head.min(14)
    };
    let longest = values.chain([head]).max().unwrap_or(0);
    (longest as f64 + 2.0).clamp(8.0, 70.0)
}
