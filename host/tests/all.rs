//! Every integration test, in one binary: linking the sandbox once is enough.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails the test that called it")]

mod admin;
mod breaker;
mod browser;
mod cli;
mod clients;
mod compiling;
mod config;
mod crash;
mod egress;
mod examples;
mod files;
mod held;
mod hostile;
mod ingest;
mod load;
mod logs;
mod map;
mod mounts;
mod operate;
mod operations;
mod paused;
mod pipeline;
mod places;
mod public;
mod readme;
mod road;
mod sandbox;
mod sources;
mod support;
mod tidy;
mod time;
mod tried;
mod untyped;
mod upgrade;
mod workflows;
