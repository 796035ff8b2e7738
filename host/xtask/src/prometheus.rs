//! `cargo xtask metrics`: Prometheus' own tool takes the metrics of a running host, the alerting
//! rules and every expression of the dashboard.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::site::Site;
use hookbox_tools::{Result, command, install_from, root, run, target_dir};

/// Installs the tool if it is missing, and has it check all three.
pub(crate) fn check() -> Result {
    install_from("promtool", "prometheus")?;
    let dashboards = root().join("dashboards");
    run(command("promtool", "check rules").arg(dashboards.join("alerts.yml")))?;
    run(command("promtool", "check rules").arg(expressions(&dashboards.join("hookbox.json"))?))?;
    let (site, _host) = Site::pipeline("metrics/site")?;
    check_metrics(&metrics(&site)?)
}

/// Has promtool read metrics: it also says what breaks the conventions of names.
fn check_metrics(text: &str) -> Result {
    let mut promtool = command("promtool", "check metrics");
    let failed = |error: std::io::Error| format!("promtool: {error}");
    let mut checks = promtool.stdin(Stdio::piped()).spawn().map_err(failed)?;
    let written = checks.stdin.take().map_or(Ok(()), |mut it| it.write_all(text.as_bytes()));
    let ended = checks.wait().map_err(failed)?;
    written.map_err(failed)?;
    if ended.success() { Ok(()) } else { Err(format!("promtool check metrics: {ended}")) }
}

/// The metrics of a host, with those of its plugins.
fn metrics(site: &Site) -> Result<String> {
    let (admin, failed) = (site.admin()?, |error: std::io::Error| format!("/metrics: {error}"));
    let mut connection = TcpStream::connect(&admin).map_err(failed)?;
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {admin}\r\n\r\n");
    connection.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).map_err(failed)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("/metrics: no answer")?;
    if !head.contains(" 200 ") || !body.contains("hookbox_emitted_events_total") {
        return Err(format!("/metrics: {head}"));
    }
    Ok(body.to_owned())
}

/// Writes the expressions of a dashboard as rules, with a value for the variable that is a time.
fn expressions(dashboard: &Path) -> Result<PathBuf> {
    let failed = |error: std::io::Error| format!("{}: {error}", dashboard.display());
    let text = fs::read_to_string(dashboard).map_err(failed)?;
    let dashboard: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let targets = list(&dashboard["panels"]).into_iter().flat_map(|panel| list(&panel["targets"]));
    let found = targets.chain(list(&dashboard["annotations"]["list"]));
    let rules: Vec<Value> = found
        .filter_map(|target| Some(target["expr"].as_str()?.replace("$__rate_interval", "5m")))
        .enumerate()
        .map(|(at, expr)| json!({ "record": format!("dashboard:{at}"), "expr": expr }))
        .collect();
    if rules.len() < 40 {
        return Err(format!("{} expressions were found in the dashboard", rules.len()));
    }
    // JSON is YAML, too.
    let groups = json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    let path = target_dir().join("metrics/dashboard.yml");
    fs::create_dir_all(target_dir().join("metrics"))
        .and_then(|()| fs::write(&path, groups.to_string()))
        .map_err(|error| format!("failed to write {}: {error}", path.display()))?;
    Ok(path)
}
