//! Headers of which a request says itself that they are signed.

use axum::http::header::HeaderName;

use super::super::refusal::Refusal;
use crate::ingest::head::Head;
use crate::ingest::header;

/// The most headers that a request may name as signed.
const MAX_LISTED: usize = 64;

/// The header that names signed headers.
///
/// It has to name itself, and the header of the time of sending. Otherwise a captured request could
/// be sent again with a shorter list and another time, and the same text would be signed.
#[derive(Debug)]
pub(super) struct ListedHeaders {
    list: HeaderName,
    time: Option<HeaderName>,
}

impl ListedHeaders {
    pub(super) fn new(list: &str, time: Option<&str>) -> Result<Self, String> {
        let list = header::parse_name(list)?;
        Ok(Self { list, time: time.map(header::parse_name).transpose()? })
    }

    /// `name:value` of each header that is named, in the order of the names; `None` if there is no
    /// list.
    pub(super) fn text(&self, head: &Head) -> Result<Option<String>, Refusal> {
        let Some(names) = header::single(&head.headers, &self.list)? else { return Ok(None) };
        let names = std::str::from_utf8(names).map_err(|_| Refusal::NoPart)?;
        let mut names: Vec<String> =
            names.split(',').map(|name| name.trim().to_lowercase()).collect();
        names.sort_unstable();
        let is_named = |wanted: &HeaderName| names.iter().any(|name| name == wanted.as_str());
        let wanted = std::iter::once(&self.list).chain(&self.time);
        if names.len() > MAX_LISTED || !wanted.into_iter().all(is_named) {
            return Err(Refusal::NoPart);
        }
        let one = |name: &String| {
            let name_of = header::parse_name(name).ok()?;
            let value = std::str::from_utf8(header::single(&head.headers, &name_of).ok()??).ok()?;
            Some(format!("{name}:{}", value.trim()))
        };
        let lines = names.iter().map(one).collect::<Option<Vec<_>>>().ok_or(Refusal::NoPart)?;
        Ok(Some(lines.join(";")))
    }
}
