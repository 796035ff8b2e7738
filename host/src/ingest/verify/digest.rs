//! The text that a signature covers, as a digest: what a request is, however it is written.

use sha2::{Digest, Sha256};

/// The digest of the signed text of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ingest) enum SignedDigest {
    /// That of the whole request.
    Whole([u8; 32]),
    /// That of each item, where the items of a list are signed for themselves.
    Items(Vec<[u8; 32]>),
}

impl SignedDigest {
    /// That of the event at this position of a request with several, or else of the request.
    pub(in crate::ingest) fn of(&self, at: Option<usize>) -> [u8; 32] {
        let Some(at) = at else { return self.of_request() };
        match self {
            Self::Items(digests) if at < digests.len() => digests[at],
            _ => {
                let whole = Sha256::new_with_prefix(self.of_request());
                whole.chain_update((at as u64).to_le_bytes()).finalize().into()
            }
        }
    }

    /// One digest for the request. The order of items says nothing, nor does an item that is there
    /// twice.
    pub(in crate::ingest) fn of_request(&self) -> [u8; 32] {
        match self {
            Self::Whole(digest) => *digest,
            Self::Items(digests) => {
                let mut digests = digests.clone();
                digests.sort_unstable();
                digests.dedup();
                Sha256::digest(digests.concat()).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_the_order_of_items_nor_an_item_twice_makes_another_request() {
        let items = |numbers: &[u8]| {
            SignedDigest::Items(numbers.iter().map(|number| [*number; 32]).collect()).of_request()
        };
        assert_eq!(items(&[1, 2]), items(&[2, 1, 2]));
        assert_ne!(items(&[1, 2]), items(&[1]));
        assert_ne!(items(&[1]), SignedDigest::Whole([1; 32]).of_request());
        let whole = SignedDigest::Whole([1; 32]);
        assert_ne!(whole.of(Some(0)), whole.of(Some(1)), "two events of one request");
        assert_eq!(SignedDigest::Items(vec![[1; 32], [2; 32]]).of(Some(1)), [2; 32]);
    }
}
