//! Collectors that are slow, that refuse, or that are gone; and the end of a host.

use std::net::TcpListener;

use super::{Called, chain, post};
use crate::support::{
    Answers, Collector, Host, Site, agent, body, guest, post as post_to, wait_for,
};

/// Events that fill the queue of spans, four of each: one is more than fits beside the batch that
/// is under way.
const EVENTS: usize = 1_300;

/// Sends events and waits until all are handled.
fn handle(host: &Host, count: usize) {
    let to = host.public;
    let sends = |part: usize| {
        move || {
            let agent = agent();
            for number in 0..count.div_ceil(4) {
                let (status, reply) =
                    post_to(&agent, to, &body("step.one", format!("{part}_{number}"))).unwrap();
                assert_eq!(status, 200, "{reply}");
            }
        }
    };
    let threads: Vec<_> = (0..4).map(|part| std::thread::spawn(sends(part))).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let stats = host.settled();
    assert_eq!(stats["deliveries"]["done"], count.div_ceil(4) * 4, "{stats}");
}

fn dropped(host: &Host) -> Option<f64> {
    host.metric("hookbox_spans_dropped_total").filter(|count| *count > 0.0)
}

#[test]
fn a_collector_that_never_answers_costs_spans_and_no_event() {
    let collector = Collector::start(Answers::Never);
    let site = Site::of_worker(&guest("ok"), &collector.section(""));
    let host = Host::start(&site);
    handle(&host, EVENTS);
    wait_for("spans that are dropped", || dropped(&host));
    assert!(collector.requests() > 0);
    host.stop();
}

#[test]
fn what_a_collector_refuses_is_counted_and_said_once() {
    for (answers, count) in [(Answers::Status(400), 12.0), (Answers::But(3), 3.0)] {
        let collector = Collector::start(answers);
        let site = Site::of_worker(&guest("ok"), &collector.section(""));
        let host = Host::start(&site);
        handle(&host, 3 * 4);
        wait_for("spans that are dropped", || dropped(&host).filter(|dropped| *dropped >= count));
        let says = "the collector of `telemetry.otlp` does not take what is sent";
        let of_spans = |line: &&str| line.contains(says) && line.contains("signal=\"traces\"");
        let log = site.log();
        let said = log.lines().filter(of_spans).count();
        assert_eq!(said, usize::from(answers == Answers::Status(400)), "{log}");
        host.stop();
    }
}

#[test]
fn a_collector_that_is_gone_is_said_and_holds_nothing_up() {
    // A port that nobody listens on.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let section = format!("[telemetry]\notlp = \"http://{address}\"\n");
    let site = Site::of_worker(&guest("ok"), &section);
    let host = Host::start(&site);
    handle(&host, 8);
    wait_for("the line", || {
        let says = format!("collector=http://{address}/v1/traces");
        site.log().lines().any(|line| line.contains(&says)).then_some(())
    });
    host.stop();
    assert!(site.log().contains("stopped"));
}

#[test]
fn a_host_that_stops_sends_what_waits() {
    let (collector, called) = (Collector::start(Answers::Ok), Called::start());
    let site = chain(&called, &collector.section(""), "", "");
    let host = Host::start(&site);
    post(&host, &called.body(), None);
    host.settled();
    host.stop();
    let names: Vec<_> = collector.spans().into_iter().map(|span| span.name).collect();
    assert!(names.contains(&"process plugins/echo".to_owned()), "{names:?}");
    let lines = collector.logs();
    let has = |text: &str| lines.iter().any(|(_, line)| format!("{:?}", line.body).contains(text));
    assert!(has("\"stopped\""), "{lines:?}");
}
