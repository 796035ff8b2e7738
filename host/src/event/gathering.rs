//! Events that are gathered by a key: into a join, once, or into batches, again and again.
//!
//! A gathering is a delivery of its first member to a plugin of the host, `joins/NAME` or
//! `batches/NAME`, which waits until the gathering is complete or its time is over.

use std::sync::Arc;
use std::time::Duration;

use super::key::Key;
use crate::names::PluginName;

/// The most members of one gathering. It is complete with them.
pub const MAX_MEMBERS: u32 = 10_000;

/// The kind of a gathering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatheringKind {
    /// Once for each key: what comes after the end is late, until the time of the join is over.
    Join,
    /// Again and again: what comes after the end opens the next one.
    Batch,
}

/// The terms on which events are gathered, shared by all of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatheringTerms {
    /// The host's plugin that ends it: `joins/NAME` or `batches/NAME`.
    pub plugin: PluginName,
    /// Once or again and again.
    pub kind: GatheringKind,
    /// The time from the first member after which it ends in any case.
    pub within: Duration,
    /// The time without a new member after which it ends; absent if that ends nothing.
    pub quiet: Option<Duration>,
    /// The members that complete it; absent if something else does.
    pub need: Option<u32>,
    /// Every bit that members have to bring ([`NewMember::seen`]); 0 if types do not complete it.
    pub types: u64,
}

/// How a member is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counted {
    /// Each event is one.
    Event,
    /// Members with the same text count as one.
    Text(Arc<str>),
    /// It is kept and not counted.
    Not,
}

/// An event as a member of a gathering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMember {
    /// The terms.
    pub terms: Arc<GatheringTerms>,
    /// The key that it is gathered by.
    pub key: Key,
    /// How it is counted.
    pub counted: Counted,
    /// The number of members that complete the gathering, if this one says it. Of several, the
    /// first counts.
    pub need: Option<u32>,
    /// The bits of the types that it stands for.
    pub seen: u64,
    /// Whether it completes the gathering.
    pub closes: bool,
}

/// Why a gathering has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// As many members came as it needs.
    Need,
    /// An event of each type came.
    Types,
    /// An event came that closes it.
    Close,
    /// As many members came as a batch holds.
    Size,
    /// [`MAX_MEMBERS`] came.
    Limit,
    /// No member came for some time.
    Quiet,
    /// Its time is over.
    Within,
}

impl Why {
    /// Every reason, in the order of [`Why::code`].
    pub const ALL: [Self; 7] =
        [Self::Need, Self::Types, Self::Close, Self::Size, Self::Limit, Self::Quiet, Self::Within];

    /// The stored form.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Reads the stored form.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The name people see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Need => "need",
            Self::Types => "types",
            Self::Close => "close",
            Self::Size => "size",
            Self::Limit => "limit",
            Self::Quiet => "quiet",
            Self::Within => "within",
        }
    }
}
