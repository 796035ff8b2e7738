//! The text that Prometheus reads, in its exposition format.
//!
//! The recorder renders the series. Here they are put in order below the help and the type of the
//! table, which is why a gauge of the recorder may be a counter with a fraction. Series of plugins,
//! sources and schedules that are gone are left out.

use std::collections::BTreeMap;

use super::families::{self, FamilyKind};

/// The labels whose values may go, because they name what a configuration or a folder has.
const OWNERS: [&str; 3] = ["plugin", "source", "schedule"];

/// Renders the series of some texts as one; `is_known` tells by label and value what there is.
pub(super) fn render(texts: &[String], is_known: &dyn Fn(&str, &str) -> bool) -> String {
    let mut found: BTreeMap<&str, (Option<FamilyKind>, &str, Vec<&str>)> = BTreeMap::new();
    let lines = texts.iter().flat_map(|text| text.lines());
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let series = line.split(['{', ' ']).next().unwrap_or(line);
        let is_of_one_that_is_gone = OWNERS
            .iter()
            .any(|label| value(line, label).is_some_and(|owner| !is_known(label, owner)));
        if is_of_one_that_is_gone {
            continue;
        }
        let (name, kind, help) = match families::of(series) {
            Some((name, kind, help)) => (*name, Some(*kind), *help),
            None => (series, None, ""),
        };
        found.entry(name).or_insert((kind, help, Vec::new())).2.push(line);
    }
    let mut text = String::new();
    for (name, (kind, help, lines)) in found {
        if let Some(kind) = kind {
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.name()));
        }
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// The value of a label in the line of a series. Names of owners have no character that is escaped.
fn value<'l>(line: &'l str, label: &str) -> Option<&'l str> {
    let labels = line.split_once('{')?.1;
    let mut rest = labels;
    loop {
        let at = rest.find(label)?;
        let (before, after) =
            (&labels[..labels.len() - rest.len() + at], &rest[at + label.len()..]);
        let begins = before.is_empty() || before.ends_with(',');
        if begins && let Some(value) = after.strip_prefix("=\"") {
            return value.split('"').next();
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: &str = "
# HELP of the recorder
hookbox_settlements_total{plugin=\"audit\",result=\"kept\"} 2
hookbox_settlements_total{plugin=\"gone\",result=\"kept\"} 1

hookbox_attempt_duration_seconds_bucket{plugin=\"audit\",le=\"+Inf\"} 2
hookbox_attempt_duration_seconds_bucket{plugin=\"gone\",le=\"+Inf\"} 2
hookbox_attempt_duration_seconds_count{plugin=\"audit\"} 2
hookbox_ingest_signatures_total{source=\"acme\",key=\"0\"} 2
hookbox_ingest_signatures_total{source=\"left\",key=\"0\"} 2
";
    const OF_NOW: &str = "
# TYPE hookbox_attempt_cpu_seconds_total gauge
hookbox_attempt_cpu_seconds_total{plugin=\"audit\"} 0.25
hookbox_store_events 7
";

    #[test]
    fn series_stand_below_their_help_in_the_order_of_names() {
        let without = |line| str::trim_start_matches(line, "hookbox").trim_start_matches('_');
        let there = |_: &str, owner: &str| !["gone", "left"].contains(&owner);
        let text = render(&[RECORDED.to_owned(), OF_NOW.to_owned()], &there);
        let lines: Vec<_> = text.lines().map(without).collect();
        let help = |name: &str| {
            let (_, _, help) = families::of(name).unwrap();
            format!("# HELP {name} {help}")
        };
        let cpu = ["hookbox", "attempt_cpu_seconds_total"].join("_");
        assert_eq!(lines[0], help(&cpu));
        assert_eq!(lines[1], format!("# TYPE {cpu} counter"), "the table says what it is");
        assert_eq!(lines[2], "attempt_cpu_seconds_total{plugin=\"audit\"} 0.25");
        assert!(lines[4].ends_with("attempt_duration_seconds histogram"), "{text}");
        assert_eq!(lines[5], "attempt_duration_seconds_bucket{plugin=\"audit\",le=\"+Inf\"} 2");
        assert_eq!(lines[6], "attempt_duration_seconds_count{plugin=\"audit\"} 2");
        assert_eq!(lines.last(), Some(&"store_events 7"));
        assert!(!text.contains("gone") && !text.contains("left"), "{text}");
        assert_eq!(lines.len(), 5 * 2 + 6, "{text}");
    }

    #[test]
    fn a_label_is_found_by_its_whole_name() {
        let line = "x{last_source=\"a\",source=\"b\",resource=\"c\"} 1";
        assert_eq!(value(line, "source"), Some("b"));
        assert_eq!(value("x{resource=\"c\"} 1", "source"), None);
        assert_eq!(value("x 1", "source"), None);
        assert_eq!(value("x{le=\"source\"} 1", "source"), None);
    }
}
