//! `cargo xtask bench --workflows`: what order, joins, batches, chains and schedules cost beside
//! the plain road.
//!
//! Each workflow gets a fixed number of webhooks, as fast as they are acknowledged, and its time
//! ends when the last delivery is settled. Every round measures the plain road as well, and its
//! ratios are to that. Afterwards every plugin has to have settled exactly what the webhooks ask
//! for, and as many events have to be stored.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use self::kinds::{Workflow, all};
use self::ticks::Ticks;
use super::Options;
use super::figures::median;
use super::receivers::{Receiver, Running};
use super::requests::{HANDLED, Requests, Spec};
use super::steady::{self, Steady};
use super::watch::{until_done, until_loaded};
use hookbox_tools::{Result, say};

mod kinds;
mod ticks;

/// Turns; every other one measures the workflows in the opposite order.
const ROUNDS: usize = 3;

/// Seconds of each load, if the host is as fast as [`Workflow::per_second`] expects.
const SECONDS: u32 = 4;

/// Connections of the load.
const CONNECTIONS: usize = 256;

/// Length of every body.
const BODY_BYTES: usize = 230;

/// The name of the row of schedules.
const SCHEDULES: &str = "schedules";

/// One run of a workflow, each a second.
#[derive(Debug, Clone, Copy)]
struct Rates {
    webhooks: f64,
    deliveries: f64,
}

/// A row of the table: the medians of its rounds.
#[derive(Debug)]
struct Row {
    name: &'static str,
    counted: &'static str,
    rates: Rates,
    /// The same of the plain road in the same round.
    of_plain: Rates,
}

/// Measures and prints.
pub(super) fn bench(folder: &Path, options: &Options) -> Result {
    let seconds = options.seconds.unwrap_or(SECONDS);
    let (plain, others) = all();
    let wanted: Vec<Workflow> =
        others.into_iter().filter(|workflow| options.measures(workflow.name)).collect();
    let schedules = options.measures(SCHEDULES);
    let names: Vec<&str> =
        wanted.iter().map(|workflow| workflow.name).chain(schedules.then_some(SCHEDULES)).collect();
    options.left(&names)?;
    let rows = if wanted.is_empty() {
        Vec::new()
    } else {
        let workflows: Vec<Workflow> = std::iter::once(plain).chain(wanted).collect();
        let rounds = rounds(folder, &workflows, seconds)?;
        workflows.iter().enumerate().map(|(at, of)| row(of, &rounds, at)).collect()
    };
    let ticks = if schedules { Some(ticks::measure(folder, seconds)?) } else { None };
    print(&rows, ticks.as_ref(), options);
    Ok(())
}

/// The rates of all workflows in each round. The plain road is the first of them.
fn rounds(folder: &Path, workflows: &[Workflow], seconds: u32) -> Result<Vec<Vec<Rates>>> {
    (0..ROUNDS)
        .map(|round| {
            say(&format!("round {} of {ROUNDS}", round + 1));
            let mut order: Vec<usize> = (0..workflows.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            let mut rates = vec![Rates { webhooks: 0.0, deliveries: 0.0 }; workflows.len()];
            for at in order {
                rates[at] = workflows[at].measure(folder, seconds)?;
            }
            Ok(rates)
        })
        .collect()
}

impl Workflow {
    /// Starts a host with nothing stored, sends, and waits until all is settled.
    fn measure(&self, folder: &Path, seconds: u32) -> Result<Rates> {
        let count = self.per_second * seconds as usize;
        say(&format!("{}: {count} webhooks", self.name));
        let host = self.start(folder)?;
        let spec = Spec {
            kind: HANDLED,
            body_bytes: BODY_BYTES,
            subjects: self.subjects,
            first: 0,
            count,
        };
        let requests = Requests::sign(folder.join("requests"), spec)?;
        let wanted: Vec<(&str, u64)> =
            self.settles.iter().map(|(plugin, of)| (*plugin, (count / of) as u64)).collect();
        let started = Instant::now();
        steady::send(
            &requests,
            &host.public,
            Steady { connections: CONNECTIONS, count, rate: None },
        )?;
        let stored = until_done(host.admin()?, &wanted)
            .map_err(|error| format!("{}: {error}", self.name))?;
        let took = started.elapsed().as_secs_f64();
        let expected = self.stored(count);
        if stored != expected {
            return Err(format!(
                "{}: {count} webhooks are to make {expected} events, and {stored} are stored",
                self.name
            ));
        }
        let settled: u64 = wanted.iter().map(|(_, count)| count).sum();
        Ok(Rates { webhooks: count as f64 / took, deliveries: settled as f64 / took })
    }

    fn start(&self, folder: &Path) -> Result<Running> {
        let plugins = (self.plugins)(folder)?;
        let plugins: Vec<_> =
            plugins.iter().map(|(name, file)| (name.as_str(), file.clone())).collect();
        let host = Receiver::hookbox(&folder.join("site"), &plugins, &self.config)?.start()?;
        until_loaded(host.admin()?)?;
        Ok(host)
    }
}

fn row(workflow: &Workflow, rounds: &[Vec<Rates>], at: usize) -> Row {
    let of = |figure: &dyn Fn(&[Rates]) -> f64| {
        median(rounds.iter().map(|rates| figure(rates)).collect())
    };
    Row {
        name: workflow.name,
        counted: workflow.counted,
        rates: Rates {
            webhooks: of(&|rates| rates[at].webhooks),
            deliveries: of(&|rates| rates[at].deliveries),
        },
        of_plain: Rates {
            webhooks: of(&|rates| rates[at].webhooks / rates[0].webhooks),
            deliveries: of(&|rates| rates[at].deliveries / rates[0].deliveries),
        },
    }
}

impl Row {
    fn json(&self) -> Value {
        let of =
            |rates: Rates| json!({ "webhooks": rates.webhooks, "deliveries": rates.deliveries });
        json!({ "workflow": self.name, "counted": self.counted, "per_second": of(self.rates),
            "of_plain": of(self.of_plain) })
    }
}

fn print(rows: &[Row], ticks: Option<&Ticks>, options: &Options) {
    if options.json {
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        println!("{}", json!({ "rows": rows, "schedules": ticks.map(Ticks::json) }));
        return;
    }
    if !rows.is_empty() {
        println!("\nMedians of {ROUNDS} rounds, from the first webhook until all is settled:\n");
        println!(
            "| workflow | of a webhook | webhooks/s | of plain | deliveries settled/s | of plain |"
        );
        println!("| --- | --- | ---: | ---: | ---: | ---: |");
    }
    for Row { name, counted, rates, of_plain } in rows {
        println!(
            "| {name} | {counted} | {:.0} | {:.2} | {:.0} | {:.2} |",
            rates.webhooks, of_plain.webhooks, rates.deliveries, of_plain.deliveries
        );
    }
    if let Some(ticks) = ticks {
        println!("\n{ticks}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_medians_of_its_rounds_and_ratios_to_the_plain_road_of_each() {
        let rates = |webhooks| Rates { webhooks, deliveries: 2.0 * webhooks };
        let rounds = [(100.0, 50.0), (200.0, 80.0), (10.0, 9.0)];
        let rounds = rounds.map(|(plain, other)| vec![rates(plain), rates(other)]);
        let (plain, others) = all();
        let row = row(&others[0], &rounds, 1);
        assert_eq!((row.rates.webhooks, row.rates.deliveries), (50.0, 100.0));
        assert_eq!((row.of_plain.webhooks, row.of_plain.deliveries), (0.5, 0.5));
        assert_eq!(super::row(&plain, &rounds, 0).of_plain.webhooks, 1.0);
    }

    #[test]
    fn every_workflow_settles_whole_deliveries_of_a_second() {
        let (plain, others) = all();
        for workflow in std::iter::once(&plain).chain(&others) {
            for (plugin, of) in &workflow.settles {
                assert_eq!(workflow.per_second % of, 0, "{} of {}", plugin, workflow.name);
            }
        }
        assert_eq!(others.len(), 5);
    }
}
