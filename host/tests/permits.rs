//! Permits for attempts, which plugins share and one may hold for long.

use crate::hostile;
use crate::support::{Host, SOURCE, Site, guest, wait_for};

/// Plugins that sleep with all their permits: more of them than there are.
const SLEEPERS: usize = 40;

/// Attempts of each at once, by default.
const CONCURRENCY: usize = 16;

fn running(host: &Host, attempts: f64) {
    wait_for("the attempts to run", || {
        let metrics = host.api("/metrics");
        let of_each =
            metrics.as_str()?.lines().filter(|it| it.starts_with("hookbox_attempts_running{"));
        let all: f64 = of_each.filter_map(|it| it.rsplit_once(' ')?.1.parse::<f64>().ok()).sum();
        (all == attempts).then_some(())
    });
}

#[test]
fn a_neighbours_event_is_handled_while_forty_plugins_sleep_with_all_their_permits() {
    let sleep = hostile::file("sleep");
    let ok = guest("ok");
    let names: Vec<String> = (0..SLEEPERS).map(|number| format!("sleeper{number}.wat")).collect();
    let mut plugins: Vec<(&str, &[u8])> =
        names.iter().map(|name| (name.as_str(), sleep.as_slice())).collect();
    plugins.extend([("late.wat", sleep.as_slice()), ("good.wat", ok.as_slice())]);
    let mut config =
        format!("{SOURCE}[routes]\n\"good.one\" = \"good\"\n\"late.one\" = \"late\"\n");
    let sections: String = (0..SLEEPERS)
        .map(|number| format!("[plugins.sleeper{number}]\ntimeout = \"15m\"\n"))
        .collect();
    config += &(0..SLEEPERS)
        .map(|number| format!("\"sleep.{number}\" = \"sleeper{number}\"\n"))
        .collect::<String>();
    config += &sections;
    config += "[plugins.late]\ntimeout = \"15m\"\n";
    let site = Site::new(&config, &plugins);
    let host = Host::start(&site);
    for round in 0..CONCURRENCY {
        for number in 0..SLEEPERS {
            host.send(&format!("sleep.{number}"), format!("{number}_{round}"));
        }
    }
    // All but the two that are kept for plugins which run nothing.
    running(&host, 254.0);
    // The neighbour is served as often as it likes, and so is a plugin that comes late and sleeps
    // as well.
    for round in 0..20 {
        host.until_done(&host.send("good.one", format!("good_{round}")));
    }
    host.send("late.one", "late");
    running(&host, 255.0);
    host.until_done(&host.send("good.one", "last"));
    let stats = host.api("/api/v1/stats");
    assert_eq!(stats["deliveries"]["leased"], SLEEPERS * CONCURRENCY + 1, "{stats}");
    running(&host, 255.0);
    // They sleep on.
    host.kill();
}
