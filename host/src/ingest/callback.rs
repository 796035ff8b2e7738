//! Callbacks of single jobs: requests without a signature, to an address that nobody can guess.
//!
//! `POST /webhook/NAME/TOKEN` is taken if the token is that of the source. A wrong token has the
//! answer of a source that does not exist. A callback is identified like a signed request, so
//! both kinds of one event are one event.

use secrecy::ExposeSecret;
use subtle::ConstantTimeEq as _;

use super::reply::Rejection;
use super::source::SourceRuntime;
use super::sources::Sources;
use crate::event::NewEvent;
use crate::store::Read;

/// The longest path that is looked at, in bytes.
const MAX_PATH_BYTES: usize = 300;

/// The source that a path with the right token is for.
pub(super) fn find<'s>(path: &str, sources: &'s Sources) -> Option<&'s SourceRuntime> {
    let rest = path.strip_prefix("/webhook/").filter(|rest| rest.len() <= MAX_PATH_BYTES)?;
    let (name, token) = rest.split_once('/').filter(|(_, token)| !token.is_empty())?;
    let source = sources.get(name)?;
    let rule = source.source().provider.callback.as_ref()?;
    let right = rule.token.as_ref()?.expose_secret();
    bool::from(right.as_bytes().ct_eq(token.as_bytes())).then_some(source)
}

/// Whether somebody waits for a callback: its key is there, if the source asks for one.
pub(super) async fn check(
    source: &SourceRuntime,
    event: &NewEvent,
    reads: &dyn Read,
) -> Result<(), Rejection> {
    let rule = source.source().provider.callback.as_ref();
    let Some(known) = rule.and_then(|rule| rule.known.as_ref()) else { return Ok(()) };
    let Some(subject) = &event.attributes.subject else { return Err(Rejection::Unawaited) };
    let found = reads.kv_get(known.bucket.clone(), known.of(subject)).await?;
    found.map(drop).ok_or(Rejection::Unawaited)
}
