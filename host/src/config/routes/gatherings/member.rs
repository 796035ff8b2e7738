//! An event as a member of a gathering: what the store counts of it.

use std::sync::Arc;

use serde_json::Value;

use super::Gathering;
use crate::config::routes::Facts;
use crate::event::{Counted, MAX_NAME_BYTES, NewMember};

impl Gathering {
    /// The event as its member, and a remark for operators.
    ///
    /// # Errors
    /// It has no key, and is not gathered; says why, for people.
    pub(in crate::config::routes) fn member(
        &self,
        facts: &Facts<'_>,
    ) -> Result<(NewMember, Option<String>), String> {
        let attributes = facts.attributes;
        let at = |pointer: &str| facts.json().and_then(|json| json.pointer(pointer));
        let key = self.key.key(attributes, || facts.json())?;
        let (counted, too_long) = match &self.member {
            None => (Counted::Event, None),
            Some(pointer) => match at(pointer) {
                // The store keeps it twice, and a sender chooses it.
                Some(Value::String(text)) if text.len() > MAX_NAME_BYTES => {
                    (Counted::Not, Some(self.too_long(pointer)))
                }
                Some(Value::String(text)) => (Counted::Text(text.as_str().into()), None),
                Some(number @ (Value::Number(_) | Value::Bool(_))) => {
                    (Counted::Text(number.to_string().into()), None)
                }
                _ => (Counted::Not, None),
            },
        };
        let says = self.need.as_deref().and_then(|pointer| Some((pointer, at(pointer)?)));
        let (need, note) = match says.filter(|(_, value)| !value.is_null()) {
            None => (None, None),
            Some((pointer, value)) => match value.as_u64() {
                Some(need) => (Some(need), None),
                None => (None, Some(self.no_number(pointer))),
            },
        };
        let seen = self.type_table.hits(&attributes.source, &attributes.kind);
        let closing = self.close_table.hits(&attributes.source, &attributes.kind);
        let member = NewMember {
            terms: Arc::clone(&self.terms),
            key,
            counted,
            need: need.map(|need| u32::try_from(need).unwrap_or(u32::MAX)),
            seen: seen.into_iter().fold(0, |bits, number| bits | 1 << number),
            closes: !closing.is_empty(),
        };
        Ok((member, too_long.or(note)))
    }

    fn too_long(&self, pointer: &str) -> String {
        let plugin = &self.terms.plugin;
        format!(
            "is not counted by `{plugin}`: `{pointer}` of its body has more than {MAX_NAME_BYTES} bytes"
        )
    }

    fn no_number(&self, pointer: &str) -> String {
        let plugin = &self.terms.plugin;
        format!(
            "does not say how many `{plugin}` needs: `{pointer}` of its body is not written as a whole number"
        )
    }
}
