//! Reads `[[sources.NAME.handshake]]`: requests that are answered and not stored.

use super::{key_address, pick, place};
use crate::config::raw::{Item, Section};
use crate::config::source::{
    AnswerPart, AnswerRule, AnswerValue, Encoding, HandshakeMethod, HandshakeRule, Place, ThenGet,
    ValueCondition,
};

/// The most handshakes of a source.
const MAX_RULES: usize = 8;

/// The longest text of an answer, in bytes.
const MAX_TEXT_BYTES: usize = 1_024;

const METHODS: [(&str, HandshakeMethod); 4] = [
    ("GET", HandshakeMethod::Get),
    ("HEAD", HandshakeMethod::Head),
    ("OPTIONS", HandshakeMethod::Options),
    ("POST", HandshakeMethod::Post),
];

/// Reads the list.
pub(super) fn read_all(item: &Item<'_>) -> Vec<HandshakeRule> {
    let rules = item.one_or_many();
    if let Some(extra) = rules.get(MAX_RULES) {
        extra.refuse("is one handshake too many", format!("a source can have {MAX_RULES}"));
    }
    rules.iter().take(MAX_RULES).filter_map(read).collect()
}

fn read(item: &Item<'_>) -> Option<HandshakeRule> {
    let mut section = item.section("{ method = \"GET\", answer = { status = 200 } }")?;
    let method = section.take("method").and_then(|item| item.word(&METHODS));
    let when = section.take("when").map(|item| item.one_or_many()).unwrap_or_default();
    let when: Vec<ValueCondition> = when.iter().filter_map(place::condition).collect();
    if when.iter().any(|when| when.param.is_some()) {
        let help = "write `check = { query = \"…\", param = \"…\" }`, which refuses another value";
        item.refuse("compares a parameter in `when`", help);
    }
    let empty = section.take("empty").and_then(|item| pick::pointer(&item));
    let verified = section.take("verified").and_then(|item| item.truth()).unwrap_or_default();
    let check = section.take("check").and_then(|item| read_check(&item));
    let refuse_status = section.take("refuse_status").and_then(|item| item.whole(400..=499));
    let offers = section.take("offers").and_then(|item| place::read(&item));
    let show_offer = section.take("show_offer").and_then(|item| item.truth()).unwrap_or_default();
    let answer = section.take("answer").map_or_else(
        || {
            Some(AnswerRule {
                status: 200,
                content_type: None,
                headers: Vec::new(),
                body: Vec::new(),
            })
        },
        |item| read_answer(&item),
    );
    let then = section.take("then").and_then(|item| read_then(&item));
    section.finish();
    let rule = HandshakeRule {
        method: method.unwrap_or(HandshakeMethod::Post),
        when,
        empty,
        verified,
        check,
        refuse_status: refuse_status.and_then(|status| status.try_into().ok()).unwrap_or(403),
        answer: answer?,
        offers,
        shows_offer: show_offer,
        then,
    };
    check_rule(item, &rule);
    Some(rule)
}

/// Refuses a rule whose keys do not go together.
fn check_rule(item: &Item<'_>, rule: &HandshakeRule) {
    let is_post = rule.method == HandshakeMethod::Post;
    if rule.then.is_some() && !rule.verified {
        let help = "anybody could have an address asked: write `verified = true`, or take it out";
        item.refuse("has `then`, and takes requests that prove nothing", help);
    }
    if is_post && rule.when.is_empty() && rule.empty.is_none() {
        let help = "every event would be answered as one: write `when = { json = \"/challenge\" }`";
        item.refuse("says of no POST that it is one", help);
    }
    if !is_post && rule.offers.is_some() {
        item.refuse("takes a secret of no POST", "take `offers` out, or write `method = \"POST\"`");
    }
    if rule.shows_offer && rule.offers.is_none() {
        let help = "write `offers`, or take it out";
        item.refuse("shows a secret, but does not say where it is", help);
    }
    if !is_post && (rule.verified || rule.empty.is_some()) {
        let help = "only a POST can be verified: take `verified` and `empty` out";
        item.refuse("asks for a body", help);
    }
}

/// `{ get = "/SubscribeURL", hosts = ["sns.*.amazonaws.com"] }`.
fn read_then(item: &Item<'_>) -> Option<ThenGet> {
    let example = "{ get = \"/SubscribeURL\", hosts = [\"sns.*.amazonaws.com\"] }";
    let mut section = item.section(example)?;
    let from = section.take("get").and_then(|item| pick::pointer(&item));
    let hosts = key_address::read_hosts(&mut section);
    if section.finish() || (from.is_some() && !hosts.is_empty()) {
        return Some(ThenGet { from: Place::Json(from?), hosts });
    }
    let help = format!("write where the address is, and the hosts that may be asked: {example}");
    item.refuse("does not say what is asked", help);
    None
}

/// `{ query = "hub.verify_token", param = "verify_token" }`.
fn read_check(item: &Item<'_>) -> Option<(Place, String)> {
    let mut section = item.section("{ query = \"hub.verify_token\", param = \"verify_token\" }")?;
    let param = section.take("param").and_then(|item| text(&item));
    let place = place::take(item, &mut section);
    section.finish();
    if param.is_none() || place.is_none() {
        let help = "write for example { query = \"hub.verify_token\", param = \"verify_token\" }";
        item.refuse("does not say what equals what", help);
    }
    Some((place?, param?))
}

fn read_answer(item: &Item<'_>) -> Option<AnswerRule> {
    let mut section = item.section("{ status = 200, body = \"{query:challenge}\" }")?;
    let status = section.take("status").and_then(|item| item.whole(200..=299));
    let content_type = section.take("content_type").and_then(|item| media_type(&item));
    let body = section.take("body").and_then(|item| parts(&item));
    let headers = read_headers(&mut section);
    section.finish();
    Some(AnswerRule {
        status: status.and_then(|status| status.try_into().ok()).unwrap_or(200),
        content_type,
        headers,
        body: body.unwrap_or_default(),
    })
}

fn read_headers(section: &mut Section<'_>) -> Vec<(String, Vec<AnswerPart>)> {
    let headers = section.take_section("headers", "{ X-Hook-Secret = \"{header:X-Hook-Secret}\" }");
    let one = |item: &Item<'_>| {
        let name = pick::header_name(item.key);
        if name.is_none() {
            item.refuse_key("is not the name of a header", "write it as the provider does");
        }
        Some((name?, parts(item)?))
    };
    headers.entries().iter().filter_map(one).collect()
}

/// Never HTML: a browser that is sent here must not run anything.
fn media_type(item: &Item<'_>) -> Option<String> {
    let known = [("text/plain", "text/plain"), ("application/json", "application/json")];
    item.word(&known).map(str::to_owned)
}

fn text(item: &Item<'_>) -> Option<String> {
    let text = item.text("\"…\"")?;
    if text.is_empty() || text.len() > MAX_TEXT_BYTES {
        item.refuse("cannot be used", format!("write 1 to {MAX_TEXT_BYTES} bytes"));
        return None;
    }
    Some(text.to_owned())
}

/// Text with parts between `{` and `}`; other braces, as JSON has them, are text.
fn parts(item: &Item<'_>) -> Option<Vec<AnswerPart>> {
    let text = text(item)?;
    let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text.as_str());
    while let Some((before, from)) = rest.split_once('{') {
        literal.push_str(before);
        let part = from.split_once('}').filter(|(name, _)| is_part(name));
        let Some((name, after)) = part else {
            literal.push('{');
            rest = from;
            continue;
        };
        if !literal.is_empty() {
            parts.push(AnswerPart::Text(std::mem::take(&mut literal)));
        }
        match part_of(name) {
            Some(part) => parts.push(part),
            None => {
                let help = "write {query:N}, {header:N}, {json:/P}, {form:N}, {param:N}, {url}, or \
                            {hmac-sha256:hex:…} and {sha256:hex:…} of these with `+` between them";
                item.refuse(format_args!("names the unknown part {{{name}}}"), help);
                return None;
            }
        }
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(AnswerPart::Text(literal));
    }
    Some(parts)
}

/// Whether a text between braces is meant as a part.
fn is_part(name: &str) -> bool {
    let kinds = ["query:", "header:", "json:", "form:", "param:", "hmac-", "sha256:"];
    name == "url" || kinds.iter().any(|kind| name.starts_with(kind))
}

fn part_of(name: &str) -> Option<AnswerPart> {
    let function = |rest: &str| {
        let (encoding, values) = rest.split_once(':')?;
        let encoding = match encoding {
            "hex" => Encoding::Hex,
            "base64" => Encoding::Base64,
            _ => return None,
        };
        let values = values.split('+').map(value_of).collect::<Option<Vec<_>>>()?;
        Some((encoding, values))
    };
    if let Some(rest) = name.strip_prefix("hmac-sha256:") {
        return function(rest).map(|(encoding, values)| AnswerPart::Hmac(encoding, values));
    }
    if let Some(rest) = name.strip_prefix("hmac-sha1:") {
        return function(rest).map(|(encoding, values)| AnswerPart::HmacSha1(encoding, values));
    }
    if let Some(rest) = name.strip_prefix("sha256:") {
        return function(rest).map(|(encoding, values)| AnswerPart::Digest(encoding, values));
    }
    value_of(name).map(AnswerPart::Value)
}

fn value_of(name: &str) -> Option<AnswerValue> {
    let (kind, rest) = name.split_once(':').unwrap_or((name, ""));
    let place = match (kind, rest) {
        ("url", "") => return Some(AnswerValue::Url),
        (_, "") => return None,
        ("param", name) => return Some(AnswerValue::Param(name.to_owned())),
        ("query", name) => Place::Query(name.to_owned()),
        ("form", name) => Place::Form(name.to_owned()),
        ("header", name) => Place::Header(pick::header_name(name)?),
        ("json", pointer) if pick::is_pointer(pointer) => Place::Json(pointer.to_owned()),
        _ => return None,
    };
    Some(AnswerValue::Request(place))
}
