//! The time that the disk under the store takes to make a write durable: no acknowledgement can be
//! faster.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use super::neighbours::percentiles;
use hookbox_tools::Result;

/// Writes that are timed.
const WRITES: usize = 1_000;

/// Each as long as a small group commit.
const WRITE_BYTES: usize = 16 << 10;

/// The file they go round in, as in a log that has reached its length.
const FILE_BYTES: usize = 4 << 20;

/// Milliseconds of an fdatasync after a short write, median and 99th percentile.
pub(super) fn fdatasync_ms(folder: &Path) -> Result<[f64; 2]> {
    let path = folder.join("fdatasync");
    let fail = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = File::create(&path).map_err(fail)?;
    file.write_all_at(&vec![1; FILE_BYTES], 0).and_then(|()| file.sync_all()).map_err(fail)?;
    let mut samples = Vec::with_capacity(WRITES);
    for number in 0..WRITES {
        let part = vec![number as u8; WRITE_BYTES];
        file.write_all_at(&part, (number * WRITE_BYTES % FILE_BYTES) as u64).map_err(fail)?;
        let started = Instant::now();
        file.sync_data().map_err(fail)?;
        samples.push(started.elapsed().as_secs_f64() * 1e3);
    }
    std::fs::remove_file(&path).map_err(fail)?;
    Ok(percentiles(&mut samples))
}
