//! A browser that looks at a host: Debian's Chromium, steered by its own driver in the words of
//! WebDriver (<https://www.w3.org/TR/webdriver2/>).

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Host, agent, wait_for};

mod looks;

/// Chromium asks nobody but the host: no updates, no synchronisation, no QUIC.
const FLAGS: [&str; 11] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-domain-reliability",
    "--disable-features=OptimizationHints,MediaRouter,Translate",
    "--no-first-run",
];

/// The member of a WebDriver answer that names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A window of a browser. It fails the test if a page asks another host, reports a violation of
/// its policy, or writes an error to the console.
pub(super) struct Browser {
    driver: Child,
    /// The address of the session at the driver.
    session: String,
    /// The address of the admin API.
    base: String,
    /// Messages that a test expects, such as that a host which was ended does not answer.
    expected: Vec<&'static str>,
    is_open: bool,
    _profile: tempfile::TempDir,
}

/// The way in which an element is named.
#[derive(Clone, Copy)]
enum Find<'a> {
    Css(&'a str),
    /// A link or button, by all of its text.
    Text(&'a str),
}

/// Starts the driver. It takes a free port of IPv4 and then the same one of IPv6, and ends if that
/// one is taken: another port is tried then.
fn start_driver() -> (Child, String) {
    for _ in 0..10 {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is there: `cargo xtask test` installs it");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        });
        // Later output must not block the driver.
        std::thread::spawn(move || lines.for_each(drop));
        if let Some(port) = port {
            return (driver, port);
        }
        driver.wait().unwrap();
    }
    panic!("chromedriver ended ten times before it said its port");
}

impl Browser {
    /// Opens a window of 1280 by 900 pixels.
    pub(super) fn on(host: &Host) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let (driver, port) = start_driver();
        let folder = format!("--user-data-dir={}", profile.path().display());
        let flags = [&FLAGS[..], &["--window-size=1280,900", &folder]].concat();
        let wanted = json!({
            "browserName": "chrome",
            "goog:chromeOptions": { "args": flags },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        });
        let driver_url = format!("http://127.0.0.1:{port}/session");
        let made = ask("POST", &driver_url, &json!({ "capabilities": { "alwaysMatch": wanted } }));
        let id = made.expect("Chromium starts")["sessionId"].as_str().unwrap().to_owned();
        Self {
            driver,
            session: format!("{driver_url}/{id}"),
            base: host.admin_url.clone(),
            expected: Vec::new(),
            is_open: true,
            _profile: profile,
        }
    }

    fn command(&self, method: &str, path: &str, body: Value) -> Result<Value, String> {
        ask(method, &format!("{}/{path}", self.session), &body)
    }

    #[track_caller]
    fn tell(&self, path: &str, body: Value) -> Value {
        self.command("POST", path, body).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The messages of the console with one of these texts are expected from now on.
    pub(super) fn expect(&mut self, texts: &[&'static str]) {
        self.expected.extend(texts);
    }

    /// Opens a page of the host.
    #[track_caller]
    pub(super) fn open(&self, path: &str) {
        self.open_url(&format!("{}{path}", self.base));
    }

    /// Opens a page anywhere.
    #[track_caller]
    pub(super) fn open_url(&self, url: &str) {
        self.tell("url", json!({ "url": url }));
    }

    /// The path and query of the page that is shown.
    pub(super) fn path(&self) -> String {
        self.eval("location.pathname + location.search").as_str().unwrap().to_owned()
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub(super) fn eval(&self, expression: &str) -> Value {
        self.run(&format!("return {expression};")).unwrap_or_else(|e| panic!("{expression}: {e}"))
    }

    /// The value of a promise in the page.
    #[track_caller]
    pub(super) fn eval_async(&self, promise: &str) -> Value {
        let script = format!("{promise}.then(arguments[arguments.length - 1])");
        self.tell("execute/async", json!({ "script": script, "args": [] }))
    }

    fn run(&self, script: &str) -> Result<Value, String> {
        self.command("POST", "execute/sync", json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression is true in the page.
    #[track_caller]
    pub(super) fn until(&self, what: &str, expression: &str) {
        let script = format!("return Boolean({expression});");
        // While a page is loaded, the one before may be gone already.
        wait_for(what, || (self.run(&script) == Ok(Value::Bool(true))).then_some(()));
    }

    /// Waits until the element shows a text.
    #[track_caller]
    pub(super) fn until_text(&self, css: &str, text: &str) {
        let (css, text) = (json!(css), json!(text));
        let shows = format!("document.querySelector({css})?.innerText.includes({text})");
        self.until(&format!("{text} in {css}"), &shows);
    }

    /// Waits until the page at this path is shown, whatever its query.
    #[track_caller]
    pub(super) fn until_at(&self, path: &str) {
        let is_there =
            format!("document.readyState === 'complete' && location.pathname === {}", json!(path));
        self.until(&format!("the page {path}"), &is_there);
    }

    /// The text that people read of an element.
    #[track_caller]
    pub(super) fn text(&self, css: &str) -> String {
        let found = self.eval(&format!("document.querySelector({})?.innerText", json!(css)));
        found.as_str().unwrap_or_else(|| panic!("no {css} on {}", self.path())).to_owned()
    }

    /// How many elements there are.
    pub(super) fn count(&self, css: &str) -> u64 {
        self.eval(&format!("document.querySelectorAll({}).length", json!(css))).as_u64().unwrap()
    }

    #[track_caller]
    fn find(&self, what: Find) -> String {
        let (using, value) = match what {
            Find::Css(css) => ("css selector", css.to_owned()),
            Find::Text(text) => {
                ("xpath", format!("//*[self::a or self::button][normalize-space()='{text}']"))
            }
        };
        let found = self.command("POST", "element", json!({ "using": using, "value": value }));
        let found = found.unwrap_or_else(|error| panic!("{value} on {}: {error}", self.path()));
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn click_at(&self, what: Find) {
        wait_for("a click", || {
            let element = self.find(what);
            match self.command("POST", &format!("element/{element}/click"), json!({})) {
                Ok(_) => Some(()),
                // A hint has replaced it since it was found.
                Err(error) if error.contains("stale element") => None,
                Err(error) => panic!("{error}"),
            }
        });
    }

    /// Clicks an element.
    #[track_caller]
    pub(super) fn click(&self, css: &str) {
        self.click_at(Find::Css(css));
    }

    /// Clicks the link or button with this text.
    #[track_caller]
    pub(super) fn click_on(&self, text: &str) {
        self.click_at(Find::Text(text));
    }

    /// Replaces the text of a field.
    #[track_caller]
    pub(super) fn fill(&self, css: &str, text: &str) {
        let element = self.find(Find::Css(css));
        self.tell(&format!("element/{element}/clear"), json!({}));
        self.tell(&format!("element/{element}/value"), json!({ "text": text }));
    }

    /// Presses keys, one after the other, wherever the focus is.
    #[track_caller]
    pub(super) fn press(&self, keys: &str) {
        // Scripts that are not there yet hear no key.
        self.until("the page with its scripts", "document.readyState === 'complete'");
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })))
            .collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        self.tell("actions", json!({ "actions": [keyboard] }));
    }

    /// Moves the focus by the tabulator until it is on the link or button with this text.
    #[track_caller]
    pub(super) fn tab_to(&self, text: &str) {
        const TAB: &str = "\u{e004}";
        for _ in 0..200 {
            if self.eval("document.activeElement?.innerText?.trim()") == text {
                return;
            }
            self.press(TAB);
        }
        panic!("no {text} is reached by the tabulator on {}", self.path());
    }

    /// Moves the pointer onto an element.
    #[track_caller]
    pub(super) fn point_at(&self, css: &str) {
        let element = json!({ ELEMENT: self.find(Find::Css(css)) });
        let moved = json!({ "type": "pointerMove", "origin": element, "x": 0, "y": 0 });
        self.tell(
            "actions",
            json!({ "actions": [
            { "type": "pointer", "id": "mouse", "actions": [moved] },
        ] }),
        );
    }

    pub(super) fn back(&self) {
        self.tell("back", json!({}));
    }

    pub(super) fn forward(&self) {
        self.tell("forward", json!({}));
    }

    pub(super) fn reload(&self) {
        self.tell("refresh", json!({}));
    }

    /// Opens a further tab and goes to it.
    pub(super) fn open_tab(&self, path: &str) -> Value {
        let made = self.tell("window/new", json!({ "type": "tab" }));
        self.go_to_tab(&made["handle"]);
        self.open(path);
        made["handle"].clone()
    }

    /// The tab that is steered.
    pub(super) fn tab(&self) -> Value {
        self.command("GET", "window", Value::Null).unwrap()
    }

    pub(super) fn go_to_tab(&self, tab: &Value) {
        self.tell("window", json!({ "handle": tab }));
    }

    /// A command of the browser's own protocol.
    #[track_caller]
    pub(super) fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.tell("goog/cdp/execute", json!({ "cmd": command, "params": parameters }))
    }

    /// Ends the browser; nothing may have gone wrong in it.
    pub(super) fn end(mut self) {
        let complaints = self.complaints();
        self.close();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.is_open) {
            let _ = self.command("DELETE", "", Value::Null);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// A command to the driver: the value of its answer, or its error.
fn ask(method: &str, url: &str, body: &Value) -> Result<Value, String> {
    let url = url.trim_end_matches('/');
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(url)
        .header("content-type", "application/json")
        .body(body)
        .unwrap();
    let mut response = agent().run(request).map_err(|error| error.to_string())?;
    let status = response.status();
    let text = response.body_mut().read_to_string().map_err(|error| error.to_string())?;
    let mut answer: Value = serde_json::from_str(&text).map_err(|e| format!("{e}: {text}"))?;
    let value = answer["value"].take();
    if status.is_success() { Ok(value) } else { Err(value["message"].to_string()) }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if std::thread::panicking() && self.is_open {
            let name = std::thread::current().name().unwrap_or("test").replace("::", "-");
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png"));
            if self.picture(&path).is_ok() {
                eprintln!("{} shows the page at the end", path.display());
            }
        }
        self.close();
    }
}
