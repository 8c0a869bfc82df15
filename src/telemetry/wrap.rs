//! Breaks text for people into lines that fit a terminal, between words only.

use std::io::{self, Write};

use textwrap::{Options, WordSeparator, WordSplitter};

/// The narrowest width that text is broken to.
const NARROWEST: u16 = 20;

/// The text with line breaks between words, so that its lines fit `width`; lines after the first begin
/// with `indent`. A word that is longer than a line stays whole. Without a width, nothing is changed.
pub fn wrapped(text: &str, width: Option<u16>, indent: &str) -> String {
    let Some(width) = width else {
        return text.to_owned();
    };
    let options = Options::new(usize::from(width.max(NARROWEST)))
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .subsequent_indent(indent);
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| textwrap::fill(line, &options))
        .collect();
    lines.join("\n")
}

/// Breaks the lines that are written to it, as [`wrapped`] does.
#[derive(Debug)]
pub struct Wrapping<W: Write> {
    out: W,
    width: Option<u16>,
    line: Vec<u8>,
}

impl<W: Write> Wrapping<W> {
    /// Writes to `out`, whose lines fit `width`.
    pub fn new(out: W, width: Option<u16>) -> Self {
        Self {
            out,
            width,
            line: Vec::new(),
        }
    }
}

impl<W: Write> Write for Wrapping<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.width.is_none() {
            return self.out.write(bytes);
        }
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let text = String::from_utf8_lossy(&line);
                self.out
                    .write_all(wrapped(&text, self.width, "  ").as_bytes())?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_and_nothing_is_lost() {
        let text = "error: cannot use the database sqlite:///a/very/long/path/helena-sync.db: no";
        let broken = wrapped(text, Some(30), "  ");
        assert_eq!(
            broken,
            "error: cannot use the database\n  sqlite:///a/very/long/path/helena-sync.db:\n  no"
        );
        assert_eq!(wrapped(text, None, "  "), text);
        let coloured = "\u{1b}[31mred\u{1b}[0m and eleven";
        assert_eq!(wrapped(coloured, Some(20), ""), coloured);
        let mut out = Vec::new();
        let mut lines = Wrapping::new(&mut out, Some(24));
        lines.write_all(b"one two three four").unwrap();
        lines.write_all(b" five six\n\nseven\n").unwrap();
        assert_eq!(out, b"one two three four five\n  six\n\nseven\n");
    }
}
