//! Reads a request's body, as far as it may go.

use std::fmt::Display;

use axum::body::HttpBody;
use bytes::Bytes;
use http_body_util::BodyExt;

use super::reply::Refused;
use crate::config::{Config, Source};

mod memory;

pub(super) use memory::{BodyMemory, Reservation};

/// Room that is made for a body before any of it has come; it grows with what comes.
const FIRST_ROOM_BYTES: usize = 16 << 10;

/// How long a body may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MaxBody {
    /// In bytes.
    pub(super) bytes: usize,
    /// Whether the source says so, or the server for those that do not.
    pub(super) of_source: bool,
}

impl MaxBody {
    pub(super) fn of(source: &Source, config: &Config) -> Self {
        Self { bytes: config.max_body_bytes(source), of_source: source.max_body_bytes.is_some() }
    }
}

/// Reads the body to its end. What is declared too long is refused before the first byte is read, what turns out too
/// long as soon as it does; memory is reserved for what has come, never for what is announced.
pub(super) async fn read<B>(mut body: B, max: MaxBody, memory: &mut Reservation) -> Result<Bytes, Refused>
where
    B: HttpBody<Data = Bytes, Error: Display> + Unpin,
{
    let (limit, too_large) = (max.bytes, Refused::TooLarge(max));
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > limit {
        return Err(too_large);
    }
    let mut bytes = Vec::with_capacity(declared.min(FIRST_ROOM_BYTES));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refused::BodyBroken(error.to_string()))?;
        // Trailers are nothing a signature covers.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit - bytes.len() {
            return Err(too_large);
        }
        memory.grow(data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok(Bytes::from(bytes))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::Body;

    use super::*;

    fn bytes(bytes: usize) -> MaxBody {
        MaxBody { bytes, of_source: true }
    }

    #[tokio::test]
    async fn bodies_share_a_bounded_memory_and_give_it_back() {
        let memory = Arc::new(BodyMemory::new(10, 10));
        let mut first = memory.reserve(None);
        assert_eq!(&read(Body::from("123456"), bytes(10), &mut first).await.unwrap()[..], b"123456");
        assert_eq!(memory.held_bytes(), 6);
        let second = read(Body::from("12345"), bytes(10), &mut memory.reserve(None)).await;
        assert!(matches!(second, Err(Refused::NoRoom)));
        drop(first);
        assert!(read(Body::from("1234567890"), bytes(10), &mut memory.reserve(None)).await.is_ok());
        assert!(read(Body::empty(), bytes(10), &mut memory.reserve(None)).await.is_ok_and(|body| body.is_empty()));
        assert_eq!(memory.held_bytes(), 0);
    }

    #[tokio::test]
    async fn a_body_beyond_the_limit_takes_no_memory() {
        let memory = Arc::new(BodyMemory::new(100, 10));
        let mut reservation = memory.reserve(None);
        let refused = read(Body::from("123456"), bytes(5), &mut reservation).await;
        assert!(matches!(refused, Err(Refused::TooLarge(MaxBody { bytes: 5, .. }))));
        assert_eq!(memory.held_bytes(), 0);
    }
}
