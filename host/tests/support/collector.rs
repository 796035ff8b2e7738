//! A collector that takes OTLP over HTTP, in protobuf, and keeps what it was sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::wait_for;

/// How a collector answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    /// As it should.
    Ok,
    /// It takes a message, and refuses this many of its spans.
    But(i64),
    /// With this status.
    Status(u16),
    /// Of so many requests with spans every other one, from the first, with status 429 for a
    /// second, and the others as it should.
    Later(usize),
    /// Not at all, with the connection open.
    Never,
}

/// A collector in this process.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    kept: Arc<Kept>,
}

#[derive(Default)]
struct Kept {
    requests: AtomicUsize,
    traces: AtomicUsize,
    spans: Mutex<Vec<Span>>,
    logs: Mutex<Vec<(String, LogRecord)>>,
    resource: Mutex<Vec<KeyValue>>,
    /// The `authorization` of each request.
    credentials: Mutex<Vec<Option<String>>>,
    /// Every message, byte for byte.
    raw: Mutex<Vec<u8>>,
}

impl Collector {
    /// Begins to listen.
    pub(crate) fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, kept) = (listener.local_addr().unwrap(), Arc::<Kept>::default());
        let keeps = Arc::clone(&kept);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let keeps = Arc::clone(&keeps);
                std::thread::spawn(move || keeps.serve(&stream.unwrap(), answers));
            }
        });
        Self { address, kept }
    }

    /// `[telemetry]` of a host that sends to it, with more of the section.
    pub(crate) fn section(&self, more: &str) -> String {
        format!("[telemetry]\notlp = \"http://{}\"\n{more}\n", self.address)
    }

    /// Requests that have come so far.
    pub(crate) fn requests(&self) -> usize {
        self.kept.requests.load(Ordering::Acquire)
    }

    /// The `authorization` of each request so far.
    pub(crate) fn credentials(&self) -> Vec<Option<String>> {
        self.kept.credentials.lock().unwrap().clone()
    }

    /// The spans so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.kept.spans.lock().unwrap().clone()
    }

    /// Waits until so many spans of this name are there.
    pub(crate) fn wait_for_spans(&self, name: &str, count: usize) -> Vec<Span> {
        wait_for(&format!("{count} spans `{name}`"), || {
            let mut spans = self.spans();
            spans.retain(|span| span.name == name);
            (spans.len() >= count).then_some(spans)
        })
    }

    /// Waits until exactly one span has this name, and returns it.
    pub(crate) fn the_span(&self, name: &str) -> Span {
        let mut found = self.wait_for_spans(name, 1);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    /// The log lines so far, each with its scope.
    pub(crate) fn logs(&self) -> Vec<(String, LogRecord)> {
        self.kept.logs.lock().unwrap().clone()
    }

    /// The attributes of the host.
    pub(crate) fn resource(&self) -> Vec<KeyValue> {
        self.kept.resource.lock().unwrap().clone()
    }

    /// Whether these bytes were in anything that was sent.
    pub(crate) fn has_seen(&self, text: &str) -> bool {
        let raw = self.kept.raw.lock().unwrap();
        raw.windows(text.len()).any(|part| part == text.as_bytes())
    }
}

impl Kept {
    fn serve(&self, stream: &TcpStream, answers: Answers) {
        let mut reader = BufReader::new(stream);
        while let Some((path, body)) = self.read_request(&mut reader) {
            self.requests.fetch_add(1, Ordering::AcqRel);
            let has_spans = path.ends_with("/traces");
            let before = self.traces.fetch_add(usize::from(has_spans), Ordering::AcqRel);
            let status = match answers {
                Answers::Never => {
                    // Until the host gives up.
                    let _ = reader.read(&mut [0]);
                    return;
                }
                Answers::Status(status) => status,
                Answers::Later(those)
                    if has_spans && before < those && before.is_multiple_of(2) =>
                {
                    429
                }
                Answers::Ok | Answers::But(_) | Answers::Later(_) => {
                    self.keep(&path, &body);
                    200
                }
            };
            let answer = match answers {
                Answers::But(rejected_spans) if has_spans => {
                    let partial =
                        ExportTracePartialSuccess { rejected_spans, error_message: String::new() };
                    ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
                }
                _ => Vec::new(),
            };
            let later = if status == 429 { "retry-after: 1\r\n" } else { "" };
            let head = format!(
                "HTTP/1.1 {status} it\r\ncontent-type: application/x-protobuf\r\n{later}content-length: {}\r\n\r\n",
                answer.len()
            );
            let mut stream = stream;
            if stream.write_all(&[head.as_bytes(), &answer].concat()).is_err() {
                return;
            }
        }
    }

    fn keep(&self, path: &str, body: &[u8]) {
        self.raw.lock().unwrap().extend_from_slice(body);
        if path.ends_with("/v1/traces") {
            let message = ExportTraceServiceRequest::decode(body).unwrap();
            for of_host in message.resource_spans {
                *self.resource.lock().unwrap() = of_host.resource.unwrap().attributes;
                let spans = of_host.scope_spans.into_iter().flat_map(|scope| scope.spans);
                self.spans.lock().unwrap().extend(spans);
            }
        } else {
            assert!(path.ends_with("/v1/logs"), "{path}");
            let message = ExportLogsServiceRequest::decode(body).unwrap();
            let scopes = message.resource_logs.into_iter().flat_map(|of_host| of_host.scope_logs);
            for scope in scopes {
                let name = scope.scope.unwrap().name;
                let lines = scope.log_records.into_iter().map(|line| (name.clone(), line));
                self.logs.lock().unwrap().extend(lines);
            }
        }
    }

    /// Reads a request: its path and its body.
    fn read_request(&self, reader: &mut BufReader<&TcpStream>) -> Option<(String, Vec<u8>)> {
        let (mut path, mut length, mut is_protobuf) = (String::new(), 0, false);
        let mut credential = None;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            if path.is_empty() {
                path = line.strip_prefix("POST ")?.split(' ').next()?.to_owned();
            } else if line.is_empty() {
                break;
            } else if let Some((name, value)) = line.split_once(": ") {
                match name {
                    "authorization" => credential = Some(value.to_owned()),
                    "content-length" => length = value.parse().unwrap(),
                    "content-type" => is_protobuf = value == "application/x-protobuf",
                    _ => {}
                }
            }
        }
        assert!(is_protobuf, "{path}");
        self.credentials.lock().unwrap().push(credential);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        Some((path, body))
    }
}

/// The value of an attribute, as text.
pub(crate) fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    any_text(found.value.as_ref()?)
}

/// A value as text.
pub(crate) fn any_text(value: &AnyValue) -> Option<String> {
    Some(match value.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::BoolValue(truth) => truth.to_string(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    })
}
