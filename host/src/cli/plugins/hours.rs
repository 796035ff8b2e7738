//! The attempts of a plugin in each hour of a day, and its configuration, by the words of the API.

use serde_json::Value;

use crate::cli::client::AdminClient;
use crate::cli::config_shown;
use crate::cli::listing::elements;
use crate::cli::output::Printout;
use crate::clock::rfc3339;
use crate::event::Outcome;
use crate::text::duration;

const HOUR_S: i64 = 3_600;

/// The curves of a plugin, in steps of a part of an hour.
struct HourlyCurves<'a> {
    history: &'a Value,
    /// Steps of an hour.
    by_hour: usize,
}

impl HourlyCurves<'_> {
    fn steps(&self, name: &str, hour: usize) -> impl Iterator<Item = f64> {
        let steps = elements(&self.history["series"][name]).iter();
        steps.skip(hour * self.by_hour).take(self.by_hour).filter_map(Value::as_f64)
    }

    fn count(&self, name: &str, hour: usize) -> u64 {
        self.steps(name, hour).sum::<f64>() as u64
    }
}

/// Adds the hours of a plugin and its configuration, or a remark that they are not known.
pub(super) fn hours(out: &mut Printout, client: &AdminClient, plugin: &str) {
    let curves = [("window", Some("24h")), ("plugin", Some(plugin))];
    match client.get("/api/v1/stats/history", &curves) {
        Ok(history) => by_hour(out, &history),
        Err(error) => out.remark(format!("the attempts by hour are not known: {error}")),
    }
    match client.get("/api/v1/config", &[]) {
        Ok(config) => configuration(out, &config, plugin),
        Err(error) => out.remark(format!("the configuration is not known: {error}")),
    }
}

/// Adds the hours in which anything ran, the newest first: the attempts by outcome.
fn by_hour(out: &mut Printout, history: &Value) {
    let from = history["from"].as_str().and_then(|from| from.parse::<jiff::Timestamp>().ok());
    let (Some(from), Some(step_s)) = (from, history["step_s"].as_i64()) else { return };
    let by_hour = usize::try_from(HOUR_S / step_s.max(1)).unwrap_or(1).max(1);
    let curves = HourlyCurves { history, by_hour };
    let hours = elements(&history["series"]["dead"]).len() / by_hour;
    let occurred = |name: &&str| (0..hours).any(|hour| curves.count(name, hour) > 0);
    let outcomes = Outcome::ALL.map(Outcome::name);
    let names: Vec<&str> = outcomes.into_iter().chain(["dead"]).filter(occurred).collect();
    out.line("");
    if names.is_empty() {
        out.line("no attempt in the last 24 hours");
        return;
    }
    let row = |hour: usize| {
        let since_ms = hour as i64 * HOUR_S * 1_000;
        let mut cells = vec![rfc3339(from.as_millisecond() + since_ms)];
        cells.extend(names.iter().map(|name| curves.count(name, hour).to_string()));
        let slowest = curves.steps("handler_p95_ms", hour).reduce(f64::max);
        cells.push(slowest.map_or_else(|| "-".to_owned(), duration));
        cells
    };
    let mut head = vec!["HOUR FROM".to_owned()];
    head.extend(names.iter().map(|name| match *name {
        "ok" => "SUCCEEDED".to_owned(),
        name => name.to_uppercase(),
    }));
    head.push("P95".to_owned());
    let ran = |hour: &usize| names.iter().any(|name| curves.count(name, *hour) > 0);
    let rows = (0..hours).rev().filter(ran).map(row);
    out.table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
}

/// Adds the keys of its section that are in force.
fn configuration(out: &mut Printout, config: &Value, plugin: &str) {
    let section = format!("plugins.{plugin}");
    let is_its = |key: &&Value| {
        let key = key["key"].as_str().and_then(|key| key.strip_prefix(&section));
        key.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let keys: Vec<&Value> = elements(&config["keys"]).iter().filter(is_its).collect();
    if !keys.is_empty() {
        out.line("");
        config_shown::table(out, keys);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_hour_has_the_sums_of_its_steps_and_its_slowest_one() {
        let history = json!({
            "from": "2026-11-30T10:00:00.000Z",
            "step_s": 1_800,
            "series": {
                "ok": [1, 2, null, 0, 4, 0],
                "retry": [0, 0, 0, 0, 0, 3],
                "trap": [0, 0, 0, 0, 0, 0],
                "dead": [0, 0, 0, 0, 0, 1],
                "handler_p95_ms": [1.0, 7.5, null, null, 3.0, 65_000.0],
            },
        });
        let mut out = Printout::new();
        by_hour(&mut out, &history);
        let lines: Vec<Vec<&str>> =
            out.text().lines().map(|line| line.split_whitespace().collect()).collect();
        let expected = [
            vec![],
            vec!["HOUR", "FROM", "SUCCEEDED", "RETRY", "DEAD", "P95"],
            vec!["2026-11-30T12:00:00.000Z", "4", "3", "1", "65", "s"],
            vec!["2026-11-30T10:00:00.000Z", "3", "0", "0", "7.50", "ms"],
        ];
        assert_eq!(lines, expected, "nothing ran at eleven");
        let mut out = Printout::new();
        by_hour(&mut out, &json!({ "error": "an older host" }));
        assert_eq!(out.text(), "");
    }

    #[test]
    fn the_configuration_is_that_of_its_own_section() {
        let key = |key: &str| json!({ "key": key, "value": "\"3s\"", "line": 7 });
        let keys = ["plugins.a.timeout", "plugins.ab.timeout"].map(key);
        let config = json!({ "keys": keys });
        let mut out = Printout::new();
        configuration(&mut out, &config, "a");
        let lines: Vec<&str> = out.text().lines().skip(2).collect();
        assert_eq!(lines, ["plugins.a.timeout  \"3s\"   line 7"]);
    }
}
