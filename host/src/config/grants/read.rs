//! Reads `http = [{ host = "api.example.com" }]`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use secrecy::SecretString;

use super::{
    Grants, HostPattern, HttpRule, Injected, MAX_LABEL_BYTES, MAX_NAME_BYTES, MAX_PATH_BYTES,
    is_framing,
};
use crate::config::inputs::Input;
use crate::config::places;
use crate::config::raw::{Item, Section};
use crate::config::secrets::{self, Places};
use crate::config::template;

/// The most rules of a plugin.
const MAX_RULES: usize = 64;
/// The most headers that a rule adds.
const MAX_HEADERS: usize = 8;
/// The shortest value that can be told from ordinary text in a response, in bytes.
const MIN_VALUE_BYTES: usize = 8;
/// The longest text before a value, in bytes.
const MAX_PREFIX_BYTES: usize = 64;
/// The largest file of certificates, in bytes.
const MAX_AUTHORITIES_BYTES: u64 = 1 << 20;

/// Methods of RFC 9110 and RFC 5789 that a plugin may use. CONNECT would be a way around every
/// rule, TRACE shows headers.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Headers that a plugin can set and a rule cannot: how long the body is, and in what form the
/// answer comes.
const OF_THE_REQUEST: [&str; 3] = ["accept-encoding", "content-length", "range"];

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
    Some(path.to_owned()).filter(|_| fits)
}

fn read_headers(section: Section<'_>, places: &Places<'_>) -> Vec<Injected> {
    let mut headers: Vec<Injected> = Vec::new();
    for item in section.entries() {
        secrets::mask_but(&item, &["env", "file", "prefix"]);
        let Some(name) = template::header_name(item.key) else {
            item.refuse_key(
                "is not the name of a header",
                "write it as the service does, such as `X-Api-Key`",
            );
            continue;
        };
        if is_framing(&name) || OF_THE_REQUEST.contains(&name.as_str()) {
            item.refuse_key("is a header that the host sets itself", "take it out");
            continue;
        }
        if headers.len() == MAX_HEADERS {
            item.refuse_key("is one header too many", format!("a rule can add {MAX_HEADERS}"));
            break;
        }
        if headers.iter().any(|other| other.name == name) {
            item.refuse_key(
                "is there twice",
                "names of headers are the same in upper and lower case",
            );
            continue;
        }
        headers.extend(read_header(&item, name, places));
    }
    headers
}

fn read_header(item: &Item<'_>, name: String, places: &Places<'_>) -> Option<Injected> {
    if !item.value.is_table() {
        let help = "a credential in a file of settings ends up in backups and repositories: put it into an environment \
            variable and write { env = \"NAME\" }, or into a file of its own and write { file = \"PATH\" }; a header that \
            is no secret can be set by the plugin itself";
        item.refuse("holds a literal value", help);
        return None;
    }
    let mut section = item.section("{ prefix = \"Bearer \", env = \"API_TOKEN\" }")?;
    let prefix = section.take("prefix").and_then(|item| read_prefix(&item)).unwrap_or_default();
    let (place, text) = secrets::read_place(item, section, places)?;
    let Some(text) = text else { return Some(Injected { name, prefix, value: Err(place) }) };
    let fault = match std::str::from_utf8(&text) {
        Ok(text) if text.len() < MIN_VALUE_BYTES => {
            Some("is too short to be told from ordinary text in a response")
        }
        Ok(text) if text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') => None,
        _ => Some("is not visible ASCII in one line"),
    };
    if let Some(fault) = fault {
        item.refuse(
            format_args!("names {place}, whose value {fault}"),
            format!("it has to be what the service gave out, {MIN_VALUE_BYTES} characters or more"),
        );
        return None;
    }
    let value = SecretString::from(String::from_utf8_lossy(&text).into_owned());
    Some(Injected { name, prefix, value: Ok(value) })
}

fn read_prefix(item: &Item<'_>) -> Option<String> {
    let text = item.text("\"Bearer \"")?;
    let fits = text.len() <= MAX_PREFIX_BYTES
        && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if !fits {
        item.refuse(
            "cannot stand in a header",
            format!("write at most {MAX_PREFIX_BYTES} visible ASCII characters"),
        );
    }
    Some(text.to_owned()).filter(|_| fits)
}

fn read_authorities(item: &Item<'_>, base: &Path) -> Option<Arc<Vec<Vec<u8>>>> {
    let path = places::tidy(&base.join(item.text("\"certs/internal.pem\"")?));
    let refuse = |why: String| {
        item.refuse(
            format_args!("names {}, {why}", path.display()),
            "write the path of a PEM file with the certificates of the authorities that vouch for these hosts",
        );
    };
    let (input, pem) = Input::read(&item.path, &path, MAX_AUTHORITIES_BYTES, |pem| !pem.is_empty());
    item.sink().input(input);
    match pem {
        Err(error) => refuse(format!("which cannot be read: {error}")),
        Ok(pem) => {
            let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem)
                .map(|read| read.map(|der| der.to_vec()))
                .collect();
            match read {
                Ok(list) if !list.is_empty() => return Some(Arc::new(list)),
                Ok(_) => refuse("which holds no certificate".to_owned()),
                Err(error) => refuse(format!("which is not PEM: {error}")),
            }
        }
    }
    None
}
