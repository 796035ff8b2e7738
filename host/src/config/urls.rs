//! Addresses that are written without a path: how providers reach this host, and where their APIs
//! are.

use super::raw::Item;
use super::warnings::Warning;

/// The longest address, in bytes.
const MAX_URL_BYTES: usize = 512;

/// An address that this host is reached at, as it is written.
const PUBLIC: &str = "https://hooks.example.com";

/// Reads an address that this host is reached at from outside: scheme, host and perhaps a port. An
/// address without TLS is warned of, unless it is of this machine.
pub(super) fn read_public_url(item: &Item<'_>) -> Option<String> {
    let text = item.text(&format!("\"{PUBLIC}\""))?;
    let refuse = |what: &str, help: &str| {
        item.refuse(what, help);
        None
    };
    let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| is_http(scheme)) else {
        let help = format!("write scheme and host, such as \"{PUBLIC}\"");
        return refuse("does not begin with https://", &help);
    };
    if text.contains('@') {
        return refuse("has a user part", "take everything up to the `@` away behind the `://`");
    }
    if text.contains(['?', '#']) {
        return refuse("has a query", "write scheme and host alone");
    }
    if let Some((_, path)) = rest.split_once('/') {
        return match path {
            "" => refuse("ends with a slash", "take the slash at the end away"),
            _ => refuse(
                "has a path",
                "write scheme and host alone: hooks are below /webhook/NAME. For a proxy that takes a path away, \
                 `verify = { public_url = … }` of a source may have one",
            ),
        };
    }
    let (host, port) = parts(rest);
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_[]:".contains(c);
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    if host.is_empty()
        || text.len() > MAX_URL_BYTES
        || !host.chars().all(plain)
        || !port.is_none_or(is_port)
    {
        let help = format!("write scheme and host, and a port if need be, such as \"{PUBLIC}\"");
        return refuse("names no host", &help);
    }
    if scheme == "http" && !is_this_machine(host) {
        item.sink().warn(Warning::new(format!(
            "`{}` is not https: whoever stands between can read and change what providers send",
            item.path
        )));
    }
    Some(text.to_owned())
}

fn is_http(scheme: &str) -> bool {
    ["https", "http"].contains(&scheme)
}

/// Host and port; the address of IPv6 stands in brackets.
fn parts(rest: &str) -> (&str, Option<&str>) {
    let end =
        if rest.starts_with('[') { rest.find(']').map_or(rest.len(), |at| at + 1) } else { 0 };
    match rest[end..].split_once(':') {
        Some((host, port)) => (&rest[..end + host.len()], Some(port)),
        None => (rest, None),
    }
}

/// Whether a host, without a port, is this machine.
pub(super) fn is_this_machine(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|it| it.is_loopback())
}

/// Whether an address that was read leads to this machine, where no provider sends to.
pub(super) fn leads_to_this_machine(url: &str) -> bool {
    url.split_once("://").is_some_and(|(_, rest)| is_this_machine(parts(rest).0))
}

/// Reads scheme and host, perhaps with a path, without a slash at the end.
pub(super) fn read_url(item: &Item<'_>, example: &str) -> Option<String> {
    let text = item.text(&format!("\"{example}\""))?;
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = |c: char| c.is_ascii_graphic() && !"?#@\\\"<>".contains(c);
    let fits = host.is_some_and(|host| !host.is_empty() && host.chars().all(plain))
        && !text.ends_with('/')
        && text.len() <= MAX_URL_BYTES;
    if !fits {
        let help = format!(
            "write scheme and host, without a slash at the end, query or user, such as \"{example}\""
        );
        item.refuse("is not such an address", help);
    }
    fits.then(|| text.to_owned())
}
