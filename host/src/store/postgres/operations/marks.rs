//! The facts that an operation remembers of its way, stored with its scope.

use crate::store::postgres::work::{Work, WorkError};
use crate::store::{Operation, OperationMarks, TriedItem};

/// Notes what was opened, if that is the one that is tried first.
pub(super) async fn note_tried(
    work: &Work<'_>,
    of: &Operation,
    opened: Option<TriedItem>,
) -> Result<(), WorkError> {
    match opened {
        Some(tried) if of.notes_first() => {
            mark(work, of, OperationMarks { tried: Some(tried), ..of.marks }).await
        }
        _ => Ok(()),
    }
}

/// Stores what an operation remembers of its way.
pub(super) async fn mark(
    work: &Work<'_>,
    of: &Operation,
    marks: OperationMarks,
) -> Result<(), WorkError> {
    if marks != of.marks {
        let sql = "UPDATE hookbox.operations SET scope = $2 WHERE id = $1";
        work.execute(sql, &[&of.id.0, &of.scope.text(marks)]).await?;
    }
    Ok(())
}
