//! A server that only looks like a host: it answers as a test says, also as no host should.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use hookbox::event::EventId;
use serde_json::{Value, json};

/// The status of an answer and its body.
type Answer = (&'static str, Value);

/// The address of what gives its events the ids of `id` (of how many came before), and answers
/// questions for them with `look` (of how many were asked before, and the ids so far). It tells its
/// backlog once, before any event came.
pub(super) fn pretender(
    id: fn(i64) -> EventId,
    look: impl Fn(usize, &[EventId]) -> Answer + Send + 'static,
) -> String {
    let (mut ids, mut looks) = (Vec::new(), 0);
    answering(move |request| {
        if request.starts_with("POST ") {
            let id = id(ids.len() as i64);
            ids.push(id);
            return ("200 OK", json!({"id": id.to_string(), "status": "accepted"}).to_string());
        }
        if request.starts_with("GET /api/v1/events") {
            looks += 1;
            let (status, body) = look(looks - 1, &ids);
            return (status, body.to_string());
        }
        if request.starts_with("GET /api/v1/stats") && !ids.is_empty() {
            return ("503 Service Unavailable", String::new());
        }
        ("200 OK", json!({"deliveries": {"ready": 0, "leased": 0}}).to_string())
    })
}

/// The id that a host would give.
pub(super) fn next(before: i64) -> EventId {
    EventId::from_row((1 << 60) + before)
}

/// A page of the admin API: these events, the newest first, with a delivery in each of these
/// states.
pub(super) fn listing(ids: &[EventId], states: &[&str], next: Option<&str>) -> Value {
    let deliveries: Vec<Value> = states.iter().map(|state| json!({"state": state})).collect();
    let items: Vec<Value> = ids
        .iter()
        .rev()
        .map(|id| json!({"id": id.to_string(), "deliveries": deliveries}))
        .collect();
    json!({"items": items, "next_cursor": next})
}

/// The address of a receiver that gives every request this status and nothing else.
pub(super) fn receiver(status: &'static str) -> String {
    answering(move |_| (status, String::new()))
}

/// The address of what answers a probe of readiness so.
pub(super) fn prober(status: &'static str, ready: Value) -> String {
    answering(move |request| match request.starts_with("GET /readyz ") {
        true => (status, ready.to_string()),
        false => ("404 Not Found", json!({"detail": "there is no such probe"}).to_string()),
    })
}

/// The address of what has always more to cancel, ten at a time; says each time that it was asked.
pub(super) fn endless() -> (String, std::sync::mpsc::Receiver<()>) {
    let (asked, steps) = std::sync::mpsc::channel();
    let url = answering(move |request| {
        if request.starts_with("GET /api/v1/stats") {
            return ("200 OK", json!({"deliveries": {"ready": 1_000_000}}).to_string());
        }
        // The test that listens may be over.
        let _ = asked.send(());
        ("200 OK", json!({"cancelled": 10, "more": true, "next_cursor": "next"}).to_string())
    });
    (url, steps)
}

/// The address of what answers each request, given from its first line on, with a status and a
/// body.
fn answering(mut answer: impl FnMut(&str) -> (&'static str, String) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let request = request(&mut connection);
            let (status, body) = answer(&request);
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            connection.write_all(format!("{head}{body}").as_bytes()).unwrap();
        }
    });
    url
}

/// A request to the end of its body, which is a JSON object if there is one.
fn request(connection: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    let mut chunk = [0; 4096];
    let has_body = |seen: &[u8]| {
        let head = String::from_utf8_lossy(seen).to_lowercase();
        head.starts_with("post ") && !head.contains("content-length: 0\r\n")
    };
    let ended = |seen: &[u8]| {
        if has_body(seen) { seen.ends_with(b"}") } else { seen.ends_with(b"\r\n\r\n") }
    };
    while !ended(&seen) {
        let count = connection.read(&mut chunk).unwrap();
        assert!(count > 0, "the request ended early");
        seen.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8(seen).unwrap()
}
