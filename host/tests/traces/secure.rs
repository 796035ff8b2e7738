//! Collectors that speak TLS and want a credential.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::support::{Answers, Collector, Host, Site, guest, wait_for};

/// A credential, which is nowhere but in a header.
const TOKEN: &str = "glc_s3cret-word";

/// A file with it.
const HEADERS: &str = "headers = { Authorization = { prefix = \"Bearer \", file = \"token\" } }\n";

/// TLS before a collector: its address, and the authority of its certificate as PEM.
fn tls_before(collector: &Collector, name: &str) -> (SocketAddr, String) {
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let own = own.signed_by(&key, &ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(own.der().to_vec())],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let (address, behind) = (listener.local_addr().unwrap(), collector.address);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::spawn(move || {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut plain = TcpStream::connect(behind).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut plain).await;
                });
            }
        });
    });
    (address, ca.pem())
}

/// A site that sends to `https://` there.
fn site(address: SocketAddr, pem: &str, more: &str) -> Site {
    let section = format!("[telemetry]\notlp = \"https://{address}/otlp\"\n{more}");
    let site = Site::of_worker(&guest("ok"), &section);
    site.put("ca.pem", pem);
    site.put("token", TOKEN);
    site
}

/// Waits until the log has a line about the collector that says all this.
fn until_said(site: &Site, says: &[&str]) {
    wait_for(&format!("a line with {says:?}"), || {
        let is_it = |line: &str| says.iter().all(|text| line.contains(text));
        site.log().lines().any(is_it).then_some(())
    });
}

#[test]
fn a_collector_with_tls_gets_what_is_sent_with_a_credential_that_nobody_is_shown() {
    let collector = Collector::start(Answers::Ok);
    let (address, pem) = tls_before(&collector, "127.0.0.1");
    let site = site(address, &pem, &format!("ca_file = \"ca.pem\"\n{HEADERS}"));
    let host = Host::start_with(&site, &[("HOOKBOX_LOG", "trace")]).unwrap();
    host.send("step.one", "order_1");
    collector.the_span("process test");
    wait_for("a log line", || (!collector.logs().is_empty()).then_some(()));
    let expected = format!("Bearer {TOKEN}");
    let credentials = collector.credentials();
    assert!(credentials.iter().all(|it| it.as_ref() == Some(&expected)), "{credentials:?}");
    let settings = host.api("/settings");
    assert!(settings.as_str().unwrap().contains("telemetry.headers"), "{settings}");
    assert!(!settings.to_string().contains(TOKEN));
    host.stop();
    assert!(!site.log().contains(TOKEN) && !collector.has_seen(TOKEN));
}

#[test]
fn a_collector_that_does_not_prove_its_name_gets_nothing() {
    for (name, authority, says) in [
        ("127.0.0.1", "", "UnknownIssuer"),
        ("collector.example.com", "ca_file = \"ca.pem\"\n", "certificate"),
    ] {
        let collector = Collector::start(Answers::Ok);
        let (address, pem) = tls_before(&collector, name);
        let site = site(address, &pem, &format!("{authority}{HEADERS}"));
        let host = Host::start(&site);
        host.send("step.one", "order_1");
        host.settled();
        until_said(&site, &["signal=\"traces\"", "the certificate of 127.0.0.1 is invalid", says]);
        host.stop();
        assert_eq!(collector.requests(), 0);
    }
}

#[test]
fn a_refused_or_missing_credential_is_said_with_the_key_that_has_it() {
    for (status, headers, says) in [
        (401, HEADERS, "it does not accept the credential in `telemetry.headers`"),
        (403, HEADERS, "it does not accept the credential in `telemetry.headers`"),
        (401, "", "it wants a credential; name one in `telemetry.headers`"),
        (404, "", "the path in `telemetry.otlp` is not that of OTLP over HTTP"),
    ] {
        let collector = Collector::start(Answers::Status(status));
        let site = Site::of_worker(&guest("ok"), &collector.section(headers));
        site.put("token", TOKEN);
        let host = Host::start(&site);
        host.send("step.one", "order_1");
        host.settled();
        until_said(&site, &["signal=\"traces\"", &format!("status {status}"), says]);
        host.stop();
    }
}

#[test]
fn without_the_value_of_a_header_nothing_is_sent_and_check_says_so() {
    let collector = Collector::start(Answers::Ok);
    let section = "headers = { Authorization = { env = \"OTLP_TEST_UNSET\" } }";
    let site = Site::of_worker(&guest("ok"), &collector.section(section));
    let checked = site.run(&["check"]);
    let says = "the header `authorization` of `telemetry.headers` has no value";
    assert!(format!("{checked:?}").contains(says), "{checked:?}");
    let host = Host::start(&site);
    host.send("step.one", "order_1");
    host.settled();
    until_said(&site, &["signal=\"traces\"", "`authorization`", "`OTLP_TEST_UNSET`"]);
    host.stop();
    assert_eq!(collector.requests(), 0);
}

#[test]
fn what_a_collector_wants_later_is_sent_later_and_its_limit_is_said_once() {
    let collector = Collector::start(Answers::Later(6));
    let site = Site::of_worker(&guest("ok"), &collector.section(""));
    let host = Host::start(&site);
    let of_spans =
        |line: &str, text: &str| line.contains(text) && line.contains("signal=\"traces\"");
    let lines = |text: &str| site.log().lines().filter(|line| of_spans(line, text)).count();
    const AGAIN: &str = "the collector takes what is sent again";
    for event in 1..=3 {
        host.send("step.one", format!("order_{event}"));
        collector.wait_for_spans("process test", event);
        assert_eq!((lines("status 429 Too Many Requests"), lines(AGAIN)), (1, 0), "{event}");
    }
    until_said(&site, &["status 429 Too Many Requests", "retry_after_s=1"]);
    host.send("step.one", "order_4");
    until_said(&site, &[AGAIN]);
    assert_eq!(host.metric("hookbox_spans_dropped_total").unwrap_or(0.0), 0.0);
    host.stop();
}
