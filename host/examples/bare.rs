//! The server that `cargo xtask bench` compares the host with, on the same HTTP library:
//!
//! - `bare echo`: a POST answered with what it brought, the ceiling;
//! - `bare verify`: the signature checked, nothing kept;
//! - `bare commit FILE`: checked, inserted, and answered after the commit is on disk. One thread
//!   takes whatever has queued into one transaction, as the host's store does, but there is no
//!   dedupe, no delivery, no index.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hmac::{Hmac, KeyInit, Mac};
use rusqlite::Connection;
use sha2::Sha256;
use tokio::sync::oneshot;

/// The most inserts in one transaction.
const MAX_BATCH: usize = 1_024;

/// The settings of the host's store (`store/sqlite/schema.rs`).
const SETTINGS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 4000;
    PRAGMA journal_size_limit = 67108864;
    PRAGMA cache_size = -32768;
    CREATE TABLE events (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;";

const RECEIVED: &str = r#"{"status":"received"}"#;

/// A body, and whom to tell that it is durable.
type Insert = (Bytes, oneshot::Sender<()>);

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let handler = match arguments[..] {
        ["echo"] => post(|body: Bytes| async move { body }),
        ["verify"] => {
            let key = key()?;
            post(move |headers: HeaderMap, body: Bytes| async move {
                verify(key, &headers, &body).map(|()| RECEIVED)
            })
        }
        ["commit", file] => {
            let (key, inserts) = (key()?, committer(file)?);
            post(move |headers: HeaderMap, body: Bytes| async move {
                verify(key, &headers, &body)?;
                let (durable, committed) = oneshot::channel();
                inserts.send((body, durable)).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
                committed.await.map(|()| RECEIVED).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
            })
        }
        _ => {
            return Err(std::io::Error::other("usage: bare echo | bare verify | bare commit FILE"));
        }
    };
    serve(Router::new().route("/webhook/heygen", handler)).await
}

/// The secret, ready for use.
fn key() -> std::io::Result<&'static Hmac<Sha256>> {
    let secret = std::env::var("HEYGEN_WEBHOOK_SECRET").map_err(std::io::Error::other)?;
    let key = Hmac::new_from_slice(secret.as_bytes()).map_err(std::io::Error::other)?;
    // One for the whole life of the process.
    Ok(Box::leak(Box::new(key)))
}

fn verify(key: &Hmac<Sha256>, headers: &HeaderMap, body: &[u8]) -> Result<(), StatusCode> {
    let given = headers.get("heygen-signature").and_then(|value| hex::decode(value).ok());
    let given = given.ok_or(StatusCode::UNAUTHORIZED)?;
    let mut mac = key.clone();
    mac.update(body);
    mac.verify_slice(&given).map_err(|_| StatusCode::UNAUTHORIZED)
}

/// Starts the thread that commits. Its queue is bounded by the connections there are: each waits
/// for its own answer.
fn committer(file: &str) -> std::io::Result<SyncSender<Insert>> {
    let connection = Connection::open(file).map_err(std::io::Error::other)?;
    connection.execute_batch(SETTINGS).map_err(std::io::Error::other)?;
    let (inserts, queue) = sync_channel(4_096);
    std::thread::Builder::new().spawn(move || {
        if let Err(error) = commit_all(&connection, &queue) {
            eprintln!("bare: {error}");
            std::process::exit(1);
        }
    })?;
    Ok(inserts)
}

fn commit_all(connection: &Connection, queue: &Receiver<Insert>) -> rusqlite::Result<()> {
    let mut batch = Vec::new();
    while let Ok(first) = queue.recv() {
        batch.extend(std::iter::once(first).chain(queue.try_iter().take(MAX_BATCH - 1)));
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        for (body, _) in &batch {
            connection
                .prepare_cached("INSERT INTO events (body) VALUES (?1)")?
                .execute([&body[..]])?;
        }
        connection.prepare_cached("COMMIT")?.execute([])?;
        for (_, durable) in batch.drain(..) {
            // A client that has gone away wants no answer.
            let _ = durable.send(());
        }
    }
    Ok(())
}

async fn serve(app: Router) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("bare  http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = hyper_util::service::TowerToHyperService::new(app.clone());
        tokio::spawn(async move {
            let io = hyper_util::rt::TokioIo::new(stream);
            // A client that goes away is the end of its connection, and of nothing else.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
        });
    }
}
