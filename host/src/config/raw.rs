//! Reads typed values out of TOML and writes down every problem on the way instead of stopping at
//! the first.
//!
//! A [`Section`] remembers which keys were asked for: what is left when it is
//! [`finished`](Section::finish) is unknown, and the keys that were asked for are what may have
//! been meant. A value that is refused reads as absent, so that checking goes on with the default;
//! the problem it left makes the whole file fail in the end.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(super) use self::sink::Sink;
use super::units;
use crate::names::{self, closest_within};

/// A bound of so many milliseconds, a hundred years, is none that anybody meets.
const NO_BOUND_MS: u64 = 100 * 365 * 86_400_000;

mod sink;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Item<'a> {
    /// Its key with all sections, as it would be written: `plugins.audit.timeout`.
    pub(super) path: String,
    /// Its key alone.
    pub(super) key: &'a str,
    /// The key's place.
    pub(super) key_span: Range<usize>,
    /// The value's place.
    pub(super) span: Range<usize>,
    /// The value.
    pub(super) value: &'a DeValue<'a>,
    sink: &'a Sink,
}

impl<'a> Item<'a> {
    /// A whole file, as if it were the section `name`; `span` is that of its table.
    pub(super) fn file(
        name: &'a str,
        span: Range<usize>,
        value: &'a DeValue<'a>,
        sink: &'a Sink,
    ) -> Self {
        Self { path: name.to_owned(), key: name, key_span: span.clone(), span, value, sink }
    }

    /// Writes down that this value will not do; `what` follows its name.
    pub(super) fn refuse(&self, what: impl Display, help: impl Into<String>) {
        self.sink.problem(Some(self.span.clone()), format!("`{}` {what}", self.path), help);
    }

    /// Writes down that this key will not do; `what` follows its name.
    pub(super) fn refuse_key(&self, what: impl Display, help: impl Into<String>) {
        self.sink.problem(Some(self.key_span.clone()), format!("`{}` {what}", self.path), help);
    }

    pub(super) fn sink(&self) -> &'a Sink {
        self.sink
    }

    fn refuse_kind(&self, wanted: &str, example: &str) {
        self.refuse(
            format_args!("is {}, but must be {wanted}", kind(self.value)),
            format!("write for example `{} = {example}`", key_text(self.key)),
        );
    }

    /// A string; `example` is shown if it is something else, as it would be written.
    pub(super) fn text(&self, example: &str) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.refuse_kind("a string", example);
        }
        text
    }

    /// A whole number within the bounds.
    pub(super) fn whole(&self, bounds: RangeInclusive<u32>) -> Option<u32> {
        let right = format!("write a whole number from {} to {}", bounds.start(), bounds.end());
        let DeValue::Integer(number) = self.value else {
            self.refuse(format_args!("is {}, but must be a whole number", kind(self.value)), right);
            return None;
        };
        let read = i128::from_str_radix(number.as_str(), number.radix())
            .ok()
            .and_then(|n| u32::try_from(n).ok());
        let read = read.filter(|n| bounds.contains(n));
        if read.is_none() {
            self.refuse(format_args!("is {number}, out of bounds"), right);
        }
        read
    }

    /// A number, with or without a fraction, within the bounds.
    pub(super) fn number(&self, bounds: RangeInclusive<f64>) -> Option<f64> {
        let right = format!("write a number from {} to {}", bounds.start(), bounds.end());
        let read = match self.value {
            DeValue::Integer(number) if number.radix() != 10 => None,
            DeValue::Integer(number) => number.as_str().parse::<f64>().ok(),
            DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
            _ => {
                self.refuse(format_args!("is {}, but must be a number", kind(self.value)), right);
                return None;
            }
        };
        // A NaN is in no range.
        let read = read.filter(|number| bounds.contains(number));
        if read.is_none() {
            self.refuse("is out of bounds", right);
        }
        read
    }

    /// A duration such as `10s`, in milliseconds, within the bounds.
    pub(super) fn duration_ms(&self, bounds: RangeInclusive<u64>) -> Option<u64> {
        let (least, most) = (units::show_ms(*bounds.start()), units::show_ms(*bounds.end()));
        let range = match *bounds.end() {
            ..NO_BOUND_MS => format!("from {least} to {most}"),
            _ => format!("of at least {least}"),
        };
        let right =
            format!("write a duration {range}, in d, h, m, s or ms, such as \"10s\" or \"1h30m\"");
        self.quantity(units::parse_ms, bounds, "duration", &right)
    }

    /// A size such as `64MiB`, in bytes, within the bounds.
    pub(super) fn size_bytes(&self, bounds: RangeInclusive<u64>) -> Option<u64> {
        let (least, most) = (units::show_bytes(*bounds.start()), units::show_bytes(*bounds.end()));
        let right = format!("write a size from {least} to {most}, such as \"512KiB\" or \"16MiB\"");
        self.quantity(units::parse_bytes, bounds, "size", &right)
    }

    fn quantity(
        &self,
        parse: fn(&str) -> Option<u64>,
        bounds: RangeInclusive<u64>,
        what: &str,
        right: &str,
    ) -> Option<u64> {
        let Some(text) = self.value.as_str() else {
            self.refuse(
                format_args!("is {}, but must be a {what} in quotes", kind(self.value)),
                right,
            );
            return None;
        };
        let read = parse(text);
        match read {
            None => self.refuse(format_args!("is \"{text}\", which is not a {what}"), right),
            Some(number) if !bounds.contains(&number) => {
                self.refuse(format_args!("is \"{text}\", out of bounds"), right)
            }
            Some(_) => {}
        }
        read.filter(|number| bounds.contains(number))
    }

    /// `true` or `false`.
    pub(super) fn truth(&self) -> Option<bool> {
        let truth = self.value.as_bool();
        if truth.is_none() {
            self.refuse_kind("true or false", "true");
        }
        truth
    }

    /// The value that belongs to a word of a short list.
    pub(super) fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        let names = || words.iter().map(|(name, _)| *name);
        let text = self.text(&format!("\"{}\"", names().next().unwrap_or_default()))?;
        let found = words.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let all = names().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
            self.refuse(
                format_args!("is \"{text}\""),
                format!("{}it can be {all}", did_you_mean(text, names())),
            );
        }
        found.map(|(_, value)| *value)
    }

    /// A table with keys of ours.
    pub(super) fn section(&self, example: &str) -> Option<Section<'a>> {
        let table = self.value.as_table();
        if table.is_none() {
            self.refuse_kind("a table", example);
        }
        table.map(|table| Section::new(self.path.clone(), Some(table), self.sink))
    }

    /// The elements of a list, or the value itself as its only element.
    pub(super) fn one_or_many(&self) -> Vec<Item<'a>> {
        self.value.as_array().map_or_else(
            || vec![self.clone()],
            |list| {
                list.iter()
                    .map(|value| Item {
                        span: value.span(),
                        value: value.get_ref(),
                        ..self.clone()
                    })
                    .collect()
            },
        )
    }
}

/// A table of the file, or the absence of one.
#[derive(Debug)]
#[must_use = "finish it, or its unknown keys go unseen"]
pub(super) struct Section<'a> {
    path: String,
    table: Option<&'a DeTable<'a>>,
    known: Vec<&'static str>,
    refused: Vec<&'static str>,
    sink: &'a Sink,
}

impl<'a> Section<'a> {
    /// The table at `path`, which is empty for the file itself.
    pub(super) fn new(path: String, table: Option<&'a DeTable<'a>>, sink: &'a Sink) -> Self {
        Self { path, table, known: Vec::new(), refused: Vec::new(), sink }
    }

    fn item(
        &self,
        key: &'a Spanned<std::borrow::Cow<'a, str>>,
        value: &'a Spanned<DeValue<'a>>,
    ) -> Item<'a> {
        let name = key_text(key.get_ref());
        let path = if self.path.is_empty() { name } else { format!("{}.{name}", self.path) };
        let key_span = key.span();
        Item {
            path,
            key: key.get_ref(),
            key_span,
            span: value.span(),
            value: value.get_ref(),
            sink: self.sink,
        }
    }

    pub(super) fn sink(&self) -> &'a Sink {
        self.sink
    }

    /// The value of a key of ours, if it is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Item<'a>> {
        // Also if it is absent, because `finish` names all keys that there can be.
        self.known.push(key);
        let (key, value) = self.table?.get_key_value(key)?;
        Some(self.item(key, value))
    }

    /// A table under a key of ours; an empty one if it is absent or no table.
    pub(super) fn take_section(&mut self, key: &'static str, example: &str) -> Section<'a> {
        let path =
            if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        let found = self.take(key).and_then(|item| item.section(example));
        found.unwrap_or_else(|| Section::new(path, None, self.sink))
    }

    /// Refuses a key with a reason of its own, if it is there; says whether it was.
    pub(super) fn refuse(&mut self, key: &'static str, what: &str, help: &str) -> bool {
        let item = self.take(key);
        if let Some(item) = &item {
            item.refuse_key(what, help);
        }
        // Nothing to suggest for other keys.
        self.known.pop();
        self.refused.push(key);
        item.is_some()
    }

    /// The keys of the table.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.table.into_iter().flat_map(|table| table.keys()).map(|key| key.get_ref().as_ref())
    }

    /// Every entry of a table whose keys the user chooses, in the order of the file.
    pub(super) fn entries(self) -> Vec<Item<'a>> {
        let mut items: Vec<_> = self
            .table
            .into_iter()
            .flat_map(|table| table.iter())
            .map(|(key, value)| self.item(key, value))
            .collect();
        items.sort_by_key(|item| item.key_span.start);
        items
    }

    /// Writes down every key that nobody asked for, and says whether there was one.
    pub(super) fn finish(self) -> bool {
        let place =
            if self.path.is_empty() { "a file".to_owned() } else { format!("`{}`", self.path) };
        let all =
            self.known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ");
        let mut found = false;
        for item in self.leftover() {
            let hint = self.likely_key(item.key);
            item.refuse_key("is not a key of hookbox", format!("{hint}{place} can have {all}"));
            found = true;
        }
        found
    }

    /// `did you mean …? `, if a key of ours is close, or is the only one that has this one in it.
    fn likely_key(&self, key: &str) -> String {
        let near = did_you_mean(key, self.known.iter().copied());
        let has_it = |known: &&str| {
            let is_end = known.strip_suffix(key).is_some_and(|rest| rest.ends_with('_'));
            is_end || known.strip_prefix(key).is_some_and(|rest| rest.starts_with('_'))
        };
        let mut longer = self.known.iter().copied().filter(has_it);
        match (longer.next(), longer.next()) {
            (Some(only), None) if near.is_empty() => names::did_you_mean(only) + " ",
            _ => near,
        }
    }

    /// Refuses every key that nobody asked for, for the same reason.
    pub(super) fn refuse_others(self, what: &str, help: &str) {
        for item in self.leftover() {
            item.refuse_key(what, help);
        }
    }

    fn leftover(&self) -> Vec<Item<'a>> {
        let entries = self.table.into_iter().flat_map(|table| table.iter());
        let handled = |key: &str| self.known.iter().chain(&self.refused).any(|known| *known == key);
        let items: Vec<_> = entries
            .filter(|(key, _)| !handled(key.get_ref()))
            .map(|(key, value)| self.item(key, value))
            .collect();
        // Problems show their lines, and a misspelt key may have a secret.
        for item in items.iter().filter(|item| looks_secret(item.key)) {
            self.sink.mask(item.span.clone());
        }
        items
    }
}

/// Whether a key may hold what nobody else should read.
pub(super) fn looks_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["secret", "token", "password", "key"].iter().any(|word| key.contains(word))
}

/// `did you mean …? `, if one of the names is close; otherwise nothing.
pub(super) fn did_you_mean<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    let slips = (word.chars().count() / 3).clamp(1, 3);
    closest_within(word, names, slips)
        .map(|name| names::did_you_mean(name) + " ")
        .unwrap_or_default()
}

/// A key as TOML wants it written: in quotes unless it is plain.
pub(super) fn key_text(key: &str) -> String {
    let plain = !key.is_empty()
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if plain { key.to_owned() } else { format!("{key:?}") }
}

/// The kind of a value, with its article.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
