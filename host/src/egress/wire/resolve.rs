//! Resolves a host to the addresses that its rule allows.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::network::Network;
use crate::config::HttpRule;
use crate::egress::error::{RequestError, RequestErrorKind};
use crate::egress::policy::{AddressClass, TargetHost};
use crate::tasks;

/// How long resolving a name may take.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Concurrent lookups of one rule; each occupies a thread of the operating system's resolver.
const MAX_LOOKUPS_PER_RULE: usize = 8;
/// The addresses of a name that are tried.
const MAX_ADDRESSES: usize = 8;

/// Resolves hosts for one rule.
#[derive(Clone)]
pub(super) struct Resolver {
    rule: Arc<HttpRule>,
    network: Arc<dyn Network>,
    rule_lookups: Arc<Semaphore>,
    all_lookups: Arc<Semaphore>,
}

impl Resolver {
    pub(super) fn new(
        rule: Arc<HttpRule>,
        network: Arc<dyn Network>,
        all_lookups: Arc<Semaphore>,
    ) -> Self {
        let rule_lookups = Arc::new(Semaphore::new(MAX_LOOKUPS_PER_RULE));
        Self { rule, network, rule_lookups, all_lookups }
    }

    /// The addresses of a host that the rule allows; at least one.
    pub(super) async fn addresses(
        &self,
        host: &TargetHost,
    ) -> Result<Vec<SocketAddr>, RequestError> {
        let found = match host {
            TargetHost::Address(address) => vec![*address],
            TargetHost::Name(name) => self.resolve(name).await?,
        };
        let Some(first) = found.first() else {
            return Err(RequestError::new(RequestErrorKind::Dns, format!("{host} has no address")));
        };
        let allowed = |address: &&IpAddr| AddressClass::of(**address).allowed(self.rule.private);
        // The rule decides on the port, whatever the resolver returns.
        let with_port = |address: &IpAddr| SocketAddr::new(*address, self.rule.port);
        let addresses: Vec<_> =
            found.iter().filter(allowed).map(with_port).take(MAX_ADDRESSES).collect();
        if addresses.is_empty() {
            Err(self.prohibited(host, *first, &found))
        } else {
            Ok(addresses)
        }
    }

    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, RequestError> {
        match timeout(RESOLVE_TIMEOUT, self.look_up(name)).await {
            Ok(Ok(found)) => Ok(found.iter().map(SocketAddr::ip).collect()),
            Ok(Err(error)) => Err(RequestError::new(
                RequestErrorKind::Dns,
                format!("{name} could not be resolved: {error}"),
            )),
            Err(_) => Err(RequestError::new(
                RequestErrorKind::DnsTimeout,
                format!("{name} was not resolved in time"),
            )),
        }
    }

    /// Looks a name up in its own task. A resolver cannot be cancelled, so a lookup that nobody
    /// waits for still counts against the limits.
    async fn look_up(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        let of_rule =
            Arc::clone(&self.rule_lookups).acquire_owned().await.map_err(io::Error::other)?;
        let of_all =
            Arc::clone(&self.all_lookups).acquire_owned().await.map_err(io::Error::other)?;
        let (network, name, port) = (Arc::clone(&self.network), name.to_owned(), self.rule.port);
        let lookup = tasks::spawn(async move {
            let found = network.resolve(&name, port).await;
            drop((of_rule, of_all));
            found
        });
        lookup.await.map_err(io::Error::other)?
    }

    fn prohibited(&self, host: &TargetHost, first: IpAddr, found: &[IpAddr]) -> RequestError {
        let is =
            if matches!(host, TargetHost::Name(_)) { format!("{host} is ") } else { String::new() };
        let help = match found.iter().any(|address| AddressClass::of(*address).allowed(true)) {
            true => format!("; add private = true to the rule for {}", self.rule.host),
            false => ", and no rule can allow it".to_owned(),
        };
        RequestError::new(
            RequestErrorKind::Prohibited,
            format!("{is}{first}, which is not a public address{help}"),
        )
    }
}
