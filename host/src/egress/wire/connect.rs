//! A connection for a rule: the name is resolved once, the addresses are checked, and one of those that were checked is
//! connected to. Nobody resolves the name again, so an answer that changes has nothing to win.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::address::Class;
use super::failure::{Failure, FailureKind};
use super::network::Network;
use super::pool::Connection;
use super::target::Host;
use crate::config::HttpRule;
use crate::tasks;

/// How long a name may take to be resolved.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Names of one rule that are resolved at once; each takes a thread of the machine's.
const MAX_LOOKUPS: usize = 8;
/// Names of all rules together.
const MAX_LOOKUPS_IN_ALL: usize = 64;
/// Connections of all plugins together, those that wait for the next request included.
const MAX_CONNECTIONS_IN_ALL: usize = 1_024;
/// How long all addresses together may take; each gets its share, but a second at least.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
const MIN_DIAL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long TLS may take to begin.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Addresses that are tried.
const MAX_ADDRESSES: usize = 8;

/// What is connected over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects for one rule.
#[derive(Clone)]
pub(super) struct Connector {
    rule: Arc<HttpRule>,
    network: Arc<dyn Network>,
    /// For a rule that is for https.
    tls: Option<Arc<ClientConfig>>,
    /// Names of this rule that may be resolved at once.
    lookups: Arc<Semaphore>,
    shared: Arc<Shared>,
}

/// What all rules of all plugins share, so that they cannot use up the machine's threads and files.
#[derive(Debug)]
pub(super) struct Shared {
    lookups: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

impl Default for Shared {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { lookups: places(MAX_LOOKUPS_IN_ALL), connections: places(MAX_CONNECTIONS_IN_ALL) }
    }
}

impl Connector {
    pub(super) fn new(
        rule: Arc<HttpRule>,
        network: Arc<dyn Network>,
        tls: Option<Arc<ClientConfig>>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { rule, network, tls, lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)), shared }
    }

    /// A connection to a host of the rule.
    pub(super) async fn connect(&self, host: &Host) -> Result<Connection, Failure> {
        let full = |_| {
            let why = format!("plugins have {MAX_CONNECTIONS_IN_ALL} connections open, which is all that they may");
            Failure::new(FailureKind::Open, why)
        };
        let place = Arc::clone(&self.shared.connections).try_acquire_owned().map_err(full)?;
        let addresses = self.addresses(host).await?;
        let stream = self.dial(host, &addresses).await?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let handshake = TlsConnector::from(Arc::clone(tls)).connect(server_name(host)?, stream);
                let late =
                    |_| Failure::new(FailureKind::ConnectTimeout, format!("TLS with {host} did not begin in time"));
                let shaken = timeout(HANDSHAKE_TIMEOUT, handshake).await.map_err(late)?;
                Box::new(shaken.map_err(|error| tls_failure(host, &error))?)
            }
        };
        let ended = |error| Failure::new(FailureKind::Terminated, format!("the connection ended: {error}"));
        Connection::over(stream, place).await.map_err(ended)
    }

    /// The addresses of a host that may be connected to.
    async fn addresses(&self, host: &Host) -> Result<Vec<SocketAddr>, Failure> {
        let found = match host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => self.resolve(name).await?,
        };
        let Some(first) = found.first() else {
            return Err(Failure::new(FailureKind::Dns, format!("{host} has no address")));
        };
        let allowed = |address: &&IpAddr| Class::of(**address).allowed(self.rule.private);
        // Where to is decided by the rule, not by what the resolver says about ports.
        let with_port = |address: &IpAddr| SocketAddr::new(*address, self.rule.port);
        let addresses: Vec<_> = found.iter().filter(allowed).map(with_port).take(MAX_ADDRESSES).collect();
        if addresses.is_empty() { Err(self.prohibited(host, *first, &found)) } else { Ok(addresses) }
    }

    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, Failure> {
        match timeout(RESOLVE_TIMEOUT, self.look_up(name)).await {
            Ok(Ok(found)) => Ok(found.iter().map(SocketAddr::ip).collect()),
            Ok(Err(error)) => Err(Failure::new(FailureKind::Dns, format!("{name} could not be resolved: {error}"))),
            Err(_) => Err(Failure::new(FailureKind::DnsTimeout, format!("{name} was not resolved in time"))),
        }
    }

    /// In a task of its own: a resolver cannot be told to stop, so what nobody waits for any more holds its place.
    async fn look_up(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        let own = Arc::clone(&self.lookups).acquire_owned().await.map_err(io::Error::other)?;
        let place = Arc::clone(&self.shared.lookups).acquire_owned().await.map_err(io::Error::other)?;
        let (network, name, port) = (Arc::clone(&self.network), name.to_owned(), self.rule.port);
        let looking = tasks::spawn(async move {
            let found = network.resolve(&name, port).await;
            drop((own, place));
            found
        });
        looking.await.map_err(io::Error::other)?
    }

    fn prohibited(&self, host: &Host, first: IpAddr, found: &[IpAddr]) -> Failure {
        let is = if matches!(host, Host::Name(_)) { format!("{host} is ") } else { String::new() };
        let help = match found.iter().any(|address| Class::of(*address).allowed(true)) {
            true => format!("; add private = true to the rule for {}", self.rule.host),
            false => ", and no rule can allow it".to_owned(),
        };
        Failure::new(FailureKind::Prohibited, format!("{is}{first}, which is not a public address{help}"))
    }

    async fn dial(&self, host: &Host, addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
        let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let share = (DIAL_TIMEOUT / count.max(1)).max(MIN_DIAL_TIMEOUT);
        let mut last = Failure::new(FailureKind::ConnectTimeout, format!("{host} did not answer in time"));
        for address in addresses {
            match timeout(share, self.network.connect(*address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => {
                    let why = format!("{address} could not be connected to: {error}");
                    last = Failure::new(FailureKind::Refused, why);
                }
                Err(_) => {}
            }
        }
        Err(last)
    }
}

/// Whom the certificate has to be for.
fn server_name(host: &Host) -> Result<ServerName<'static>, Failure> {
    let unfit = |error| Failure::new(FailureKind::Tls, format!("{host} fits no certificate: {error}"));
    match host {
        Host::Address(address) => Ok(ServerName::from(*address)),
        Host::Name(name) => ServerName::try_from(name.clone()).map_err(unfit),
    }
}

fn tls_failure(host: &Host, error: &io::Error) -> Failure {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(why)) => {
            Failure::new(FailureKind::Certificate, format!("the certificate of {host} is not good: {why}"))
        }
        _ => Failure::new(FailureKind::Tls, format!("TLS with {host} failed: {error}")),
    }
}
