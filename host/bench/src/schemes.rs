//! `cargo xtask bench --schemes`: the rate of acknowledgements with public keys beside that with
//! HMAC-SHA256, and with 120 sources beside one.
//!
//! Every round measures each row on a new host, every other round in the opposite order, and ratios
//! are within a round. Nothing is routed, so a row is the road to the acknowledgement alone. Beside
//! the rates stand what one verification costs on one thread here, and the rate that this allows on
//! all cores: that bounds a scheme whose verification is most of its CPU time.

use std::path::Path;

use serde_json::{Value, json};

use self::keys::{Key, SCHEMES, SigningScheme};
use super::Options;
use super::figures::{self, Figure, Wanted};
use super::process;
use super::receivers::Receiver;
use super::requests::{HANDLED, Requests, SECRET, Spec, Subjects, body, post};
use super::rows::PLUGIN;
use super::watch::{Accepted, Before};
use super::wrk::{self, Closed};
use hookbox_tools::{Result, install, say};

mod keys;

/// Turns; every other one has the opposite order.
const ROUNDS: usize = 3;

/// Seconds of each load.
const SECONDS: u32 = 4;

/// Connections of the closed loop.
const CONNECTIONS: u32 = 64;

/// Length of every body.
const BODY_BYTES: usize = 230;

/// Requests signed for each second: more than a host takes, for a repeated one has a shorter road.
const SIGNED_PER_SECOND: usize = 60_000;
const SIGNED_PUBLIC_PER_SECOND: usize = 30_000;

/// The sources of the row with many.
const MANY_SOURCES: usize = 120;

const HMAC: &str = "hmac-sha256";
const ONE_SOURCE: &str = "1 source";
const SOURCES: &str = "120 sources";

/// A host and its load.
struct Row {
    name: &'static str,
    /// The row that it is compared with.
    beside: &'static str,
    /// The least ratio to that.
    wanted: Wanted,
    /// Microseconds of a verification on one thread.
    verify_us: f64,
    requests: std::rc::Rc<Requests>,
    config: String,
}

/// One run.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    per_second: f64,
    /// CPU time of the host for each request, in microseconds.
    cpu_us: f64,
}

/// The medians of a row.
struct Medians {
    name: &'static str,
    beside: &'static str,
    wanted: Wanted,
    sample: Sample,
    ratio: f64,
    verify_us: f64,
}

/// Measures and prints.
pub(super) fn bench(folder: &Path, options: &Options) -> Result {
    install("wrk")?;
    let seconds = options.seconds.unwrap_or(SECONDS);
    let mut rows = rows(folder, seconds)?;
    let is_wanted = |row: &Row| options.measures(row.name);
    let wanted: Vec<&str> =
        rows.iter().filter(|row| is_wanted(row)).map(|row| row.beside).collect();
    options.left(&wanted)?;
    rows.retain(|row| is_wanted(row) || wanted.contains(&row.name));
    let rounds = rounds(folder, &rows, seconds)?;
    let medians: Vec<Medians> = (0..rows.len()).map(|at| medians(&rows, &rounds, at)).collect();
    let figures = targets(&medians);
    if options.json {
        let rows: Vec<Value> = medians.iter().map(Medians::json).collect();
        let targets: Vec<Value> = figures.iter().map(Figure::json).collect();
        println!("{}", json!({ "cores": cores(), "rows": rows, "targets": targets }));
    } else {
        print(&medians, seconds);
        figures::print(&figures);
    }
    Ok(())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The rows, with their requests signed.
fn rows(folder: &Path, seconds: u32) -> Result<Vec<Row>> {
    let spec = |per_second: usize| Spec {
        kind: HANDLED,
        body_bytes: BODY_BYTES,
        subjects: Subjects::Own,
        first: 0,
        count: seconds as usize * per_second,
    };
    say("timing verifications");
    let shared = Key::hmac(SECRET.as_bytes());
    let hmac_us = shared.verify_us(&body(&spec(1), 0))?;
    let hmac = Requests::sign(folder.join(HMAC), spec(SIGNED_PER_SECOND))?;
    let hmac = std::rc::Rc::new(hmac);
    let keys: Vec<(SigningScheme, Key)> = SCHEMES
        .into_iter()
        .map(|scheme| Ok((scheme, Key::make(scheme)?)))
        .collect::<Result<_>>()?;
    let all: String = keys.iter().map(|(scheme, key)| section(scheme.name(), key)).collect();
    let mut rows = vec![Row {
        name: HMAC,
        beside: HMAC,
        wanted: Wanted::Known,
        verify_us: hmac_us,
        requests: hmac.clone(),
        config: all.clone(),
    }];
    for (scheme, key) in &keys {
        let name = scheme.name();
        let request = |spec: &Spec, number: usize| {
            let body = body(spec, number);
            post(name, "x-signature", &keys::hex(&key.sign(body.as_bytes())), &body)
        };
        let requests =
            Requests::write(folder.join(name), spec(SIGNED_PUBLIC_PER_SECOND), &request)?;
        rows.push(Row {
            name,
            beside: HMAC,
            wanted: scheme.wanted(),
            verify_us: key.verify_us(&body(&spec(1), 0))?,
            requests: std::rc::Rc::new(requests),
            config: all.clone(),
        });
    }
    for (name, wanted, count) in
        [(ONE_SOURCE, Wanted::Known, 1), (SOURCES, Wanted::AtLeast(0.95), MANY_SOURCES)]
    {
        // The source that is hit is there in both.
        let config = (1..count).map(another).collect();
        let (verify_us, requests) = (hmac_us, hmac.clone());
        rows.push(Row { name, beside: ONE_SOURCE, wanted, verify_us, requests, config });
    }
    Ok(rows)
}

/// A source with a public key. The signed text and the type are those of HeyGen.
fn section(name: &str, key: &Key) -> String {
    format!(
        "[sources.{name}]\ntype = {{ json = \"/event_type\" }}\nsubject = {{ json = \"/event_data/callback_id\" }}\n\
         verify = {{ scheme = \"{name}\", header = \"X-Signature\", encoding = \"hex\", public_keys = [\"{}\"] }}\n",
        key.public_hex()
    )
}

/// A source that nothing comes to.
fn another(number: usize) -> String {
    format!(
        "[sources.other-{number}]\npreset = \"github\"\nsecrets = [{{ env = \"HEYGEN_WEBHOOK_SECRET\" }}]\n"
    )
}

/// The samples of all rows in each round.
fn rounds(folder: &Path, rows: &[Row], seconds: u32) -> Result<Vec<Vec<Sample>>> {
    (0..ROUNDS)
        .map(|round| {
            say(&format!("round {} of {ROUNDS}", round + 1));
            let mut order: Vec<usize> = (0..rows.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            let mut samples = vec![Sample::default(); rows.len()];
            for at in order {
                samples[at] = rows[at].measure(folder, seconds)?;
            }
            Ok(samples)
        })
        .collect()
}

impl Row {
    /// Starts a host with nothing stored, and loads it.
    fn measure(&self, folder: &Path, seconds: u32) -> Result<Sample> {
        say(&format!("{}: {CONNECTIONS} connections, {seconds} s", self.name));
        let running = Receiver::hookbox(&folder.join("site"), &[], &self.config)?.start()?;
        let cpu_before = process::cpu(running.pid())?;
        let closed = Closed { connections: CONNECTIONS, seconds };
        let answered = wrk::send(&self.requests, &running.public, closed)?;
        let accepted = answered.requests;
        if accepted > self.requests.spec.count as u64 {
            return Err(format!("{}: {accepted} requests are more than were signed", self.name));
        }
        let unread = u64::from(CONNECTIONS);
        let run = Accepted { accepted, unread, emits: None };
        let checked = Before::default().check(&running, PLUGIN, run);
        checked.map_err(|error| format!("{}: {error}", self.name))?;
        let cpu = process::cpu(running.pid())? - cpu_before;
        Ok(Sample {
            per_second: answered.per_second,
            cpu_us: cpu.as_secs_f64() * 1e6 / accepted as f64,
        })
    }
}

/// The middle one of these figures.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn medians(rows: &[Row], rounds: &[Vec<Sample>], at: usize) -> Medians {
    let Row { name, beside, wanted, verify_us, .. } = rows[at];
    let other = rows.iter().position(|row| row.name == beside).unwrap_or(at);
    let of = |figure: &dyn Fn(&[Sample]) -> f64| {
        median(rounds.iter().map(|samples| figure(samples)).collect())
    };
    let sample = Sample {
        per_second: of(&|samples| samples[at].per_second),
        cpu_us: of(&|samples| samples[at].cpu_us),
    };
    let ratio = of(&|samples| samples[at].per_second / samples[other].per_second);
    Medians { name, beside, wanted, sample, ratio, verify_us }
}

impl Medians {
    /// The rate that verification alone allows on all cores.
    fn most(&self) -> f64 {
        cores() as f64 * 1e6 / self.verify_us
    }

    /// The cores that the host keeps busy.
    fn busy(&self) -> f64 {
        self.sample.per_second * self.sample.cpu_us / 1e6
    }

    /// The bound of the rate, for people.
    fn bound(&self) -> &'static str {
        if 2.0 * self.verify_us >= self.sample.cpu_us {
            "verification"
        } else if 2.0 * self.busy() >= cores() as f64 {
            "the CPU, not verification"
        } else {
            "the disk, or the load generator"
        }
    }

    fn json(&self) -> Value {
        let Sample { per_second, cpu_us } = self.sample;
        json!({ "row": self.name, "per_second": per_second, "beside": self.beside, "ratio": self.ratio,
            "verify_us": self.verify_us, "cpu_us_per_request": cpu_us, "busy_cores": self.busy(),
            "most_per_second_by_verification": self.most(), "bound_by": self.bound() })
    }
}

/// The ratios with what is wanted of them, and what a verification costs.
fn targets(medians: &[Medians]) -> Vec<Figure> {
    let ratios = medians.iter().filter(|row| row.name != row.beside);
    let ratios = ratios.map(|row| {
        Figure::new(format!("{} / {}", row.name, row.beside), row.ratio, "", row.wanted)
    });
    let verifications = medians.iter().filter(|row| row.beside == HMAC).map(|row| {
        let name = format!("{}, a verification on one thread", row.name);
        Figure::new(name, row.verify_us, "µs", Wanted::Known)
    });
    ratios.chain(verifications).collect()
}

fn print(medians: &[Medians], seconds: u32) {
    println!(
        "\nMedians of {ROUNDS} rounds of {seconds} s over {CONNECTIONS} connections, {BODY_BYTES} bytes, on {} cores:\n",
        cores()
    );
    println!(
        "| row | acknowledged/s | of | ratio | verification µs | CPU µs | busy cores | most by verification | bound by |"
    );
    println!("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | --- |");
    for row in medians {
        let Sample { per_second, cpu_us } = row.sample;
        println!(
            "| {} | {per_second:.0} | {} | {:.3} | {:.1} | {cpu_us:.0} | {:.2} | {:.0} | {} |",
            row.name,
            row.beside,
            row.ratio,
            row.verify_us,
            row.busy(),
            row.most(),
            row.bound()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_bound_by_what_takes_most_of_its_time() {
        let of = |verify_us, cpu_us, per_second| Medians {
            name: "ed25519",
            beside: HMAC,
            wanted: Wanted::Known,
            sample: Sample { per_second, cpu_us },
            ratio: 1.0,
            verify_us,
        };
        let cores = cores() as f64;
        assert_eq!(of(100.0, 150.0, 10.0).bound(), "verification");
        assert_eq!(of(10.0, 100.0, cores * 9_000.0).bound(), "the CPU, not verification");
        assert_eq!(of(10.0, 100.0, 1.0).bound(), "the disk, or the load generator");
        assert_eq!(of(100.0, 150.0, 10.0).most(), cores * 10_000.0);
    }
}
