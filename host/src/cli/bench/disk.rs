//! Measures the time that the disk under the store takes to make a page durable.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

const PAGE_BYTES: usize = 4096;
const ROUNDS: usize = 200;

/// p50 and p99 of fdatasync after a page of 4 KiB, in milliseconds, in the folder of `store`;
/// `None` if the folder is not there or may not be written to.
pub(super) fn sync_ms(store: &Path) -> Option<[f64; 2]> {
    let path = store.parent()?.join(format!(".hookbox-bench-{}", std::process::id()));
    let file = File::options().write(true).create_new(true).open(&path).ok()?;
    let taken = measure(file);
    // If this fails, a small file stays, and its name tells its origin.
    let _ = fs::remove_file(&path);
    let mut taken = taken.ok()?;
    taken.sort_by(f64::total_cmp);
    Some([taken[ROUNDS / 2], taken[ROUNDS * 99 / 100]])
}

fn measure(mut file: File) -> std::io::Result<Vec<f64>> {
    let page = [0x5a; PAGE_BYTES];
    (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            file.write_all(&page)?;
            file.sync_data()?;
            Ok(start.elapsed().as_secs_f64() * 1000.0)
        })
        .collect()
}
