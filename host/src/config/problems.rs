//! Problems of a configuration file, told so that they can be mended: file, line, the offending
//! span, what is wrong there and what would be right.
//!
//! Invariant: no value of a secret is ever part of a message, and a secret that was written into
//! the file is masked in what is shown of the file.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, NamedSource,
    SourceCode, SourceSpan, SpanContents,
};

use super::inputs::Input;

/// Columns that a rendered problem takes at most, long source lines aside.
const WIDTH: usize = 100;

/// The most problems that are told of one file; the last line says how many more there are.
const MAX_PROBLEMS: usize = 100;

/// The most that is underlined of a long span, and shown of a line on either side of it, in bytes.
const MAX_SHOWN_BYTES: usize = 500;

/// The context that [`WholeLines`] is asked for when lines are shown; for the exact place in a
/// heading, miette asks for 0.
const CONTEXT: usize = 1;

/// All problems of one file, in its order. Never empty.
#[derive(Debug)]
pub struct Problems {
    path: PathBuf,
    /// The file's text, secrets masked; empty if it could not be read.
    text: String,
    list: Vec<Problem>,
    /// The other files that were read on the way.
    inputs: Vec<Input>,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The message.
    pub message: String,
    /// The remedy.
    pub help: String,
    /// The place, as bytes of the file; absent if the file as a whole is meant.
    pub span: Option<Range<usize>>,
    /// The line the span starts in, from 1; 0 without a span.
    pub line: usize,
    /// The column the span starts in, in characters from 1; 0 without a span.
    pub column: usize,
}

impl Problem {
    pub(super) fn new(span: Option<Range<usize>>, message: String, help: String) -> Self {
        Self { message, help, span, line: 0, column: 0 }
    }
}

impl Problems {
    /// `masked` are the spans that hold secrets.
    pub(super) fn new(
        path: &Path,
        text: &str,
        mut list: Vec<Problem>,
        masked: &[Range<usize>],
    ) -> Self {
        list.sort_by_key(|problem| problem.span.as_ref().map(|span| span.start));
        let more = list.len().saturating_sub(MAX_PROBLEMS);
        list.truncate(MAX_PROBLEMS);
        for problem in &mut list {
            if let Some(before) = problem.span.as_ref().and_then(|span| text.get(..span.start)) {
                problem.line = before.matches('\n').count() + 1;
                problem.column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            }
        }
        if more > 0 {
            let message = format!("there are {more} more problems");
            list.push(Problem::new(None, message, "put these right first".to_owned()));
        }
        Self { path: path.to_owned(), text: mask(text, masked), list, inputs: Vec::new() }
    }

    /// The same with the other files that were read: the problem may lie in one of them.
    pub(super) fn with_inputs(self, inputs: Vec<Input>) -> Self {
        Self { inputs, ..self }
    }

    /// The other files that were read on the way.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// A problem of the file as a whole.
    pub(super) fn of_file(path: &Path, message: String, help: &str) -> Self {
        Self::new(path, "", vec![Problem::new(None, message, help.to_owned())], &[])
    }

    /// The number of problems.
    #[expect(clippy::len_without_is_empty, reason = "there is always at least one")]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Each, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// Renders every problem with the lines it is about, for a terminal. Ends with a line break.
    pub fn render(&self, colour: bool) -> String {
        let theme =
            if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(WIDTH)
            .with_context_lines(CONTEXT)
            .with_links(false)
            // It would break a line after a `/`, as in `plugins/NAME`.
            .with_wrap_lines(false)
            .without_syntax_highlighting();
        let source = WholeLines(NamedSource::new(self.path.to_string_lossy(), self.text.clone()));
        let mut out = String::new();
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                out.push('\n');
            }
            // Writing to a string cannot fail, and a span outside the text is only shown without
            // its lines.
            let _ = handler.render_report(&mut out, &RenderedProblem { problem, source: &source });
        }
        out
    }

    /// Renders each problem in one line without the text of the file, for a log or a status page.
    pub fn summary(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", self.path.display())?;
            if problem.span.is_some() {
                write!(f, ":{}:{}", problem.line, problem.column)?;
            }
            write!(f, ": {} ({})", problem.message, problem.help)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The text in lines that fit beside what is drawn around it, broken at blanks only.
fn wrapped(text: &str) -> String {
    const DRAWN: usize = 8;
    let mut out = String::with_capacity(text.len());
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > WIDTH - DRAWN {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

/// The text with every byte of the spans, line breaks aside, replaced; spans of other problems keep
/// their place.
fn mask(text: &str, spans: &[Range<usize>]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for span in spans {
        let secret = bytes.get_mut(span.clone()).unwrap_or_default();
        secret.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b'*');
    }
    // A span that cuts a character leaves no text to show, which is better than too much of it.
    String::from_utf8(bytes).unwrap_or_default()
}

/// A problem as miette wants it.
#[derive(Debug)]
struct RenderedProblem<'a> {
    problem: &'a Problem,
    source: &'a WholeLines,
}

impl fmt::Display for RenderedProblem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = &self.problem.message;
        match self.problem.span {
            Some(_) => f.write_str(&wrapped(message)),
            None => f.write_str(&wrapped(&format!("{}: {message}", self.source.0.name()))),
        }
    }
}

impl std::error::Error for RenderedProblem<'_> {}

impl Diagnostic for RenderedProblem<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(wrapped(&self.problem.help)))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.problem.span.as_ref().map(|_| self.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let mut span = self.problem.span.clone()?;
        span.end =
            self.source.0.inner().floor_char_boundary(span.end.min(span.start + MAX_SHOWN_BYTES));
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(None, span))))
    }
}

/// Shows a span in its whole lines, and no others: what a neighbour holds is none of a problem's
/// business.
#[derive(Debug)]
struct WholeLines(NamedSource<String>);

impl SourceCode for WholeLines {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        _after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        if before < CONTEXT {
            return self.0.read_span(span, 0, 0);
        }
        let text = self.0.inner();
        let span_end = span.offset() + span.len();
        let (Some(head), Some(tail)) = (text.get(..span.offset()), text.get(span_end..)) else {
            return Err(MietteError::OutOfBounds);
        };
        let start = head.rfind('\n').map_or(0, |newline| newline + 1);
        let start =
            start.max(text.ceil_char_boundary(span.offset().saturating_sub(MAX_SHOWN_BYTES)));
        let end = tail.find('\n').map_or(text.len(), |newline| span_end + newline);
        let end = end.min(text.floor_char_boundary(span_end + MAX_SHOWN_BYTES));
        self.0.read_span(&(start..end).into(), 0, 0)
    }
}
