//! The list of hosts.

use super::*;
use crate::event::Digest;
use crate::store::{Health, Hosts};

#[tokio::test]
async fn hosts_list_each_other_with_the_files_that_run() {
    let Some(case) = one_postgres() else { return };
    let first = case.open_postgres().await;
    let folder = tempfile::tempdir().unwrap();
    let options = PostgresOptions {
        folder: folder.path().to_owned(),
        host_name: "two".to_owned(),
        ..case.options().await
    };
    let second = Postgres::open(options).await.unwrap();
    first.note_plugins([("audit".into(), Digest([1; 32]))].into()).await.unwrap();
    second.note_plugins([("audit".into(), Digest([2; 32]))].into()).await.unwrap();
    for (asked, name) in [(&first, "one"), (&second, "two")] {
        let hosts = asked.hosts().await.unwrap();
        let names: Vec<_> = hosts.iter().map(|host| host.name.as_str()).collect();
        assert_eq!(names, ["one", "two"]);
        let this: Vec<_> = hosts.iter().filter(|host| host.is_this).collect();
        assert_eq!(this.len(), 1);
        assert_eq!(this[0].name, name);
        assert_eq!(hosts[1].plugins["audit"], Digest([2; 32]));
    }
    second.close().await.unwrap();
    assert_eq!(first.hosts().await.unwrap().len(), 1, "a host that has stopped is not listed");
}
