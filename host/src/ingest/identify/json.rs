//! A few RFC 6901 pointers, read from a JSON text in one pass, without building it in memory.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The deepest nesting that is looked into. Common parsers refuse what is deeper (`serde_json`
/// beyond 127 levels), so a plugin could not read what the host had routed on; nothing here
/// recurses for the body's sake.
pub(in crate::ingest) const MAX_DEPTH: usize = 127;

/// The pointers of one source, merged into a tree of keys.
#[derive(Debug, Default)]
pub(in crate::ingest) struct Pointers {
    root: Node,
    slots: usize,
}

/// The value that a pointer points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ingest) enum PointerValue {
    /// Nothing, or null.
    Nothing,
    /// A string, or the text of a number or a boolean as it is written.
    Text(String),
    /// It, or a key on the way to it, occurs more than once in its object.
    Repeated,
    /// Something else. The text finishes "the id …".
    Unreadable(&'static str),
}

/// A place in the document that a pointer leads to or through.
#[derive(Debug, Default)]
struct Node {
    /// The slots of the pointers that end here.
    slots: Vec<usize>,
    children: Vec<(PointerToken, Node)>,
}

/// A reference token: a key of an object, or the position in an array if it can be read as one.
#[derive(Debug, PartialEq, Eq)]
struct PointerToken {
    key: String,
    index: Option<usize>,
}

impl PointerToken {
    fn parse(text: &str) -> Result<Self, String> {
        let mut key = String::with_capacity(text.len());
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            key.push(match char {
                '~' => match chars.next() {
                    Some('0') => '~',
                    Some('1') => '/',
                    _ => return Err("`~` in a JSON pointer must be followed by 0 or 1".to_owned()),
                },
                plain => plain,
            });
        }
        let canonical = key == "0" || (!key.starts_with(['0', '+']) && !key.is_empty());
        let index = if canonical { key.parse().ok() } else { None };
        Ok(Self { index, key })
    }
}

impl Pointers {
    /// Adds a pointer; says which slot its value is found in.
    pub(in crate::ingest) fn add(&mut self, pointer: &str) -> Result<usize, String> {
        let mut tokens = pointer.split('/');
        if tokens.next() != Some("") {
            return Err(format!("the JSON pointer `{pointer}` must start with `/`"));
        }
        let tokens = tokens.map(PointerToken::parse).collect::<Result<Vec<_>, _>>()?;
        let slot = self.slots;
        let mut node = &mut self.root;
        for token in tokens {
            let at =
                node.children.iter().position(|(known, _)| *known == token).unwrap_or_else(|| {
                    node.children.push((token, Node::default()));
                    node.children.len() - 1
                });
            node = &mut node.children[at].1;
        }
        node.slots.push(slot);
        self.slots += 1;
        Ok(slot)
    }

    /// Whether there is none.
    pub(in crate::ingest) fn is_empty(&self) -> bool {
        self.slots == 0
    }

    /// The result where there is nothing.
    pub(in crate::ingest) fn nothing(&self) -> Vec<PointerValue> {
        vec![PointerValue::Nothing; self.slots]
    }

    /// Reads all of `body`; says in one line what keeps it, by the name `what`, from being read.
    pub(in crate::ingest) fn find(
        &self,
        body: &[u8],
        what: &str,
    ) -> Result<Vec<PointerValue>, String> {
        if body.is_empty() {
            return Err(format!("{what} is empty"));
        }
        let text =
            std::str::from_utf8(body).map_err(|error| format!("{what} is not UTF-8: {error}"))?;
        if is_too_deep(body) {
            return Err(format!("{what} is nested deeper than {MAX_DEPTH} levels"));
        }
        let mut found = self.nothing();
        let mut json = serde_json::Deserializer::from_str(text);
        Seed { node: &self.root, found: &mut found }
            .deserialize(&mut json)
            .and_then(|()| json.end())
            .map_err(|error| format!("{what} is not JSON: {error}"))?;
        Ok(found)
    }
}

/// Whether brackets outside of strings nest deeper than [`MAX_DEPTH`]. The text after a syntax
/// error does not matter: the parser will find it.
pub(super) fn is_too_deep(body: &[u8]) -> bool {
    let opens = |byte: &u8| matches!(byte, b'[' | b'{');
    // Most bodies have fewer brackets than that in all, and counting them is cheap.
    if body.iter().filter(|byte| opens(byte)).count() <= MAX_DEPTH {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

/// Reads the value at one node.
struct Seed<'a> {
    node: &'a Node,
    found: &'a mut [PointerValue],
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        if self.node.slots.is_empty() {
            return if self.node.children.is_empty() {
                value.deserialize_ignored_any(IgnoredAny).map(|_| ())
            } else {
                value.deserialize_any(self)
            };
        }
        let raw = <&RawValue as serde::Deserialize>::deserialize(value)?;
        let here = scalar(raw);
        for slot in &self.node.slots {
            self.found[*slot] = here.clone();
        }
        if self.node.children.is_empty() {
            return Ok(());
        }
        serde_json::Deserializer::from_str(raw.get())
            .deserialize_any(self)
            .map_err(D::Error::custom)
    }
}

/// The text of a scalar: numbers keep every digit they are written with.
fn scalar(raw: &RawValue) -> PointerValue {
    match raw.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw.get()).map_or(
            PointerValue::Unreadable("is a string with an unpaired surrogate"),
            PointerValue::Text,
        ),
        Some(b'{' | b'[') => PointerValue::Unreadable("is not a string, number or boolean"),
        Some(b'n') | None => PointerValue::Nothing,
        Some(_) => PointerValue::Text(raw.get().to_owned()),
    }
}

impl Node {
    /// Marks everything below as found more than once.
    fn mark_repeated(&self, found: &mut [PointerValue]) {
        for slot in &self.slots {
            found[*slot] = PointerValue::Repeated;
        }
        for (_, child) in &self.children {
            child.mark_repeated(found);
        }
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = vec![false; self.node.children.len()];
        while let Some(child) = map.next_key_seed(ChildKey(self.node))? {
            let Some(at) = child else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let node = &self.node.children[at].1;
            if std::mem::replace(&mut seen[at], true) {
                map.next_value::<IgnoredAny>()?;
                node.mark_repeated(self.found);
            } else {
                map.next_value_seed(Seed { node, found: self.found })?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for position in 0.. {
            let child = self.node.children.iter().find(|(token, _)| token.index == Some(position));
            let more = match child {
                Some((_, node)) => {
                    seq.next_element_seed(Seed { node, found: self.found })?.is_some()
                }
                None => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    // Scalars: nothing lies below them.

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

/// Reads a key: which child it leads to, if any.
struct ChildKey<'a>(&'a Node);

impl<'de> DeserializeSeed<'de> for ChildKey<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<Self::Value, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for ChildKey<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.children.iter().position(|(token, _)| token.key == key))
    }
}
