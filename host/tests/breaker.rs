//! A plugin that only fails: it is slowed down, its log lines and its records are bounded, and
//! nobody else notices.

mod dispatcher;
mod host;
mod site;

/// Does as its configuration says under `do`.
const AS_TOLD: &str = include_str!("guests/as-told.wat");
