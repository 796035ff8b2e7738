//! The event of a gathering that has ended.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::clock::rfc3339;
use crate::config::Routes;
use crate::config::routes::{Gathering, KeepMembers};
use crate::event::{Attributes, Event, GatheringKind, KeySource, NewEvent};
use crate::store::{GatheringView, MemberView};

/// The event that a gathering emits, at this time (Unix ms). `first` is its first member.
pub(super) fn event(
    section: &Gathering,
    gathered: &GatheringView,
    first: &Event,
    routes: &Routes,
    now_ms: i64,
) -> NewEvent {
    let in_time = gathered.complete || section.terms.kind == GatheringKind::Batch;
    let hops = gathered.members.iter().filter_map(|member| Some(member.event.as_ref()?.hops)).max();
    let last = gathered.members.last().map_or(first.id, |member| member.id);
    let mut event = NewEvent {
        parent: Some(if gathered.complete { last } else { first.id }),
        hops: hops.unwrap_or(first.hops).max(first.hops) + 1,
        ..NewEvent::from(Attributes {
            source: gathered.plugin.clone(),
            kind: if in_time { section.emit.clone() } else { section.late.clone() },
            subject: (section.key == KeySource::Subject).then(|| gathered.key.clone()),
            content_type: Some("application/json".to_owned()),
            time_ms: now_ms,
            body: Bytes::from(data(section, gathered, in_time).to_string()),
        })
    };
    routes.route(&mut event);
    event
}

fn data(section: &Gathering, gathered: &GatheringView, in_time: bool) -> Value {
    let all = gathered.members.as_slice();
    let shown = match section.keep {
        KeepMembers::First => &all[..all.len().min(1)],
        KeepMembers::Last => &all[all.len().saturating_sub(1)..],
        KeepMembers::All | KeepMembers::Ids => all,
    };
    let truncated = section.keep != KeepMembers::Ids && shown.iter().any(|m| m.event.is_none());
    let members: Vec<_> = shown.iter().map(|member| shown_member(section.keep, member)).collect();
    let mut data = json!({
        "key": gathered.key,
        "complete": in_time,
        "why": gathered.why.name(),
        "count": gathered.count,
        "need": section.terms.need.or(gathered.need),
        "members": members,
    });
    if truncated {
        data["truncated"] = Value::Bool(true);
    }
    data
}

fn shown_member(keep: KeepMembers, member: &MemberView) -> Value {
    let event = if keep == KeepMembers::Ids { None } else { member.event.as_ref() };
    let Some(event) = event else {
        return json!({ "id": member.id.to_string() });
    };
    let attributes = &event.attributes;
    let mut shown = json!({
        "id": member.id.to_string(),
        "type": attributes.kind,
        "source": &*attributes.source,
        "time": rfc3339(attributes.time_ms),
    });
    let (name, body) = match serde_json::from_slice(&attributes.body) {
        Ok(body) => ("data", body),
        Err(_) => ("data_base64", Value::String(STANDARD.encode(&attributes.body))),
    };
    shown[name] = body;
    shown
}
