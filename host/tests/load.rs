//! The road under load: plugins replaced while events flow, hostile plugins beside a good one, ten
//! thousand at once.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::hostile;
use crate::support::{
    Host, SOURCE, Senders, Site, agent, body, guest, provide, resident_kib, sign, wait_for,
};

/// A digest of the file that `worker` runs, as the API says it.
fn digest(host: &Host) -> String {
    host.plugin("worker")["digest"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_plugin_replaced_under_load_loses_nothing_and_garbage_changes_nothing() {
    let first = guest("ok");
    let second = [&first[..], b"\n;; another edition\n"].concat();
    let site = Site::of_worker(&first, "");
    let host = Host::start(&site);
    let senders = Senders::start(&host, 2);
    senders.after(100);
    let old = digest(&host);
    site.put_plugin("worker.wat", &second);
    let new = wait_for("the new digest", || Some(digest(&host)).filter(|digest| *digest != old));
    senders.after(100);
    site.put_plugin("worker.wat", b"(component garbage");
    let stale = host.until_plugin("worker", "stale");
    assert_eq!(stale["digest"].as_str(), Some(new.as_str()), "{stale}");
    assert!(stale["error"].as_str().is_some_and(|error| !error.is_empty()), "{stale}");
    senders.after(100);
    let total = senders.stop();
    let stats = host.settled();
    assert_eq!(stats["events"], total, "{stats}");
    assert_eq!(stats["deliveries"]["done"], total, "{stats}");
    let digests = newest_digests(&host, 100);
    assert_eq!(digests, HashSet::from([new]), "later events carry the new digest");
}

fn newest_digests(host: &Host, count: usize) -> HashSet<String> {
    let page = host.api(&format!("/api/v1/deliveries?limit={count}"));
    let items = page["items"].as_array().unwrap();
    assert_eq!(items.len(), count);
    items
        .iter()
        .map(|delivery| delivery["attempts"][0]["plugin_digest"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_removed_plugins_deliveries_wait_visibly_and_spend_no_attempt() {
    let site = Site::of_worker(&guest("ok"), "");
    let host = Host::start(&site);
    std::fs::remove_file(site.path("plugins/worker.wat")).unwrap();
    host.until_plugin("worker", "missing");
    let id = host.send("step.one", "later");
    let event = wait_for("the delivery to wait", || {
        let event = host.event(&id);
        (event["deliveries"][0]["state"] == "ready").then_some(event)
    });
    assert_eq!(event["deliveries"][0]["attempts"].as_array().unwrap().len(), 0, "{event}");
    site.put_plugin("worker.wat", &guest("ok"));
    host.settled();
    let event = host.event(&id);
    assert_eq!(event["deliveries"][0]["state"], "done", "{event}");
    assert_eq!(event["deliveries"][0]["attempts"][0]["number"], 1, "{event}");
}

#[test]
fn hostile_plugins_end_as_their_own_outcome_and_a_good_one_goes_on() {
    // The flood has time to drown in its own lines; the others are cut off by what they run into.
    let hostile = [
        ("loops", "loop", "timeout", "20s"),
        ("traps", "trap", "trap", "10s"),
        ("grows", "memory", "memory", "10s"),
        ("floods", "flood", "ok", "60s"),
    ];
    let mut config = format!("{SOURCE}[routes]\n\"good.one\" = \"good\"\n");
    let mut plugins = vec![("good.wat".to_owned(), guest("ok"))];
    let mut sections = String::new();
    for (name, guest, _, timeout) in hostile {
        config.push_str(&format!("\"hostile.{name}\" = \"{name}\"\n"));
        sections.push_str(&format!(
            "[plugins.{name}]\ntimeout = \"{timeout}\"\nmemory = \"8MiB\"\nconcurrency = 5\nretry = {{ max_attempts = 1 }}\n"
        ));
        plugins.push((format!("{name}.wat"), hostile::file(guest)));
    }
    config.push_str(&sections);
    let plugins: Vec<(&str, &[u8])> =
        plugins.iter().map(|(name, file)| (name.as_str(), file.as_slice())).collect();
    let site = Site::new(&config, &plugins);
    let host = Host::start(&site);
    for round in 0..5 {
        for (name, ..) in hostile {
            host.send(&format!("hostile.{name}"), format!("{name}_{round}"));
        }
        host.until_done(&host.send("good.one", format!("good_{round}")));
    }
    // All the good ones are done, and the loops are still spinning: nothing waited for a timeout to
    // pass.
    let stats = host.api("/api/v1/stats");
    assert_eq!(stats["plugins"]["loops"]["leased"], 5, "{stats}");
    host.settled();
    for (name, _, outcome, _) in hostile {
        let page = host.api(&format!("/api/v1/deliveries?plugin={name}"));
        let items = page["items"].as_array().unwrap();
        assert_eq!(items.len(), 5, "{page}");
        for delivery in items {
            let attempt = &delivery["attempts"][0];
            assert_eq!(attempt["outcome"], outcome, "{name}: {}", attempt["error"]);
            let logs = attempt["logs"].to_string();
            assert!(logs.len() < 200_000, "{name} logged {} bytes", logs.len());
        }
    }
    assert_eq!(host.api("/readyz")["status"], "ready");
}

#[test]
fn ten_thousand_events_end_done_and_the_host_then_rests() {
    const EVENTS: usize = 10_000;
    let site = Site::of_worker(&guest("ok"), "");
    let host = Host::start(&site);
    let mut memory_kib = Vec::new();
    for round in 0..3 {
        send_all(&host, round, EVENTS);
        let stats = host.settled();
        let total = ((round + 1) * EVENTS) as u64;
        assert_eq!(stats["events"], total, "{stats}");
        assert_eq!(stats["deliveries"]["done"], total, "{stats}");
        memory_kib.push(resident_kib(host.pid()));
    }
    // The first round warms up pools and caches; after it, nothing may pile up.
    let (warm, last) = (memory_kib[0], memory_kib[2]);
    assert!(last < warm + warm / 4 + 16 * 1024, "memory grows: {memory_kib:?} KiB");
    // Idle: the CPU time of two seconds, in clock ticks of 10 ms.
    let (before, from) = (cpu_ticks(host.pid()), Instant::now());
    wait_for("two idle seconds", || (from.elapsed() > Duration::from_secs(2)).then_some(()));
    let ticks = cpu_ticks(host.pid()) - before;
    assert!(ticks <= 10, "an idle host used {ticks} ticks of 10 ms in two seconds");
    println!("resident after each round: {memory_kib:?} KiB; {ticks} ticks in two idle seconds");
}

fn send_all(host: &Host, round: usize, events: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let senders: Vec<_> = (0..16)
        .map(|_| {
            let (next, to) = (next.clone(), host.public);
            std::thread::spawn(move || {
                let agent = agent();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= events {
                        return;
                    }
                    provide(&agent, to, &body("step.one", format!("r{round}_{index}")));
                }
            })
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join().unwrap());
}

/// CPU time of a process, user and system.
fn cpu_ticks(pid: u32) -> u64 {
    let stat =
        std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    [11, 12].iter().map(|index| fields[*index].parse::<u64>().unwrap()).sum()
}

#[test]
fn attempts_that_read_and_write_one_key_take_turns_instead_of_running_in_vain() {
    const EVENTS: usize = 400;
    let site = Site::of_worker(&guest("kv"), "");
    let host = Host::start(&site);
    send_all(&host, 0, EVENTS);
    let stats = host.settled();
    assert_eq!(stats["deliveries"]["done"], EVENTS, "{stats}");
    let metrics = host.api("/metrics").as_str().unwrap().to_owned();
    let sum = |name: &str| -> f64 {
        let lines = metrics.lines().filter(|line| line.starts_with(name));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    };
    let (runs, conflicts) = (
        sum("hookbox_attempts_total"),
        sum("hookbox_settlements_total{plugin=\"worker\",result=\"conflict\"}"),
    );
    assert!(conflicts > 0.0, "nothing was contended, so nothing was shown");
    assert!(
        runs < 3.0 * EVENTS as f64,
        "{runs} runs and {conflicts} conflicts for {EVENTS} events"
    );
}

#[test]
fn bad_input_in_quantity_is_refused_and_leaves_memory_and_store_as_they_were() {
    const ROUNDS: usize = 8;
    const EACH: usize = 100;
    let site = Site::of_worker(&guest("ok"), "");
    let host = Host::start(&site);
    let large = vec![b'x'; 512 * 1024];
    let oversized = vec![b'x'; 2 << 20];
    let deep = vec![b'['; 100_000];
    let good = sign(b"{}");
    // Path, signature, body, status.
    let cases: [(&str, Option<&str>, &[u8], u16); 8] = [
        ("/webhook/nobody", Some(&good), b"{}", 404),
        ("/webhook/test", None, &large, 401),
        ("/webhook/test", Some("abc"), b"{}", 401),
        ("/webhook/test", Some(&good), &large, 401),
        ("/webhook/test", Some(&good), &deep, 401),
        ("/webhook/test", Some(&good), b"\xff\xfe\x00", 401),
        ("/webhook/test", Some(&good), b"", 401),
        ("/webhook/test", Some(&good), &oversized, 413),
    ];
    let mut memory_kib = Vec::new();
    for _ in 0..ROUNDS {
        for (path, signature, body, expected) in cases {
            let agent = agent();
            for _ in 0..EACH {
                let request = agent.post(format!("http://{}{path}", host.public));
                let request = match signature {
                    Some(signature) => request.header("x-signature", signature),
                    None => request,
                };
                match request.send(body) {
                    Ok(response) => assert_eq!(
                        response.status().as_u16(),
                        expected,
                        "{path}, {} bytes",
                        body.len()
                    ),
                    // A client that is still sending may only see that the connection was closed on
                    // it.
                    Err(error) => assert_eq!(expected, 413, "{path}: {error}"),
                }
            }
        }
        memory_kib.push(resident_kib(host.pid()));
    }
    assert_eq!(host.api("/api/v1/stats")["events"], 0);
    // Kept bodies would be 100 MiB a round; what an allocator keeps for itself is far less.
    let (warm, last) = (memory_kib[0], memory_kib[ROUNDS - 1]);
    assert!(last < warm + warm / 2, "memory grows: {memory_kib:?} KiB");
    println!(
        "resident after each round of {} bad requests: {memory_kib:?} KiB",
        EACH * cases.len()
    );
}
