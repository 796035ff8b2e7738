//! TLS for one rule or one collector: the server proves the name of the request to its authorities.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::Authorities;
use crate::egress::error::{RequestError, RequestErrorKind};
use crate::egress::policy::TargetHost;

/// How long the handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Builds a configuration with these authorities or the public ones. Each rule has its own, so it
/// resumes only its own TLS sessions.
pub(in crate::egress) fn config(
    authorities: Option<&Authorities>,
    public_roots: &OnceLock<Arc<RootCertStore>>,
) -> Result<Arc<ClientConfig>, RequestError> {
    let invalid = |error: rustls::Error| {
        RequestError::new(
            RequestErrorKind::Configuration,
            format!("TLS could not be configured: {error}"),
        )
    };
    let roots = match authorities {
        None => Arc::clone(public_roots.get_or_init(|| {
            Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
        })),
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in authorities.iter() {
                roots.add(CertificateDer::from(authority.clone())).map_err(invalid)?;
            }
            Arc::new(roots)
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.map_err(invalid)?.with_root_certificates(roots).with_no_client_auth();
    // The host speaks no HTTP/2, so a server must not choose it.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Performs the handshake.
pub(in crate::egress) async fn handshake(
    config: Arc<ClientConfig>,
    host: &TargetHost,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, RequestError> {
    let handshake = TlsConnector::from(config).connect(server_name(host)?, stream);
    match timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(shaken) => shaken.map_err(|error| handshake_error(host, &error)),
        Err(_) => {
            let why = format!("the TLS handshake with {host} did not end in time");
            Err(RequestError::new(RequestErrorKind::ConnectTimeout, why))
        }
    }
}

/// The name or address that the certificate has to be for.
fn server_name(host: &TargetHost) -> Result<ServerName<'static>, RequestError> {
    match host {
        TargetHost::Address(address) => Ok(ServerName::from(*address)),
        TargetHost::Name(name) => ServerName::try_from(name.clone()).map_err(|error| {
            RequestError::new(
                RequestErrorKind::Tls,
                format!("no certificate can be for {host}: {error}"),
            )
        }),
    }
}

fn handshake_error(host: &TargetHost, error: &io::Error) -> RequestError {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(why)) => RequestError::new(
            RequestErrorKind::Certificate,
            format!("the certificate of {host} is invalid: {why}"),
        ),
        _ => RequestError::new(RequestErrorKind::Tls, format!("TLS with {host} failed: {error}")),
    }
}
