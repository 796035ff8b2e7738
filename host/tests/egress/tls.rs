//! Certificates: who is asked for by name has to prove it, to the authorities that the rule names.

use std::net::SocketAddr;
use std::sync::Arc;

use hookbox::config::{Grants, Limits};
use hookbox::egress::RequestErrorKind;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::world::{World, read};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn params(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
}

/// A certificate and its key.
fn certificate(params: CertificateParams, authority: Option<&Authority>) -> (Vec<u8>, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let certificate = match authority {
        Some(authority) => params.signed_by(&key, authority).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    (certificate.der().to_vec(), key.serialize_der())
}

/// A server that proves itself with a certificate and says `secure`.
async fn server((certificate, key): (Vec<u8>, Vec<u8>)) -> u16 {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let key = PrivateKeyDer::try_from(key).unwrap();
    let mut config = config
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(certificate)], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let _ =
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecure").await;
            });
        }
    });
    port
}

/// A rule for a host on a port of this machine, with its own authorities or the public ones.
fn rule(host: &str, port: u16, authority: Option<&Authority>) -> Arc<Grants> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let authorities = authority.map(|authority| {
        std::fs::write(&file, authority.pem()).unwrap();
        format!(", ca_file = \"{}\"", file.display())
    });
    let rule = format!(
        "host = \"{host}\", port = {port}, private = true{}",
        authorities.unwrap_or_default()
    );
    read(&format!("[plugins.guest]\nhttp = [{{ {rule} }}]")).unwrap()
}

async fn get(
    host: &str,
    asked: &str,
    port: u16,
    authority: Option<&Authority>,
) -> Result<(u16, String), RequestErrorKind> {
    let world = World::new().await;
    world.net.answer(host, &[&["127.0.0.1"]]);
    let attempt = world.attempt("guest", &rule(host, port, authority), Limits::default());
    attempt.get(&format!("https://{asked}:{port}/")).await.map_err(|failure| failure.kind)
}

const NAME: &str = "api.example.com";

#[tokio::test]
async fn a_certificate_of_the_rules_authority_for_the_name_is_good() {
    let authority = authority();
    let port = server(certificate(params(&[NAME]), Some(&authority))).await;
    assert_eq!(get(NAME, NAME, port, Some(&authority)).await, Ok((200, "secure".to_owned())));
    let port = server(certificate(params(&["*.example.com"]), Some(&authority))).await;
    assert_eq!(get(NAME, NAME, port, Some(&authority)).await, Ok((200, "secure".to_owned())));
}

#[tokio::test]
async fn an_address_is_proved_like_a_name() {
    let authority = authority();
    let mut with_address = params(&[]);
    with_address.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
    let port = server(certificate(with_address, Some(&authority))).await;
    assert_eq!(
        get("127.0.0.1", "127.0.0.1", port, Some(&authority)).await,
        Ok((200, "secure".to_owned()))
    );
    let port = server(certificate(params(&[NAME]), Some(&authority))).await;
    assert_eq!(
        get("127.0.0.1", "127.0.0.1", port, Some(&authority)).await,
        Err(RequestErrorKind::Certificate)
    );
}

#[tokio::test]
async fn any_other_certificate_is_refused() {
    let (good, other) = (authority(), authority());
    let mut expired = params(&[NAME]);
    expired.not_before = date_time_ymd(2020, 1, 1);
    expired.not_after = date_time_ymd(2021, 1, 1);
    let mut early = params(&[NAME]);
    early.not_before = date_time_ymd(2090, 1, 1);
    early.not_after = date_time_ymd(2091, 1, 1);
    let cases = [
        ("for another name", certificate(params(&["evil.example.com"]), Some(&good)), Some(&good)),
        ("for the name above", certificate(params(&["example.com"]), Some(&good)), Some(&good)),
        ("for names below", certificate(params(&["*.api.example.com"]), Some(&good)), Some(&good)),
        ("expired", certificate(expired, Some(&good)), Some(&good)),
        ("of the future", certificate(early, Some(&good)), Some(&good)),
        ("signed by itself", certificate(params(&[NAME]), None), Some(&good)),
        ("of another authority", certificate(params(&[NAME]), Some(&other)), Some(&good)),
        ("of no public authority", certificate(params(&[NAME]), Some(&good)), None),
    ];
    for (what, shown, authority) in cases {
        let port = server(shown).await;
        assert_eq!(
            get(NAME, NAME, port, authority).await,
            Err(RequestErrorKind::Certificate),
            "{what}"
        );
    }
}

#[tokio::test]
async fn a_server_without_tls_is_not_spoken_to_in_the_clear() {
    let world = World::new().await;
    world.net.answer(NAME, &[&["127.0.0.1"]]);
    let attempt = world.attempt(
        "guest",
        &rule(NAME, world.canary.port, None),
        Limits { timeout_ms: 500, ..Limits::default() },
    );
    let failed = attempt.get(&format!("https://{NAME}:{}/", world.canary.port)).await.unwrap_err();
    assert!(
        matches!(failed.kind, RequestErrorKind::Tls | RequestErrorKind::ConnectTimeout),
        "{failed}"
    );
    assert!(world.canary.requests().is_empty());
}
