//! The question before a change of many: how many there are, and some of them.

use serde_json::Value;

use crate::cli::asking::says_yes;
use crate::cli::failure::Failure;
use crate::cli::listing::delivery_table;
use crate::cli::output::{Ink, Printout};
use crate::store::Action;

/// Shows how many there are and some of them, and asks whether they are meant. Whether there is
/// anything to be done.
pub(super) fn confirmed(
    action: &Action,
    (matched, is_all): (u64, bool),
    as_of: &str,
    sample: &[Value],
) -> Result<bool, Failure> {
    if matched == 0 && is_all {
        return Ok(false);
    }
    let mut out = Printout::new();
    let at_least = if is_all { "" } else { "at least " };
    out.line(format!("{at_least}{matched} would be {}{as_of}", action.done()));
    delivery_table(&mut out, sample);
    if matched > sample.len() as u64 {
        out.line(out.ink(Ink::Dim, "…"));
    }
    let them = if matched == 1 && is_all { "it" } else { "them" };
    match says_yes(out.text(), &format!("{} {them}?", action.name()))? {
        true => Ok(true),
        false => Err(Failure::failed("nothing was changed")),
    }
}
