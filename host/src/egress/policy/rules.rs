//! Chooses the rule for a request: the first that matches. If none does, the refusal says which
//! rule would allow the request.

use http::Method;

use super::address::AddressClass;
use super::target::{RequestTarget, TargetHost, default_port, scheme};
use crate::config::grants::MAX_PATH_BYTES;
use crate::config::{Grants, HostPattern, HttpRule, METHODS};
use crate::egress::error::{RequestError, RequestErrorKind};

/// The index of the first rule that matches.
pub(in crate::egress) fn decide(
    grants: &Grants,
    plugin: &str,
    method: &Method,
    target: &RequestTarget,
) -> Result<usize, RequestError> {
    if !METHODS.contains(&method.as_str()) {
        let why = format!("the method is not one of {}", METHODS.join(", "));
        return Err(RequestError::new(RequestErrorKind::Method, why));
    }
    let matches =
        |rule: &HttpRule| mismatches(rule, method, target).is_some_and(|found| found.is_empty());
    grants.http.iter().position(|rule| matches(rule)).ok_or_else(|| {
        RequestError::new(RequestErrorKind::Denied, advice(grants, plugin, method, target))
    })
}

/// How a request differs from a rule for its host; `None` if the rule is for another host.
fn mismatches(rule: &HttpRule, method: &Method, target: &RequestTarget) -> Option<Vec<String>> {
    if !is_for(&rule.host, &target.host) {
        return None;
    }
    let mut found = Vec::new();
    if rule.tls != target.tls {
        found.push(format!("the scheme, which must be {}", scheme(rule.tls)));
    }
    // Where the scheme differs, so does its default port.
    let defaults = rule.port == default_port(rule.tls) && target.default_port();
    if rule.port != target.port && (rule.tls == target.tls || !defaults) {
        found.push(format!("the port, which must be {}", rule.port));
    }
    if let Some(methods) = &rule.methods
        && !methods.iter().any(|allowed| allowed == method.as_str())
    {
        found.push(format!("the method, which must be {}", methods.join(" or ")));
    }
    if !begins_with(target.path(), &rule.path) {
        found.push(format!("the path, which must begin with {}", rule.path));
    } else if let Some(ambiguity) = target.ambiguity
        && rule.path != "/"
    {
        found.push(format!("the path: {ambiguity}, which a server could read differently"));
    }
    Some(found)
}

fn is_for(pattern: &HostPattern, host: &TargetHost) -> bool {
    match (pattern, host) {
        (HostPattern::Name(name), TargetHost::Name(host)) => name == host,
        (HostPattern::Address(address), TargetHost::Address(host)) => address == host,
        (HostPattern::Below(suffix), TargetHost::Name(host)) => {
            host.len() > suffix.len() && host.ends_with(suffix.as_str())
        }
        _ => false,
    }
}

/// Whether a path begins with another that ends at a segment.
fn begins_with(path: &str, begin: &str) -> bool {
    let rest = path.strip_prefix(begin);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || begin.ends_with('/'))
}

/// Says which line of the configuration would allow the request.
fn advice(grants: &Grants, plugin: &str, method: &Method, target: &RequestTarget) -> String {
    let near = grants.http.iter().find_map(|rule| {
        let found = mismatches(rule, method, target)?;
        (found.len() == 1)
            .then(|| format!("the rule for {} matches except for {}", rule.host, found[0]))
    });
    let why = near.unwrap_or_else(|| "no rule allows it".to_owned());
    let Some(rule) = rule_for(method, target) else {
        return format!("{why}, and no rule can: the address belongs to no host");
    };
    let section = format!("[plugins.{}]", key(plugin));
    match grants.http.is_empty() {
        true => format!("{why}; add http = [{rule}] to {section}"),
        false => format!("{why}; add {rule} to `http` in {section}"),
    }
}

/// A rule for this request alone, in TOML; `None` if no rule can allow it.
fn rule_for(method: &Method, target: &RequestTarget) -> Option<String> {
    let mut rule = String::from("{ ");
    if !target.tls {
        rule.push_str("scheme = \"http\", ");
    }
    let (host, class) = match &target.host {
        // Other names may turn out to be private when they are resolved.
        TargetHost::Name(name) if name == "localhost" || name.ends_with(".localhost") => {
            (name.clone(), AddressClass::Private)
        }
        TargetHost::Name(name) => (name.clone(), AddressClass::Public),
        TargetHost::Address(address) => (address.to_string(), AddressClass::of(*address)),
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
        AddressClass::Public => {}
        AddressClass::Private => rule.push_str(", private = true"),
        AddressClass::Never => return None,
    }
    rule.push_str(" }");
    Some(rule)
}

/// The longest prefix of a path that a rule can have.
fn path_for(target: &RequestTarget) -> &str {
    if target.ambiguity.is_some() {
        return "/";
    }
    let path = target.path();
    let end = path.find('%').unwrap_or(path.len()).min(MAX_PATH_BYTES);
    if end == path.len() {
        path
    } else {
        &path[..path[..end].rfind('/').map_or(0, |slash| slash + 1)]
    }
}

/// A TOML key, quoted where it has to be.
fn key(name: &str) -> String {
    let bare = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if bare { name.to_owned() } else { serde_json::Value::from(name).to_string() }
}
