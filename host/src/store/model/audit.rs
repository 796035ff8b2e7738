//! The audit log: who changed what.

use std::sync::Arc;

use super::Appended;
use crate::event::DeliveryId;

/// For how long a request is known by its key, in milliseconds.
pub const KEY_KNOWN_FOR_MS: i64 = 24 * 60 * 60 * 1000;

/// The most characters that are kept of a target.
const MAX_TARGET: usize = 300;

/// The most characters that are kept of the details.
const MAX_DETAIL: usize = 2_000;

/// The way in which a change was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// By a request to the API.
    Api,
    /// By a command of `hookbox`.
    Command,
    /// By a form of a page.
    Page,
}

impl Via {
    /// The word that people see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Command => "command",
            Self::Page => "page",
        }
    }
}

/// The client that asks for a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The name of its token; `local` without one.
    pub name: Arc<str>,
    /// The name of its role.
    pub role: &'static str,
    /// How it asks.
    pub via: Via,
}

/// The entry that the audit log gets for a change, in the transaction of the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditNote {
    /// The client that asks.
    pub actor: Actor,
    /// The action, such as `deliveries.retry`.
    pub action: &'static str,
    /// The target: an id, a name, or a filter.
    pub target: String,
    /// All else that distinguishes this request from others.
    pub detail: String,
    /// The `Idempotency-Key` of the request.
    pub key: Option<String>,
}

impl AuditNote {
    /// The note of an action on `target`.
    pub fn new(actor: Actor, action: &'static str, target: &str, detail: &str) -> Self {
        let cut = |text: &str, most| text.chars().take(most).collect();
        let (target, detail) = (cut(target, MAX_TARGET), cut(detail, MAX_DETAIL));
        Self { actor, action, target, detail, key: None }
    }

    /// The same without a key: for a part of what was asked for.
    #[must_use]
    pub fn of_a_part(&self) -> Self {
        Self { key: None, ..self.clone() }
    }

    /// The request that a key belongs to: another one with the same key is refused.
    pub(in crate::store) fn request(&self) -> String {
        format!("{}\n{}\n{}", self.action, self.target, self.detail)
    }

    /// Why a key that was used for another request is refused; for people.
    pub(in crate::store) fn other_request(&self) -> String {
        let key = self.key.as_deref().unwrap_or_default();
        format!(
            "the Idempotency-Key `{key}` was used for another request within the last 24 hours: \
             repeat that one, or use another key"
        )
    }
}

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Grows from entry to entry.
    pub id: i64,
    /// When, Unix ms of the wall clock.
    pub at_ms: i64,
    /// The client that asked.
    pub actor: String,
    /// In which role.
    pub role: String,
    /// How: see [`Via::name`].
    pub via: String,
    /// The action.
    pub action: String,
    /// The target.
    pub target: String,
    /// How it was asked for.
    pub detail: String,
    /// The result, JSON.
    pub result: String,
}

/// The entries that are asked for. Every part that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of exactly this actor.
    pub actor: Option<String>,
    /// Exactly this action, or those that begin with it and a dot.
    pub action: Option<String>,
    /// With this text in the target or the details.
    pub target: Option<String>,
    /// At or after, Unix ms.
    pub since_ms: Option<i64>,
    /// Before, Unix ms.
    pub until_ms: Option<i64>,
}

impl AuditFilter {
    /// Whether it takes an entry.
    pub(in crate::store) fn takes(&self, entry: &AuditEntry) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        let is_below = |wanted: &str| {
            entry.action.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.'))
        };
        is(&self.actor, &entry.actor)
            && self.action.as_ref().is_none_or(|wanted| *wanted == entry.action || is_below(wanted))
            && self.target.as_ref().is_none_or(|wanted| {
                entry.target.contains(wanted.as_str()) || entry.detail.contains(wanted.as_str())
            })
            && self.since_ms.is_none_or(|since_ms| entry.at_ms >= since_ms)
            && self.until_ms.is_none_or(|until_ms| entry.at_ms < until_ms)
    }
}

/// The result of a change as it is kept: JSON.
pub(in crate::store) trait AuditResult: Sized {
    /// Its text.
    fn text(&self) -> String;

    /// Reads it back.
    fn read(text: &str) -> Option<Self>;
}

/// How many deliveries were changed.
impl AuditResult for u64 {
    fn text(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// Deliveries that were made.
impl AuditResult for Vec<DeliveryId> {
    fn text(&self) -> String {
        serde_json::Value::from_iter(self.iter().map(ToString::to_string)).to_string()
    }

    fn read(text: &str) -> Option<Self> {
        let ids: Vec<String> = serde_json::from_str(text).ok()?;
        ids.iter().map(|id| id.parse().ok()).collect()
    }
}

/// An event that was made.
impl AuditResult for Appended {
    fn text(&self) -> String {
        serde_json::Value::from(self.id.to_string()).to_string()
    }

    fn read(text: &str) -> Option<Self> {
        let id: String = serde_json::from_str(text).ok()?;
        Some(Self { id: id.parse().ok()?, duplicate: true })
    }
}

/// Done.
impl AuditResult for () {
    fn text(&self) -> String {
        "null".to_owned()
    }

    fn read(_: &str) -> Option<Self> {
        Some(())
    }
}
