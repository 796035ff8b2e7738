//! A stand-in for HeyGen: both generations of its API, its errors, its limit of calls, and its
//! probe of an address. It signs and sends events as HeyGen does.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::agent;

/// The key that it takes.
pub(crate) const API_KEY: &str = "hg_a_key_for_the_tests";

/// A running stand-in. It lives as long as the test's process.
pub(crate) struct HeyGen {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    endpoints: Vec<Registered>,
    /// The oldest first.
    log: Vec<Value>,
    made: u32,
    /// Answers to calls by their `Idempotency-Key`.
    answered: HashMap<String, (u16, Value)>,
    /// Errors that the next calls get, and whether they come after the call was performed.
    failures: Vec<(u16, String, bool)>,
    requests: Vec<String>,
    takes_any_address: bool,
    /// Changes that are performed and not answered: the connection ends.
    unanswered: u32,
    refuses_cursors: bool,
    oldest_first: bool,
}

#[derive(Clone)]
struct Registered {
    id: String,
    url: String,
    events: Value,
    secret: String,
}

/// A request, as far as the stand-in reads it.
struct Seen {
    method: String,
    path: String,
    query: HashMap<String, String>,
    headers: HashMap<String, String>,
    body: Value,
}

impl HeyGen {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || answer(stream, &state));
            }
        });
        Self { url, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Has the next call fail with this status and `Retry-After`; if `late`, the call is performed
    /// and only its answer is lost.
    pub(crate) fn fail(&self, status: u16, retry_after: &str, late: bool) {
        self.state().failures.insert(0, (status, retry_after.to_owned(), late));
    }

    /// Has the next change performed and its connection closed without an answer.
    pub(crate) fn lose_an_answer(&self) {
        self.state().unanswered += 1;
    }

    /// From now on it refuses every cursor that it gave.
    pub(crate) fn refuse_cursors(&self) {
        self.state().refuses_cursors = true;
    }

    /// From now on its log begins with the oldest event.
    pub(crate) fn turn_the_log(&self) {
        self.state().oldest_first = true;
    }

    /// `METHOD path` of every call so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    /// The ids of what is registered.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.state().endpoints.iter().map(|endpoint| endpoint.id.clone()).collect()
    }

    /// The secret that signs now.
    pub(crate) fn secret(&self) -> String {
        self.state().endpoints.last().unwrap().secret.clone()
    }

    /// From now on it asks no address before it takes it: nothing leads back from the outside.
    pub(crate) fn takes_any_address(&self) {
        self.state().takes_any_address = true;
    }

    /// Registers an address without the host's doing.
    pub(crate) fn add(&self, url: &str) -> String {
        self.state().add(url, &Value::Null).id
    }

    /// Removes an endpoint without the host's doing.
    pub(crate) fn remove(&self, id: &str) {
        self.state().endpoints.retain(|endpoint| endpoint.id != id);
    }

    /// An event happens, and no delivery of it arrives.
    pub(crate) fn happen(
        &self,
        kind: &str,
        data: &Value,
        at: impl Into<Value>,
    ) -> (String, String) {
        let at = at.into();
        let mut state = self.state();
        state.made += 1;
        let id = format!("hg_evt_{}", state.made);
        state.log.push(json!({
            "event_id": id, "event_type": kind, "event_data": data, "created_at": at,
        }));
        (id, json!({ "event_type": kind, "event_data": data }).to_string())
    }

    /// Forgets all events but the newest `kept`.
    pub(crate) fn forget(&self, kept: usize) {
        let mut state = self.state();
        let old = state.log.len().saturating_sub(kept);
        state.log.drain(..old);
    }

    /// Delivers an event signed with a secret; the status of the answer.
    pub(crate) fn deliver(url: &str, id: &str, body: &str, secret: &str) -> (u16, Value) {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(body.as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        let answered = agent()
            .post(url)
            .header("content-type", "application/json")
            .header("heygen-signature", &signature)
            .header("heygen-event-id", id)
            .send(body);
        let answered = answered.unwrap();
        let status = answered.status().as_u16();
        let said = answered.into_body().read_to_string().unwrap();
        (status, serde_json::from_str(&said).unwrap_or_default())
    }
}

impl State {
    fn add(&mut self, url: &str, events: &Value) -> Registered {
        self.made += 1;
        let id = format!("ep_{}", self.made);
        let secret = format!("whsec_of_the_stand_in_{}", self.made);
        let endpoint = Registered { id, url: url.to_owned(), events: events.clone(), secret };
        self.endpoints.push(endpoint.clone());
        endpoint
    }

    fn find(&mut self, id: &str) -> Option<&mut Registered> {
        self.endpoints.iter_mut().find(|endpoint| endpoint.id == id)
    }
}

impl Registered {
    fn shown(&self, with_secret: bool) -> Value {
        let mut shown = json!({
            "endpoint_id": self.id, "url": self.url, "events": self.events, "status": "enabled",
        });
        if with_secret {
            shown["secret"] = self.secret.as_str().into();
        }
        shown
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) {
    let Some(seen) = read(&stream) else { return };
    let (status, retry_after, body) = respond(&seen, state);
    if seen.method != "GET" {
        let mut state = state.lock().unwrap();
        if state.unanswered > 0 {
            state.unanswered -= 1;
            return;
        }
    }
    let body = if status == 204 { String::new() } else { body.to_string() };
    let retry_after = retry_after.map(|value| format!("Retry-After: {value}\r\n"));
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{}Connection: close\r\n\r\n",
        body.len(),
        retry_after.unwrap_or_default()
    );
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
}

fn read(stream: &TcpStream) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Some(Seen { method, path: path.to_owned(), query, headers, body })
}

fn error(status: u16, code: &str, message: &str) -> (u16, Value) {
    (status, json!({ "error": { "code": code, "message": message } }))
}

fn respond(seen: &Seen, state: &Mutex<State>) -> (u16, Option<String>, Value) {
    let failure = {
        let mut state = state.lock().unwrap();
        state.requests.push(format!("{} {}", seen.method, seen.path));
        state.failures.pop()
    };
    if let Some((status, retry_after, false)) = &failure {
        let (status, body) = error(*status, "failed", "it was told to fail");
        return (status, Some(retry_after.clone()), body);
    }
    if seen.method == "POST" && !seen.headers.contains_key("content-length") {
        let (status, body) = error(411, "length_required", "a POST has to say its length");
        return (status, None, body);
    }
    if seen.headers.get("x-api-key").map(String::as_str) != Some(API_KEY) {
        let (status, body) = error(401, "unauthorized", "Invalid API key");
        return (status, None, body);
    }
    let key = seen.headers.get("idempotency-key").cloned();
    let known = key.as_ref().and_then(|key| state.lock().unwrap().answered.get(key).cloned());
    let (status, body) = known.unwrap_or_else(|| {
        let answer = perform(seen, state);
        if let Some(key) = key {
            state.lock().unwrap().answered.insert(key, answer.clone());
        }
        answer
    });
    match failure {
        Some((status, retry_after, _)) => (status, Some(retry_after), Value::Null),
        None => (status, None, body),
    }
}

/// Asks the address as HeyGen does, within a second.
fn probe(url: &Value) -> bool {
    let Some(url) = url.as_str() else { return false };
    let asked = agent()
        .options(url)
        .config()
        .timeout_global(Some(Duration::from_secs(1)))
        .http_status_as_error(false)
        .build()
        .call();
    asked.is_ok_and(|answer| answer.status().is_success())
}

fn perform(seen: &Seen, state: &Mutex<State>) -> (u16, Value) {
    let registers = seen.method == "POST"
        && (seen.path == "/v3/webhooks/endpoints" || seen.path == "/v1/webhook/endpoint.add");
    let takes_any = state.lock().unwrap().takes_any_address;
    if registers && !takes_any && !probe(&seen.body["url"]) {
        return error(400, "invalid_url", "the address does not answer OPTIONS");
    }
    let mut state = state.lock().unwrap();
    if let Some(verb) = seen.path.strip_prefix("/v1/webhook/endpoint.") {
        return older(verb, seen, &mut state);
    }
    let rest = seen.path.strip_prefix("/v3/webhooks/").unwrap_or_default();
    let parts: Vec<&str> = rest.split('/').collect();
    let absent = || error(404, "not_found", "there is no such endpoint");
    match (seen.method.as_str(), parts.as_slice()) {
        ("POST", ["endpoints"]) => {
            let url = seen.body["url"].as_str().unwrap().to_owned();
            (200, json!({ "data": state.add(&url, &seen.body["events"]).shown(true) }))
        }
        ("GET", ["endpoints"]) => page(&state.endpoints, seen, |endpoint| endpoint.shown(false)),
        ("GET", ["events"]) if state.refuses_cursors && seen.query.contains_key("token") => {
            error(400, "invalid_parameter", "token is not valid")
        }
        ("GET", ["events"]) => {
            let mut log = state.log.clone();
            if !state.oldest_first {
                log.reverse();
            }
            page(&log, seen, Value::clone)
        }
        ("PATCH", ["endpoints", id]) => match state.find(id) {
            Some(endpoint) => {
                endpoint.url = seen.body["url"].as_str().unwrap().to_owned();
                endpoint.events = seen.body["events"].clone();
                (200, json!({ "data": endpoint.shown(false) }))
            }
            None => absent(),
        },
        ("POST", ["endpoints", id, "rotate-secret"]) => {
            state.made += 1;
            let secret = format!("whsec_of_the_stand_in_{}", state.made);
            match state.find(id) {
                Some(endpoint) => {
                    endpoint.secret = secret;
                    (200, json!({ "data": endpoint.shown(true) }))
                }
                None => absent(),
            }
        }
        ("DELETE", ["endpoints", id]) => {
            let before = state.endpoints.len();
            state.endpoints.retain(|endpoint| endpoint.id != *id);
            if state.endpoints.len() < before { (204, Value::Null) } else { absent() }
        }
        _ => error(404, "not_found", "there is no such path"),
    }
}

/// A page of at most `limit` items from the one that `token` names on.
fn page<T>(items: &[T], seen: &Seen, shown: impl Fn(&T) -> Value) -> (u16, Value) {
    let number = |name: &str| seen.query.get(name).and_then(|text| text.parse::<usize>().ok());
    let (limit, start) = (number("limit").unwrap_or(10), number("token").unwrap_or(0));
    let items_here: Vec<Value> = items.iter().skip(start).take(limit).map(shown).collect();
    let next = (start + limit < items.len()).then(|| (start + limit).to_string());
    (200, json!({ "data": items_here, "has_more": next.is_some(), "next_token": next }))
}

fn older(verb: &str, seen: &Seen, state: &mut State) -> (u16, Value) {
    let ok = |data: Value| (200, json!({ "code": 100, "data": data, "message": null }));
    match (seen.method.as_str(), verb) {
        ("POST", "add") => {
            let url = seen.body["url"].as_str().unwrap().to_owned();
            ok(state.add(&url, &seen.body["events"]).shown(true))
        }
        ("GET", "list") => {
            ok(state.endpoints.iter().map(|endpoint| endpoint.shown(true)).collect())
        }
        ("DELETE", "delete") => {
            let id = seen.query.get("endpoint_id").cloned().unwrap_or_default();
            let before = state.endpoints.len();
            state.endpoints.retain(|endpoint| endpoint.id != id);
            match state.endpoints.len() < before {
                true => ok(Value::Null),
                // It tells of errors with this status, too.
                false => (200, json!({ "code": 400_116, "message": "endpoint not found" })),
            }
        }
        _ => (404, json!({ "code": 404, "message": "not found" })),
    }
}
