//! A Postgres server of a test, and folders of hosts that share it.

use std::io::Write;

use hookbox_tools::cluster::{Cluster, programs};

use super::Site;

/// Set by `cargo xtask test`, which installs Postgres: without it these tests fail then.
const REQUIRED: &str = "HOOKBOX_TEST_POSTGRES";

/// The tables of a SQLite file, as views, so that both stores are asked the same questions.
const VIEWS: &str = include_str!("../data/views.sql");

/// A server with these settings; none if there is no Postgres, which is said aloud.
pub(crate) fn cluster(settings: &[&str]) -> Option<Cluster> {
    if programs().is_none() {
        let why = "skipped: there is no Postgres (Debian's package `postgresql`)";
        assert!(std::env::var_os(REQUIRED).is_none(), "{why}");
        // Not caught by the test runner as a macro's output is.
        writeln!(std::io::stderr(), "{why}").expect("somebody reads");
    }
    Cluster::start(settings)
}

/// The folder of a host of this name that uses the server, with more of the configuration and
/// plugin files.
pub(crate) fn shared_site(
    cluster: &Cluster,
    name: &str,
    sections: &str,
    plugins: &[(&str, &[u8])],
) -> Site {
    let store = format!("name = \"{name}\"\n[store]\nurl = {{ file = \"url\" }}\n");
    let site = Site::new(&format!("{store}{sections}"), plugins);
    site.put("url", cluster.url("?sslmode=disable"));
    site
}

/// Makes the views that [`asked`] looks at, once the tables are there.
pub(crate) fn show_as_file(cluster: &Cluster) {
    cluster.sql(VIEWS);
}

/// The rows of a question that is in the words of a SQLite file's tables, columns separated by
/// spaces.
pub(crate) fn asked(cluster: &Cluster, question: &str) -> Vec<String> {
    let answer = cluster.sql(&format!("SET search_path = books; {question}"));
    answer.lines().map(|row| row.replace('|', " ")).collect()
}
