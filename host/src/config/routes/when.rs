//! `when` of a route item: a condition for the event, in CEL.
//!
//! It is compiled when the file is read and evaluated for events that the line's pattern matches.
//! [`bounds`] refuses expressions whose cost is not proportional to the size of an event.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use cel::common::types::CelBool;
use cel::extractors::This;
use cel::{Context, Env, ExecutionError, IdedExpr, Value};
use regex::{Regex, RegexBuilder};

use crate::{tasks, text};

mod bounds;
mod variables;

#[cfg(test)]
mod tests;

pub(super) use variables::Variables;

/// The longest expression, in bytes.
const MAX_BYTES: usize = 1 << 10;

/// The stack of the thread that compiles an expression: its parser recurses.
const STACK_BYTES: usize = 8 << 20;

/// The largest compiled pattern of `matches`, in bytes.
const MAX_PATTERN_BYTES: usize = 64 << 10;

/// The longest text that `matches` looks at, in bytes.
const MAX_MATCHED_BYTES: usize = 64 << 10;

/// The longest reason for a failure, in bytes.
const MAX_REASON_BYTES: usize = 200;

const EXAMPLE: &str =
    "write a condition such as \"data.total > 100 && subject != null\"; see docs/workflows.md";

/// The functions and operators of the language. Optional values are left out: they copy.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(env()));

fn env() -> Env {
    Env::stdlib().with_optional_support(false)
}

/// A condition for an event.
pub struct When {
    text: Box<str>,
    expression: IdedExpr,
    /// The patterns that it names for `matches`, compiled.
    patterns: Arc<HashMap<String, Regex>>,
}

impl fmt::Debug for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "When({:?})", self.text)
    }
}

impl PartialEq for When {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for When {}

impl fmt::Display for When {
    /// As it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The reason why a text cannot be a condition, and the remedy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WhenError {
    pub(super) what: String,
    pub(super) help: String,
}

impl WhenError {
    fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { what: what.into(), help: help.into() }
    }
}

impl When {
    /// Compiles an expression, on a thread of its own that has enough stack for it.
    pub(super) fn compile(text: &str) -> Result<Self, WhenError> {
        if text.len() > MAX_BYTES {
            let what = format!("has {} bytes, but a condition can have {MAX_BYTES}", text.len());
            return Err(WhenError::new(what, "test the rest in the plugin"));
        }
        let source: Box<str> = text.into();
        // An expression that is refused is dropped there as well.
        let thread = tasks::thread_with_stack("when", STACK_BYTES, move || parse(source));
        match thread.map(std::thread::JoinHandle::join) {
            Ok(Ok(compiled)) => compiled,
            Ok(Err(_)) => Err(WhenError::new("is no CEL expression that can be read", EXAMPLE)),
            Err(error) => {
                let what = format!("cannot be compiled, for there is no thread: {error}");
                Err(WhenError::new(what, "let this user start more threads"))
            }
        }
    }

    /// Whether the condition holds for the event with these variables.
    ///
    /// # Errors
    /// It cannot be evaluated for this event; says why, for people.
    pub(super) fn holds(&self, variables: &Variables<'_>) -> Result<bool, String> {
        // A fault of the evaluator must not cost the event.
        let evaluated = catch_unwind(AssertUnwindSafe(|| self.evaluate(variables)));
        evaluated.unwrap_or_else(|_| Err("the evaluator panicked".to_owned()))
    }

    fn evaluate(&self, variables: &Variables<'_>) -> Result<bool, String> {
        let mut context = Context::with_env(Arc::clone(&ENV));
        context.set_variable_resolver(variables);
        if !self.patterns.is_empty() {
            let patterns = Arc::clone(&self.patterns);
            let matches = move |This(text): This<Arc<String>>, pattern: Arc<String>| {
                matches(&patterns, &text, &pattern)
            };
            context.add_function("matches", matches).map_err(|error| error.to_string())?;
        }
        let value = Value::resolve_val(&self.expression, &context).map_err(|e| reason(&e))?;
        let truth = value.downcast_ref::<CelBool>().map(|truth| *truth.inner());
        truth.ok_or_else(|| format!("it is of type {}, not bool", value.get_type().name()))
    }
}

fn parse(text: Box<str>) -> Result<When, WhenError> {
    let program = ENV.compile(&text).map_err(|errors| syntax_error(&errors.errors))?;
    let expression = program.expression().clone();
    let patterns = bounds::check(&expression)?.into_iter().map(|pattern| {
        let built = RegexBuilder::new(&pattern).size_limit(MAX_PATTERN_BYTES).build();
        let compiled = built.map_err(|error| bad_pattern(&pattern, &error))?;
        Ok((pattern, compiled))
    });
    let patterns = Arc::new(patterns.collect::<Result<_, _>>()?);
    Ok(When { text, expression, patterns })
}

fn syntax_error(errors: &[cel::ParseError]) -> WhenError {
    let first = errors.iter().map(|error| (error.pos, &error.msg)).next();
    let Some(((line, column), message)) = first else {
        return WhenError::new("is no CEL expression", EXAMPLE);
    };
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    // The list of everything that could stand there instead is long.
    let message = message.split(" expecting ").next().unwrap_or(message);
    let message = text::plain(message, MAX_REASON_BYTES);
    let place = match (line, column) {
        (..=0, _) => String::new(),
        (1, column) => format!(" (column {column})"),
        (line, column) => format!(" (line {line}, column {column})"),
    };
    WhenError::new(format!("is no CEL expression{place}: {message}"), EXAMPLE)
}

fn bad_pattern(pattern: &str, error: &regex::Error) -> WhenError {
    let why = error.to_string();
    // The last line says what is wrong, those above show where.
    let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
    let what = format!("has the pattern {pattern:?} for `matches`, which is none: {why}");
    WhenError::new(
        what,
        "write a regular expression as the crate `regex` takes it, and a short one",
    )
}

fn matches(
    patterns: &HashMap<String, Regex>,
    text: &str,
    pattern: &str,
) -> Result<bool, ExecutionError> {
    if text.len() > MAX_MATCHED_BYTES {
        let why = format!("the text is longer than {MAX_MATCHED_BYTES} bytes");
        return Err(ExecutionError::function_error("matches", why));
    }
    // Only literals are patterns, and all of them are here.
    let pattern = patterns.get(pattern);
    let pattern = pattern.ok_or_else(|| ExecutionError::function_error("matches", "no pattern"))?;
    Ok(pattern.is_match(text))
}

/// The text of an error, of bounded length whatever values it shows.
fn reason(error: &ExecutionError) -> String {
    struct Bounded(String);
    impl fmt::Write for Bounded {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            self.0.push_str(&part[..part.floor_char_boundary(MAX_REASON_BYTES)]);
            if self.0.len() > MAX_REASON_BYTES { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut shown = Bounded(String::new());
    // An error means that it is long enough.
    let _ = write!(shown, "{error}");
    text::plain(&shown.0, MAX_REASON_BYTES)
}
