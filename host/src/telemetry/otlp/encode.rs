//! Spans and log lines as the messages of OTLP.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource;
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind as WireKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use tracing::Level;

use super::log::SentLine;
use crate::trace::{FieldValue, SpanFields, SpanKind, SpanRecord, dropped_spans};

/// The conventions that names follow: HTTP, and, in development, messaging, FaaS and CloudEvents.
const CONVENTIONS: &str = "https://opentelemetry.io/schemas/1.37.0";

/// Every span is sampled.
const SAMPLED: u32 = 1;

/// The kind of data that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// Spans.
    Traces,
    /// Log lines.
    Logs,
}

impl Signal {
    /// The path at which a collector takes it.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Logs => "/v1/logs",
        }
    }

    /// Its name in the log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
        }
    }

    /// Counts what was not sent.
    pub(super) fn count_dropped(self, count: u64) {
        match self {
            _ if count == 0 => {}
            Self::Traces => dropped_spans(count),
            Self::Logs => super::log::dropped_lines(count),
        }
    }

    /// How many items a collector that took a message has refused, by its answer.
    pub(super) fn rejected(self, answer: &[u8]) -> u64 {
        let rejected = match self {
            Self::Traces => ExportTraceServiceResponse::decode(answer)
                .ok()
                .and_then(|answer| Some(answer.partial_success?.rejected_spans)),
            Self::Logs => ExportLogsServiceResponse::decode(answer)
                .ok()
                .and_then(|answer| Some(answer.partial_success?.rejected_log_records)),
        };
        rejected.and_then(|count| u64::try_from(count).ok()).unwrap_or(0)
    }
}

/// The host, as every message names it.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    fields: SpanFields,
}

impl Resource {
    /// This process.
    pub(super) fn new() -> Self {
        let mut fields = SpanFields::default();
        fields.add("service.name", "hookbox");
        fields.add("service.version", env!("CARGO_PKG_VERSION"));
        fields.add("service.instance.id", instance_id());
        Self { fields }
    }

    fn message(&self) -> resource::v1::Resource {
        let attributes = attributes(self.fields.clone());
        resource::v1::Resource { attributes, ..resource::v1::Resource::default() }
    }
}

/// A random UUID (RFC 9562, version 4): a start of the host is an instance of its own.
fn instance_id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives random numbers");
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex::encode(bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// A message with these spans.
pub(super) fn traces(resource: &Resource, spans: Vec<SpanRecord>) -> Vec<u8> {
    let spans = spans.into_iter().map(span).collect();
    let scope = scope("hookbox");
    let schema_url = CONVENTIONS.to_owned();
    let scope_spans = vec![ScopeSpans { scope, spans, schema_url: schema_url.clone() }];
    let resource = Some(resource.message());
    let resource_spans = vec![ResourceSpans { resource, scope_spans, schema_url }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// A message with these log lines.
pub(super) fn logs(resource: &Resource, lines: Vec<SentLine>) -> Vec<u8> {
    let mut by_target: BTreeMap<&str, Vec<LogRecord>> = BTreeMap::new();
    for line in lines {
        by_target.entry(line.target).or_default().push(record(line));
    }
    let of_target = |(target, log_records)| ScopeLogs {
        scope: scope(target),
        log_records,
        schema_url: String::new(),
    };
    let scope_logs = by_target.into_iter().map(of_target).collect();
    let (resource, schema_url) = (Some(resource.message()), String::new());
    let resource_logs = vec![ResourceLogs { resource, scope_logs, schema_url }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

fn scope(name: &str) -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    })
}

fn span(record: SpanRecord) -> Span {
    let kind = match record.kind {
        SpanKind::Server => WireKind::Server,
        SpanKind::Client => WireKind::Client,
        SpanKind::Producer => WireKind::Producer,
        SpanKind::Consumer => WireKind::Consumer,
    };
    let link = record.link.map(|link| Link {
        trace_id: link.trace.bytes().to_vec(),
        span_id: link.span.bytes().to_vec(),
        ..Link::default()
    });
    let failed = Status { message: String::new(), code: StatusCode::Error.into() };
    Span {
        trace_id: record.context.trace.bytes().to_vec(),
        span_id: record.context.span.bytes().to_vec(),
        parent_span_id: record.parent.map(|parent| parent.bytes().to_vec()).unwrap_or_default(),
        flags: SAMPLED,
        name: record.name.into_owned(),
        kind: kind.into(),
        start_time_unix_nano: record.start_ns,
        end_time_unix_nano: record.end_ns,
        attributes: attributes(record.fields),
        links: link.into_iter().collect(),
        status: record.failed.then_some(failed),
        ..Span::default()
    }
}

fn record(line: SentLine) -> LogRecord {
    let severity = match line.level {
        Level::TRACE => SeverityNumber::Trace,
        Level::DEBUG => SeverityNumber::Debug,
        Level::INFO => SeverityNumber::Info,
        Level::WARN => SeverityNumber::Warn,
        Level::ERROR => SeverityNumber::Error,
    };
    let (trace, span) = line.span.map(|span| (span.trace, span.span)).unzip();
    LogRecord {
        time_unix_nano: line.time_ns,
        observed_time_unix_nano: line.time_ns,
        severity_number: severity.into(),
        severity_text: line.level.as_str().to_owned(),
        body: Some(value(line.message.into())),
        attributes: attributes(line.fields),
        flags: if trace.is_some() { SAMPLED } else { 0 },
        trace_id: trace.map(|trace| trace.bytes().to_vec()).unwrap_or_default(),
        span_id: span.map(|span| span.bytes().to_vec()).unwrap_or_default(),
        ..LogRecord::default()
    }
}

fn attributes(fields: SpanFields) -> Vec<KeyValue> {
    let attribute = |(name, field): (&str, FieldValue)| KeyValue {
        key: name.to_owned(),
        value: Some(value(field)),
        ..KeyValue::default()
    };
    fields.0.into_iter().map(attribute).collect()
}

fn value(field: FieldValue) -> AnyValue {
    let value = match field {
        FieldValue::Text(text) => any_value::Value::StringValue(text.into_owned()),
        FieldValue::Number(number) => any_value::Value::IntValue(number),
        FieldValue::Truth(truth) => any_value::Value::BoolValue(truth),
    };
    AnyValue { value: Some(value) }
}
