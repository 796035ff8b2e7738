//! The replies of a source to its provider, as data.

/// The replies of a source, where its provider insists on something of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replies {
    /// The reply to an event that is stored, now or before; `None` for JSON with its id.
    pub accepted: Option<FixedReply>,
    /// The status for a request that is not authentic.
    pub refuse_status: u16,
    /// Whether events may come by PUT as well.
    pub takes_put: bool,
}

impl Replies {
    /// The status for a request that is not authentic, unless a source says another one.
    pub const REFUSED: u16 = 401;

    /// The methods by which events come, in the words of the configuration.
    pub fn methods(&self) -> &'static [&'static str] {
        if self.takes_put { &["POST", "PUT"] } else { &["POST"] }
    }
}

impl Default for Replies {
    fn default() -> Self {
        Self { accepted: None, refuse_status: Self::REFUSED, takes_put: false }
    }
}

/// A reply that is the same for every event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedReply {
    /// The status, 200 to 299.
    pub status: u16,
    /// The media type, if there is a body.
    pub content_type: Option<&'static str>,
    /// The body, possibly empty.
    pub body: String,
}

impl std::fmt::Display for FixedReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.status)?;
        match self.content_type {
            Some(kind) => write!(f, " {kind} {}", self.body),
            None => f.write_str(", no body"),
        }
    }
}
