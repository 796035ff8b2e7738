//! TLS and credentials for the host's own collector, which the configuration names itself.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::error::RequestError;
use super::policy::{TargetHost, headers};
use super::wire::tls;
use crate::config::{Authorities, Injected};

/// Begins TLS with a collector.
pub struct CollectorTls {
    config: Arc<ClientConfig>,
    host: TargetHost,
}

impl CollectorTls {
    /// For a host, a name or an address, that proves itself to these authorities or to the public
    /// ones.
    ///
    /// # Errors
    /// An authority is no certificate.
    pub fn new(host: &str, authorities: Option<&Authorities>) -> Result<Self, RequestError> {
        let config = tls::config(authorities, &OnceLock::new())?;
        let name = || TargetHost::Name(host.to_ascii_lowercase());
        let host = host.parse::<IpAddr>().map_or_else(|_| name(), TargetHost::Address);
        Ok(Self { config, host })
    }

    /// Performs the handshake.
    ///
    /// # Errors
    /// The server does not prove its name, or does not speak TLS.
    pub async fn shake(
        &self,
        stream: TcpStream,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>, RequestError> {
        tls::handshake(Arc::clone(&self.config), &self.host, stream).await
    }
}

impl fmt::Debug for CollectorTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectorTls").field("host", &self.host).finish_non_exhaustive()
    }
}

/// Headers with credentials, which are never shown.
///
/// # Errors
/// A header has no value.
pub fn credentials(added: &[Injected]) -> Result<HeaderMap, RequestError> {
    added.iter().map(headers::credential).collect()
}
