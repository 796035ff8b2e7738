//! The cost of each stage of the road on its own, through the doors that the host itself uses.
//!
//! `cargo bench` times the stages. `cargo xtask counts` has the same rounds counted, in
//! instructions: it starts this program as `stages count STAGE PREPARED RUN`, and as `stages names`
//! to hear which there are.

use std::process::ExitCode;

mod invoke;
mod requests;
mod routes;
mod stage;
mod store;
mod verify;

/// The host's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["names"] => {
            stage::NAMES.iter().for_each(|name| println!("{name}"));
            ExitCode::SUCCESS
        }
        ["count", name, prepared, run] => count(name, prepared, run),
        _ => {
            divan::main();
            ExitCode::SUCCESS
        }
    }
}

#[divan::bench(args = stage::NAMES)]
fn stages(bencher: divan::Bencher, name: &str) {
    let stage = stage::named(name).expect("it is one of the names");
    bencher.with_inputs(&*stage).bench_local_values(|round| round());
}

/// Prepares so many rounds of a stage and runs so many of them.
fn count(name: &str, prepared: &str, run: &str) -> ExitCode {
    let (Some(stage), Ok(prepared), Ok(run)) =
        (stage::named(name), prepared.parse(), run.parse::<usize>())
    else {
        eprintln!(
            "usage: stages count STAGE PREPARED RUN, where STAGE is one of {:?}",
            stage::NAMES
        );
        return ExitCode::from(2);
    };
    let mut rounds: Vec<stage::Round> = (0..prepared).map(|_| stage()).collect();
    rounds.drain(..run).for_each(|round| round());
    ExitCode::SUCCESS
}
