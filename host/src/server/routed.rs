//! The listener of operators: a router, and the share of connections that an address has there.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use tower::ServiceExt;

use super::client::{ClientKey, Peer};
use super::limit_log::LimitLog;
use super::listener::Handler;
use crate::config::Config;

/// Answers by a router.
#[derive(Debug, Clone)]
pub struct Routed {
    router: Router,
    /// The running configuration, for `server.trusted_proxies`.
    config: Arc<ArcSwap<Config>>,
    limits: Arc<LimitLog>,
}

impl Routed {
    /// Answers by this router.
    pub fn new(router: Router, config: Arc<ArcSwap<Config>>) -> Self {
        Self { router, config, limits: Arc::default() }
    }
}

impl Handler for Routed {
    async fn answer(&self, request: hyper::Request<Incoming>, peer: SocketAddr) -> Response {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Operators on this machine come from one address, and so do those behind a trusted proxy:
    /// limits would keep them from their own host. Any other address has a share, because it may
    /// hold connections before it has shown a token.
    fn key_of(&self, peer: SocketAddr) -> Option<ClientKey> {
        let address = peer.ip().to_canonical();
        let has_none =
            address.is_loopback() || self.config.load().server.trusted_proxies.contain(peer.ip());
        (!has_none).then(|| ClientKey::of(address))
    }

    fn over_limit(&self, client: ClientKey) {
        self.limits.note(client, "connections to the API");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MakeSecrets;

    #[test]
    fn an_address_that_is_neither_of_this_machine_nor_a_trusted_proxy_has_a_share() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        std::fs::create_dir(dir.path().join("plugins")).unwrap();
        std::fs::write(&file, "[server]\ntrusted_proxies = [\"10.0.0.0/8\"]\n").unwrap();
        let config = Config::load(&file, MakeSecrets::No).unwrap();
        let routed = Routed::new(Router::new(), Arc::new(ArcSwap::from_pointee(config)));
        let key = |peer: &str| routed.key_of(peer.parse().unwrap()).map(|key| key.to_string());
        for peer in ["127.0.0.1:4000", "[::1]:4000", "[::ffff:127.0.0.1]:4000", "10.1.2.3:4000"] {
            assert_eq!(key(peer), None, "{peer}");
        }
        assert_eq!(key("192.0.2.1:4000").as_deref(), Some("192.0.2.1"));
        assert_eq!(key("[2001:db8::1]:4000").as_deref(), Some("2001:db8::/64"));
    }
}
