//! Remarks for the operator, in one line.

/// A note about an event for the operator, in one line.
#[derive(Debug)]
pub(super) struct NoteLine(Option<String>);

impl NoteLine {
    /// Goes on after `first`.
    pub(super) fn after(first: Option<String>) -> Self {
        Self(first)
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, String::len)
    }

    pub(super) fn add(&mut self, note: &str) {
        match &mut self.0 {
            Some(notes) => {
                notes.push_str("; ");
                notes.push_str(note);
            }
            None => self.0 = Some(note.to_owned()),
        }
    }

    pub(super) fn into_text(self) -> Option<String> {
        self.0
    }
}
