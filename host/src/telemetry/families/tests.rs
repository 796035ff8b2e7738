//! The rules of the table, and that it is whole.

use super::*;

/// Histograms of something else than durations.
const SIZES: [&str; 2] = ["hookbox_attempt_memory_peak_bytes", "hookbox_store_batch_commands"];

#[test]
fn every_name_says_what_it_counts_and_in_which_unit() {
    let mut names: Vec<_> = FAMILIES.iter().map(|(name, ..)| *name).collect();
    for (name, kind, help) in FAMILIES {
        // The families of the process have the names that every Prometheus client gives them.
        assert!(name.starts_with("hookbox_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), kind == Counter, "{name}");
        let is_histogram = name.ends_with("_duration_seconds") || SIZES.contains(&name);
        assert_eq!(is_histogram, kind == Histogram, "{name}");
        assert!(!help.is_empty() && !help.ends_with('.'), "{name}: {help}");
    }
    assert!(names.is_sorted(), "{names:?}");
    names.dedup();
    assert_eq!(names.len(), FAMILIES.len());
}

#[test]
fn every_metric_of_the_source_is_a_family_and_every_family_is_measured() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = std::collections::BTreeSet::new();
    let mut folders = vec![source];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("families.rs") && !path.ends_with("families/tests.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for prefix in ["hookbox_", "process_"] {
                    let quoted = format!("\"{prefix}");
                    let names = text.split(&quoted).skip(1).map(|it| it.split('"').next().unwrap());
                    found.extend(names.map(|name| format!("{prefix}{name}")));
                }
            }
        }
    }
    // The name of a folder.
    found.remove("hookbox_bench");
    let families: std::collections::BTreeSet<_> =
        FAMILIES.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(found, families);
}

#[test]
fn a_series_belongs_to_the_family_of_its_name_or_of_its_histogram() {
    let family = |series: &str| of(series).map(|(name, ..)| *name);
    for part in ["_bucket", "_sum", "_count"] {
        let series = format!("hookbox_attempt_duration_seconds{part}");
        assert_eq!(family(&series), Some("hookbox_attempt_duration_seconds"));
        assert_eq!(family(&format!("hookbox_deliveries{part}")), None, "a gauge has no parts");
    }
    assert_eq!(family("hookbox_deliveries"), Some("hookbox_deliveries"));
    assert_eq!(family("unheard_of"), None);
}

#[test]
fn dashboard_and_alerts_name_families_that_exist() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards");
    let mut found = 0;
    for file in ["hookbox.json", "alerts.yml"] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        for rest in text.split("hookbox_").skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_');
            let name = format!("hookbox_{}", &rest[..end.unwrap_or(rest.len())]);
            let is_part = |part| name.strip_suffix(part).map(str::to_owned);
            let family = ["_bucket", "_count", "_sum"].into_iter().find_map(is_part);
            let family = family.unwrap_or_else(|| name.clone());
            assert!(FAMILIES.iter().any(|(known, ..)| **known == family), "{file}: {name}");
            found += 1;
        }
        if file.ends_with(".json") {
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }
    }
    assert!(found > 40, "{found}");
}
