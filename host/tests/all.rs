//! Every integration test, in one binary: linking the sandbox once is enough.

mod admin;
mod config;
mod crash;
mod harness;
mod ingest;
mod load;
mod road;
mod sandbox;
mod tidy;
