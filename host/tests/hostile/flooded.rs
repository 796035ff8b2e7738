//! Guests that record without end, in a whole host: their neighbour goes on, and they fill the
//! store no further than they may.

use rusqlite::Connection;

use crate::support::{Host, SOURCE, Site, guest};

/// Events for each of the hostile guests.
const EVENTS: usize = 4;

/// The most that a delivery may record, in bytes, as `docs/workflows.md` says.
const MAX_STEPS_BYTES: usize = 1 << 20;

/// The log of the store, and the room that is free in it.
const MAX_ELSE_BYTES: u64 = 24 << 20;

const SECTIONS: &str = r#"
[routes]
"step.flood" = "flood"
"step.trap" = "trap"
"step.good" = "good"

[plugins.flood]
max_again = 4
breaker = false

[plugins.trap]
retry = { max_attempts = 3, initial = "1ms", max = "1ms" }
breaker = false
"#;

/// Steps of all deliveries that are stored, and their bytes.
fn stored(site: &Site) -> (usize, usize) {
    let store = Connection::open(site.path("data/hookbox.db")).unwrap();
    let sql = "SELECT count(*), coalesce(sum(length(value)), 0) FROM steps";
    store.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

fn bytes_on_disk(site: &Site) -> u64 {
    let files = std::fs::read_dir(site.path("data")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn a_guest_that_records_without_end_fills_no_store_and_stops_no_neighbour() {
    let (flood, trap) = (super::file("record-flood"), super::file("record-trap"));
    let plugins: [(&str, &[u8]); 3] =
        [("flood.wat", &flood), ("trap.wat", &trap), ("good.wat", &guest("ok"))];
    let site = Site::new(&format!("{SOURCE}{SECTIONS}"), &plugins);
    let host = Host::start(&site);
    for plugin in ["flood", "trap"] {
        assert_eq!(host.plugin(plugin)["state"], "loaded");
    }
    let mut served = 0;
    for number in 0..EVENTS {
        host.send("step.flood", format!("flood_{number}"));
        host.send("step.trap", format!("trap_{number}"));
    }
    while host.api("/api/v1/stats")["deliveries"]["dead"] != 2 * EVENTS {
        let good = host.send("step.good", format!("good_{served}"));
        host.until_done(&good);
        let (steps, bytes) = stored(&site);
        let most = 2 * EVENTS * MAX_STEPS_BYTES;
        assert!(bytes <= most, "{steps} steps of {bytes} bytes, beyond {most}");
        served += 1;
    }
    assert!(served > 2, "the neighbour was served all the while: {served}");
    ends_as_documented(&host);
    let most = (2 * EVENTS * MAX_STEPS_BYTES) as u64 + MAX_ELSE_BYTES;
    assert!(bytes_on_disk(&site) <= most, "{} bytes, beyond {most}", bytes_on_disk(&site));
    // A retry goes on with what is there, and adds nothing.
    let before = stored(&site);
    assert_eq!(before, (2 * EVENTS * 4, 2 * EVENTS * MAX_STEPS_BYTES));
    host.api_status("POST", "/api/v1/deliveries/retry?state=dead", None);
    host.settled();
    assert_eq!(stored(&site), before);
    host.stop();
}

/// The dead letters say what the documentation says.
fn ends_as_documented(host: &Host) {
    for (plugin, outcome, says, attempts) in
        [("flood", "error", "`max_again`", 5), ("trap", "trap", "`unreachable`", 3)]
    {
        let page = host.api(&format!("/api/v1/deliveries?plugin={plugin}"));
        for delivery in page["items"].as_array().unwrap() {
            let last = delivery["attempts"].as_array().unwrap().last().unwrap().clone();
            let error = last["error"].as_str().unwrap();
            assert!(last["outcome"] == outcome && error.contains(says), "{delivery}");
            assert_eq!(delivery["attempt"], attempts, "{delivery}");
        }
    }
}
