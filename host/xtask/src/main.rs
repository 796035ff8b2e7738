//! `cargo xtask`: everything a contributor does, as one command each. Never shipped.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use hookbox_tools::{cargo, say};

mod bindings;
mod checks;
mod clients;
mod counts;
mod languages;
mod pages;
mod plugins;
mod postgres;
mod projects;
mod prometheus;
mod public;
mod schema;
mod site;
mod test;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test               sets up what the tests need, then checks and tests everything
  plugins            builds plugins/NAME/ into plugins/NAME.wasm, but the large ones only with --install
  plugins --check    builds them elsewhere, and tests both these and the committed ones on their cases
  projects           from `hookbox new` to a handled event, in every language, by the commands that are printed
  clients            builds plugins that send requests, in JavaScript and Python, for the tests
  pages              installs a browser and axe for the tests of the pages, and checks the types of their scripts
  schema             asks a running host whatever schemathesis makes of its OpenAPI document
  metrics            has Prometheus' own tool check the metrics of a running host, the alerts and the dashboard
  pictures           takes the pictures of the pages in docs/images/ anew
  counts             counts the instructions of each stage with valgrind and compares them with a baseline
  counts --update    writes what it counts into the baseline, host/benches/counts.toml
  counts STAGE …     does so for these stages only; also after --update
  bindings           generates plugins/hello-c/gen/ from wit/
  bench              measures the road beside a bare echo, a bare group commit, Express and Flask; --json, --all
  bench --growth     measures it with a million events waiting, behind keys and stored, and with 500 plugins; --json
  bench --neighbours measures a good plugin alone and beside hostile ones; --seconds N, --json
  bench --hostile    measures every guest of the gallery of hostile plugins beside a good one; --seconds N, --json
  bench --attacks    measures a good client beside attacks on the whole host, by what must hold; --seconds N, --json,
                     --only NAME, --host BINARY
  bench --languages  measures one handler in five languages, and a large component dropped in; --json
  bench --workflows  measures order, joins, batches, chains and schedules beside the plain road; --only NAME, --json
  bench --schemes    measures public keys beside HMAC-SHA256, and 120 sources beside one; --only NAME, --json
  bench --postgres   measures the road on Postgres beside that on SQLite, two hosts, pg-boss and graphile-worker; --json
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["test"] => test::test(),
        ["plugins"] => plugins::build(false),
        ["plugins", "--install"] => plugins::build(true),
        ["plugins", "--check"] => plugins::check(),
        ["projects"] => projects::check(),
        ["clients"] => clients::build(),
        ["pages"] => pages::check(),
        ["schema"] => schema::check(),
        ["metrics"] => prometheus::check(),
        ["pictures"] => pages::pictures(),
        ["counts", "--update", ref stages @ ..] => counts::update(stages),
        ["counts", ref stages @ ..] => {
            counts::check(stages).map(|note| note.iter().for_each(|note| say(note)))
        }
        ["bindings"] => bindings::write(),
        ["bench", ref options @ ..] => Err(bench(options)),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Becomes `host/bench`, a crate of its own so that the other commands need not wait for its
/// compilation. Returns only if that fails.
fn bench(options: &[&str]) -> String {
    let mut bench = cargo("run --quiet --package hookbox-bench --");
    format!("failed to start cargo: {}", bench.args(options).exec())
}
