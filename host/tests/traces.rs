//! Traces and log lines as a collector gets them: the real host, real plugins, and a collector that
//! speaks OTLP.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::trace::v1::Span;

use crate::support::{Collector, Host, Site, agent, attribute, guest, sign};

mod callbacks;
mod collectors;
mod logs;
mod secure;
mod trees;

/// A value that stands in bodies, queries and headers, and nowhere in what is sent.
const SECRET_WORD: &str = "s3cret-word";

/// The subject of events.
const SUBJECT: &str = "jo@example.com";

/// The sender's own span.
const SENDERS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A server that plugins call; keeps the heads of requests.
struct Called {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Called {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, heads) =
            (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<_>>>::default());
        let keeps = Arc::clone(&heads);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let mut reader = BufReader::new(&stream);
                let mut head = String::new();
                while reader.read_line(&mut head).unwrap() > 2 {}
                keeps.lock().unwrap().push(head);
                let mut stream = &stream;
                let answer = "HTTP/1.1 418 no\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno";
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        Self { port, heads }
    }

    /// The `traceparent` of each request so far.
    fn traceparents(&self) -> Vec<Option<String>> {
        let heads = self.heads.lock().unwrap();
        let of = |head: &String| {
            let line = head.lines().find_map(|line| line.strip_prefix("traceparent: "));
            line.map(str::to_owned)
        };
        heads.iter().map(of).collect()
    }

    /// A body with which the plugin `sends` calls it.
    fn body(&self) -> String {
        format!("0127.0.0.1:{}/v1/orders?token={SECRET_WORD}", self.port)
    }
}

/// A chain: `sends` makes a request, `echo` emits an event, and `next` handles that.
fn chain(called: &Called, sections: &str, of_source: &str, of_rule: &str) -> Site {
    let config = format!(
        r#"
[sources.raw]
secrets = [{{ env = "TEST_SECRET" }}]
verify = {{ scheme = "hmac-sha256", header = "X-Signature", signed = "{{body}}" }}
type = {{ fixed = "call.made" }}
subject = {{ header = "X-Subject" }}
{of_source}
[routes]
"call.made" = ["sends", "echo"]
"guest.echoed" = "next"
[plugins.sends]
http = [{{ scheme = "http", host = "127.0.0.1", port = {}, private = true{of_rule} }}]
{sections}"#,
        called.port
    );
    let (sends, echo, next) = (guest("send"), guest("emit"), guest("ok"));
    Site::new(&config, &[("sends.wat", &sends), ("echo.wat", &echo), ("next.wat", &next)])
}

/// Posts a body to the source `raw`; the id of the event.
fn post(host: &Host, body: &str, traceparent: Option<&str>) -> String {
    let mut request = agent()
        .post(format!("{}/webhook/raw?token={SECRET_WORD}", host.public_url))
        .header("x-signature", sign(body.as_bytes()))
        .header("x-subject", SUBJECT)
        .header("x-other", SECRET_WORD);
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    let mut response = request.send(body).unwrap();
    assert_eq!(response.status(), 200);
    let text = response.body_mut().read_to_string().unwrap();
    let reply: serde_json::Value = serde_json::from_str(&text).unwrap();
    reply["id"].as_str().unwrap().to_owned()
}

/// An attribute of a span.
fn of(span: &Span, name: &str) -> Option<String> {
    attribute(&span.attributes, name)
}

/// Asserts what attributes a span has.
#[track_caller]
fn has(span: &Span, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(of(span, name).as_deref(), Some(*value), "{name} of {span:?}");
    }
}

/// The span of an attempt of a plugin.
fn attempt_of(collector: &Collector, name: &str, plugin: &str) -> Span {
    let spans = collector.wait_for_spans(name, 1);
    let found = spans.into_iter().find(|span| of(span, "faas.name").as_deref() == Some(plugin));
    found.unwrap_or_else(|| panic!("no span of {plugin}"))
}
