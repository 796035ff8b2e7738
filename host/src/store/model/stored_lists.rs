//! Lists of an attempt that are stored as JSON, some of which may be damaged.

use serde::de::DeserializeOwned;

/// Reads the lists of one attempt. A damaged one is empty, and the attempt's error says so.
#[derive(Debug, Default)]
pub(in crate::store) struct StoredLists(Vec<&'static str>);

impl StoredLists {
    /// Reads a list of this name; nothing is stored of one that is empty.
    pub(in crate::store) fn read<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        text: Option<&str>,
    ) -> Vec<T> {
        let Some(text) = text else { return Vec::new() };
        serde_json::from_str(text).unwrap_or_else(|_| {
            self.0.push(name);
            Vec::new()
        })
    }

    /// The attempt's error, and what could not be read of it.
    pub(in crate::store) fn error(self, error: Option<String>) -> Option<String> {
        if self.0.is_empty() {
            return error;
        }
        let names = self.0.join(", ");
        let damage = format!("the stored attempt is damaged and cannot be read: its {names}");
        Some(error.map_or_else(|| damage.clone(), |error| format!("{error}; {damage}")))
    }
}
