//! Public keys by address, over HTTP, from a stand-in for the provider's host.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hookbox::config::Source;
use hookbox::egress::{Egress, Network, NetworkFuture};
use hookbox::ingest::{Confirmation, KeyFetcher};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::host::{Host, Options, PATIENCE, SOON};
use super::providers::ProviderVector;
use crate::support::until;

/// The host that Amazon SNS names in its requests.
const PROVIDER: &str = "sns.us-east-1.amazonaws.com";

/// A network in which every name is the stand-in's.
struct OneServer {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl fmt::Debug for OneServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneServer")
    }
}

impl Network for OneServer {
    fn resolve<'a>(&'a self, _: &'a str, port: u16) -> NetworkFuture<'a, Vec<SocketAddr>> {
        Box::pin(async move { Ok(vec![SocketAddr::from(([93, 184, 215, 14], port))]) })
    }

    fn connect(&self, _: SocketAddr) -> NetworkFuture<'_, TcpStream> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Box::pin(TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], self.port))))
    }
}

/// A stand-in that answers every request with this, and a fetcher that reaches it.
async fn stand_in(answer: Vec<u8>) -> (KeyFetcher, Arc<AtomicUsize>) {
    stand_in_with(answer, |_| true, Arc::new(Semaphore::new(Semaphore::MAX_PERMITS))).await
}

/// The same, whose answers to requests that are not `prompt` wait for a permit.
async fn stand_in_with(
    answer: Vec<u8>,
    prompt: fn(&[u8]) -> bool,
    permits: Arc<Semaphore>,
) -> (KeyFetcher, Arc<AtomicUsize>) {
    let (keys, connections, _) = stand_in_for(move |_| answer.clone(), prompt, permits).await;
    (keys, connections)
}

/// A stand-in that answers by the first line of a request, and the lines that it has seen.
async fn stand_in_by(
    answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
) -> (KeyFetcher, Arc<AtomicUsize>, Arc<Mutex<Vec<String>>>) {
    stand_in_for(answer, |_| true, Arc::new(Semaphore::new(Semaphore::MAX_PERMITS))).await
}

async fn stand_in_for(
    answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    prompt: fn(&[u8]) -> bool,
    permits: Arc<Semaphore>,
) -> (KeyFetcher, Arc<AtomicUsize>, Arc<Mutex<Vec<String>>>) {
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec![PROVIDER.to_owned()]).unwrap();
    let own = own.signed_by(&key, &ca).unwrap();
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from(own.der().to_vec())],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (answer, lines) = (Arc::new(answer), Arc::<Mutex<Vec<String>>>::default());
    let seen = lines.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, answer, seen) = (acceptor.clone(), answer.clone(), seen.clone());
            let permits = permits.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                if !prompt(&head) {
                    permits.acquire().await.unwrap().forget();
                }
                let head = String::from_utf8_lossy(&head);
                let line = head.lines().next().unwrap_or_default().to_owned();
                let answer = answer(&line);
                seen.lock().unwrap().push(line);
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    let connections = Arc::new(AtomicUsize::new(0));
    let network = OneServer { port, connections: connections.clone() };
    let authorities = vec![ca.der().to_vec()];
    (KeyFetcher::over(Egress::over(Arc::new(network)), authorities), connections, lines)
}

fn ok(body: &str) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length:";
    format!("{head} {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn certificate() -> &'static str {
    let pem = include_str!("../data/certificates.pem");
    pem.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap()
}

fn vector(name: &str) -> ProviderVector {
    let mut all = ProviderVector::all().into_iter();
    all.find(|vector| vector.preset == "aws-sns" && vector.name == name).expect("there is one")
}

async fn host(keys: KeyFetcher) -> Host {
    let source = Source::clone(&vector("a notification, signature version 2").source());
    let source = Source { name: "aws-sns".into(), ..source };
    Host::start(Options { sources: vec![source], keys, ..Options::default() }).await
}

fn post(vector: &ProviderVector) -> Vec<u8> {
    post_body(vector.body())
}

fn post_body(body: Vec<u8>) -> Vec<u8> {
    let head = format!(
        "POST /webhook/aws-sns HTTP/1.1\r\nhost: h\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

#[tokio::test]
async fn a_key_is_fetched_once_and_serves_many_requests() {
    let (keys, connections) = stand_in(ok(certificate())).await;
    let host = host(keys).await;
    let good = vector("a notification, signature version 2");
    for _ in 0..3 {
        assert_eq!(host.exchange(post(&good)).await.status, 200);
    }
    let older = vector("signature version 1 (SHA-1)");
    assert_eq!(host.exchange(post(&older)).await.status, 200);
    // Each rule of the source has its own ring.
    assert_eq!(connections.load(Ordering::Relaxed), 2);
    for bad in ["another message", "another key"] {
        assert_eq!(host.exchange(post(&vector(bad))).await.status, 401, "{bad}");
    }
}

#[tokio::test]
async fn an_address_that_is_not_pinned_is_never_asked() {
    let (keys, connections) = stand_in(ok(certificate())).await;
    let host = host(keys).await;
    let foreign = vector("a certificate from somewhere else, and its signature");
    assert_eq!(host.exchange(post(&foreign)).await.status, 401);
    assert_eq!(connections.load(Ordering::Relaxed), 0);
    assert_eq!(host.events().await.len(), 0);
}

#[tokio::test]
async fn a_key_that_cannot_be_had_is_no_fault_of_the_sender() {
    let endless = {
        let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
        [head, vec![b' '; 1 << 20]].concat()
    };
    let moved =
        b"HTTP/1.1 302 Found\r\nlocation: https://evil.example/\r\ncontent-length: 0\r\n\r\n";
    for answer in [endless, moved.to_vec(), ok("no key"), b"HTTP/1.1 500 No\r\n\r\n".to_vec()] {
        let (keys, connections) = stand_in(answer).await;
        let host = host(keys).await;
        let good = vector("a notification, signature version 2");
        for _ in 0..2 {
            let response = host.exchange(post(&good)).await;
            assert_eq!((response.status, response.header("retry-after")), (503, "10"));
        }
        assert_eq!(connections.load(Ordering::Relaxed), 1, "the address rests after a failure");
        assert_eq!(host.events().await.len(), 0);
    }
}

/// The last part of the address of the key in the vectors.
const KEY_FILE: &str = "SimpleNotificationService-0123456789abcdef0123456789abcdef.pem";

#[tokio::test]
async fn addresses_that_never_answer_do_not_keep_a_request_from_its_key() {
    let prompt = |head: &[u8]| String::from_utf8_lossy(head).contains(KEY_FILE);
    let nothing = Arc::new(Semaphore::new(0));
    let (keys, connections) = stand_in_with(ok(certificate()), prompt, nothing).await;
    let host = host(keys).await;
    let good = vector("a notification, signature version 2");
    let text = String::from_utf8(good.body()).unwrap();
    let mut waiting = Vec::new();
    for n in 0..20 {
        let mut client = host.connect_from([127, 0, 0, 2].into()).await;
        let file = format!("SimpleNotificationService-{n}.pem");
        client.send(post_body(text.replace(KEY_FILE, &file).into_bytes())).await;
        waiting.push(client);
    }
    until("a fetch", async || (connections.load(Ordering::Relaxed) > 0).then_some(())).await;
    assert_eq!(host.exchange(post(&good)).await.status, 200);
    for client in &mut waiting {
        let refused = client.response().await;
        assert_eq!((refused.status, refused.header("retry-after")), (503, "10"));
    }
    // Two for the client that names what never answers, and one for the other client.
    assert_eq!(connections.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_slow_fetch_goes_on_without_its_request_and_serves_the_next_one() {
    let permits = Arc::new(Semaphore::new(0));
    let (keys, connections) = stand_in_with(ok(certificate()), |_| false, permits.clone()).await;
    let host = host(keys.waiting(SOON)).await;
    let good = vector("a notification, signature version 2");
    for _ in 0..2 {
        assert_eq!(host.exchange(post(&good)).await.status, 503);
    }
    permits.add_permits(1);
    let accepted = async || (host.exchange(post(&good)).await.status == 200).then_some(());
    until("the key", accepted).await;
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

/// The confirmation that a source has noted, once there is one.
async fn confirmation(host: &Host) -> Confirmation {
    let noted = async {
        loop {
            if let Some(found) = host.activity.received("aws-sns").confirmation {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, noted).await.expect("a confirmation ends")
}

/// The lines of a stand-in that ask for a confirmation, once there are so many.
async fn asked(lines: &Mutex<Vec<String>>, count: usize) -> Vec<String> {
    let seen = async {
        loop {
            let lines = lines.lock().unwrap().clone();
            let asked: Vec<_> = lines.into_iter().filter(|it| it.contains("Action=")).collect();
            if asked.len() >= count {
                return asked;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("it is asked")
}

const CONFIRMATION: &str = "a confirmation, which signs its token and address";

#[tokio::test]
async fn a_subscription_is_confirmed_after_it_has_proved_itself() {
    let (keys, _, lines) = stand_in_by(|_| ok(certificate())).await;
    let host = host(keys).await;
    let forged = post(&vector(CONFIRMATION));
    let forged = String::from_utf8(forged).unwrap().replace("2336412f37", "2336412f38");
    assert_eq!(host.exchange(forged).await.status, 401);
    let answer = host.exchange(post(&vector(CONFIRMATION))).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    let found = confirmation(&host).await;
    assert_eq!((found.host.as_str(), found.error), (PROVIDER, None));
    let asked = asked(&lines, 1).await;
    assert_eq!(asked.len(), 1, "a forged one is not asked: {asked:?}");
    assert!(asked[0].starts_with("GET /?Action=ConfirmSubscription&"), "{asked:?}");
    assert_eq!(host.events().await.len(), 0);
}

#[tokio::test]
async fn a_confirmation_that_fails_is_tried_three_times_and_told() {
    let moved =
        b"HTTP/1.1 302 Found\r\nlocation: https://evil.example/\r\ncontent-length: 0\r\n\r\n";
    let broken = b"HTTP/1.1 500 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    for (answer, tries, says) in [(&moved[..], 1, "302"), (&broken[..], 3, "500")] {
        let answer = answer.to_vec();
        let answer = move |line: &str| {
            if line.contains("Action=") { answer.clone() } else { ok(certificate()) }
        };
        let (keys, _, lines) = stand_in_by(answer).await;
        let host = host(keys).await;
        assert_eq!(host.exchange(post(&vector(CONFIRMATION))).await.status, 200);
        for n in 1..tries {
            asked(&lines, n).await;
            while host.activity.received("aws-sns").confirmation.is_none()
                && lines.lock().unwrap().iter().filter(|it| it.contains("Action=")).count() == n
            {
                host.clock.set(host.clock.now_ms() + 1_000);
                tokio::task::yield_now().await;
            }
        }
        let found = confirmation(&host).await;
        assert!(found.error.as_deref().is_some_and(|error| error.contains(says)), "{found:?}");
        assert_eq!(asked(&lines, tries).await.len(), tries);
    }
}

#[tokio::test]
async fn an_address_of_another_host_is_not_asked_though_it_is_signed() {
    let (keys, _, lines) = stand_in_by(|_| ok(certificate())).await;
    let source = Source::clone(&vector(CONFIRMATION).source());
    let mut source = Source { name: "aws-sns".into(), ..source };
    let mut pinned = vec!["sns.eu-west-1.amazonaws.com".to_owned()];
    for hosts in [&mut pinned, &mut vec!["*.amazonaws.com".to_owned()]] {
        source.handshakes[0].then.as_mut().unwrap().hosts = std::mem::take(hosts);
        let sources = vec![source.clone()];
        let host = Host::start(Options { sources, keys: keys.clone(), ..Options::default() }).await;
        assert_eq!(host.exchange(post(&vector(CONFIRMATION))).await.status, 403);
        assert_eq!(host.activity.received("aws-sns").confirmation, None);
    }
    assert!(lines.lock().unwrap().iter().all(|line| !line.contains("Action=")));
}
