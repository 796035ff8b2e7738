//! The operator's door, on a real store: what is shown, what can be done, and what is refused.
//!
//! `site` sets the scene (there is no dispatcher, so deliveries stand where a test put them),
//! `schema` compares answers with the OpenAPI document.

mod act;
mod attempts;
mod audit;
mod case;
mod document;
mod edit;
mod export;
mod failures;
mod follow;
mod forms;
mod history;
mod keys;
mod lists;
mod login;
mod map;
mod overview;
mod pages;
mod pauses;
mod plugins;
mod refuse;
mod roles;
mod schema;
mod show;
mod site;
mod start;
mod theme;
mod troubles;
