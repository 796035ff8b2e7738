//! Reads `params`: values that an operator knows of a registration, and perhaps nobody else.

use crate::config::raw::{Item, Section};
use crate::config::secrets::{self, Places};
use crate::config::source::{ParamText, SourceTemplate};
use crate::config::warnings::Warning;

/// The most parameters, and the longest value in bytes.
const MAX_PARAMS: usize = 16;
const MAX_PARAM_BYTES: usize = 512;

/// An entry of `params` that is usable.
enum Given {
    Text(ParamText),
    /// Nothing is at the place that it names; the place, for people.
    Unset(String),
}

/// Reads `params = { NAME = "…" }`, where a value may also be `{ env = "…" }` or `{ file = "…" }`,
/// and says which ones the source lacks.
pub(super) fn read(
    item: &Item<'_>,
    section: &mut Section<'_>,
    template: &mut SourceTemplate,
    places: &Places<'_>,
) {
    let signed = template.signature.needed_params().into_iter();
    let signed: Vec<String> = signed.map(str::to_owned).collect();
    let answered: Vec<String> = template.handshakes.iter().flat_map(|rule| rule.params()).collect();
    let example = "{ webhook_id = \"…\" }";
    let given = section.take_section("params", example).entries();
    if let Some(extra) = given.get(MAX_PARAMS) {
        extra.refuse_key("is one parameter too many", format!("a source can have {MAX_PARAMS}"));
    }
    let (mut refused, mut unset) = (Vec::new(), Vec::new());
    for param in given.iter().take(MAX_PARAMS) {
        match read_one(param, places) {
            Some(Given::Text(text)) => {
                template.params.insert(param.key.to_owned(), text);
            }
            Some(Given::Unset(place)) => unset.push((param, place)),
            None => refused.push(param.key),
        }
    }
    let known = |name: &str| template.params.contains_key(name) || refused.contains(&name);
    for name in signed.iter().filter(|name| !known(name)) {
        if let Some((param, place)) = unset.iter().find(|(param, _)| param.key == name) {
            let help = "set it: the provider signs it, so no request could be authentic";
            param.refuse(format_args!("names {place}, which is empty or absent"), help);
            continue;
        }
        let help = format!("copy it from the provider: `params = {{ {name} = \"…\" }}`");
        item.refuse_key(format_args!("signs {{param:{name}}}, but does not say what it is"), help);
    }
    for name in answered.iter().filter(|name| !known(name) && !signed.contains(name)) {
        let missing = match unset.iter().find(|(param, _)| param.key == name) {
            Some((_, place)) => format!("{place} is set, which `params.{name}` names"),
            None => format!("`params = {{ {name} = \"…\" }}` is set"),
        };
        let text = format!("the provider's handshake is refused until {missing}");
        item.sink().warn(Warning::of_working_source(item.key, &text));
    }
}

fn read_one(param: &Item<'_>, places: &Places<'_>) -> Option<Given> {
    let text = if param.value.is_table() {
        secrets::mask_but(param, &["env", "file"]);
        let section = param.section("{ env = \"NAME\" }")?;
        match secrets::read_place(param, section, places)? {
            (place, None) => return Some(Given::Unset(place)),
            (_, Some(text)) => String::from_utf8(text.to_vec()).ok(),
        }
    } else {
        param.sink().mask(param.span.clone());
        Some(param.text("\"…\"")?.to_owned())
    };
    let fits = |text: &String| {
        (1..=MAX_PARAM_BYTES).contains(&text.len()) && !text.contains(char::is_control)
    };
    let text = text.filter(fits);
    if text.is_none() {
        let help = format!("write one line of 1 to {MAX_PARAM_BYTES} bytes");
        param.refuse("cannot be used", help);
    }
    text.map(|text| Given::Text(text.into()))
}
