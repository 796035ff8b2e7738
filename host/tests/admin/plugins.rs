//! Plugins on the pages: what they did lately.

use std::time::Duration;

use hookbox::event::Outcome;
use hookbox::series::{Meter, OwnerKind};

use super::pages::good;
use super::site::site;
use crate::support::NOW_MS;

#[tokio::test]
async fn a_plugin_has_its_rate_its_share_and_its_hours() {
    let site = site();
    let text = good(&site, "/plugins").await;
    assert!(text.contains("<td class=\"n\">–</td>"), "nothing was measured: {text}");
    let meter = site.admin.series.meter(OwnerKind::Plugin, "audit");
    let count = |outcome: Outcome, n| meter.count(usize::from(outcome.code()), n);
    count(Outcome::Ok, 27);
    count(Outcome::Trap, 3);
    meter.count(Meter::DEAD, 2);
    (0..30).for_each(|_| meter.took(Duration::from_millis(8)));
    site.admin.series.sample(NOW_MS);
    let list = good(&site, "/plugins").await;
    for cell in ["<td class=\"n\">3</td><td class=\"n\">90.0 %</td>", "7.94 ms / 7.94 ms / 7.94 ms"]
    {
        assert!(list.contains(cell), "{cell} is not in {list}");
    }
    let recent = site.get("/api/v1/plugins/audit").await["recent"].clone();
    assert_eq!((&recent["attempts"], &recent["failed"]), (&30.into(), &3.into()), "{recent}");
    let page = good(&site, "/plugins/audit").await;
    for part in [
        "3, 30 attempts in 10 s",
        ">succeeded</th><th scope=\"col\" class=\"n\">trap</th>",
        "<td class=\"n\">27</td><td class=\"n\">3</td><td class=\"n\">2</td>",
        "There is no section <code>[plugins.audit]</code>",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    site.configure("[plugins.audit]\ntimeout = \"7s\"\nconfig = { key = \"s3cret\" }\n");
    let page = good(&site, "/plugins/audit").await;
    assert!(page.contains("<code>&#34;7s&#34;</code></td><td>line 3</td>"), "{page}");
    assert!(page.contains("set, not shown") && !page.contains("s3cret"), "{page}");
}
