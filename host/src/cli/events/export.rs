//! `hookbox events export` and `import`: events as lines of JSON.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, stdin, stdout};
use std::ops::Range;

use rustix::fs::{MemfdFlags, memfd_create};
use serde_json::json;

use crate::cli::client::{AdminClient, Param};
use crate::cli::failure::Failure;
use crate::cli::output::{Printout, print_json, printable};

/// The media type of lines of JSON.
const NDJSON: &str = "application/x-ndjson";

/// The bytes of lines that are sent at once (and at least one line).
const BATCH_BYTES: u64 = 1 << 20;

/// The lines that are sent at once.
const BATCH_LINES: usize = 500;

/// Writes every event that matches to stdout.
pub(super) fn export(client: &AdminClient, query: &[Param<'_>]) -> Result<(), Failure> {
    client.copy("/api/v1/events/export", query, &mut stdout().lock())
}

/// Stores the events of a file, the last line first.
pub(super) fn import(
    client: &AdminClient,
    file: &str,
    route: bool,
    as_json: bool,
) -> Result<(), Failure> {
    let unreadable =
        |error: io::Error| Failure::failed(format!("{} cannot be read: {error}", printable(file)));
    let mut lines = FileLines::open(file).map_err(unreadable)?;
    let mut sums = [0_u64; 3];
    while let Some((batch, numbers)) = lines.last_batch().map_err(unreadable)? {
        let path = format!("/api/v1/events/import?route={route}");
        let answer = client.post_body(&path, (NDJSON, &batch), None).map_err(|failure| {
            let (first, last) = (numbers.start + 1, numbers.end);
            let begun = sums[0];
            Failure::failed(format!(
                "{begun} imported; none of the lines {first} to {last} and before: {failure}"
            ))
        })?;
        for (sum, name) in sums.iter_mut().zip(["imported", "duplicates", "skipped"]) {
            *sum += answer[name].as_u64().unwrap_or(0);
        }
    }
    let [imported, duplicates, skipped] = sums;
    if as_json {
        let answer = json!({ "imported": imported, "duplicates": duplicates, "skipped": skipped });
        return print_json(&answer);
    }
    let mut out = Printout::new();
    out.line(format!("{imported} imported, {duplicates} duplicates, {skipped} without data"));
    out.print()
}

/// Lines of a file, and their numbers from 0.
type Batch = (Vec<u8>, Range<usize>);

/// The lines of a file, taken from its end.
struct FileLines {
    file: File,
    /// Where each line begins, and where the last one ends.
    begins: Vec<u64>,
}

impl FileLines {
    fn open(name: &str) -> Result<Self, io::Error> {
        let mut file = if name == "-" {
            // Its end is needed first.
            let mut kept = File::from(memfd_create("events", MemfdFlags::CLOEXEC)?);
            io::copy(&mut stdin().lock(), &mut kept)?;
            kept
        } else {
            File::open(name)?
        };
        file.seek(SeekFrom::Start(0))?;
        let (mut begins, mut at) = (vec![0], 0);
        let mut reader = BufReader::new(&file);
        loop {
            match reader.skip_until(b'\n')? {
                0 => break,
                length => at += length as u64,
            }
            begins.push(at);
        }
        Ok(Self { file, begins })
    }

    /// The last lines that were not taken yet.
    fn last_batch(&mut self) -> Result<Option<Batch>, io::Error> {
        let last = self.begins.len() - 1;
        let end = self.begins[last];
        let fits =
            |first: &usize| last - first <= BATCH_LINES && end - self.begins[*first] <= BATCH_BYTES;
        let Some(next) = last.checked_sub(1) else { return Ok(None) };
        let first = (0..=next).rev().take_while(fits).last().unwrap_or(next);
        let length = usize::try_from(end - self.begins[first]).map_err(io::Error::other)?;
        let mut batch = vec![0; length];
        self.file.seek(SeekFrom::Start(self.begins[first]))?;
        self.file.read_exact(&mut batch)?;
        self.begins.truncate(first + 1);
        Ok(Some((batch, first..last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_from_the_end_and_each_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        for (text, batches) in
            [("", vec![]), ("a\nb", vec![("a\nb", 0..2)]), ("a\n\nb\n", vec![("a\n\nb\n", 0..3)])]
        {
            std::fs::write(&path, text).unwrap();
            let mut lines = FileLines::open(path.to_str().unwrap()).unwrap();
            for (batch, numbers) in batches {
                let found = lines.last_batch().unwrap().unwrap();
                assert_eq!(found, (batch.as_bytes().to_vec(), numbers));
            }
            assert!(lines.last_batch().unwrap().is_none());
        }
        let many = "x\n".repeat(BATCH_LINES) + &"y".repeat(BATCH_BYTES as usize + 1) + "\nz\n";
        std::fs::write(&path, many).unwrap();
        let mut lines = FileLines::open(path.to_str().unwrap()).unwrap();
        let mut numbers = Vec::new();
        while let Some((batch, range)) = lines.last_batch().unwrap() {
            assert!(batch.ends_with(b"\n"));
            numbers.push(range);
        }
        let most = BATCH_LINES;
        assert_eq!(numbers, [most + 1..most + 2, most..most + 1, 0..most]);
    }
}
