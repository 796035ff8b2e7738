//! The filters of a listing: the form that asks for them, and what applies.

use utoipa::IntoParams;

use super::parts::html::{Html, shown};
use super::request::Asked;

/// Characters of a filter's value that its chip shows.
const MAX_SHOWN: usize = 80;

/// The form of a listing.
#[derive(Debug)]
pub(super) struct FilterForm {
    pub(super) fields: Vec<FilterField>,
    /// Filters that apply and have no field: the form keeps them.
    pub(super) kept: Vec<(String, String)>,
    /// The filters that apply, each with the address without it.
    pub(super) chips: Vec<(Html, String)>,
}

/// A field of the form.
#[derive(Debug)]
pub(super) struct FilterField {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) value: String,
    pub(super) hint: &'static str,
    /// The values to choose from; none if any text is one.
    pub(super) choices: Vec<(String, bool)>,
}

impl FilterForm {
    /// A form of these fields, for a listing that takes `T`.
    pub(super) fn of<T: IntoParams>(asked: &Asked, fields: Vec<FilterField>) -> Self {
        let mut kept = asked.filters::<T>();
        kept.retain(|(name, _)| fields.iter().all(|field| field.name != name));
        Self { fields, kept, chips: chips(asked) }
    }
}

impl FilterField {
    /// A field for text.
    pub(super) fn of(
        asked: &Asked,
        name: &'static str,
        label: &'static str,
        hint: &'static str,
    ) -> Self {
        let value = asked.field(name).unwrap_or_default().to_owned();
        Self { name, label, value, hint, choices: Vec::new() }
    }

    /// A choice of values; the one of the address is among them, whatever it is.
    pub(super) fn among<'v>(self, known: impl IntoIterator<Item = &'v str>) -> Self {
        let choice = |name: &str| (name.to_owned(), name == self.value);
        let mut choices: Vec<_> = known.into_iter().map(choice).collect();
        if !self.value.is_empty() && choices.iter().all(|(_, chosen)| !chosen) {
            choices.push((self.value.clone(), true));
        }
        Self { choices, ..self }
    }
}

/// The filters that apply, each with the address without it.
fn chips(asked: &Asked) -> Vec<(Html, String)> {
    let fields = asked.fields().iter().filter(|(name, _)| name != "cursor");
    fields
        .map(|(name, value)| {
            let value: String = value.chars().take(MAX_SHOWN).collect();
            (shown(&format!("{name}: {value}")), asked.but(name, None))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::params::DeliveryQuery;

    #[test]
    fn a_form_keeps_the_filters_that_it_has_no_field_for() {
        let address = "/deliveries?state=deda&failure=f_1&nothing=1&limit=7&cursor=x";
        let asked = Asked::of(&address.parse().unwrap());
        let state = FilterField::of(&asked, "state", "state", "").among(["dead", "done"]);
        let form = FilterForm::of::<DeliveryQuery>(&asked, vec![state]);
        let kept: Vec<_> = form.kept.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(kept, [("failure", "f_1"), ("limit", "7")]);
        assert_eq!(form.chips.len(), 4, "a chip for each, also for those that are wrong");
        let choices: Vec<_> =
            form.fields[0].choices.iter().map(|(name, chosen)| (&**name, *chosen)).collect();
        assert_eq!(choices, [("dead", false), ("done", false), ("deda", true)]);
    }
}
