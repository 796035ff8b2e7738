//! Memory for the bodies of leased events.
//!
//! A plugin that stands still keeps what it holds, so there is a bound for each and a part that only plugins which hold
//! little may use: the events of a plugin can always be leased, whatever the others hold.

/// Bodies of leased events that are held in memory, in KiB; over it, deliveries wait in the store. Twice the largest
/// body there can be, so that one has room beside others.
pub(super) const MAX_HELD_KIB: u32 = 128 * 1024;

/// What one plugin may hold of it, in KiB.
pub(super) const SHARE_KIB: u32 = 32 * 1024;

/// What is kept for plugins that hold no more than [`LITTLE_KIB`], in KiB.
const KEPT_KIB: usize = 32 * 1024;

/// What any of 64 plugins may hold whatever the others hold, in KiB; or one body.
const LITTLE_KIB: usize = 512;

/// Whether a plugin that holds `held_kib` may take `kib` of `free_kib`.
pub(super) fn may_take(held_kib: usize, kib: usize, free_kib: usize) -> bool {
    let little = held_kib == 0 || held_kib + kib <= LITTLE_KIB;
    free_kib.checked_sub(kib).is_some_and(|left_kib| little || left_kib >= KEPT_KIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bodies of `kib` each plugin gets, one plugin after the other.
    fn shared(plugins: usize, kib: usize) -> Vec<usize> {
        let mut free_kib = MAX_HELD_KIB as usize;
        let mut held = vec![0; plugins];
        for held in &mut held {
            while *held * kib + kib <= SHARE_KIB as usize && may_take(*held * kib, kib, free_kib) {
                (*held, free_kib) = (*held + 1, free_kib - kib);
            }
        }
        held
    }

    #[test]
    fn however_much_the_others_hold_a_plugin_may_hold_a_little() {
        assert!(shared(64, 4).iter().all(|bodies| bodies * 4 >= LITTLE_KIB), "{:?}", shared(64, 4));
        assert!(shared(30, 1_024).iter().all(|bodies| *bodies >= 1), "{:?}", shared(30, 1_024));
    }

    #[test]
    fn plugins_hold_no_more_than_there_is() {
        for kib in [1, 4, 512, 1_024, 32_768] {
            let held: usize = shared(1_000, kib).iter().map(|bodies| bodies * kib).sum();
            assert!(held <= MAX_HELD_KIB as usize, "{held} of {kib}");
        }
        assert!(!may_take(0, 2, 1));
    }

    #[test]
    fn one_plugin_alone_has_its_whole_share() {
        assert_eq!(shared(1, 1_024), [SHARE_KIB as usize / 1_024]);
    }
}
