//! The items of a list in a JSON text, each as its own text, without building it in memory.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::json::{MAX_DEPTH, is_too_deep};

/// The reference tokens of a JSON pointer (RFC 6901 §3, §4).
pub(in crate::ingest) fn tokens(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~")).collect()
}

/// The items of the list at the end of `path`; `None` if there is no such list, if it is longer
/// than `max`, or if a name on the way occurs twice.
pub(in crate::ingest) fn items<'a>(
    body: &'a [u8],
    path: &[String],
    max: usize,
) -> Option<Vec<&'a str>> {
    list(body, path, max).ok()
}

/// The same; says in one line why there is no such list.
pub(in crate::ingest) fn list<'a>(
    body: &'a [u8],
    path: &[String],
    max: usize,
) -> Result<Vec<&'a str>, String> {
    let mut text =
        std::str::from_utf8(body).map_err(|error| format!("it is not UTF-8: {error}"))?;
    if is_too_deep(body) {
        return Err(format!("it is nested deeper than {MAX_DEPTH} levels"));
    }
    let said = |error: serde_json::Error| error.to_string();
    for key in path {
        text = whole(text, JsonMember { key, found: None }).map_err(said)?.get();
    }
    whole(text, List { max }).map_err(said)
}

/// All of a text, read by one seed.
fn whole<'a, S: DeserializeSeed<'a>>(text: &'a str, seed: S) -> serde_json::Result<S::Value> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = seed.deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}

/// One member of an object.
struct JsonMember<'k, 'a> {
    key: &'k str,
    found: Option<&'a RawValue>,
}

impl<'a> DeserializeSeed<'a> for JsonMember<'_, 'a> {
    type Value = &'a RawValue;

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for JsonMember<'_, 'a> {
    type Value = &'a RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        while let Some(is_it) = map.next_key_seed(KeyMatcher(self.key))? {
            if !is_it {
                map.next_value::<IgnoredAny>()?;
            } else if self.found.replace(map.next_value()?).is_some() {
                return Err(A::Error::custom("it occurs twice"));
            }
        }
        self.found.ok_or_else(|| A::Error::custom("it is missing"))
    }
}

/// The name of the first member of an object that is not `name`.
pub(in crate::ingest) fn beside(body: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    if is_too_deep(body) {
        return None;
    }
    whole(text, BesideMember(name)).ok().flatten()
}

struct BesideMember<'k>(&'k str);

impl<'a> DeserializeSeed<'a> for BesideMember<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for BesideMember<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            map.next_value::<IgnoredAny>()?;
            if found.is_none() && key != self.0 {
                found = Some(key.into_owned());
            }
        }
        Ok(found)
    }
}

/// Whether a key is this one.
struct KeyMatcher<'k>(&'k str);

impl<'a> DeserializeSeed<'a> for KeyMatcher<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<bool, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyMatcher<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        Ok(self.0 == key)
    }
}

/// Every item of a list.
struct List {
    max: usize,
}

impl<'a> DeserializeSeed<'a> for List {
    type Value = Vec<&'a str>;

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'a> Visitor<'a> for List {
    type Value = Vec<&'a str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element::<&RawValue>()? {
            if items.len() == self.max {
                let most = self.max;
                return Err(A::Error::custom(format_args!("it has more than {most} items")));
            }
            items.push(item.get());
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_cut_into_its_items() {
        let path = tokens("/a/b~1c");
        let found = |text: &'static str| items(text.as_bytes(), &path, 2);
        assert_eq!(
            found(r#"{"x":[1],"a":{"b/c":[{"d": 1}, "e"]}}"#),
            Some(vec![r#"{"d": 1}"#, r#""e""#])
        );
        assert_eq!(found(r#"{"a":{"b/c":[]}}"#), Some(Vec::new()));
        for bad in [
            r#"{"a":{"b/c":[1,2,3]}}"#,
            r#"{"a":{"b/c":[1],"b/c":[2]}}"#,
            r#"{"a":{"b/c":{}}}"#,
            r#"{"a":[]}"#,
            r#"{"a":{"b/c":[1]}} x"#,
            "",
        ] {
            assert_eq!(found(bad), None, "{bad}");
        }
    }
}
