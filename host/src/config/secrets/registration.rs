//! `{ registered = true }`: the secret of the registration at the provider, in a file of the host.

use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use super::{FoundSecrets, MIN_KEY_BYTES, has_folder, key};
use crate::clock::rfc3339;
use crate::config::inputs::Input;
use crate::config::raw::{Item, Sink};
use crate::config::source::{KeyFormat, ProviderSettings, SecretPlace};
use crate::providers::registered::{MAX_BYTES, Registration};

/// Whether an entry names the registration. An entry that names it wrongly is refused.
pub(super) fn is_meant(entry: &Item<'_>) -> bool {
    let names_it = entry.value.as_table().is_some_and(|table| table.contains_key("registered"));
    if !names_it {
        return false;
    }
    let Some(mut section) = entry.section("{ registered = true }") else { return true };
    let value = section.take("registered").and_then(|item| item.truth());
    if value == Some(false) {
        entry.refuse("names nothing", "write { registered = true }, or take the entry out");
    }
    section.refuse_others("stands beside `registered`", "write it as an entry of its own");
    true
}

/// Adds the secrets of the registration, if the list names it and there is one.
pub(in crate::config) fn read(
    found: &mut FoundSecrets,
    source: &str,
    path: &Path,
    (format, provider): (&KeyFormat, &mut ProviderSettings),
    sink: &Sink,
) {
    provider.key_ends = vec![None; found.keys.len()];
    provider.names_registration = found.registered;
    if !found.registered {
        return;
    }
    let provider_takes = provider.takes_secrets;
    let (what, command) = match provider_takes {
        true => ("the secret of a handshake", format!("hookbox sources {source} take-secret")),
        false => ("the registration", format!("hookbox provider {source} register")),
    };
    let place = |about: &str| format!("{what}{about}, in {}", path.display());
    let refuse = |what: String| {
        let help = match provider_takes {
            true => format!(
                "put a copy of the file back, or remove it, run `{command}`, and register again at the provider"
            ),
            false => format!("register again with `{command}`, or put a copy of the file back"),
        };
        sink.problem(found.span.clone(), format!("{}, {what}", place("")), help);
    };
    let holds = |text: &[u8]| Registration::read(text).is_ok();
    let key_name = format!("sources.{source}.secrets.registered");
    let (input, text) = Input::read(&key_name, path, MAX_BYTES, holds);
    sink.input(input);
    let text = match text {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound || !has_folder(path) => {
            found.places.push(SecretPlace { name: place(""), is_set: false });
            found.unset.push(format!("the file {} (`{command}` makes it)", path.display()));
            return forget_unset(found);
        }
        Err(error) => return refuse(format!("cannot be read: {error}")),
    };
    let registration = match Registration::read(&text) {
        Ok(registration) => registration,
        Err(error) => return refuse(error),
    };
    for kept in &registration.secrets {
        match key(kept.secret.as_bytes(), format, MIN_KEY_BYTES) {
            Ok(key) => found.keys.push(key),
            Err(error) => return refuse(error.to_string()),
        }
        let until = kept.until_ms.map(|until_ms| format!(" until {}", rfc3339(until_ms)));
        let name = place(&until.unwrap_or_default());
        found.places.push(SecretPlace { name, is_set: true });
        provider.key_ends.push(kept.until_ms);
    }
    provider.registration = Some(registration);
    forget_unset(found);
}

/// Beside a registration the other places may well be empty, and the other way round.
fn forget_unset(found: &mut FoundSecrets) {
    if !found.keys.is_empty() {
        found.unset.clear();
    }
}
