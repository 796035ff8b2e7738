//! The hours and files of groups of failures, which are lists in SQLite and rows in Postgres.

use crate::store::model::{CopyCell, CopyRow};
use crate::store::{FileCounts, Trend};

/// The rows of a group's hours: of its id and its trend.
pub(super) fn hours_of(row: CopyRow) -> Result<Vec<CopyRow>, String> {
    let [id, trend] = row.as_slice() else { return Err("a group of failures is damaged".into()) };
    let hours = Trend::from_bytes(trend.bytes()).hours();
    let row = |(hour, met): (i64, u32)| {
        vec![id.clone(), CopyCell::Integer(hour), CopyCell::Integer(met.into())]
    };
    Ok(hours.map(row).collect())
}

/// The rows of a group's files: of its id, the time at which it was met last, and its files. The
/// order of the files is kept in their times.
pub(super) fn files_of(row: CopyRow) -> Result<Vec<CopyRow>, String> {
    let [id, CopyCell::Integer(last_ms), files] = row.as_slice() else {
        return Err("a group of failures is damaged".into());
    };
    let files = FileCounts::from_bytes(files.bytes()).0;
    let row = |(before, (digest, met)): (i64, (crate::event::Digest, u32))| {
        vec![
            id.clone(),
            CopyCell::Bytes(digest.0.to_vec()),
            CopyCell::Integer(met.into()),
            CopyCell::Integer(last_ms - before),
        ]
    };
    Ok((0..).zip(files.into_iter().rev()).map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Digest;

    #[test]
    fn hours_without_a_failure_have_no_row_and_the_last_file_has_the_last_time() {
        let (mut trend, mut files) = (Trend::default(), FileCounts::default());
        trend.count(100 * 3_600_000, 3);
        trend.count(102 * 3_600_000, 1);
        files.count(Digest([1; 32]), 2);
        files.count(Digest([2; 32]), 5);
        let cells = |numbers: [i64; 2]| numbers.map(CopyCell::Integer);
        let [id, last] = cells([7, 9_000]);
        let hours = hours_of(vec![id.clone(), CopyCell::Bytes(trend.bytes())]).unwrap();
        let expected = |hour, met| [vec![id.clone()], cells([hour, met]).to_vec()].concat();
        assert_eq!(hours, [expected(100, 3), expected(102, 1)]);
        let found = files_of(vec![id.clone(), last, CopyCell::Bytes(files.bytes())]).unwrap();
        let times: Vec<_> = found.iter().map(|row| (row[1].bytes()[0], row[3].integer())).collect();
        assert_eq!(times, [(2, Some(9_000)), (1, Some(8_999))]);
    }
}
