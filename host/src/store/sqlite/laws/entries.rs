//! Entries of the audit log, against other programs that open the file.

use super::*;
use crate::store::{Actor, AuditLog, AuditNote, Via};

#[tokio::test]
async fn an_entry_is_neither_changed_nor_deleted_by_a_statement() {
    let file = one_file();
    let store = file.open_sqlite().await;
    let actor = Actor { name: "jo".into(), role: "operator", via: Via::Api };
    store.note(AuditNote::new(actor, "clock.accept", "clock", "")).await.unwrap();
    store.close().await.unwrap();
    let connection = file.connection();
    for sql in
        ["UPDATE audit SET actor = 'ann'", "DELETE FROM audit", "DELETE FROM audit WHERE id = 1"]
    {
        let refused = connection.execute(sql, []).unwrap_err().to_string();
        assert!(refused.contains("entries of the audit log are not"), "{sql}: {refused}");
    }
}
