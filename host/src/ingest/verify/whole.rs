//! The check of a request by rules that look into its body, or that have alternatives.

use std::borrow::Cow;

use super::candidates::Candidates;
use super::check::{Proof, SignatureCheck};
use super::digest::SignedDigest;
use super::field::Items;
use super::jwt;
use super::message::Message;
use super::place::PointedRequest;
use super::refusal::Refusal;
use crate::ingest::head::Head;
use crate::ingest::identify::items;

/// The most items of a list that is signed item by item.
const MAX_ITEMS: usize = 1_000;

/// Checks the whole request with the first rule that applies to it, at `now_ms` (Unix ms).
pub(super) fn check(
    check: &SignatureCheck,
    head: &Head,
    body: &[u8],
    now_ms: i64,
) -> Result<Proof, Refusal> {
    let mut refusal = Refusal::NoSignature;
    for rule in std::iter::once(check).chain(&check.others) {
        match by_rule(rule, head, body, now_ms) {
            // A rule whose signature is missing leaves the request to the next one.
            Err(missing @ (Refusal::NoSignature | Refusal::NoForm)) => refusal = missing,
            checked => return checked,
        }
    }
    Err(refusal)
}

fn by_rule(rule: &SignatureCheck, head: &Head, body: &[u8], now_ms: i64) -> Result<Proof, Refusal> {
    let reads_json = !rule.pointers.is_empty() || rule.each.is_some();
    let json = if reads_json { rule.json(head, body) } else { Cow::Borrowed(body) };
    let Some(each) = &rule.each else {
        return one(rule, head, body, &json, now_ms);
    };
    let listed = items::items(&json, each, MAX_ITEMS).ok_or(Refusal::NoSignature)?;
    let (mut proof, mut digests) = (None, Vec::new());
    for item in listed {
        let mut checked = one(rule, head, body, item.as_bytes(), now_ms)?;
        digests.extend(checked.signed.take().map(|signed| signed.of_request()));
        proof = proof.or(Some(checked));
    }
    let signed = rule.keeps_digest.then_some(SignedDigest::Items(digests));
    proof.map(|proof| Proof { signed, ..proof }).ok_or(Refusal::NoSignature)
}

/// Checks the request by `json`, which is its body, a field of it, or an item.
fn one(
    rule: &SignatureCheck,
    head: &Head,
    body: &[u8],
    json: &[u8],
    now_ms: i64,
) -> Result<Proof, Refusal> {
    let found = match rule.pointers.is_empty() {
        true => Vec::new(),
        // A body that is no JSON has nothing at any pointer.
        false => rule.pointers.find(json, "").unwrap_or_else(|_| rule.pointers.nothing()),
    };
    let reading = PointedRequest { head, body, found: &found };
    if !rule.when.iter().all(|when| when.holds(reading)) {
        return Err(Refusal::NoSignature);
    }
    let candidates = candidates(rule, reading)?;
    let timestamp = match &rule.timestamp {
        Some(check) => check.value(reading)?,
        None => None,
    };
    let id = match &rule.id {
        Some(spot) => spot.value(reading)?,
        None => None,
    };
    if rule.message.signs_id && id.is_none() {
        return Err(Refusal::NoId);
    }
    rule.message.check_whole(reading)?;
    if let Some((spot, encoding)) = &rule.body_hash {
        let named = spot.value(reading)?.ok_or(Refusal::NoPart)?;
        if !jwt::is_digest(&named, *encoding, body) {
            return Err(Refusal::Mismatch);
        }
    }
    let key_url = rule.key_url(reading)?;
    let message = Message {
        template: &rule.message,
        head,
        timestamp: timestamp.as_deref(),
        id: id.as_deref(),
        body,
        found: &found,
        secret: None,
        key_url: key_url.as_deref(),
        now_ms,
    };
    let (key, message) = judged(rule, message, &candidates)?;
    if rule.refuses_challenges && message.is_challenge() {
        return Err(Refusal::Mismatch);
    }
    let freshness =
        rule.timestamp.as_ref().map(|check| check.freshness(timestamp.as_deref(), now_ms));
    let note = freshness.transpose()?.flatten();
    let signed = rule.digest(&message, &candidates);
    let sent_at = timestamp.map(Cow::into_owned);
    Ok(Proof { key: Some(key), note, sent_at, signed })
}

/// The key that made a candidate, and the message with the spelling of the address that it signed.
fn judged<'a>(
    rule: &'a SignatureCheck,
    message: Message<'a>,
    candidates: &Candidates,
) -> Result<(u32, Message<'a>), Refusal> {
    let mut refusal = Refusal::Mismatch;
    for template in std::iter::once(&rule.message).chain(&rule.spellings) {
        let spelled = Message { template, ..message };
        match rule.scheme.judge(&spelled, candidates) {
            Ok(key) => return Ok((key, spelled)),
            Err(Refusal::Mismatch) => {}
            Err(other) => {
                refusal = other;
                break;
            }
        }
    }
    Err(refusal)
}

/// The signatures at the first place that is present, or at all of them.
fn candidates(rule: &SignatureCheck, reading: PointedRequest<'_>) -> Result<Candidates, Refusal> {
    let mut candidates = Candidates::default();
    let mut is_present = false;
    for (spot, field) in &rule.signatures {
        if let Some(name) = spot.header() {
            if !reading.head.headers.contains_key(name) {
                continue;
            }
            for item in Items::of(&reading.head.headers, name, field)? {
                candidates.push(item, rule.encoding, |bytes| rule.scheme.fits(bytes));
            }
        } else if let Some(value) = spot.value(reading)? {
            for item in Items::within(&value, field) {
                candidates.push(item, rule.encoding, |bytes| rule.scheme.fits(bytes));
            }
        } else {
            continue;
        }
        is_present = true;
        if !rule.matches_any {
            break;
        }
    }
    let is_malformed = candidates.is_empty() || candidates.exceed(rule.scheme.most_candidates());
    match (is_present, is_malformed) {
        (false, _) => Err(Refusal::NoSignature),
        (true, true) => Err(Refusal::Malformed),
        (true, false) => Ok(candidates),
    }
}
