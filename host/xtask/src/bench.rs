//! `cargo xtask bench`: what the road costs, as ratios within one run.
//!
//! Four receivers get the same kind of load from wrk, one after the other: a bare axum echo (the ceiling), the durable
//! ack without a route, the whole road (ack, fresh plugin instance, settled), and an Express endpoint that verifies
//! and keeps nothing. Bodies are 230 bytes, each a different one with its own signature. After each run of hookbox
//! accepted = stored = settled is checked.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::run::{Result, cargo, command, output, root, run, say, target_dir};

mod hostile;
mod languages;
mod load;
mod neighbours;
mod receivers;

use load::{Load, Measured};
use receivers::Receiver;

/// How the benchmark is run.
#[derive(Debug)]
pub(crate) struct Options {
    /// Each measurement, in seconds.
    pub(crate) seconds: u32,
    /// Open connections of the load generator.
    pub(crate) connections: u32,
    /// Prints JSON instead of a table.
    pub(crate) json: bool,
    /// Measures a good plugin beside hostile ones instead.
    pub(crate) neighbours: bool,
    /// Measures one handler in every language instead.
    pub(crate) languages: bool,
    /// Measures every guest of the gallery of hostile plugins instead.
    pub(crate) hostile: bool,
}

impl Options {
    /// Reads `--neighbours`, `--hostile`, `--languages`, `--seconds N`, `--connections N`, `--json`.
    pub(crate) fn parse(arguments: &[&str]) -> Result<Self> {
        let mut options = Self {
            seconds: if arguments.contains(&"--hostile") { hostile::SECONDS } else { 10 },
            connections: 256,
            json: false,
            neighbours: false,
            languages: false,
            hostile: false,
        };
        let mut left = arguments.iter();
        while let Some(argument) = left.next() {
            let mut number = || {
                let text = left.next().ok_or(format!("`{argument}` needs a number"))?;
                text.parse().map_err(|_| format!("`{text}` is not a number"))
            };
            match *argument {
                "--seconds" => options.seconds = number()?,
                "--connections" => options.connections = number()?,
                "--json" => options.json = true,
                "--neighbours" => options.neighbours = true,
                "--languages" => options.languages = true,
                "--hostile" => options.hostile = true,
                other => {
                    return Err(format!(
                        "`{other}`: bench takes --neighbours, --hostile, --languages, --seconds N, --connections N and --json"
                    ));
                }
            }
        }
        Ok(options)
    }
}

/// Sets everything up, measures, prints.
pub(crate) fn bench(options: &Options) -> Result {
    if options.hostile {
        return hostile::bench(options);
    }
    say("building the release binaries");
    run(&mut cargo("build --release -p hookbox --bin hookbox --example echo"))?;
    let folder = target_dir().join("bench");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    if options.neighbours {
        return neighbours::bench(&folder, options);
    }
    set_up()?;
    if options.languages {
        return languages::bench(&folder, options);
    }
    let load = Load::prepare(&folder, options)?;
    let express = express(&folder)?;
    let release = target_dir().join("release");
    let mut rows: Vec<(&str, Measured)> = Vec::new();
    let audit = [("handler.wasm", root().join("plugins/audit.wasm"))];
    let route = "[routes]\n\"avatar_video.*\" = \"handler\"\n";
    let receivers = [
        ("axum echo", Receiver::echo(&release)?),
        ("durable ack, no route", Receiver::hookbox(&release, &folder.join("unrouted"), &[], "")?),
        ("whole road, fresh plugin", Receiver::hookbox(&release, &folder.join("routed"), &audit, route)?),
        ("express, in memory", Receiver::express(&express)?),
    ];
    for (name, receiver) in receivers {
        say(name);
        rows.push((name, receiver.measure(&load)?));
    }
    if options.json {
        print_json(&rows)
    } else {
        print_table(&rows, options)
    }
    Ok(())
}

fn set_up() -> Result {
    if output(command("wrk", "--version").env("LC_ALL", "C")).is_err_and(|error| error.contains("failed to start")) {
        say("installing wrk");
        run(&mut command("apt-get", "update -q"))?;
        run(&mut command("apt-get", "install -y -q wrk"))?;
    }
    Ok(())
}

/// Installs Express beside the build and writes the endpoint of the measure: verify, count, answer.
fn express(folder: &Path) -> Result<PathBuf> {
    let folder = folder.join("express");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    if !folder.join("node_modules/express").exists() {
        say("installing express");
        run(command("npm", "install --no-audit --no-fund --silent express@5").current_dir(&folder))?;
    }
    let script = folder.join("server.js");
    std::fs::write(&script, include_str!("bench/express.js")).map_err(|error| error.to_string())?;
    Ok(script)
}

fn print_table(rows: &[(&str, Measured)], options: &Options) {
    let ceiling = rows[0].1.per_second;
    println!("\n{} connections, {} s each, 230-byte bodies, on this machine:\n", options.connections, options.seconds);
    println!("| receiver | requests/s | of the echo | p50 ms | p99 ms | events settled/s | waiting at the end |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for (name, row) in rows {
        let settled = row.settled_per_second.map_or(String::new(), |rate| format!("{rate:.0}"));
        let waiting = row.open_at_end.map_or(String::new(), |open| open.to_string());
        println!(
            "| {name} | {:.0} | {:.3} | {:.1} | {:.1} | {settled} | {waiting} |",
            row.per_second,
            row.per_second / ceiling,
            row.p50_ms,
            row.p99_ms,
        );
    }
    let rate = |name: &str| rows.iter().find(|row| row.0.starts_with(name)).map(|row| &row.1);
    if let (Some(road), Some(express)) = (rate("whole road"), rate("express")) {
        let road = road.settled_per_second.unwrap_or(0.0);
        println!(
            "\nwhole road, settled: {:.3} of the echo, {:.1} x express",
            road / ceiling,
            road / express.per_second
        );
    }
}

fn print_json(rows: &[(&str, Measured)]) {
    let rows: Vec<Value> = rows
        .iter()
        .map(|(name, row)| {
            json!({
                "receiver": name,
                "requests_per_second": row.per_second,
                "of_echo": row.per_second / rows[0].1.per_second,
                "p50_ms": row.p50_ms,
                "p99_ms": row.p99_ms,
                "settled_per_second": row.settled_per_second,
                "open_at_end": row.open_at_end,
            })
        })
        .collect();
    println!("{}", Value::from(rows));
}
