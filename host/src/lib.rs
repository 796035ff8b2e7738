//! hookbox: the host behind every webhook you receive.
//!
//! One road with two halves that meet only in the store:
//!
//! ```text
//! request → verify → identify → append → ack   ‖   lease → invoke → settle
//! ```
//!
//! Modules stand on floors. A module imports only from lower floors and its own children; the nouns
//! on the ground floor may use each other. The order of the groups below is that law, and
//! `tests/tidy.rs` reads it from here. `doors:` names the crates and paths that only this module
//! and its children may use, on as many lines as that takes; one that several modules list is open
//! to each of them.

// floor 8: arguments → calls, exit codes
pub mod cli; // doors: clap, clap_complete, ureq, indicatif, similar

// floor 7: every start and stop in order
pub mod app;
pub mod telemetry; // doors: tracing_subscriber, metrics_exporter_prometheus, hyper, hyper_util,
// doors: opentelemetry_proto, prost

// floor 6: change under load, and the operator's view
pub mod admin; // doors: askama, axum, rust_embed, similar, subtle, utoipa
pub mod reload; // doors: notify

// floor 5: permit → lease → invoke → verdict → settle
pub mod dispatch;

// floor 4: the public door, and the registry of plugins
pub mod ingest; // doors: axum, hyper, hmac, ring, subtle
pub mod plugins;

// floor 3: what is durable, and what is contained
pub mod sandbox; // doors: wasmtime, wasmtime_wasi, wasmtime_wasi_http, wat, wit_component,
// doors: wasi_preview1_component_adapter_provider, wasmparser
pub mod store; // doors: rusqlite, rustls, tokio_postgres, tokio_rustls, webpki_roots

// floor 2: connections that come in, and HTTP requests that go out
pub mod egress; // doors: hyper, hyper_util, rustls, tokio_rustls, webpki_roots
pub mod server; // doors: axum, hyper, hyper_util

// floor 1: the file a user writes
pub mod config; // doors: toml, miette, ipnet, cel, regex, croner, ring

// floor 0: nouns, arithmetic, time
pub mod clock; // doors: std::time::SystemTime
pub mod cloudevents;
pub mod env; // doors: std::env
pub mod event;
pub mod fail;
pub mod fair;
pub mod files;
pub mod names; // doors: strsim
pub mod providers;
pub mod retry;
pub mod seal; // doors: ring
pub mod series;
pub mod status;
pub mod tasks; // doors: tokio::spawn, tokio::task::spawn_blocking,
// doors: std::thread::spawn, std::thread::Builder
pub mod text;
pub mod trace;
