//! Reads a request's body within its limits.

use std::fmt::Display;

use axum::body::HttpBody;
use bytes::Bytes;
use http_body_util::BodyExt;

use crate::config::{Config, Source};

mod memory;

pub(super) use memory::{BodyMemory, NoMemory, Reservation};

/// The capacity for a body before any of it has come; it grows with what comes.
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

/// Why a body is not read to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error(
        "the body is longer than {}, {} bytes",
        if .0.of_source { "`max_body` of its source" } else { "`server.max_body`" },
        .0.bytes
    )]
    TooLarge(MaxBody),
    #[error("the body broke off: {0}")]
    Broken(String),
    #[error(transparent)]
    NoMemory(#[from] NoMemory),
}

/// Reads the body to its end. A body that is declared too long is refused before its first byte is
/// read, one that turns out too long as soon as it does. Memory is reserved for what has come,
/// never for what is announced.
pub(super) async fn read<B>(
    mut body: B,
    max: MaxBody,
    memory: &mut Reservation,
) -> Result<Bytes, BodyError>
where
    B: HttpBody<Data = Bytes, Error: Display> + Unpin,
{
    let (limit, too_large) = (max.bytes, BodyError::TooLarge(max));
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > limit {
        return Err(too_large);
    }
    let mut bytes = Vec::with_capacity(declared.min(FIRST_ROOM_BYTES));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| BodyError::Broken(error.to_string()))?;
        // Signatures do not cover trailers.
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
        assert_eq!(
            &read(Body::from("123456"), bytes(10), &mut first).await.unwrap()[..],
            b"123456"
        );
        assert_eq!(memory.held_bytes(), 6);
        let second = read(Body::from("12345"), bytes(10), &mut memory.reserve(None)).await;
        assert!(matches!(second, Err(BodyError::NoMemory(NoMemory::Full))));
        drop(first);
        assert!(read(Body::from("1234567890"), bytes(10), &mut memory.reserve(None)).await.is_ok());
        assert!(
            read(Body::empty(), bytes(10), &mut memory.reserve(None))
                .await
                .is_ok_and(|body| body.is_empty())
        );
        assert_eq!(memory.held_bytes(), 0);
    }

    #[tokio::test]
    async fn a_body_beyond_the_limit_takes_no_memory() {
        let memory = Arc::new(BodyMemory::new(100, 10));
        let mut reservation = memory.reserve(None);
        let refused = read(Body::from("123456"), bytes(5), &mut reservation).await;
        assert!(matches!(refused, Err(BodyError::TooLarge(MaxBody { bytes: 5, .. }))));
        assert_eq!(memory.held_bytes(), 0);
    }
}
