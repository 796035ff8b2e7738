//! Requests whose items are events: samples, and those that an event came in.

use serde_json::Value;

use super::{fill, fresh_id, joined, put, tokens};
use crate::config::source::{Pick, Source};
use crate::event::UNIDENTIFIED;

/// Reads a place: the pointer, if it is there that the pick looks.
pub(super) type PointerOf = fn(&Pick) -> Option<&str>;

/// The pointer into an event, or an item.
pub(super) fn own(pick: &Pick) -> Option<&str> {
    if let Pick::Json(pointer) = pick { Some(pointer) } else { None }
}

/// The pointer into the request that events are items of.
pub(super) fn of_request(pick: &Pick) -> Option<&str> {
    if let Pick::Request(pointer) = pick { Some(pointer) } else { None }
}

/// The list at a path.
pub(super) fn list<'v>(body: &'v Value, path: &[String]) -> Option<&'v Vec<Value>> {
    let step = |at: &'v Value, name: &String| match at {
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        at => at.get(name),
    };
    path.iter().try_fold(body, step)?.as_array()
}

/// The same to change; a body without it becomes its only item.
pub(super) fn made<'v>(body: &'v mut Value, path: &[String]) -> Result<&'v mut Vec<Value>, String> {
    if list(body, path).is_none() {
        let item = body.take();
        put(body, path, Value::Array(vec![item]))?;
    }
    let found = path.iter().try_fold(body, |at, name| match at {
        Value::Array(items) => items.get_mut(name.parse::<usize>().ok()?),
        at => at.get_mut(name),
    });
    found.and_then(Value::as_array_mut).ok_or_else(|| "the list has no place".to_owned())
}

/// The id of the item at this position: each has its own.
pub(super) fn id(id: &str, at: usize) -> String {
    if at == 0 { id.to_owned() } else { format!("{id}_{at}") }
}

/// Fills the ids in: those of an item, and those beside the list.
pub(super) fn fill_all(body: &mut Value, path: &[String], fresh: &str) -> Result<(), String> {
    for (at, item) in made(body, path)?.iter_mut().enumerate() {
        fill(item, &id(fresh, at));
    }
    fill(body, fresh);
    Ok(())
}

/// The request in which a provider sends this item alone, with what the source reads beside the
/// list. The item keeps its bytes.
///
/// # Errors
/// A value has no place; for people.
pub fn request_of(
    source: &Source,
    item: &[u8],
    (kind, subject): (&str, Option<&str>),
) -> Result<Vec<u8>, String> {
    let Some(split) = &source.split else { return Ok(item.to_vec()) };
    let mark = fresh_id();
    let mut body = Value::Null;
    put(&mut body, &tokens(split), Value::Array(vec![Value::String(mark.clone())]))?;
    let about = source.subject.iter().flat_map(joined::values);
    let about = about.map(|pick| (pick.clone(), subject.map(str::to_owned)));
    let is_typed = kind != UNIDENTIFIED;
    let kinds = if is_typed { joined::kind_values(source, kind).ok() } else { None };
    for (pick, value) in kinds.into_iter().flatten().chain(about) {
        if let (Some(pointer), Some(value)) = (of_request(&pick), value) {
            put(&mut body, &tokens(pointer), Value::String(value))?;
        }
    }
    let text = body.to_string();
    let (before, after) = text.split_once(&format!("\"{mark}\"")).unwrap_or((&text, ""));
    Ok([before.as_bytes(), item, after.as_bytes()].concat())
}
