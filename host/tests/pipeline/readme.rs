//! Every command that the example's README shows, run in its order against the stand-ins.

use super::plan::{Fate, Plan};
use super::standins::StandIns;
use super::{CONFIG, Copy, EXAMPLE, root};
use crate::readme::{blocks, run, with_cargo};
use crate::support::{SECRET, wait_for};

#[test]
fn every_command_of_the_order_pipelines_readme_works() {
    let readme = std::fs::read_to_string(root().join(EXAMPLE).join("README.md")).unwrap();
    let blocks = blocks(&readme);
    // The stand-in of the shop leaves the answer to the reader.
    let (stand_ins, ports) = StandIns::start(Plan::of_one(1, Fate::Late));
    let copy = Copy::new(ports);
    with_cargo(&copy.site);
    let variable = format!("export HOOKBOX_CONFIG={CONFIG}\n");
    let secrets = format!("export HEYGEN_WEBHOOK_SECRET={SECRET} SHOP_WEBHOOK_SECRET={SECRET}\n");
    assert!(blocks[0].starts_with(&variable), "{}", blocks[0]);
    assert_eq!(blocks[1].trim(), "cargo run --release -- serve");
    let command = |block: &str| {
        let ran = run(&copy.site, &format!("{secrets}{variable}{block}"));
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(ran.status.success(), "{block}\n{said}\n{}", String::from_utf8_lossy(&ran.stderr));
        said
    };
    command(&blocks[0]);
    let host = copy.start();
    let heygen = super::Senders::start(&stand_ins, &[copy.addresses]);
    let mut said = String::new();
    for block in &blocks[2..] {
        said.push_str(&command(block));
        if block.contains("emit order.created") {
            wait_for("the customer to be asked", || {
                stand_ins.ledger().effects.contains_key(&(1, "approval".to_owned())).then_some(())
            });
        }
        if block.contains("approval.granted") {
            wait_for("the order to end", || {
                (stand_ins.ends().get(&1)? == "complete").then_some(())
            });
            host.settled();
        }
    }
    assert!(said.contains("joins/order-videos  done"), "the tree is shown: {said}");
    let complete = host.api("/api/v1/events?type=order.complete");
    assert_eq!(complete["items"].as_array().unwrap().len(), 1, "{complete}");
    wait_for("the report", || (stand_ins.ledger().report["complete"] == 1).then_some(()));
    heygen.stop();
}
