//! Writes answers: escaped and aligned; coloured and cut to its width on a terminal only.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

use serde_json::Value;

use super::failure::Failure;
use super::remarks;
use crate::env;
use crate::text::{duration, needs_escape};

mod columns;

pub(super) use columns::Columns;
use columns::{GAP, cut};

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
pub(super) struct Printout {
    text: String,
    /// Lines that are no part of the answer.
    remarks: Vec<String>,
    colour: bool,
    /// The characters of a line; `None` where a line has no end.
    width: Option<usize>,
}

impl Printout {
    pub(super) fn new() -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let size = if is_terminal { rustix::termios::tcgetwinsize(&stdout).ok() } else { None };
        Self {
            text: String::new(),
            remarks: Vec::new(),
            colour: env::colour(is_terminal),
            width: size.map(|size| usize::from(size.ws_col)).filter(|width| *width > 0),
        }
    }

    /// Adds a line as it is: for text of our own.
    pub(super) fn line(&mut self, text: impl AsRef<str>) {
        self.text.push_str(text.as_ref());
        self.text.push('\n');
    }

    /// Adds a line, cut to the width of a terminal; `state` is a word in it that is coloured.
    pub(super) fn cut_line(&mut self, text: &str, state: Option<&str>) {
        let mut line = self.width.map_or_else(|| text.to_owned(), |width| cut(text, width));
        if let Some(state) = state {
            let coloured = self.state(state);
            line = line.replacen(&format!("  {state}"), &format!("  {coloured}"), 1);
        }
        self.line(line);
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

    /// Adds a line that is no part of the answer: it goes to stderr, after it.
    pub(super) fn remark(&mut self, text: String) {
        self.remarks.push(text);
    }

    /// Adds a table; the first row holds the names of the columns. On a terminal its cells are cut
    /// to fit a line.
    pub(super) fn table(&mut self, rows: &[Vec<String>]) {
        let Some((head, rows)) = rows.split_first() else { return };
        let names: Vec<(&str, usize)> = head.iter().map(|name| (name.as_str(), 0)).collect();
        let mut columns = Columns::new(&names);
        let rows = escaped(rows);
        columns.grow(&rows);
        self.head(&columns);
        self.aligned(&rows, &columns.within(self.width));
    }

    /// Adds the names of columns.
    pub(super) fn head(&mut self, columns: &Columns) {
        let widths = columns.within(self.width);
        let names = columns.names.iter().zip(&widths).map(|(name, width)| cut(name, *width));
        let cells: Vec<String> = names.collect();
        self.row(&cells, &widths, |out, cell| out.ink(Ink::Dim, cell));
    }

    /// Adds rows under columns that are there already, and makes these wider where it must be.
    pub(super) fn more(&mut self, columns: &mut Columns, rows: &[Vec<String>]) {
        let rows = escaped(rows);
        columns.grow(&rows);
        self.aligned(&rows, &columns.within(self.width));
    }

    /// Adds rows without names, their cells whole.
    pub(super) fn rows(&mut self, rows: &[Vec<String>]) {
        let rows = escaped(rows);
        let mut columns =
            Columns::new(&vec![("", 0); rows.iter().map(Vec::len).max().unwrap_or(0)]);
        columns.grow(&rows);
        self.aligned(&rows, &columns.within(None));
    }

    fn aligned(&mut self, rows: &[Vec<String>], widths: &[usize]) {
        for row in rows {
            let cells: Vec<String> =
                row.iter().zip(widths).map(|(cell, width)| cut(cell, *width)).collect();
            self.row(&cells, widths, Self::state);
        }
    }

    fn row(&mut self, cells: &[String], widths: &[usize], ink: impl Fn(&Self, &str) -> String) {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            let blanks = " ".repeat(width.saturating_sub(cell.chars().count()) + GAP);
            // Writing to a string cannot fail.
            let _ = write!(line, "{}{blanks}", ink(self, cell));
        }
        self.line(line.trim_end());
    }

    /// Colours a word that names a state or an outcome.
    pub(super) fn state(&self, word: &str) -> String {
        match word {
            "done" | "ok" | "loaded" => self.ink(Ink::Green, word),
            "dead" | "failed" | "reject" | "trap" | "timeout" | "memory" | "error" | "crash" => {
                self.ink(Ink::Red, word)
            }
            "waiting" | "retry" | "again" | "stale" | "held" | "missing" => {
                self.ink(Ink::Yellow, word)
            }
            "cancelled" | "discarded" => self.ink(Ink::Dim, word),
            _ => word.to_owned(),
        }
    }

    /// The text so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Writes it out.
    pub(super) fn print(self) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(self.text.as_bytes())?;
        stdout.flush()?;
        self.remarks.iter().for_each(|line| remarks::remark(line));
        Ok(())
    }
}

fn escaped(rows: &[Vec<String>]) -> Vec<Vec<String>> {
    rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect()
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
        if needs_escape(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// A length in bytes, for people.
pub(super) fn bytes(length: u64) -> String {
    bytesize::ByteSize::b(length).to_string()
}

/// A number of milliseconds of the API, for people; `-` if there is none.
pub(super) fn duration_of(ms: &Value) -> String {
    ms.as_f64().map_or_else(|| "-".to_owned(), duration)
}

/// An HTTP request of a plugin on one line, from what the API shows of it.
pub(super) fn call_line(call: &Value) -> String {
    let count = |name: &str| bytes(call[name].as_u64().unwrap_or(0));
    let refused = call["refused"] == true;
    let status = call["status"].as_u64().map(|status| format!(" → {status}"));
    let status = status.or(refused.then(|| " → refused".to_owned())).unwrap_or_default();
    let error = call["error"].as_str().map(|error| format!(": {error}")).unwrap_or_default();
    let (method, url) = (text(&call["method"]), text(&call["url"]));
    let took = duration_of(&call["duration_ms"]);
    let (sent, received) = (count("sent_bytes"), count("received_bytes"));
    printable(&format!("{method} {url}{status}, {took}, {sent} sent, {received} received{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printout(width: Option<usize>) -> Printout {
        Printout { text: String::new(), remarks: Vec::new(), colour: false, width }
    }

    fn row(cells: [&str; 2]) -> Vec<String> {
        cells.map(str::to_owned).to_vec()
    }

    #[test]
    fn what_could_steer_a_terminal_is_escaped() {
        assert_eq!(printable("a\u{1b}[2Jb\n\u{9b}\u{202e}ü"), "a\\u{1b}[2Jb\\n\\u{9b}\\u{202e}ü");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut out = printout(None);
        out.table(&[row(["A", "B"]), row(["longer", "x"]), row(["ü", "y"])]);
        assert_eq!(out.text, "A       B\nlonger  x\nü       y\n");
    }

    #[test]
    fn a_table_fits_a_terminal_and_is_whole_elsewhere() {
        let rows = [row(["ID", "LAST"]), row(["dlv_1", &"x".repeat(200)])];
        let (mut narrow, mut piped) = (printout(Some(40)), printout(None));
        narrow.table(&rows);
        piped.table(&rows);
        assert_eq!(narrow.text, format!("ID     LAST\ndlv_1  {}…\n", "x".repeat(32)));
        assert_eq!(piped.text, format!("ID     LAST\ndlv_1  {}\n", "x".repeat(200)));
    }

    #[test]
    fn rows_that_come_later_stand_under_their_columns() {
        let mut columns = Columns::new(&[("TYPE", 6), ("SUBJECT", 0)]);
        let mut out = printout(None);
        out.head(&columns);
        out.more(&mut columns, &[row(["a.b", "1"])]);
        out.more(&mut columns, &[row(["a.longer", "2"])]);
        out.more(&mut columns, &[row(["a.b", "3"])]);
        assert_eq!(out.text, "TYPE    SUBJECT\na.b     1\na.longer  2\na.b       3\n");
    }
}
