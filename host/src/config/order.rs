//! The keys of `[plugins.NAME]` that order its deliveries by a key of the event.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use super::raw::Section;
use super::{key_source, rate};
use crate::event::{KeyPolicy, KeySource};

const PER_KEY_BOUNDS: RangeInclusive<u32> = 1..=1_000;
const MAX_WAITING_BOUNDS: RangeInclusive<u32> = 1..=1_000_000;
const ON_DEAD: [(&str, bool); 2] = [("go-on", false), ("hold", true)];

/// Keys that say something about the key's order.
const DEPENDENT: [&str; 4] = ["per_key", "key_rate", "on_dead", "max_waiting_per_key"];

/// Reads the order of a plugin's deliveries; `None` if they are in no order.
pub(super) fn read(section: &mut Section<'_>) -> Option<KeyPolicy> {
    let key = section.take("key");
    let dependent = DEPENDENT.map(|name| section.take(name));
    if key.is_none() {
        for item in dependent.iter().flatten() {
            item.refuse_key(
                "has no effect without `key`",
                "add the part of an event that its deliveries are ordered by, such as `key = \"subject\"`",
            );
        }
    }
    // A key that is refused is read on, so that the others are checked as well.
    let source = key.map(|key| key_source::read(&key).unwrap_or(KeySource::Subject))?;
    let mut policy = KeyPolicy::of(source);
    let [per_key, key_rate, on_dead, max_waiting] = dependent;
    if let Some(per_key) = per_key.and_then(|item| item.whole(PER_KEY_BOUNDS)) {
        policy.per_key = NonZeroU32::new(per_key).unwrap_or(NonZeroU32::MIN);
    }
    if let Some(item) = key_rate
        && let Some(rate) = rate::read(&item)
    {
        policy.interval = rate.interval();
        if policy.per_key != NonZeroU32::MIN {
            item.refuse_key(
                "keeps the starts of a key apart, which needs `per_key = 1`",
                "take `per_key` out, or limit the starts of the whole plugin with `rate`",
            );
        }
    }
    if let Some(hold) = on_dead.and_then(|item| item.word(&ON_DEAD)) {
        policy.hold = hold;
    }
    if let Some(most) = max_waiting.and_then(|item| item.whole(MAX_WAITING_BOUNDS)) {
        policy.max_waiting = most;
    }
    Some(policy)
}
