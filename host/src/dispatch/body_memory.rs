//! Memory for the bodies of leased events.
//!
//! A plugin that does not finish its attempts keeps its memory. So each plugin has a bound, and a
//! part of all memory is kept for plugins that hold little: the events of a plugin can always be
//! leased, whatever the others hold.

/// Memory for bodies of all plugins, in KiB; beyond it, deliveries wait in the store. It is twice
/// the largest body, so that one fits beside others.
pub(super) const MAX_KIB: u32 = 128 * 1024;

/// Memory of one plugin, in KiB.
pub(super) const MAX_PLUGIN_KIB: u32 = 32 * 1024;

/// Memory that is kept for plugins that hold at most [`SMALL_KIB`], in KiB.
const KEPT_KIB: usize = 32 * 1024;

/// Memory that each of 64 plugins can hold whatever the others hold, in KiB; or one body.
const SMALL_KIB: usize = 512;

/// Whether a plugin that holds `held_kib` may reserve `kib` of `free_kib`.
pub(super) fn may_reserve(held_kib: usize, kib: usize, free_kib: usize) -> bool {
    let small = held_kib == 0 || held_kib + kib <= SMALL_KIB;
    free_kib.checked_sub(kib).is_some_and(|left_kib| small || left_kib >= KEPT_KIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bodies of `kib` each plugin gets, one plugin after the other.
    fn shared(plugins: usize, kib: usize) -> Vec<usize> {
        let mut free_kib = MAX_KIB as usize;
        let mut held = vec![0; plugins];
        for held in &mut held {
            while *held * kib + kib <= MAX_PLUGIN_KIB as usize
                && may_reserve(*held * kib, kib, free_kib)
            {
                (*held, free_kib) = (*held + 1, free_kib - kib);
            }
        }
        held
    }

    #[test]
    fn however_much_the_others_hold_a_plugin_may_hold_a_little() {
        assert!(shared(64, 4).iter().all(|bodies| bodies * 4 >= SMALL_KIB), "{:?}", shared(64, 4));
        assert!(shared(30, 1_024).iter().all(|bodies| *bodies >= 1), "{:?}", shared(30, 1_024));
    }

    #[test]
    fn plugins_hold_no_more_than_there_is() {
        for kib in [1, 4, 512, 1_024, 32_768] {
            let held: usize = shared(1_000, kib).iter().map(|bodies| bodies * kib).sum();
            assert!(held <= MAX_KIB as usize, "{held} of {kib}");
        }
        assert!(!may_reserve(0, 2, 1));
    }

    #[test]
    fn one_plugin_alone_has_its_whole_share() {
        assert_eq!(shared(1, 1_024), [MAX_PLUGIN_KIB as usize / 1_024]);
    }
}
