//! Reads `callback`, and the token that `hookbox provider NAME callback-url` has made.

use std::io;
use std::path::Path;

use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::config::inputs::Input;
use crate::config::raw::{Item, Sink};
use crate::config::source::{CallbackRule, KnownKey};
use crate::config::warnings::Warning;
use crate::names::is_plugin_name;
use crate::providers::registered::{callback_file_name, is_callback_token};

const EXAMPLE: &str = "{ known = { bucket = \"orders\", key = \"{callback_id}\" } }";

/// The longest text around the subject in a key, in bytes.
const MAX_KEY_BYTES: usize = 200;

/// The longest file that is read as a token, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 10;

/// Words that stand for the subject in a key: HeyGen's word for it, and ours.
const PLACES: [&str; 2] = ["{callback_id}", "{subject}"];

/// Reads `true` or a table.
pub(super) fn read(item: &Item<'_>) -> Option<CallbackRule> {
    if !item.value.is_table() {
        return item.truth()?.then(CallbackRule::default);
    }
    let mut section = item.section(EXAMPLE)?;
    let known = section.take("known");
    if known.is_none() {
        item.refuse("says nothing", format!("write true, or for example {EXAMPLE}"));
    }
    section.finish();
    let known = read_known(&known?)?;
    Some(CallbackRule { token: None, known: Some(known) })
}

fn read_known(item: &Item<'_>) -> Option<KnownKey> {
    let mut section = item.section("{ bucket = \"orders\", key = \"{callback_id}\" }")?;
    let bucket = section.take("bucket").and_then(|item| {
        let text = item.text("\"orders\"")?;
        if !is_plugin_name(text) {
            item.refuse(
                format_args!("is {text:?}, which no bucket is called"),
                "write the bucket of a plugin: its `kv.bucket`, or its name",
            );
        }
        is_plugin_name(text).then(|| text.into())
    });
    let key = section.take("key").and_then(|item| read_key(&item));
    if !section.finish() && (bucket.is_none() || key.is_none()) {
        item.refuse("is not complete", format!("write `bucket` and `key`, as in {EXAMPLE}"));
    }
    let (before, after) = key?;
    Some(KnownKey { bucket: bucket?, before, after })
}

fn read_key(item: &Item<'_>) -> Option<(String, String)> {
    let text = item.text("\"{callback_id}\"")?;
    let mut parts = PLACES.iter().filter_map(|place| text.split_once(place));
    let found = parts.next().filter(|(before, after)| {
        !before.contains(['{', '}']) && !after.contains(['{', '}']) && text.len() <= MAX_KEY_BYTES
    });
    if found.is_none() {
        item.refuse(
            format_args!("is {text:?}, which does not name {{callback_id}} once"),
            "write a key with {callback_id} in it, such as \"order/{callback_id}\"",
        );
    }
    found.map(|(before, after)| (before.to_owned(), after.to_owned()))
}

/// Adds the token, if it was made.
pub(super) fn complete(
    rule: &mut CallbackRule,
    (source, item_span): (&str, Option<std::ops::Range<usize>>),
    folder: &Path,
    sink: &Sink,
) {
    let path = folder.join(callback_file_name(source));
    let key = format!("sources.{source}.callback.registered");
    let holds = |text: &[u8]| is_callback_token(text.trim_ascii());
    let (input, text) = Input::read(&key, &path, MAX_FILE_BYTES, holds);
    sink.input(input);
    let command = format!("hookbox provider {source} callback-url");
    let refuse = |what: String| {
        let message = format!("the token of callbacks in {} {what}", path.display());
        sink.problem(
            item_span.clone(),
            message,
            format!("make another one with `{command} --new`"),
        );
    };
    match text.map(Zeroizing::new) {
        Ok(text) if holds(&text) => {
            let text = String::from_utf8_lossy(text.trim_ascii()).into_owned();
            rule.token = Some(SecretString::from(text));
        }
        Ok(_) => refuse("is damaged".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let what =
                format!("no callback is taken until `{command}` has made an address for them");
            sink.warn(Warning::of_working_source(source, &what));
        }
        Err(error) => refuse(format!("cannot be read: {error}")),
    }
}
