//! The places of an event's attributes in a request.

use std::sync::Arc;

/// The place of a routing attribute in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick {
    /// An RFC 6901 pointer into the JSON body; into the item, where events are items of a list.
    Json(String),
    /// An RFC 6901 pointer into the JSON body of the request, where events are items of it.
    Request(String),
    /// A request header, lower case.
    Header(String),
    /// Always this value.
    Fixed(String),
    /// Several values and the text between them.
    Joined(Joined),
    /// The decoded field of a form in the body.
    Form(String),
    /// The decoded value of a query parameter.
    Query(String),
    /// The name of the first other member beside this member of the JSON body.
    Beside(String),
    /// The method of the request.
    Method,
    /// The first one that is there.
    First(Vec<Self>),
}

impl Pick {
    /// Whether it looks into the body of a request whose events are items.
    pub fn is_of_request(&self) -> bool {
        match self {
            Self::Request(_) => true,
            Self::First(picks) => picks.iter().any(Self::is_of_request),
            Self::Joined(joined) => joined.values.iter().any(|(_, pick)| pick.is_of_request()),
            _ => false,
        }
    }

    /// Whether all of it is read in the body. Two equal bodies then have equal values.
    pub fn is_of_body(&self) -> bool {
        match self {
            Self::Json(_) | Self::Request(_) | Self::Form(_) | Self::Beside(_) => true,
            Self::First(picks) => picks.iter().all(Self::is_of_body),
            Self::Joined(joined) => joined.values.iter().all(|(_, pick)| pick.is_of_body()),
            Self::Header(_) | Self::Fixed(_) | Self::Query(_) | Self::Method => false,
        }
    }
}

/// Values in a row: `{header:X-Event}.{json:/action}`. A missing value is left out together with
/// the text in front of it; without the first value there is nothing at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The text in front of a value, and the value's place, which is neither a list nor joined.
    pub values: Vec<(String, Pick)>,
    /// The text behind the last value.
    pub end: String,
}

/// The known types of a source's events, for warnings of patterns that match none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventTypes {
    /// Nothing.
    Any,
    /// They are words of a to z, 0 to 9 and `_`.
    Words {
        /// The types that are known by name; there may be more.
        known: Arc<[String]>,
        /// A help text: the way to route by more than these words.
        more: Arc<str>,
    },
}
