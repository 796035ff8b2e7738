//! `hookbox sources NAME take-secret`: waits for the secret that a handshake brings.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{AdminClient, encoded};
use super::failure::Failure;
use super::output::{Printout, print_json, printable, text};

/// The pause between two looks at the window.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Opens the window of a source, and waits until a secret is taken; 0 closes the window.
pub(super) fn run(
    client: &AdminClient,
    name: &str,
    seconds: u32,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    let path = format!("/api/v1/sources/{}", encoded(name));
    let seconds = seconds.to_string();
    let query = [("for_s", Some(seconds.as_str()))];
    let mut window = client.post(&format!("{path}/take-secret"), &query)?;
    let until = text(&window["until"]);
    if window["state"] == "open" {
        let what = printable(name);
        let line = format!("waiting until {until} for the handshake of {what}: register it now");
        // An operator who does not read it waits all the same.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
    while window["state"] == "open" {
        std::thread::sleep(LOOK_EVERY);
        window = client.get(&path, &[])?["secret_window"].take();
    }
    if window["state"] == "taken" && window["can_show"] == true {
        let shown = client.post(&format!("{path}/reveal-secret"), &[])?;
        window["secret"] = shown["secret"].clone();
        window["can_show"] = json!(false);
    }
    let is_taken = window["state"] == "taken";
    if as_json {
        print_json(&window)?;
    } else {
        tell(name, &window, &until)?;
    }
    Ok(if is_taken || seconds == "0" { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(name: &str, window: &Value, until: &str) -> Result<(), Failure> {
    let mut out = Printout::new();
    if window["state"] != "taken" {
        match until {
            "" => out.line("no secret is waited for"),
            until => out.line(format!("no handshake brought a secret before {until}")),
        }
        return out.print();
    }
    let (at, client) = (text(&window["taken_at"]), text(&window["client_address"]));
    out.line(printable(&format!("taken {at}, from {client}: `{name}` verifies with it now")));
    if let Some(secret) = window["secret"].as_str() {
        out.line("The provider asks for it; it is not shown again:");
        out.line(printable(secret));
    }
    out.print()
}
