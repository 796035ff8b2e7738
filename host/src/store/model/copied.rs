//! Rows on their way from one store into another.

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) enum CopyCell {
    /// None.
    Null,
    /// A number, a time, or a truth value.
    Integer(i64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl CopyCell {
    /// The number, if it is one.
    pub(in crate::store) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub(in crate::store) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes, if it has any.
    pub(in crate::store) fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
            Self::Null | Self::Integer(_) => &[],
        }
    }

    /// About how much memory it takes.
    pub(in crate::store) fn weight(&self) -> usize {
        16 + self.bytes().len()
    }
}

/// A row, its cells in the order of the columns.
pub(in crate::store) type CopyRow = Vec<CopyCell>;

/// The numbers of a store that stand in no table of many rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::store) struct CopyMarks {
    /// The greatest id that was given out.
    pub(in crate::store) last_id: i64,
    /// Entries of the audit log before this time may be deleted, Unix ms.
    pub(in crate::store) audit_before_ms: i64,
    /// The greatest number of an entry of the audit log.
    pub(in crate::store) last_entry: i64,
    /// The greatest number of an operation.
    pub(in crate::store) last_operation: i64,
    /// Every event up to here is empty.
    pub(in crate::store) emptied_up_to: i64,
    /// Where the present pass of emptying goes on.
    pub(in crate::store) emptying_at: i64,
    /// The first event that the present pass of emptying has left alone.
    pub(in crate::store) emptying_kept: Option<i64>,
}
