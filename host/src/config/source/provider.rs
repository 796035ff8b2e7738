//! The settings of a source for its provider's API: the key, the addresses, the registration.

use secrecy::SecretString;

use super::callback::CallbackRule;
use crate::providers::registered::Registration;
use crate::providers::{self, Api, Provider};

/// The provider of a source, and how the host may talk with it.
#[derive(Debug, Clone, Default)]
pub struct ProviderSettings {
    /// The name of a provider whose API is known.
    pub name: Option<&'static str>,
    /// The key of its API.
    pub api_key: ApiKey,
    /// The beginning of its addresses, if it is not the usual one.
    pub api_url: Option<String>,
    /// The generation of the API, if it is not the newest one.
    pub api_version: Option<&'static str>,
    /// How the provider reaches this host, without the path of the source.
    pub public_url: Option<String>,
    /// The rule for requests without a signature; absent if there are none.
    pub callback: Option<CallbackRule>,
    /// How long the secret before a rotation stays active, in milliseconds.
    pub overlap_ms: u64,
    /// How often the provider's log is asked for events that never came, in milliseconds; absent if
    /// it is not.
    pub reconcile_ms: Option<u64>,
    /// Whether its handshakes bring secrets.
    pub takes_secrets: bool,
    /// Whether `secrets` names the registration.
    pub names_registration: bool,
    /// The registration, if `secrets` names it and there is one.
    pub registration: Option<Registration>,
    /// When each active secret ends, Unix ms, in the order of the secrets.
    pub key_ends: Vec<Option<i64>>,
}

/// The key of a provider's API.
#[derive(Debug, Clone, Default)]
pub struct ApiKey {
    /// Where it is, for people; empty if nothing says so.
    pub place: String,
    /// The key, if it is set.
    pub value: Option<SecretString>,
}

impl ProviderSettings {
    /// The time for which an old secret stays active, unless the configuration says otherwise; in
    /// milliseconds.
    pub const DEFAULT_OVERLAP_MS: u64 = 24 * 60 * 60 * 1000;

    /// The provider, if its API is known.
    pub fn provider(&self) -> Option<&'static dyn Provider> {
        providers::find(self.name?)
    }

    /// The API of its provider.
    pub fn api(&self, provider: &dyn Provider) -> Api<'_> {
        let usual = provider.generations().first().copied().unwrap_or_default();
        Api {
            url: self.api_url.as_deref().unwrap_or(provider.api_url()),
            generation: self.api_version.unwrap_or(usual),
        }
    }

    /// Whether the secret at this position has ended.
    pub fn has_ended(&self, key: usize, now_ms: i64) -> bool {
        self.key_ends.get(key).copied().flatten().is_some_and(|until_ms| until_ms <= now_ms)
    }
}
