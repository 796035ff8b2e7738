//! How pages are looked at: sizes and themes, pictures, what axe finds, and what they complain of.

use std::path::Path;

use serde_json::{Value, json};

use super::Browser;

impl Browser {
    /// Shows pages in a window this wide, in this theme.
    pub(in crate::browser) fn show_as(&self, width: u32, theme: &str) {
        let size =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", size);
        let feature = json!({ "name": "prefers-color-scheme", "value": theme });
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": [feature] }));
    }

    /// Has pages run without script, or with it.
    pub(in crate::browser) fn scripts(&self, on: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({ "value": !on }));
    }

    /// The violations that axe finds in the page: rule, and the elements.
    pub(in crate::browser) fn violations(&self) -> Vec<String> {
        if self.eval("'axe' in window") != true {
            self.run(&axe()).unwrap();
        }
        let script = "const done = arguments[arguments.length - 1];
            axe.run(document, { preload: false, resultTypes: ['violations'] })
              .then((found) => done(found.violations.map((rule) =>
                `${rule.id}: ${rule.nodes.map((node) => node.html.slice(0, 160)).join(' | ')}`)));";
        let found = self.tell("execute/async", json!({ "script": script, "args": [] }));
        serde_json::from_value(found).unwrap()
    }

    /// A picture of the window, PNG.
    pub(in crate::browser) fn picture(&self, path: &Path) -> Result<(), String> {
        use base64::Engine;
        let picture = self.command("GET", "screenshot", Value::Null)?;
        let text = picture.as_str().unwrap_or_default();
        let bytes = base64::engine::general_purpose::STANDARD.decode(text);
        std::fs::write(path, bytes.unwrap_or_default()).map_err(|error| error.to_string())
    }

    /// The messages of a log since it was read last.
    fn log(&self, kind: &str) -> Vec<Value> {
        let found = self.tell("se/log", json!({ "type": kind }));
        found.as_array().cloned().unwrap_or_default()
    }

    /// Messages of the console that nobody expects, and requests to other hosts.
    pub(super) fn complaints(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut found: Vec<String> = self
            .log("browser")
            .iter()
            .filter(|entry| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING")))
            .map(|entry| text(&entry["message"]))
            // Pages of the browser itself, such as an empty tab.
            .filter(|message| !message.starts_with("chrome"))
            .filter(|message| !self.expected.iter().any(|text| message.contains(text)))
            .collect();
        for entry in self.log("performance") {
            let entry: Value = serde_json::from_str(&text(&entry["message"])).unwrap();
            let message = &entry["message"];
            let url = message["params"]["request"]["url"].as_str();
            let is_sent = message["method"] == "Network.requestWillBeSent";
            if let Some(url) = url.filter(|url| is_sent && !is_ours(url)) {
                found.push(format!("a request to {url}"));
            }
        }
        found
    }
}

/// Whether an address is one of a host of the tests, or none on a network.
fn is_ours(url: &str) -> bool {
    let begins_with = |starts: &[&str]| starts.iter().any(|start| url.starts_with(start));
    begins_with(&["http://127.0.0.1:", "http://localhost:"]) || !begins_with(&["http", "ws", "ftp"])
}

/// The source of axe, which `cargo xtask test` installs.
fn axe() -> String {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let path = target.join("pages/node_modules/axe-core/axe.min.js");
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("`cargo xtask pages` installs axe-core: {error}"))
}
