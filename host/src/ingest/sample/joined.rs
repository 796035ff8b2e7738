//! Attributes that are made of several values: where those stand, and which come to a type.

use crate::config::Source;
use crate::config::source::{Joined, Pick};

/// The places that an attribute is made of.
pub(super) fn values(pick: &Pick) -> Vec<&Pick> {
    match pick {
        Pick::Joined(joined) => joined.values.iter().map(|(_, pick)| pick).collect(),
        Pick::First(picks) => picks.first().map(values).unwrap_or_default(),
        pick => vec![pick],
    }
}

/// The values of which a source makes this type.
pub(super) fn kind_values(
    source: &Source,
    kind: &str,
) -> Result<Vec<(Pick, Option<String>)>, String> {
    of_pick(&source.kind, &source.name, kind)
}

/// The same for a place of a type; of several the first is used.
fn of_pick(pick: &Pick, source: &str, kind: &str) -> Result<Vec<(Pick, Option<String>)>, String> {
    match pick {
        Pick::First(picks) => first(picks, source, kind),
        Pick::Fixed(fixed) if fixed != kind => {
            Err(format!("every event of source `{source}` has the type `{fixed}`"))
        }
        Pick::Joined(joined) => split(joined, kind)
            .ok_or_else(|| format!("source `{source}` cannot make the type `{kind}` of its parts")),
        pick => Ok(vec![(in_sample(pick), Some(kind.to_owned()))]),
    }
}

/// The first place that can hold the type, unless it is what counts where none holds one.
fn first(picks: &[Pick], source: &str, kind: &str) -> Result<Vec<(Pick, Option<String>)>, String> {
    let is_fixed = |pick: &&Pick| matches!(pick, Pick::Fixed(_));
    let mut places = picks.iter().filter(|pick| !is_fixed(pick));
    match picks.iter().find(is_fixed) {
        Some(Pick::Fixed(fixed)) if fixed == kind => {
            Ok(places.map(|place| (in_sample(place), None)).collect())
        }
        _ => places.next().map_or(Ok(Vec::new()), |place| of_pick(place, source, kind)),
    }
}

/// The place in a sample, whose members become the fields of a form where the provider sends forms.
fn in_sample(pick: &Pick) -> Pick {
    match pick {
        Pick::Form(name) => Pick::Json(format!("/{}", name.replace('~', "~0").replace('/', "~1"))),
        pick => pick.clone(),
    }
}

/// The place of each value, with the value it needs; `None` if no values make this type.
fn split(joined: &Joined, kind: &str) -> Option<Vec<(Pick, Option<String>)>> {
    let (first, _) = joined.values.first()?;
    let mut rest = kind.strip_suffix(&joined.end)?.strip_prefix(first)?;
    let mut split: Vec<(Pick, Option<String>)> =
        joined.values.iter().map(|(_, pick)| (pick.clone(), None)).collect();
    let mut at = 0;
    loop {
        // The next value that is there begins where the text in front of it does.
        let next = joined.values.iter().enumerate().skip(at + 1).find_map(|(next, (before, _))| {
            if before.is_empty() {
                return None;
            }
            let (value, after) = rest.split_once(before.as_str())?;
            (!value.is_empty() && !after.is_empty()).then_some((next, value, after))
        });
        let Some((next, value, after)) = next else {
            split[at].1 = Some(rest.to_owned());
            break;
        };
        split[at].1 = Some(value.to_owned());
        (at, rest) = (next, after);
    }
    (!rest.is_empty()).then_some(split)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(parts: &[(&str, &str)], end: &str, kind: &str) -> Option<Vec<Option<String>>> {
        let value = |(before, name): &(&str, &str)| {
            ((*before).to_owned(), Pick::Header((*name).to_owned()))
        };
        let joined = Joined { values: parts.iter().map(value).collect(), end: end.to_owned() };
        Some(split(&joined, kind)?.into_iter().map(|(_, value)| value).collect())
    }

    #[test]
    fn of_several_places_the_first_one_holds_the_type() {
        let form = |name: &str| Pick::Form(name.to_owned());
        let fixed = Pick::Fixed("acme.event".to_owned());
        let picks = [form("Event"), form("a/b"), fixed];
        let json = |pointer: &str| Pick::Json(pointer.to_owned());
        let first = |kind| first(&picks, "acme", kind).unwrap();
        assert_eq!(first("order.paid"), [(json("/Event"), Some("order.paid".to_owned()))]);
        assert_eq!(first("acme.event"), [(json("/Event"), None), (json("/a~1b"), None)]);
    }

    #[test]
    fn a_value_that_the_type_lacks_is_none() {
        let some = |text: &str| Some(text.to_owned());
        let parts = [("", "a"), (".", "b"), ("#", "c")];
        assert_eq!(taken(&parts, "", "x"), Some(vec![some("x"), None, None]));
        assert_eq!(taken(&parts, "", "x.y"), Some(vec![some("x"), some("y"), None]));
        assert_eq!(taken(&parts, "", "x#z"), Some(vec![some("x"), None, some("z")]));
        assert_eq!(taken(&parts, "", "x.y.y#z"), Some(vec![some("x"), some("y.y"), some("z")]));
        assert_eq!(
            taken(&[("git ", "a"), ("/", "b")], " event", "git push/x event"),
            Some(vec![some("push"), some("x")])
        );
        assert_eq!(taken(&[("git ", "a")], "", "push"), None);
        assert_eq!(taken(&[("git ", "a")], "", "git "), None);
        assert_eq!(taken(&[("", "a")], "!", "push"), None);
    }
}
