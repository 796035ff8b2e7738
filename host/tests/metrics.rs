//! The metrics of a host: each has a help and a type, they follow what the host does, and those of
//! what is gone are gone.

use std::collections::BTreeSet;

use crate::support::{Host, SOURCE, Site, guest, resident_kib, wait_for};

/// A host whose plugins emit, fail and write keys.
fn busy() -> (Site, Host) {
    let config = format!(
        "{SOURCE}[routes]\n\"step.one\" = [\"emitter\", \"failing\", \"counter\"]\n\
         [plugins.failing]\nretry = {{ max_attempts = 1 }}\n"
    );
    let plugins = [("emitter.wat", "emit"), ("failing.wat", "reject"), ("counter.wat", "kv")];
    let files = plugins.map(|(file, name)| (file, guest(name)));
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, it)| (*name, &it[..])).collect();
    let site = Site::new(&config, &files);
    let host = Host::start(&site);
    host.send("step.one", 1);
    host.settled();
    (site, host)
}

/// The metrics of a host.
fn text(host: &Host) -> String {
    host.api("/metrics").as_str().unwrap().to_owned()
}

/// The lines of a family, without its name.
fn lines<'t>(text: &'t str, family: &str) -> Vec<&'t str> {
    text.lines().filter_map(|line| line.strip_prefix(family)).collect()
}

#[test]
fn each_family_stands_once_with_its_help_and_its_type_in_the_order_of_names() {
    let (_site, host) = busy();
    let text = text(&host);
    let told = |kind: &str| -> Vec<&str> {
        lines(&text, kind).into_iter().map(|line| line.split(' ').next().unwrap()).collect()
    };
    let (helps, types) = (told("# HELP "), told("# TYPE "));
    assert_eq!(helps, types);
    assert!(types.is_sorted() && types.iter().collect::<BTreeSet<_>>().len() == types.len());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let of = |family: &&str| {
            name == *family
                || ["_bucket", "_sum", "_count"].iter().any(|it| name == format!("{family}{it}"))
        };
        assert!(types.iter().any(of), "{line}");
    }
    // Metrics that begin with the first failure or the first reload are not there yet.
    for name in [
        "hookbox_admin_requests_total",
        "hookbox_attempt_cpu_seconds_total",
        "hookbox_attempt_memory_peak_bytes",
        "hookbox_attempts_running",
        "hookbox_delivery_wait_duration_seconds",
        "hookbox_emitted_events_total",
        "hookbox_ingest_requests_in_flight",
        "hookbox_kv_bytes",
        "hookbox_plugin_compile_duration_seconds",
        "hookbox_plugin_info",
        "hookbox_plugin_state",
        "hookbox_store_batch_commands",
        "hookbox_store_sync_duration_seconds",
        "process_cpu_seconds_total",
        "process_max_fds",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
    ] {
        assert!(types.contains(&name), "{name}: {text}");
    }
    assert!(lines(&text, "# TYPE hookbox_attempt_cpu_seconds_total").contains(&" counter"));
    assert!(lines(&text, "# TYPE process_cpu_seconds_total").contains(&" counter"));
}

#[test]
fn metrics_follow_what_the_host_does() {
    let (_site, host) = busy();
    let value = |name: &str| host.metric(name).unwrap_or_else(|| panic!("{name}: {}", text(&host)));
    assert_eq!(value("hookbox_emitted_events_total{plugin=\"emitter\"}"), 1.0);
    assert_eq!(value("hookbox_delivery_wait_duration_seconds_count{plugin=\"counter\"}"), 1.0);
    assert_eq!(value("hookbox_attempt_memory_peak_bytes_count{plugin=\"failing\"}"), 1.0);
    assert!(value("hookbox_attempt_memory_peak_bytes_sum{plugin=\"emitter\"}") >= 131_072.0);
    assert!(value("hookbox_attempt_cpu_seconds_total{plugin=\"counter\"}") > 0.0);
    assert!(value("hookbox_kv_bytes{plugin=\"counter\"}") > 0.0);
    assert_eq!(value("hookbox_attempts_running{plugin=\"counter\"}"), 0.0);
    assert_eq!(value("hookbox_ingest_requests_in_flight"), 0.0);
    assert_eq!(value("hookbox_admin_streams"), 0.0);
    assert_eq!(value("hookbox_plugin_state{plugin=\"counter\",state=\"loaded\"}"), 1.0);
    assert_eq!(value("hookbox_plugin_state{plugin=\"counter\",state=\"held\"}"), 0.0);
    assert_eq!(value("hookbox_deliveries{plugin=\"failing\",state=\"dead\"}"), 1.0);
    let digest = host.plugin("counter")["digest"].as_str().unwrap().to_owned();
    let contract = host.plugin("counter")["contract"].as_str().unwrap().to_owned();
    let labels = format!("plugin=\"counter\",contract=\"{contract}\",digest=\"{digest}\"");
    assert_eq!(value(&format!("hookbox_plugin_info{{{labels}}}")), 1.0);
    assert_eq!(value("hookbox_plugin_compile_duration_seconds_count{from=\"now\"}"), 3.0);
    let batches = value("hookbox_store_batch_commands_count");
    assert_eq!(value("hookbox_store_sync_duration_seconds_count"), batches);
    assert!(value("hookbox_store_batch_commands_sum") >= batches);
    assert!(value("process_cpu_seconds_total") > 0.0);
    let open = value("process_open_fds");
    assert!(open > 5.0 && open <= value("process_max_fds"));
    let resident = value("process_resident_memory_bytes") / 1024.0;
    assert!((resident / resident_kib(host.pid()) as f64 - 1.0).abs() < 0.5, "{resident}");
    let asked = "hookbox_admin_requests_total{route=\"/api/v1/plugins/{name}\",code=\"200\"}";
    assert!(value(asked) >= 2.0);
    host.api_status("GET", "/api/v1/plugins/nobody", None);
    host.api_status("GET", "/nowhere/at/all", None);
    let asked = "hookbox_admin_requests_total{route=\"/api/v1/plugins/{name}\",code=\"404\"}";
    assert_eq!(value(asked), 1.0);
    assert_eq!(value("hookbox_admin_requests_total{route=\"none\",code=\"404\"}"), 1.0);
}

#[test]
fn a_delivery_that_is_due_and_not_begun_has_a_time_since_when() {
    let site = Site::of_worker(&guest("ok"), "");
    let host = Host::start(&site);
    let oldest = "hookbox_oldest_ready_timestamp_seconds{plugin=\"worker\"}";
    assert_eq!(host.metric(oldest), None);
    let pause = serde_json::json!({ "reason": "a test" });
    assert_eq!(host.api_status("POST", "/api/v1/plugins/worker/pause", Some(pause)).0, 200);
    host.send("step.one", 1);
    let since = host.metric(oldest).unwrap();
    let started = host.metric("process_start_time_seconds").unwrap();
    assert!(since > started && since < started + 3_600.0, "{since} {started}");
    assert_eq!(host.api_status("POST", "/api/v1/plugins/worker/resume", None).0, 200);
    host.settled();
    assert_eq!(host.metric(oldest), None);
}

#[test]
fn series_of_a_plugin_and_a_source_that_are_gone_go_with_them() {
    let other = SOURCE.replace("[sources.test]", "[sources.other]");
    let config = |rest: &str| format!("{SOURCE}{rest}[routes]\n\"step.*\" = \"worker\"\n");
    let routed = config(&other).replace("\"worker\"", "[\"worker\", \"leaving\"]");
    let ok = guest("ok");
    let site = Site::new(&routed, &[("worker.wat", &ok), ("leaving.wat", &ok)]);
    let host = Host::start(&site);
    host.send("step.one", 1);
    host.settled();
    let before = text(&host);
    for of in ["plugin=\"leaving\"", "source=\"other\""] {
        assert!(before.lines().filter(|line| line.contains(of)).count() > 1, "{of}: {before}");
    }
    site.put_config(&config(""));
    std::fs::remove_file(site.path("plugins/leaving.wat")).unwrap();
    wait_for("the series to be gone", || {
        let now = text(&host);
        (!now.contains("\"leaving\"") && !now.contains("\"other\"")).then_some(())
    });
    assert!(text(&host).contains("plugin=\"worker\""));
}
