//! The members that an open gathering still lacks.

use crate::config::routes::Gathering;
use crate::event::GatheringKind;
use crate::store::GatheringState;

/// The members that a gathering still lacks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Needs {
    /// In words.
    pub(super) text: String,
    /// Members that complete it, if that is known.
    pub(super) need: Option<u32>,
    pub(super) seen: Vec<String>,
    pub(super) missing: Vec<String>,
}

/// The needs of a gathering by its section, which may be gone.
pub(super) fn needs(section: Option<&Gathering>, state: &GatheringState) -> Needs {
    let need = section.and_then(|section| section.terms.need).or(state.need);
    let types = section.map(|section| section.types.as_slice()).unwrap_or_default();
    let bits = types.iter().zip(0..u64::BITS);
    let (seen, missing): (Vec<_>, Vec<_>) = bits.partition(|(_, bit)| state.seen >> bit & 1 == 1);
    let (seen, missing) = (names(&seen), names(&missing));
    let count = state.count;
    let members = if count == 1 { "member" } else { "members" };
    let text = match (section, need) {
        (Some(section), _) if !section.close.is_empty() => {
            format!("one of {} ({count} {members} so far)", quoted(&section.close))
        }
        (Some(section), _) if !section.types.is_empty() => match seen.is_empty() {
            true => quoted(&missing),
            false => format!("{} ({} came)", quoted(&missing), quoted(&seen)),
        },
        (_, Some(need)) => format!("members, of which {count} of {need} came"),
        (Some(section), None) if section.terms.kind == GatheringKind::Batch => {
            format!("more members ({count} so far)")
        }
        (_, None) => format!("the member that says how many there are to be ({count} so far)"),
    };
    Needs { text, need, seen, missing }
}

fn names(types: &[(&String, u32)]) -> Vec<String> {
    types.iter().map(|(kind, _)| (*kind).clone()).collect()
}

fn quoted(kinds: &[String]) -> String {
    kinds.iter().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(", ")
}
