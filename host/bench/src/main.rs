//! `cargo xtask bench`: what the road costs, as ratios within one run, beside what people would
//! pick instead.
//!
//! It starts everything itself: `rows` measures one receiver, `table` all of them, and `growth` the
//! rate when there is much of everything. `workflows` asks what order, joins and schedules cost,
//! and `schemes` what public keys and many sources do. `postgres` compares the two stores, and
//! `neighbours` and `languages` ask two questions more. `attacks` asks whether the intake stands
//! whatever a plugin or a sender does. A load is signed beforehand (`requests`) and sent by wrk in
//! a closed loop (`wrk`) or at a fixed rate in an open one (`steady`). After each run of hookbox
//! accepted = stored = settled is checked, and a difference is an error.

use std::path::PathBuf;
use std::process::ExitCode;

use hookbox_tools::{Result, cargo, run, say, target_dir};

mod answer;
mod attacks;
mod disk;
mod figures;
mod growth;
mod hostile;
mod languages;
mod measured;
mod neighbours;
mod postgres;
mod process;
mod receivers;
mod requests;
mod rivals;
mod rows;
mod schemes;
mod steady;
mod table;
mod watch;
mod workflows;
mod wrk;

/// The kind of measurement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    /// Every receiver under the same loads.
    #[default]
    Table,
    /// The rate when there is much of everything.
    Growth,
    /// A good plugin beside hostile ones.
    Neighbours,
    /// Every guest of the gallery of hostile plugins.
    Hostile,
    /// A good client beside attacks on the whole host.
    Attacks,
    /// One handler in every language.
    Languages,
    /// Order, joins, batches, chains and schedules beside the plain road.
    Workflows,
    /// Public keys beside secrets, and many sources beside one.
    Schemes,
    /// Postgres beside SQLite, and beside queues in Postgres.
    Postgres,
}

/// How the benchmark is run.
#[derive(Debug, Default)]
struct Options {
    kind: Kind,
    /// Measures only what has one of these in its name.
    only: Vec<String>,
    /// Each load, in seconds.
    seconds: Option<u32>,
    /// The load that is to be sustained, in seconds.
    sustained: Option<u32>,
    /// Events that wait for `--growth`.
    waiting: Option<u32>,
    /// Events stored for `--growth`.
    stored: Option<u32>,
    /// Prints JSON instead of a table.
    json: bool,
    /// Leaves nothing out that is not built.
    all: bool,
    /// The host that is measured instead of the one that is built.
    host: Option<PathBuf>,
}

const USAGE: &str = "bench takes --growth, --neighbours, --hostile, --attacks, --languages, --workflows, --schemes or --postgres, --json, --all, \
                     --only NAME[,NAME], --seconds, --sustained, --waiting or --stored with a number, --host BINARY";

impl Options {
    /// Reads what stands behind `bench`.
    fn parse(arguments: &[&str]) -> Result<Self> {
        let mut options = Self::default();
        let mut left = arguments.iter();
        while let Some(argument) = left.next() {
            let mut number = || {
                let text = left.next().ok_or(format!("`{argument}` needs a number"))?;
                let number = text.parse().ok().filter(|number| *number > 0);
                number.ok_or(format!("`{text}` is not a number above 0")).map(Some)
            };
            match *argument {
                "--growth" => options.kind = Kind::Growth,
                "--neighbours" => options.kind = Kind::Neighbours,
                "--languages" => options.kind = Kind::Languages,
                "--workflows" => options.kind = Kind::Workflows,
                "--schemes" => options.kind = Kind::Schemes,
                "--postgres" => options.kind = Kind::Postgres,
                "--seconds" => options.seconds = number()?,
                "--sustained" => options.sustained = number()?,
                "--waiting" => options.waiting = number()?,
                "--stored" => options.stored = number()?,
                "--only" => {
                    options.only = parts(left.next().ok_or("`--only` needs a part of a name")?)?
                }
                "--json" => options.json = true,
                "--hostile" => options.kind = Kind::Hostile,
                "--all" => options.all = true,
                "--attacks" => options.kind = Kind::Attacks,
                "--host" => {
                    options.host =
                        Some(left.next().ok_or("`--host` needs the path of a binary")?.into())
                }
                other => return Err(format!("`{other}`: {USAGE}")),
            }
        }
        Ok(options)
    }

    /// An error if `--only` has left nothing.
    fn left<T>(&self, rows: &[T]) -> Result {
        if rows.is_empty() {
            Err(format!("nothing has `{}` in its name", self.only.join("` or `")))
        } else {
            Ok(())
        }
    }

    /// Whether `--only` leaves what has this name.
    fn measures(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }
}

/// Parts of names, separated by commas.
fn parts(list: &str) -> Result<Vec<String>> {
    let parts: Vec<String> = list.split(',').map(|part| part.trim().to_owned()).collect();
    if parts.iter().any(String::is_empty) {
        Err(format!("`--only {list}` has an empty name"))
    } else {
        Ok(parts)
    }
}

/// A folder for what is stored meanwhile: empty at first, and gone at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(folder: PathBuf) -> Result<Self> {
        receivers::empty(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match Options::parse(&arguments).and_then(|options| bench(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Builds the release binaries, sets everything up, measures, prints.
fn bench(options: &Options) -> Result {
    if let Some(host) = &options.host {
        receivers::HOST.set(host.clone()).expect("it is set here alone");
    } else {
        say("building the release binaries");
        run(&mut cargo("build --release --locked -p hookbox --bin hookbox --example bare"))?;
    }
    let folder = target_dir().join("bench");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    match options.kind {
        Kind::Table => table::bench(&folder, options),
        Kind::Growth => growth::bench(&folder, options),
        Kind::Hostile => hostile::bench(&Scratch::new(folder.join("hostile"))?.0, options),
        Kind::Attacks => attacks::bench(&Scratch::new(folder.join("attacks"))?.0, options),
        Kind::Neighbours => neighbours::bench(&Scratch::new(folder.join("neighbours"))?.0, options),
        Kind::Languages => languages::bench(&Scratch::new(folder.join("languages"))?.0, options),
        Kind::Workflows => workflows::bench(&Scratch::new(folder.join("workflows"))?.0, options),
        Kind::Schemes => schemes::bench(&Scratch::new(folder.join("schemes"))?.0, options),
        Kind::Postgres => postgres::bench(&Scratch::new(folder.join("postgres"))?.0, options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_takes_parts_of_names_and_says_which_ones_nothing_has() {
        let options = |list| Options::parse(&["--only", list]);
        let some = options("fill, copy").unwrap();
        assert!(some.measures("fill-fresh") && some.measures("copy") && !some.measures("loop"));
        assert!(Options::parse(&[]).unwrap().measures("loop"));
        assert!(options("fill,").is_err() && Options::parse(&["--only"]).is_err());
        assert_eq!(
            some.left::<()>(&[]),
            Err("nothing has `fill` or `copy` in its name".to_owned())
        );
    }

    #[test]
    fn the_workflows_are_a_kind_of_their_own_with_the_options_of_the_others() {
        let given = ["--workflows", "--json", "--seconds", "2", "--only", "key,join"];
        let options = Options::parse(&given).unwrap();
        assert_eq!(options.kind, Kind::Workflows);
        assert!(options.json && options.seconds == Some(2));
        assert!(options.measures("10,000 keys") && options.measures("join of 3"));
        assert!(!options.measures("schedules"));
        assert!(Options::parse(&["--workflow"]).unwrap_err().contains("--workflows"));
        assert!(Options::parse(&["--workflows", "--seconds", "0"]).is_err());
    }
}
