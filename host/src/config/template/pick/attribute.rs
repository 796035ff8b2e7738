//! The attributes, and the names of the places where each can be.

use crate::event::name::RESERVED;

/// The longest name of a header, in bytes.
const MAX_HEADER_BYTES: usize = 128;

/// The attributes that are read; they differ in what they can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Attribute {
    Type,
    /// Not fixed, or every request after the first would be a duplicate. Not joined, or two ids
    /// might read alike: `a-b` and `c` as `a` and `b-c`.
    Id,
    Subject,
}

impl Attribute {
    pub(super) fn examples(self) -> &'static str {
        match self {
            Self::Type => {
                "{ json = \"/event/type\" }, { header = \"X-Event\" }, { fixed = \"acme.event\" } or \
                 \"{header:X-Event}.{json:/action}\""
            }
            Self::Subject => {
                "{ json = \"/order/id\" }, { header = \"X-Order\" }, { fixed = \"acme\" } or \
                 \"{json:/repository}#{json:/number}\""
            }
            Self::Id => "{ json = \"/id\" } or { header = \"X-Delivery-Id\" }",
        }
    }
}

pub(in crate::config) fn is_pointer(text: &str) -> bool {
    text.starts_with('/') && text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']))
}

pub(super) fn pointer_help(text: &str) -> String {
    let near = if text.is_empty() || text.starts_with('/') {
        String::new()
    } else {
        format!("did you mean \"/{}\"? ", text.trim_start_matches("$.").replace('.', "/"))
    };
    format!(
        "{near}write the path of a field with a slash before each name, such as \"/event/type\"; a ~ in a name is \
            ~0, a / is ~1"
    )
}

/// A text as the name of a header, in lower case, if it can be one.
pub(in crate::config) fn header_name(text: &str) -> Option<String> {
    let token = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    let fits = !text.is_empty() && text.len() <= MAX_HEADER_BYTES && token;
    fits.then(|| text.to_ascii_lowercase())
}

pub(super) fn is_reserved() -> String {
    format!("starts with `{RESERVED}`, which is the host's own prefix")
}
