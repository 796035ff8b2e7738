//! Which rule a request goes by: the first that fits. If there is none, the refusal says what would allow it.

use http::Method;

use super::address::Class;
use super::failure::{Failure, FailureKind};
use super::target::{Host, Target, default_port, scheme};
use crate::config::grants::MAX_PATH_BYTES;
use crate::config::{Grants, HostPattern, HttpRule, METHODS};

/// The number of the first rule that fits.
pub(super) fn decide(grants: &Grants, plugin: &str, method: &Method, target: &Target) -> Result<usize, Failure> {
    if !METHODS.contains(&method.as_str()) {
        return Err(Failure::new(FailureKind::Method, format!("its method is none of {}", METHODS.join(", "))));
    }
    let fits = |rule: &HttpRule| misfits(rule, method, target).is_some_and(|misfits| misfits.is_empty());
    let found = grants.http.iter().position(|rule| fits(rule));
    found.ok_or_else(|| Failure::new(FailureKind::Denied, advice(grants, plugin, method, target)))
}

/// In what a request does not fit a rule for its host; `None` if the rule is for another.
fn misfits(rule: &HttpRule, method: &Method, target: &Target) -> Option<Vec<String>> {
    let host = match (&rule.host, &target.host) {
        (HostPattern::Name(name), Host::Name(host)) => name == host,
        (HostPattern::Address(address), Host::Address(host)) => address == host,
        (HostPattern::Below(suffix), Host::Name(host)) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        _ => false,
    };
    host.then(|| {
        let mut found = Vec::new();
        if rule.tls != target.tls {
            found.push(format!("the scheme, which is {} there", scheme(rule.tls)));
        }
        // Another scheme brings another port with it.
        let usual = rule.port == default_port(rule.tls) && target.default_port();
        if rule.port != target.port && (rule.tls == target.tls || !usual) {
            found.push(format!("the port, which is {} there", rule.port));
        }
        if let Some(methods) = rule.methods.as_ref().filter(|methods| !methods.iter().any(|one| one == method.as_str()))
        {
            found.push(format!("the method, which is {} there", methods.join(" or ")));
        }
        if !begins_with(target.path(), &rule.path) {
            found.push(format!("the path, which begins with {} there", rule.path));
        } else if let Some(odd) = target.odd.filter(|_| rule.path != "/") {
            found.push(format!("the path: {odd}, and a server could read it in another way than the rule"));
        }
        found
    })
}

/// Whether a path begins with another, at the end of a part.
fn begins_with(path: &str, begin: &str) -> bool {
    let rest = path.strip_prefix(begin);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || begin.ends_with('/'))
}

/// What would have to be written for the request to be allowed.
fn advice(grants: &Grants, plugin: &str, method: &Method, target: &Target) -> String {
    let near = grants.http.iter().find_map(|rule| {
        let misfits = misfits(rule, method, target)?;
        (misfits.len() == 1).then(|| format!("the rule for {} fits but for {}", rule.host, misfits[0]))
    });
    let why = near.unwrap_or_else(|| "no rule allows it".to_owned());
    let rule = rule_for(method, target);
    let Some(rule) = rule else { return format!("{why}, and none could: the address is no host's") };
    let section = format!("[plugins.{}]", key(plugin));
    match grants.http.is_empty() {
        true => format!("{why}; add http = [{rule}] to {section}"),
        false => format!("{why}; add {rule} to `http` in {section}"),
    }
}

/// A rule for this request alone, in TOML; `None` if there can be none.
fn rule_for(method: &Method, target: &Target) -> Option<String> {
    let mut rule = String::from("{ ");
    if !target.tls {
        rule.push_str("scheme = \"http\", ");
    }
    let (host, class) = match &target.host {
        // What other names stand for is known when they are resolved.
        Host::Name(name) if name == "localhost" || name.ends_with(".localhost") => (name.clone(), Class::Private),
        Host::Name(name) => (name.clone(), Class::Public),
        Host::Address(address) => (address.to_string(), Class::of(*address)),
    };
    rule.push_str(&format!("host = \"{host}\""));
    if !target.default_port() {
        rule.push_str(&format!(", port = {}", target.port));
    }
    rule.push_str(&format!(", methods = [\"{method}\"]"));
    let path = path_for(target);
    if path != "/" {
        rule.push_str(&format!(", path = {}", serde_json::Value::from(path)));
    }
    match class {
        Class::Public => {}
        Class::Private => rule.push_str(", private = true"),
        Class::Never => return None,
    }
    rule.push_str(" }");
    Some(rule)
}

/// The longest beginning of a path that can stand in a rule and fits the path.
fn path_for(target: &Target) -> &str {
    if target.odd.is_some() {
        return "/";
    }
    let path = target.path();
    let end = path.find('%').unwrap_or(path.len()).min(MAX_PATH_BYTES);
    let whole = end == path.len();
    if whole { path } else { &path[..path[..end].rfind('/').map_or(0, |slash| slash + 1)] }
}

/// A key of TOML, in quotes where it needs them.
fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if bare { name.to_owned() } else { serde_json::Value::from(name).to_string() }
}
