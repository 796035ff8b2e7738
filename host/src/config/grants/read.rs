//! Reads `http = [{ host = "api.example.com" }]`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::credentials::{HeaderTerms, read_authorities, read_headers};
use super::{Grants, HostPattern, HttpRule, MAX_LABEL_BYTES, MAX_NAME_BYTES, MAX_PATH_BYTES};
use crate::config::raw::Item;
use crate::config::secrets::Places;

/// The most rules of a plugin.
const MAX_RULES: usize = 64;

/// Methods of RFC 9110 and RFC 5789 that a plugin may use. CONNECT would be a way around every
/// rule, TRACE shows headers.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Headers that a plugin can set and a rule cannot: how long the body is, and in what form the
/// answer comes.
const OF_THE_REQUEST: [&str; 3] = ["accept-encoding", "content-length", "range"];

/// The terms for headers that a rule may add.
const HEADERS: HeaderTerms = HeaderTerms {
    own: &OF_THE_REQUEST,
    min_value_bytes: 8,
    too_short: "is too short to be told from ordinary text in a response",
    no_secret: "; a header that is no secret can be set by the plugin itself",
};

const EXAMPLE: &str = "{ host = \"api.example.com\", methods = [\"GET\"], path = \"/v1/\" }";

/// Reads a plugin's rules.
pub(in crate::config) fn read(item: &Item<'_>, places: &Places<'_>) -> Grants {
    let rules = item.one_or_many();
    if let Some(extra) = rules.get(MAX_RULES) {
        extra.refuse("has too many rules", format!("a plugin can have {MAX_RULES}"));
    }
    let rules = rules.iter().take(MAX_RULES);
    Grants { http: rules.filter_map(|item| read_rule(item, places)).map(Arc::new).collect() }
}

fn read_rule(item: &Item<'_>, places: &Places<'_>) -> Option<HttpRule> {
    if let Some(url) = item.value.as_str() {
        item.refuse(format_args!("holds \"{url}\", which is no rule"), format!("write {EXAMPLE}"));
        return None;
    }
    let mut section = item.section(EXAMPLE)?;
    let tls = section
        .take("scheme")
        .and_then(|item| item.word(&[("https", true), ("http", false)]))
        .unwrap_or(true);
    let host_item = section.take("host");
    if host_item.is_none() {
        item.refuse(
            "names no host",
            format!("write which one: {EXAMPLE}; `*.example.com` is every name below it"),
        );
    }
    let host = host_item.as_ref().and_then(read_host);
    let port = section.take("port").and_then(|item| item.whole(1..=u32::from(u16::MAX)));
    let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(if tls { 443 } else { 80 });
    let methods = section.take("methods").map(|item| read_methods(&item));
    let path =
        section.take("path").and_then(|item| read_path(&item)).unwrap_or_else(|| "/".to_owned());
    let private = section.take("private").and_then(|item| item.truth()).unwrap_or(false);
    let idempotency_key =
        section.take("idempotency_key").and_then(|item| item.truth()).unwrap_or(true);
    let traceparent = section.take("traceparent").and_then(|item| item.truth()).unwrap_or(true);
    if let (Some(item), Some(host)) = (&host_item, &host) {
        check_reach(item, host, private);
    }
    let headers = read_headers(
        section.take_section("headers", "{ Authorization = { env = \"API_TOKEN\" } }"),
        &HEADERS,
        places,
    );
    let authorities = section.take("ca_file").and_then(|item| read_authorities(&item, places.base));
    section.finish();
    Some(HttpRule {
        tls,
        host: host?,
        port,
        methods,
        path,
        private,
        headers,
        idempotency_key,
        traceparent,
        authorities,
    })
}

/// A host as people write it, or what is wrong with it and what would be right.
fn read_host(item: &Item<'_>) -> Option<HostPattern> {
    let text = item.text("\"api.example.com\"")?;
    let read = host(text);
    if let Err(help) = &read {
        item.refuse(format_args!("is \"{text}\", which is not the name of a host"), help.clone());
    }
    read.ok()
}

fn host(text: &str) -> Result<HostPattern, String> {
    let literal = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = literal.parse::<IpAddr>() {
        return Ok(HostPattern::Address(address));
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let host = rest.split(['/', ':']).next().unwrap_or_default();
        return Err(format!(
            "write it in parts: scheme = \"{scheme}\", host = \"{host}\", and `port` and `path`"
        ));
    }
    if let Some((host, port)) = text.split_once(':').filter(|(_, port)| port.parse::<u16>().is_ok())
    {
        return Err(format!("write the port by itself: host = \"{host}\", port = {port}"));
    }
    if !text.is_ascii() {
        return Err("write the name as DNS knows it, in ASCII: `xn--…` (punycode)".to_owned());
    }
    let lower = text.to_ascii_lowercase();
    match lower.strip_prefix('*') {
        Some(suffix) if suffix.starts_with('.') && is_name(&suffix[1..])
            && suffix[1..].contains('.') => {
            Ok(HostPattern::Below(suffix.to_owned()))
        }
        None if is_name(&lower) => Ok(HostPattern::Name(lower)),
        _ => Err(
            "write a name such as \"api.example.com\", an IP address, or \"*.example.com\" for every name below it; \
                  a star stands alone before at least two parts"
                .to_owned(),
        ),
    }
}

/// Refuses a rule under which every request would be refused.
fn check_reach(item: &Item<'_>, host: &HostPattern, private: bool) {
    let local = match host {
        HostPattern::Below(_) => false,
        HostPattern::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        HostPattern::Address(IpAddr::V4(address)) => {
            if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
                item.refuse(
                    format_args!("is {address}, which is no host's address"),
                    "write the host's own address",
                );
                return;
            }
            address.is_loopback() || address.is_private() || address.is_link_local()
        }
        HostPattern::Address(IpAddr::V6(address)) => {
            if address.is_unspecified() || address.is_multicast() {
                item.refuse(
                    format_args!("is {address}, which is no host's address"),
                    "write the host's own address",
                );
                return;
            }
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    };
    if local && !private {
        item.refuse(
            format_args!("is {host}, which is not public, and so every request to it would be refused"),
            "add `private = true` to the rule, if the plugin may reach this machine and its networks",
        );
    }
}

/// Whether a text is a host's name in lower case, and cannot be taken for a number, which is an
/// address to some.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        let known = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
        };
        !label.is_empty() && label.len() <= MAX_LABEL_BYTES && label.bytes().all(known)
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= MAX_NAME_BYTES
        && text.split('.').all(label)
        && !last.starts_with(|c: char| c.is_ascii_digit())
}

fn read_methods(item: &Item<'_>) -> Vec<String> {
    let list = item.one_or_many();
    if list.is_empty() {
        item.refuse("is empty", "name the methods, or take `methods` out for all of them");
    }
    let known = METHODS.map(|method| (method, method));
    let methods: BTreeSet<&str> = list.iter().filter_map(|item| item.word(&known)).collect();
    methods.into_iter().map(str::to_owned).collect()
}

fn read_path(item: &Item<'_>) -> Option<String> {
    let path = item.text("\"/v1/\"")?;
    let visible = path
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\' | b'%'));
    let dots = path.split('/').any(|segment| matches!(segment, "." | ".."));
    let fits = path.starts_with('/')
        && path.len() <= MAX_PATH_BYTES
        && visible
        && !dots
        && !path.contains("//");
    if !fits {
        let help = format!(
            "write how paths begin: a `/` and at most {MAX_PATH_BYTES} characters, without a query, escapes, and `.` or \
             `..` as a part, such as \"/v1/\""
        );
        item.refuse(format_args!("is \"{path}\", which no path begins with"), help);
    }
    fits.then(|| path.to_owned())
}
