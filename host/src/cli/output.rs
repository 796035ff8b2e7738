//! How answers are written: escaped, aligned, coloured on a terminal only.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

use serde_json::Value;

use super::failure::Failure;
use crate::config;
use crate::text::acts;

/// The widest a column gets before its text is cut, in characters.
const MAX_COLUMN: usize = 60;

/// A colour of the eight every terminal has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ink {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Dim = 2,
    Bold = 1,
}

/// A command's answer on its way to stdout.
#[derive(Debug)]
pub(super) struct Page {
    text: String,
    colour: bool,
}

impl Page {
    pub(super) fn new() -> Self {
        Self { text: String::new(), colour: io::stdout().is_terminal() && !config::no_color() }
    }

    /// Adds a line as it is: for text of our own.
    pub(super) fn line(&mut self, text: impl AsRef<str>) {
        self.text.push_str(text.as_ref());
        self.text.push('\n');
    }

    /// Colours text of our own.
    pub(super) fn ink(&self, ink: Ink, text: &str) -> String {
        if self.colour { format!("\u{1b}[{}m{text}\u{1b}[0m", ink as u8) } else { text.to_owned() }
    }

    /// Adds `name  value`, the value escaped; nothing for an absent one.
    pub(super) fn field(&mut self, name: &str, value: &Value) {
        let value = text(value);
        if !value.is_empty() {
            let name = self.ink(Ink::Dim, &format!("{name:<16}"));
            self.line(format!("{name}{}", printable(&value)));
        }
    }

    /// Adds a table; the first row holds the names of the columns. Long cells are cut.
    pub(super) fn table(&mut self, rows: &[Vec<String>]) {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| cut(&printable(cell))).collect()).collect();
        self.aligned(&rows, true);
    }

    /// Adds rows without names, their cells whole.
    pub(super) fn rows(&mut self, rows: &[Vec<String>]) {
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
        self.aligned(&rows, false);
    }

    fn aligned(&mut self, rows: &[Vec<String>], head: bool) {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (index, row) in rows.iter().enumerate() {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                // Writing to a string cannot fail.
                let _ = write!(
                    line,
                    "{}{}  ",
                    self.cell(head && index == 0, cell),
                    " ".repeat(width - cell.chars().count())
                );
            }
            self.line(line.trim_end());
        }
    }

    fn cell(&self, head: bool, cell: &str) -> String {
        if head { self.ink(Ink::Dim, cell) } else { self.state(cell) }
    }

    /// Colours a word that names a state or an outcome.
    pub(super) fn state(&self, word: &str) -> String {
        match word {
            "done" | "ok" | "loaded" => self.ink(Ink::Green, word),
            "dead" | "failed" | "reject" | "trap" | "timeout" | "memory" | "error" | "crash" => {
                self.ink(Ink::Red, word)
            }
            "waiting" | "retry" | "stale" | "held" | "missing" => self.ink(Ink::Yellow, word),
            "cancelled" | "discarded" => self.ink(Ink::Dim, word),
            _ => word.to_owned(),
        }
    }

    /// Writes it out.
    pub(super) fn print(self) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(self.text.as_bytes())?;
        Ok(stdout.flush()?)
    }
}

/// Writes a JSON answer, indented.
pub(super) fn print_json(value: &Value) -> Result<(), Failure> {
    // In one piece: stdout would go out line by line.
    let text = format!("{value:#}\n");
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Writes a JSON answer as one line.
pub(super) fn print_json_line(value: &Value) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{value}")?;
    Ok(stdout.flush()?)
}

/// A scalar as people read it; `null` as nothing.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The text with everything escaped that could steer a terminal or reorder what is read.
pub(super) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// A length in bytes, for people.
pub(super) fn bytes(length: u64) -> String {
    bytesize::ByteSize::b(length).to_string()
}

fn cut(text: &str) -> String {
    if text.chars().count() <= MAX_COLUMN {
        return text.to_owned();
    }
    text.chars().take(MAX_COLUMN - 1).chain(['…']).collect()
}

/// An HTTP request of a plugin on one line, from what the API shows of it.
pub(super) fn call_line(call: &Value) -> String {
    let count = |name: &str| bytes(call[name].as_u64().unwrap_or(0));
    let refused = call["refused"] == true;
    let status = call["status"].as_u64().map(|status| format!(" → {status}"));
    let status = status.or(refused.then(|| " → refused".to_owned())).unwrap_or_default();
    let error = call["error"].as_str().map(|error| format!(": {error}")).unwrap_or_default();
    let (method, url, ms) = (text(&call["method"]), text(&call["url"]), &call["duration_ms"]);
    let (sent, received) = (count("sent_bytes"), count("received_bytes"));
    printable(&format!("{method} {url}{status}, {ms} ms, {sent} sent, {received} received{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_steer_a_terminal_is_escaped() {
        assert_eq!(printable("a\u{1b}[2Jb\n\u{9b}\u{202e}ü"), "a\\u{1b}[2Jb\\n\\u{9b}\\u{202e}ü");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut page = Page { text: String::new(), colour: false };
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        page.table(&[row(["A", "B"]), row(["longer", "x"]), row(["ü", "y"])]);
        assert_eq!(page.text, "A       B\nlonger  x\nü       y\n");
    }
}
