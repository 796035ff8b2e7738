//! The secret itself: in a header, in the address, in the body, or as user and password.
//!
//! It covers nothing of the request. Comparing digests hides the length of the secret as well.

use std::fmt;

use ring::digest::{SHA256, digest};
use secrecy::{ExposeSecret, SecretSlice};
use subtle::{Choice, ConstantTimeEq};

use super::candidates::Candidates;
use super::message::Message;
use super::scheme::Scheme;

/// One or more tokens.
pub(super) struct SharedToken {
    secrets: Vec<SecretSlice<u8>>,
}

impl SharedToken {
    /// With these secrets, or `None` if there is none.
    pub(super) fn new(secrets: &[SecretSlice<u8>]) -> Option<Self> {
        let known = secrets.iter().filter(|secret| !secret.expose_secret().is_empty());
        let secrets: Vec<_> = known.cloned().collect();
        (!secrets.is_empty()).then_some(Self { secrets })
    }
}

impl fmt::Debug for SharedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedToken").finish_non_exhaustive()
    }
}

impl Scheme for SharedToken {
    fn fits(&self, bytes: usize) -> bool {
        bytes > 0
    }

    fn keys(&self) -> usize {
        self.secrets.len()
    }

    fn matching_key(&self, _: &Message<'_>, candidates: &Candidates) -> Option<u32> {
        let mut found = None;
        for (at, secret) in (0_u32..).zip(&self.secrets) {
            let wanted = digest(&SHA256, secret.expose_secret());
            let hit = candidates.iter().fold(Choice::from(0), |hit, candidate| {
                hit | digest(&SHA256, candidate).as_ref().ct_eq(wanted.as_ref())
            });
            if bool::from(hit) && found.is_none() {
                found = Some(at);
            }
        }
        found
    }

    fn digest(&self, _: &Message<'_>, _: &Candidates) -> Option<[u8; 32]> {
        None
    }

    fn sign(&self, _: &Message<'_>) -> Option<Vec<u8>> {
        self.secrets.first().map(|secret| secret.expose_secret().to_vec())
    }
}
