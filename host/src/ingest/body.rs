//! Reads a request's body, as far as it may go.

use std::fmt::Display;
use std::sync::Arc;

use axum::body::HttpBody;
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::reply::Refused;

/// Memory for all bodies that are being received or appended, in bytes. It is at least one body of the largest size.
pub(super) const MAX_MEMORY_BYTES: usize = 256 << 20;

/// Room that is made for a body before any of it has come; it grows with what comes.
const FIRST_ROOM_BYTES: usize = 16 << 10;

/// A body, and its share of the memory for bodies.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: Bytes,
    pub(super) share: Option<OwnedSemaphorePermit>,
}

/// Reads the body to its end. What is declared too long is refused before the first byte is read, what turns out too
/// long as soon as it does; memory is taken for what has come, never for what is announced.
pub(super) async fn read<B>(mut body: B, limit: usize, memory: &Arc<Semaphore>) -> Result<Received, Refused>
where
    B: HttpBody<Data = Bytes, Error: Display> + Unpin,
{
    let too_large = Refused::TooLarge { limit };
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > limit {
        return Err(too_large);
    }
    let mut bytes = Vec::with_capacity(declared.min(FIRST_ROOM_BYTES));
    let mut share: Option<OwnedSemaphorePermit> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refused::BodyBroken(error.to_string()))?;
        // Trailers are nothing a signature covers.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit - bytes.len() {
            return Err(too_large);
        }
        let more = u32::try_from(data.len()).map_err(|_| Refused::NoRoom)?;
        let more = Arc::clone(memory).try_acquire_many_owned(more).map_err(|_| Refused::NoRoom)?;
        match &mut share {
            Some(share) => share.merge(more),
            None => share = Some(more),
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Received { bytes: Bytes::from(bytes), share })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[tokio::test]
    async fn bodies_share_a_bounded_memory_and_give_it_back() {
        let memory = Arc::new(Semaphore::new(10));
        let first = read(Body::from("123456"), 100, &memory).await.unwrap();
        assert_eq!((&first.bytes[..], memory.available_permits()), (&b"123456"[..], 4));
        let second = read(Body::from("12345"), 100, &memory).await;
        assert!(matches!(second, Err(Refused::NoRoom)));
        drop(first);
        assert!(read(Body::from("1234567890"), 100, &memory).await.is_ok());
        assert!(read(Body::empty(), 100, &memory).await.is_ok_and(|body| body.bytes.is_empty()));
        assert_eq!(memory.available_permits(), 10);
    }

    #[tokio::test]
    async fn a_body_beyond_the_limit_takes_no_memory() {
        let memory = Arc::new(Semaphore::new(100));
        let refused = read(Body::from("123456"), 5, &memory).await;
        assert!(matches!(refused, Err(Refused::TooLarge { limit: 5 })));
        assert_eq!(memory.available_permits(), 100);
    }
}
