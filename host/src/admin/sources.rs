//! Sources: what came through each, what was refused and why, and which keys are in use.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::history::show_history;
use super::params::{HistoryQuery, Id, NoQuery, Params};
use super::problem::ProblemJson;
use super::state::Admin;
use super::view::Listing;
use crate::clock::rfc3339;
use crate::config::source::{Secrets, Verify};
use crate::config::{Config, Source};
use crate::ingest::{
    ReasonSummary, RefusalNote, RefusalReason, SourceReceived, sample, sign_request,
};
use crate::names::hint;

mod rule;
pub(in crate::admin) mod test;
mod types;
pub(in crate::admin) mod window;

pub(super) use types::TypeSeenJson;

use rule::{headers, type_from};
use window::{ConfirmationJson, WindowJson};

/// A source, and what it received since the start of the host.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Source)]
pub(super) struct SourceJson {
    /// The name of its section.
    pub(super) name: String,
    /// The path of its public address.
    pub(super) path: String,
    /// The preset, if one is named.
    pub(super) preset: Option<String>,
    /// `hmac-sha256`, `ed25519` or `none`.
    pub(super) scheme: &'static str,
    /// The reason for which every post is refused.
    pub(super) closed: Option<String>,
    /// Its secrets or public keys, in the order of the configuration.
    pub(super) secrets: Vec<SecretJson>,
    /// Since when last uses of these keys are known, RFC 3339 with milliseconds: the oldest that is
    /// stored, or the start of the host.
    pub(super) key_uses_since: String,
    /// New events that were stored; a request may be several.
    pub(super) accepted: u64,
    /// Events that repeated one before.
    pub(super) duplicates: u64,
    /// Requests that were refused, by reason.
    pub(super) refused: BTreeMap<&'static str, u64>,
    /// When the last event came, RFC 3339 with milliseconds.
    pub(super) last_at: Option<String>,
    /// When the last request was refused, RFC 3339 with milliseconds.
    pub(super) last_refused_at: Option<String>,
}

/// A secret or a public key of a source: its place, and never what it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Secret)]
pub(super) struct SecretJson {
    /// Its place, for people.
    pub(super) from: String,
    /// Whether it is there.
    pub(super) set: bool,
    /// When a request was signed with it last, RFC 3339 with milliseconds. It is kept for 14 days
    /// in which samples were stored, and so outlives a restart.
    pub(super) last_used_at: Option<String>,
}

/// A source in detail.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SourceDetail {
    /// The source as the listing shows it.
    #[serde(flatten)]
    pub(super) source: SourceJson,
    /// The headers in which it looks for a signature, the first that is present counts.
    pub(super) signature_headers: Vec<String>,
    /// The header in which it looks for the time of sending.
    pub(super) timestamp_header: Option<String>,
    /// The place in which it looks for the type.
    pub(super) type_from: String,
    /// The part of a request that becomes an event.
    pub(super) events: String,
    /// The requests of the last 24 hours, as far as charts know.
    pub(super) day: DayJson,
    /// The reasons for which requests were refused since the start, the most frequent first.
    pub(super) reasons: Vec<ReasonJson>,
    /// Types that came within the last 24 hours, since the start of the host; the most frequent
    /// first.
    pub(super) types: Vec<TypeSeenJson>,
    /// Types that a test event may have; others are possible.
    pub(super) samples: Vec<String>,
    /// The reason for which this host cannot sign a test event.
    pub(super) untestable: Option<String>,
    /// The window in which the secret of a handshake is taken; absent if they bring none.
    pub(super) secret_window: Option<WindowJson>,
    /// The newest confirmation of a subscription, since the start of the host.
    pub(super) confirmation: Option<ConfirmationJson>,
}

/// Requests of 24 hours.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = SourceDay)]
pub(super) struct DayJson {
    /// Stored as new events.
    pub(super) accepted: u64,
    /// Repeated an event.
    pub(super) duplicates: u64,
    /// Refused.
    pub(super) refused: u64,
}

/// The requests that were refused for one reason.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RefusalReason)]
pub(super) struct ReasonJson {
    /// The reason, from a fixed set.
    pub(super) reason: &'static str,
    /// How many since the start of the host.
    pub(super) count: u64,
    /// When the last one came, RFC 3339 with milliseconds.
    pub(super) last_at: String,
    /// The meaning.
    pub(super) meaning: &'static str,
    /// The remedy.
    pub(super) remedy: &'static str,
    /// The change that would have made the last refused request authentic for which one was found.
    pub(super) hint: Option<String>,
    /// How long before it came the last one was sent by its own words, in seconds.
    pub(super) offset_s: Option<i64>,
}

/// A request that was refused. No header's value and no byte of a body is kept.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Refusal)]
pub(super) struct RefusalJson {
    /// When, RFC 3339 with milliseconds.
    pub(super) at: String,
    /// The reason, from a fixed set.
    pub(super) reason: &'static str,
    /// The address of the client.
    pub(super) client_address: String,
    /// The length of the body, as it was read or announced.
    pub(super) body_bytes: Option<u64>,
    /// The names of its headers, those first that say something of the sender.
    pub(super) headers: Vec<String>,
    /// How long before it came it was sent by its own words, in seconds.
    pub(super) offset_s: Option<i64>,
    /// The change that would have made it authentic, if one was found.
    pub(super) hint: Option<String>,
}

/// List the sources of the configuration, by name.
#[utoipa::path(get, path = "/api/v1/sources", tag = "events", responses(
    (status = 200, description = "Every source", body = Listing<SourceJson>),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn list_sources(
    State(admin): State<Arc<Admin>>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Json<Listing<SourceJson>> {
    let config = admin.config.load();
    let items = config.sources.values().map(|source| SourceJson::of(&admin, source).0).collect();
    Json(Listing { items, next_cursor: None })
}

/// Show one source: what it looks for, what it received, and why requests were refused.
#[utoipa::path(get, path = "/api/v1/sources/{name}", tag = "events",
    params(("name" = String, Path, description = "The source")), responses(
    (status = 200, description = "The source", body = SourceDetail),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn show_source(
    State(admin): State<Arc<Admin>>,
    Params(NoQuery {}): Params<NoQuery>,
    Id(name): Id<String>,
) -> Result<Json<SourceDetail>, ProblemJson> {
    let source = find(&admin.config.load(), &name)?;
    let day = day(&admin, &name).await?;
    let (json, received) = SourceJson::of(&admin, &source);
    let mut reasons: Vec<_> = received.reasons.into_iter().map(ReasonJson::of).collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    let (signature_headers, timestamp_header) = headers(&source);
    Ok(Json(SourceDetail {
        source: json,
        signature_headers,
        timestamp_header,
        type_from: type_from(&source.kind),
        events: source.events_of_a_request(),
        types: types::types(&admin, &source.name),
        day,
        reasons,
        samples: sample::suggested(&source),
        secret_window: WindowJson::of(&admin, &source),
        confirmation: received.confirmation.map(ConfirmationJson::from),
        untestable: sign_request(&source, b"{}", "id", 0).err().map(|error| error.to_string()),
    }))
}

/// The newest requests of a source that were refused, the newest first: at most 50, since the start
/// of the host.
#[utoipa::path(get, path = "/api/v1/sources/{name}/refusals", tag = "events",
    params(("name" = String, Path, description = "The source")), responses(
    (status = 200, description = "The newest refusals", body = Listing<RefusalJson>),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn list_refusals(
    State(admin): State<Arc<Admin>>,
    Params(NoQuery {}): Params<NoQuery>,
    Id(name): Id<String>,
) -> Result<Json<Listing<RefusalJson>>, ProblemJson> {
    let source = find(&admin.config.load(), &name)?;
    let items = admin.activity.refusals(&source.name).into_iter().map(RefusalJson::from).collect();
    Ok(Json(Listing { items, next_cursor: None }))
}

/// The source of this name.
pub(super) fn find(config: &Config, name: &str) -> Result<Arc<Source>, ProblemJson> {
    config.sources.get(name).cloned().ok_or_else(|| {
        let hint = hint(name, config.sources.keys().map(String::as_str));
        let name: String = name.chars().take(80).collect();
        ProblemJson::not_found(format!("there is no source `{name}`{hint}"))
    })
}

/// The counts of a day, from the charts.
async fn day(admin: &Arc<Admin>, name: &str) -> Result<DayJson, ProblemJson> {
    let query = HistoryQuery::of_source("24h", name);
    let Json(history) = show_history(State(Arc::clone(admin)), Params(query)).await?;
    let sum = |series: &str| {
        let steps = history.series.get(series).into_iter().flatten();
        steps.map(|n| n.unwrap_or_default()).sum::<f64>() as u64
    };
    Ok(DayJson { accepted: sum("accepted"), duplicates: sum("duplicate"), refused: sum("refused") })
}

impl SourceJson {
    fn of(admin: &Admin, source: &Source) -> (Self, SourceReceived) {
        let received = admin.activity.received(&source.name);
        let refused = received.reasons.iter().map(|(reason, of)| (reason.name(), of.count));
        let last_refused = received.reasons.values().map(|of| of.last_ms).max();
        let json = Self {
            name: source.name.to_string(),
            path: format!("/webhook/{}", source.name),
            preset: source.preset.clone(),
            scheme: scheme(source),
            closed: closed(source),
            secrets: secrets(source, &admin.activity.key_uses(source)),
            key_uses_since: rfc3339(uses_since(admin, source)),
            accepted: received.accepted,
            duplicates: received.duplicates,
            refused: refused.collect(),
            last_at: received.last_ms.map(rfc3339),
            last_refused_at: last_refused.map(rfc3339),
        };
        (json, received)
    }
}

impl ReasonJson {
    fn of((reason, summary): (RefusalReason, ReasonSummary)) -> Self {
        let ReasonSummary { count, last_ms, hint, offset_s } = summary;
        Self {
            reason: reason.name(),
            count,
            last_at: rfc3339(last_ms),
            meaning: reason.meaning(),
            remedy: reason.remedy(),
            hint,
            offset_s,
        }
    }
}

impl From<RefusalNote> for RefusalJson {
    fn from(note: RefusalNote) -> Self {
        let RefusalNote { at_ms, reason, client, body_bytes, headers, offset_s, hint } = note;
        Self {
            at: rfc3339(at_ms),
            reason: reason.name(),
            client_address: client,
            body_bytes,
            headers,
            offset_s,
            hint,
        }
    }
}

/// Since when last uses of a source's keys are known.
fn uses_since(admin: &Admin, source: &Source) -> i64 {
    let stored = admin.activity.key_uses_since(&source.name);
    stored.map_or(admin.started_ms, |since_ms| since_ms.min(admin.started_ms))
}

fn scheme(source: &Source) -> &'static str {
    match &source.verify {
        Verify::None => "none",
        Verify::Signature(signature) => signature.scheme.name(),
    }
}

fn closed(source: &Source) -> Option<String> {
    match &source.secrets {
        Secrets::Missing(what) => Some(what.clone()),
        _ => None,
    }
}

/// The number of keys of a source that are set.
pub(super) fn keys_set(source: &Source) -> usize {
    secrets(source, &[]).iter().filter(|secret| secret.set).count()
}

/// The places of keys with the last use of each; `uses` has those of the keys that are set.
fn secrets(source: &Source, uses: &[Option<i64>]) -> Vec<SecretJson> {
    let Verify::Signature(signature) = &source.verify else { return Vec::new() };
    let mut uses = uses.iter().copied();
    let mut one = |from: String, set: bool| {
        let last = if set { uses.next().flatten() } else { None };
        SecretJson { from, set, last_used_at: last.map(rfc3339) }
    };
    if let Secrets::Pair { path, .. } = &source.secrets {
        return vec![one(format!("a pair of keys for tests, in {}", path.display()), true)];
    }
    if !signature.has_secrets() {
        let count = signature.public_keys.len();
        return (1..=count).map(|n| one(format!("public key {n}"), true)).collect();
    }
    let places = source.secret_places.iter();
    let mut found: Vec<_> = match &source.secrets {
        // Secrets of an earlier configuration may stay in use.
        Secrets::Set(all)
            if source.secret_places.iter().filter(|it| it.is_set).count() != all.len() =>
        {
            (1..=all.len()).map(|n| one(format!("secret {n}"), true)).collect()
        }
        _ => places.map(|place| one(place.name.clone(), place.is_set)).collect(),
    };
    if let Secrets::Generated { path, .. } = &source.secrets {
        found.push(one(format!("made by this host, in {}", path.display()), true));
    }
    found
}
