//! The stages by name.

use crate::store::{self, Kind};
use crate::{invoke, routes, verify};

/// Prepares a round: what is in it is no part of what is measured.
pub(crate) type Stage = Box<dyn Fn() -> Round>;

/// Does the stage's work once.
pub(crate) type Round = Box<dyn FnOnce()>;

/// In the order in which an event comes through them.
pub(crate) const NAMES: [&str; 10] = [
    "verify-230",
    "verify-4096",
    "route-among-1000",
    "append-64",
    "append-keyed-64",
    "append-members-64",
    "move-2048",
    "invoke-fresh",
    "settle-64",
    "settle-keyed-64",
];

/// The stage of this name, made ready.
pub(crate) fn named(name: &str) -> Option<Stage> {
    Some(match name {
        "verify-230" => verify::stage(230),
        "verify-4096" => verify::stage(4_096),
        "route-among-1000" => routes::stage(1_000),
        "append-64" => store::append(64, Kind::Plain),
        "append-keyed-64" => store::append(64, Kind::Keyed),
        "append-members-64" => store::append(64, Kind::Member),
        "move-2048" => store::move_keys(2_048),
        "invoke-fresh" => invoke::stage(),
        "settle-64" => store::settle(64, Kind::Plain),
        "settle-keyed-64" => store::settle(64, Kind::Keyed),
        _ => return None,
    })
}
