//! `cargo xtask`: everything a contributor does, as one command each. Never shipped.

use std::process::ExitCode;

mod bench;
mod plugins;
mod run;
mod test;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test               sets up what the tests need, then checks and tests everything
  plugins            builds plugins/NAME/ into plugins/NAME.wasm
  plugins --check    builds them elsewhere and compares what they do with what the committed ones do
  bench              measures the road against a bare echo and Express; --seconds N, --connections N, --json
  bench --neighbours measures a good plugin alone and beside hostile ones; --seconds N, --json
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["test"] => test::test(),
        ["plugins"] => plugins::build(),
        ["plugins", "--check"] => plugins::check(),
        ["bench", ref options @ ..] => bench::Options::parse(options).and_then(|options| bench::bench(&options)),
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
