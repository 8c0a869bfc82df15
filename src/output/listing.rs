//! Prints records as a table, JSON, JSON lines or CSV.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::str::FromStr;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, Width};

use crate::telemetry::wrapped;

use super::csv::harmless_cell;

/// The format in which records are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// A table that fits the terminal.
    #[default]
    Table,
    /// One JSON array of complete records.
    Json,
    /// One complete record as JSON on each line.
    Ndjson,
    /// All columns, separated by commas, with a header.
    Csv,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Table, Self::Json, Self::Ndjson, Self::Csv];

    /// As typed on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Format {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|format| format.as_str() == text)
            .ok_or_else(|| "must be table, json, ndjson or csv".to_owned())
    }
}

/// The width of the terminal on stdout. `None` if stdout is a file or a pipe, where tables are not
/// cut.
pub fn terminal_width() -> Option<u16> {
    if !io::stdout().is_terminal() {
        return None;
    }
    Table::new().width()
}

/// Replaces control characters, which could move a terminal's cursor, with spaces.
pub fn cell(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Prints records one by one. Only a table keeps them in memory.
pub struct Printer<W: Write> {
    out: Out<W>,
    count: u64,
    is_exact: bool,
}

enum Out<W: Write> {
    Table {
        out: W,
        columns: Vec<String>,
        rows: Vec<Vec<String>>,
        width: Option<u16>,
        /// The column whose cells are printed on lines of their own.
        apart: Option<usize>,
    },
    Json(W),
    Ndjson(W),
    Csv(Box<::csv::Writer<W>>),
}

impl<W: Write> Printer<W> {
    /// A printer of records with these columns. `width` is the terminal's width, if stdout is a
    /// terminal.
    pub fn new(
        mut out: W,
        format: Format,
        columns: &[&str],
        width: Option<u16>,
    ) -> io::Result<Self> {
        let out = match format {
            Format::Table => {
                let columns = columns.iter().map(|&name| name.to_owned()).collect();
                let rows = Vec::new();
                Out::Table {
                    out,
                    columns,
                    rows,
                    width,
                    apart: None,
                }
            }
            Format::Json => {
                out.write_all(b"[")?;
                Out::Json(out)
            }
            Format::Ndjson => Out::Ndjson(out),
            Format::Csv => {
                let mut writer = ::csv::Writer::from_writer(out);
                writer.write_record(columns).map_err(of_csv)?;
                Out::Csv(Box::new(writer))
            }
        };
        Ok(Self {
            out,
            count: 0,
            is_exact: false,
        })
    }

    /// The same, but CSV has texts as they are, also those that a spreadsheet takes for formulas.
    #[must_use]
    pub const fn exact(mut self, is_exact: bool) -> Self {
        self.is_exact = is_exact;
        self
    }

    /// On a terminal, prints the cells of this column on lines of their own, below the record and never
    /// cut: for errors and reasons.
    #[must_use]
    pub fn apart(mut self, column: &str) -> Self {
        if let Out::Table {
            columns,
            width: Some(_),
            apart,
            ..
        } = &mut self.out
        {
            *apart = columns.iter().position(|name| name == column);
        }
        self
    }

    /// Prints a record. `cells` has one text for each column; `json` is the complete record.
    pub fn record(&mut self, cells: &[String], json: &str) -> io::Result<()> {
        self.count += 1;
        match &mut self.out {
            Out::Table { rows, .. } => {
                rows.push(cells.iter().map(|text| cell(text)).collect());
            }
            Out::Json(out) => {
                let before = if self.count == 1 { "\n" } else { ",\n" };
                write!(out, "{before}  {}", one_line(json))?;
            }
            Out::Ndjson(out) => writeln!(out, "{}", one_line(json))?,
            Out::Csv(writer) if self.is_exact => writer.write_record(cells).map_err(of_csv)?,
            Out::Csv(writer) => {
                let cells = cells.iter().map(|text| harmless_cell(text));
                writer
                    .write_record(cells.map(Cow::into_owned))
                    .map_err(of_csv)?;
            }
        }
        Ok(())
    }

    /// Ends the output and returns the number of records. A table without rows prints nothing.
    pub fn finish(self) -> io::Result<u64> {
        match self.out {
            Out::Table {
                mut out,
                mut columns,
                mut rows,
                width,
                apart,
            } => {
                if self.count > 0 {
                    let mut notes = Vec::new();
                    if let Some(apart) = apart {
                        columns.remove(apart);
                        notes.extend(rows.iter_mut().map(|row| row.remove(apart)));
                    }
                    let (table, hidden) = laid_out(&columns, &rows, width);
                    for (number, line) in table.lines().enumerate() {
                        // The column padding before the first cell.
                        let line = line.strip_prefix(' ').unwrap_or(&line);
                        writeln!(out, "{}", line.trim_end())?;
                        // The first line is the header.
                        let note = number.checked_sub(1).and_then(|row| notes.get(row));
                        if let Some(note) = note.filter(|note| !note.is_empty()) {
                            writeln!(out, "{}", wrapped(&format!("  {note}"), width, "  "))?;
                        }
                    }
                    if !hidden.is_empty() {
                        let text = format!(
                            "(no room for {}; a wider terminal shows more)",
                            hidden.join(", ")
                        );
                        writeln!(out, "{}", wrapped(&text, width, " "))?;
                    }
                }
                out.flush()?;
            }
            Out::Json(mut out) => {
                out.write_all(if self.count == 0 { b"]\n" } else { b"\n]\n" })?;
                out.flush()?;
            }
            Out::Ndjson(mut out) => out.flush()?,
            Out::Csv(mut writer) => writer.flush()?,
        }
        Ok(self.count)
    }
}

/// The I/O error inside an error of the CSV writer, so that the caller still recognises a closed
/// pipe.
fn of_csv(error: ::csv::Error) -> io::Error {
    match error.into_kind() {
        ::csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// Columns up to this width, such as times and statuses, are never cut.
const WHOLE: usize = 20;
/// The minimum width of a wider column.
const LEAST: usize = 12;

/// Whether the cells of a column are numbers, which are right-aligned.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit())
        && digits
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, ',' | '.'))
}

/// Right-aligns columns of numbers. `shown` has the index of each column of the table.
fn align(table: &mut Table, rows: &[Vec<String>], shown: impl Iterator<Item = usize>) {
    for (place, index) in shown.enumerate() {
        let mut cells = rows
            .iter()
            .filter_map(|row| row.get(index))
            .filter(|text| !text.is_empty() && *text != "-")
            .peekable();
        if cells.peek().is_some()
            && cells.all(|text| is_number(text))
            && let Some(column) = table.column_mut(place)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// A table that fits `width`. It omits empty columns, cuts wide ones, and then omits columns from the
/// right that still do not fit. Also returns the names of the latter.
fn laid_out(columns: &[String], rows: &[Vec<String>], width: Option<u16>) -> (Table, Vec<String>) {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_truncation_indicator("…");
    let Some(width) = width else {
        table.set_header(columns);
        table.add_rows(rows);
        align(&mut table, rows, 0..columns.len());
        return (table, Vec::new());
    };
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width);
    let mut shown: Vec<usize> = Vec::new();
    let mut whole: Vec<bool> = Vec::new();
    let mut hidden = Vec::new();
    let mut taken = 0;
    for (index, name) in columns.iter().enumerate() {
        let lengths = rows
            .iter()
            .filter_map(|row| row.get(index))
            .map(|text| text.chars().count());
        let longest = lengths.max().unwrap_or(0);
        let wanted = longest.max(name.chars().count());
        // The cell's padding is a column on either side.
        let needed = 2 + if wanted <= WHOLE { wanted } else { LEAST };
        let fits = taken + needed <= usize::from(width);
        if longest > 0 && (fits || shown.is_empty()) {
            taken += needed;
            shown.push(index);
            whole.push(wanted <= WHOLE && fits);
        } else if longest > 0 {
            hidden.push(name.clone());
        }
    }
    let pick = |cells: &[String]| -> Vec<String> {
        shown
            .iter()
            .map(|&index| cells.get(index).cloned().unwrap_or_default())
            .collect()
    };
    table.set_header(pick(columns));
    for row in rows {
        let mut row = Row::from(pick(row));
        row.max_height(1);
        table.add_row(row);
    }
    align(&mut table, rows, shown.iter().copied());
    table.set_constraints(whole.into_iter().map(|whole| {
        if whole {
            ColumnConstraint::ContentWidth
        } else {
            ColumnConstraint::LowerBoundary(Width::Fixed(4))
        }
    }));
    (table, hidden)
}

/// JSON text without line breaks. Outside of strings they are white space; inside they cannot occur.
fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(format: Format, width: Option<u16>, rows: &[(&[&str], &str)]) -> String {
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, format, &["number", "contact"], width).unwrap();
        for (cells, json) in rows {
            let cells: Vec<String> = cells.iter().map(|text| (*text).to_owned()).collect();
            printer.record(&cells, json).unwrap();
        }
        assert_eq!(printer.finish().unwrap(), rows.len() as u64);
        String::from_utf8(out).unwrap()
    }

    const ROWS: &[(&[&str], &str)] = &[
        (&["1", "Ana, of \"Casa\""], "{\"id\":\n1}"),
        (&["22", "Zé"], "{\"id\":2}"),
    ];

    #[test]
    fn json_is_one_array_of_whole_records() {
        assert_eq!(
            printed(Format::Json, None, ROWS),
            "[\n  {\"id\": 1},\n  {\"id\":2}\n]\n"
        );
        assert_eq!(printed(Format::Json, None, &[]), "[]\n");
    }

    #[test]
    fn ndjson_is_one_record_a_line() {
        assert_eq!(
            printed(Format::Ndjson, None, ROWS),
            "{\"id\": 1}\n{\"id\":2}\n"
        );
        assert_eq!(printed(Format::Ndjson, None, &[]), "");
    }

    #[test]
    fn csv_quotes_what_needs_it_and_has_a_header_even_if_empty() {
        assert_eq!(
            printed(Format::Csv, None, ROWS),
            "number,contact\n1,\"Ana, of \"\"Casa\"\"\"\n22,Zé\n"
        );
        assert_eq!(printed(Format::Csv, None, &[]), "number,contact\n");
    }

    #[test]
    fn csv_keeps_formulas_from_spreadsheets_unless_it_is_to_be_exact() {
        let rows = ["-12.5".to_owned(), "=HYPERLINK(\"x\")".to_owned()];
        for (is_exact, expected) in [
            (false, "number,contact\n-12.5,\"'=HYPERLINK(\"\"x\"\")\"\n"),
            (true, "number,contact\n-12.5,\"=HYPERLINK(\"\"x\"\")\"\n"),
        ] {
            let mut out = Vec::new();
            let columns = ["number", "contact"];
            let printer = Printer::new(&mut out, Format::Csv, &columns, None).unwrap();
            let mut printer = printer.exact(is_exact);
            printer.record(&rows, "{}").unwrap();
            printer.finish().unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn a_table_fits_its_terminal_with_one_line_a_record() {
        let long = "a name that is far too long for the terminal that it is shown in";
        let rows: &[(&[&str], &str)] = &[(&["1", long], "{}"), (&["2", "Zé"], "{}")];
        let text = printed(Format::Table, Some(40), rows);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 40),
            "{text}"
        );
        assert!(text.contains('…'), "{text}");
        let whole = printed(Format::Table, None, rows);
        assert!(whole.contains(long), "{whole}");
        assert_eq!(printed(Format::Table, None, &[]), "");
    }

    #[test]
    fn what_has_no_room_is_left_out_from_the_right_and_the_rest_stays_readable() {
        let mut out = Vec::new();
        let columns = ["number", "created", "agent", "contact", "id"];
        let mut printer = Printer::new(&mut out, Format::Table, &columns, Some(60)).unwrap();
        let cells = [
            "2026000",
            "2026-01-01 00:00",
            "",
            "Maria da Silva e Souza de Albuquerque",
            "00000000-0000-4000-8000-000000000100",
        ];
        printer.record(&cells.map(str::to_owned), "{}").unwrap();
        printer.finish().unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.lines().all(|line| line.chars().count() <= 60),
            "{text}"
        );
        assert!(text.contains("2026000  2026-01-01 00:00  Maria"), "{text}");
        assert!(!text.contains("agent"), "{text}");
    }

    #[test]
    fn numbers_are_right_aligned_and_reasons_stand_below_in_full() {
        let print = |width| {
            let mut out = Vec::new();
            let columns = ["name", "rows", "reason"];
            let printer = Printer::new(&mut out, Format::Table, &columns, width).unwrap();
            let mut printer = printer.apart("reason");
            let reason = "it has a value of another kind than the one that was expected";
            for cells in [["a", "1,200", reason], ["b", "3", ""]] {
                printer.record(&cells.map(str::to_owned), "{}").unwrap();
            }
            printer.finish().unwrap();
            String::from_utf8(out).unwrap()
        };
        insta::assert_snapshot!(print(Some(40)), @r"
        name   rows
        a     1,200
          it has a value of another kind than
          the one that was expected
        b         3
        ");
        // A program may read lines.
        assert_eq!(print(None).lines().count(), 3);
    }

    /// A reader that has gone away.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn a_reader_that_goes_away_is_seen_as_one_in_every_format() {
        for format in Format::ALL {
            let print = || {
                let mut printer = Printer::new(Closed, format, &["number"], None)?;
                // More than any buffer holds.
                for _ in 0..10_000 {
                    printer.record(&["0123456789".to_owned()], "{}")?;
                }
                printer.finish()
            };
            let kind = print().unwrap_err().kind();
            assert_eq!(kind, io::ErrorKind::BrokenPipe, "{format}");
        }
    }

    #[test]
    fn control_characters_cannot_reach_the_terminal() {
        let text = printed(Format::Table, None, &[(&["1", "a\u{1b}[2Jb\nc"], "{}")]);
        assert!(text.contains("a [2Jb c"), "{text}");
    }
}
