//! `cargo xtask bench --hostile`: every guest of the gallery of hostile plugins, by how much it outlives its deadline and
//! what it costs a good plugin beside it. `host/examples/hostile.rs` measures; it is an error if a guest is beyond the
//! limits.

use super::Options;
use crate::run::{Result, cargo, run};

/// For each guest, unless something else is said: there are many.
const SECONDS: u32 = 2;

/// Builds what measures, and runs it.
pub(super) fn bench(options: &Options) -> Result {
    let mut measure = cargo("run --release -p hookbox --example hostile --");
    measure.arg(options.seconds.unwrap_or(SECONDS).to_string());
    if options.json {
        measure.arg("json");
    }
    run(&mut measure)
}
