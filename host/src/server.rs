//! HTTP/1.1 connections: taking them, bounding what each may cost, and closing the idle ones when
//! there are too many. The public listener (`ingest`) and the admin listener use it.
//!
//! - [`Handler`] answers requests; [`serve`] takes connections and hands it their requests;
//! - [`Routed`] is the handler of operators, a router;
//! - `connections` counts connections and chooses which one is closed for a newcomer;
//! - `socket` wraps the TCP socket: `patience` limits waiting, `lines` refuses bare line feeds;
//! - `tracked` knows when a reply has been handed over to the connection;
//! - `client` names the client behind a request and the key that its limits count by;
//! - `knock` sends one request to a listener of this host;
//! - `strict` refuses headers that other servers may read differently;
//! - `line_limit` bounds log lines, `limit_log` reports clients that have reached their limits.
//!
//! Invariant: a connection with a request under way is never closed to make room for another one.

mod client;
mod connections;
mod knock;
mod limit_log;
mod line_limit;
mod lines;
mod listener;
mod patience;
mod routed;
mod socket;
mod strict;
mod timeouts;
mod tracked;

pub use client::{Client, ClientKey, Peer};
pub use knock::{post, reachable};
pub use limit_log::LimitLog;
pub use line_limit::LineLimit;
pub use listener::{Handler, ServerOptions, serve};
pub use routed::Routed;
pub use strict::{Ambiguous, check};
pub use timeouts::ServerTimeouts;
