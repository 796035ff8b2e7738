//! Reads `server.admin_tokens` and `server.admin_url`: who may use the API, and its name behind a
//! reverse proxy.

use std::collections::BTreeSet;

use super::raw::Item;

/// The most tokens.
const MAX_TOKENS: usize = 100;

/// The longest name of a token.
const MAX_NAME: usize = 40;

/// The name of a client without a token, which no token may have.
const LOCAL: &str = "local";

/// The set of routes that a client of the API may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A client that looks and changes nothing. It reads payloads only if its token says so.
    Viewer,
    /// A client that makes events, and does nothing else.
    Send,
    /// A client that may use every route.
    Operator,
}

impl Role {
    /// Every role, in the order of the names.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Send, Self::Operator];

    /// The name people see.
    pub fn name(self) -> &'static str {
        ["viewer", "send", "operator"][self as usize]
    }

    /// Whether a client of this role may use a route that needs `needed`.
    pub fn may(self, needed: Self) -> bool {
        self == Self::Operator || self == needed
    }
}

/// A token of the admin API. The file has only the hash of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminToken {
    /// The name that the audit log has for its client.
    pub name: String,
    /// The routes that it opens.
    pub role: Role,
    /// Whether its client reads payloads; an operator always does.
    pub payloads: bool,
    /// SHA-256 of the token.
    pub sha256: [u8; 32],
}

/// The address of the admin API behind a reverse proxy, which speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminUrl {
    /// The host and, unless it is 443, the port; in lower case.
    pub authority: String,
}

impl AdminUrl {
    /// The origin that browsers send for its pages.
    pub fn origin(&self) -> String {
        format!("https://{}", self.authority)
    }

    /// Whether a `Host` header names it.
    pub fn is(&self, host: &str) -> bool {
        let host = host.strip_suffix(":443").unwrap_or(host);
        host.eq_ignore_ascii_case(&self.authority)
    }
}

/// Whether this can be the name of a token.
///
/// # Errors
/// It cannot: what would be right, for people.
pub fn check_token_name(name: &str) -> Result<(), String> {
    let fits = (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b));
    match fits && name != LOCAL {
        true => Ok(()),
        false if name == LOCAL => Err(format!("`{LOCAL}` is the client without a token")),
        false => Err(format!("a name has 1 to {MAX_NAME} of the characters a-z, 0-9, - and _")),
    }
}

/// Reads the tokens.
pub(super) fn read_tokens(item: &Item<'_>) -> Vec<AdminToken> {
    let items = item.one_or_many();
    if items.len() > MAX_TOKENS {
        item.refuse(
            format_args!("has {} tokens", items.len()),
            format!("write at most {MAX_TOKENS}"),
        );
    }
    let mut names = BTreeSet::new();
    let mut found = Vec::new();
    for item in items {
        // A text here may be the token itself.
        if item.value.as_table().is_none() {
            item.sink().mask(item.span.clone());
        }
        let Some(token) = read_token(&item) else { continue };
        if names.insert(token.name.clone()) {
            found.push(token);
        } else {
            item.refuse(
                format_args!("has two tokens of the name `{}`", token.name),
                "give each its own name: the audit log knows clients by it",
            );
        }
    }
    found
}

fn read_token(item: &Item<'_>) -> Option<AdminToken> {
    const EXAMPLE: &str = "[{ name = \"jo\", role = \"operator\", sha256 = \"64 hex digits\" }]";
    let mut section = item.section(EXAMPLE)?;
    let name = section.take("name");
    let role = section.take("role");
    let payloads_item = section.take("payloads");
    let hash = section.take("sha256");
    let is_whole = name.is_some() && role.is_some() && hash.is_some();
    let payloads = payloads_item.as_ref().and_then(Item::truth);
    let name = name.and_then(|item| {
        let text = item.text("\"jo\"")?;
        let checked = check_token_name(text);
        checked.map_err(|right| item.refuse("is not a name", right)).ok()?;
        Some(text.to_owned())
    });
    let role = role.and_then(|item| item.word(&Role::ALL.map(|role| (role.name(), role))));
    let sha256 = hash.and_then(|item| {
        let text = item.text("\"64 hex digits\"")?;
        let mut bytes = [0; 32];
        if hex::decode_to_slice(text, &mut bytes).is_err() {
            item.sink().mask(item.span.clone());
            let help =
                "write the SHA-256 of the token in 64 hex digits, as `hookbox token new` prints it";
            item.refuse("is not a hash", help);
            return None;
        }
        Some(bytes)
    });
    section.finish();
    if !is_whole {
        let help = "a token has `name`, `role` and `sha256`: `hookbox token new NAME --role ROLE` prints the line";
        item.refuse("has a token that is not complete", help);
    }
    let (name, role, sha256) = (name?, role?, sha256?);
    let wrong = match (role, payloads) {
        (Role::Operator, Some(false)) => Some("an operator reads payloads"),
        (Role::Send, Some(true)) => Some("a client that only makes events reads nothing"),
        _ => None,
    };
    if let (Some(wrong), Some(item)) = (wrong, payloads_item) {
        item.refuse(
            "does not fit the role",
            format!("{wrong}: leave it out, or give it the role viewer"),
        );
    }
    let payloads = role == Role::Operator || payloads == Some(true);
    Some(AdminToken { name, role, payloads, sha256 })
}

/// Reads the address behind a reverse proxy.
pub(super) fn read_url(item: &Item<'_>) -> Option<AdminUrl> {
    let text = item.text("\"https://hookbox.example.com\"")?;
    let found = authority(text);
    if found.is_none() {
        let help = "write https://, a name and perhaps a port, such as \"https://hookbox.example.com\": browsers reach \
            the pages there, without a path";
        item.refuse(format_args!("is {text:?}, which is not such an address"), help);
    }
    found.map(|authority| AdminUrl { authority })
}

fn authority(text: &str) -> Option<String> {
    let rest = text.strip_prefix("https://")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest).to_ascii_lowercase();
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest.as_str(), None),
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match inner {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
        }
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let usual = rest.strip_suffix(":443").map(str::to_owned);
    (is_host && is_port).then(|| usual.unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_behind_a_proxy_is_a_name_and_a_port_over_tls() {
        for (text, expected) in [
            ("https://hookbox.example.com", Some("hookbox.example.com")),
            ("https://Hookbox.example.com:443/", Some("hookbox.example.com")),
            ("https://10.0.0.1:8443", Some("10.0.0.1:8443")),
            ("https://[2001:db8::1]:8443", Some("[2001:db8::1]:8443")),
            ("https://[2001:db8::1]", Some("[2001:db8::1]")),
            ("http://hookbox.example.com", None),
            ("https://a@hookbox.example.com", None),
            ("https://hookbox.example.com/path", None),
            ("https://hookbox.example.com:x", None),
            ("https://", None),
            ("hookbox.example.com", None),
        ] {
            assert_eq!(authority(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn only_an_operator_may_do_what_another_role_may() {
        for role in Role::ALL {
            for needed in Role::ALL {
                let expected = role == needed || role == Role::Operator;
                assert_eq!(role.may(needed), expected, "{role:?} {needed:?}");
            }
        }
    }

    #[test]
    fn a_host_header_names_the_address_with_and_without_its_usual_port() {
        let url = AdminUrl { authority: "hookbox.example.com".to_owned() };
        assert!(url.is("HOOKBOX.example.com") && url.is("hookbox.example.com:443"));
        assert!(!url.is("hookbox.example.com:80") && !url.is("example.com"));
        assert_eq!(url.origin(), "https://hookbox.example.com");
    }
}
