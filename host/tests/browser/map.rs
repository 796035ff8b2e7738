//! The map while events flow.

use super::driver::Browser;
use crate::support::{Host, SOURCE, Site, guest, wait_for};

/// The worker gets its own echo, which takes a line that names it; the sink rejects it.
const ROUTES: &str = r#"
[routes]
"step.one" = "worker"
"plugins/worker:guest.echoed" = ["worker", "sink"]
"never.*" = "sink"
"#;

/// The edges of the drawing, or the rows of the table: the ends of each, sorted.
const DRAWN: &str = "[...document.querySelectorAll('#map svg.map a:has(.e) > title')]
    .map((it) => it.textContent.replace(/, (received|routed|emitted).*/, ''))
    .concat([...document.querySelectorAll('#map svg.map text.beside')]
      .filter((it) => it.textContent === 'no route').map(() => 'no route')).sort()";
const LISTED: &str = "[...document.querySelectorAll('#map tbody tr')]
    .map((it) => it.children[1].innerText.includes('no route') ? 'no route'
      : `${it.children[0].innerText} → ${it.children[1].innerText}`).sort()";

#[test]
fn an_edge_turns_red_a_cycle_and_an_unrouted_type_are_drawn_and_the_table_has_the_same() {
    let plugins = [("worker.wat", &guest("emit")[..]), ("sink.wat", &guest("reject"))];
    let site = Site::new(&format!("{SOURCE}{ROUTES}"), &plugins);
    let host = Host::start(&site);
    let browser = Browser::on(&host);
    browser.open("/map");
    browser.until_text("hb-live", "live ◉");
    assert_eq!(browser.count("#map svg.map .e-bad"), 0);
    // Whatever is configured is drawn dashed: nothing has come.
    assert_eq!(
        browser.count("#map svg.map .e"),
        browser.count("#map svg.map .e[stroke-dasharray]")
    );
    browser.eval("window.same = true");

    host.send("step.one", "order_1");
    host.send("other.kind", "order_2");
    // After the hop limit the worker may not emit any more.
    wait_for("the cycle to end", || (host.count("dead") == 32).then_some(()));
    let edge = |says: &str| {
        format!(
            "[...document.querySelectorAll('#map svg.map a:has(.e)')]
               .filter((it) => it.querySelector('title').textContent.includes('{says}'))"
        )
    };
    let red = edge("guest.echoed → sink");
    browser.until("a red edge", &format!("{red}[0]?.querySelector('.e-bad')"));
    browser.until_text("#map", "no route");
    assert_eq!(browser.eval("window.same"), true, "the page was not loaded again");
    let cycle = edge("closes a cycle");
    assert_eq!(browser.eval(&format!("{cycle}.length")), 1);
    let below = browser.eval(&format!(
        "(() => {{ const bottom = (it) => it.getBoundingClientRect().bottom;
           const plugins = [...document.querySelectorAll('#map svg.map .n-plugin')].map(bottom);
           return bottom({cycle}[0]) > Math.max(...plugins); }})()"
    ));
    assert_eq!(below, true, "it runs below");

    browser.reload();
    let drawn = browser.eval(DRAWN);
    assert_eq!(drawn, browser.eval(LISTED));
    assert!(drawn.as_array().unwrap().len() >= 8, "{drawn}");
    // An edge leads to its events, a name in the table to what is around it.
    browser.click("#map tbody tr[data-row='type:other.kind no route'] td a, #map tbody tr td a");
    browser.until_at("/map");
    browser.until("the focus", "location.search.includes('focus=')");
    browser.end();
}
