//! A value of `params`.

use std::fmt;

use zeroize::Zeroizing;

/// A value that an operator knows of a registration. It may be a secret, so it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ParamText(Zeroizing<String>);

impl ParamText {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for ParamText {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for ParamText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[not shown]")
    }
}
