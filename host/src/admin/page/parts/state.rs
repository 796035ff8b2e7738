//! States as a word and a shape; their colour only repeats it.

use super::html::Html;

/// The meaning of `held` for a plugin of which an older file runs.
pub(in crate::admin::page) const OLD_RUNS: &str = "a new file waits for approval, the old one runs";

/// The shape of a state of a delivery, a plugin or an attempt.
pub(in crate::admin::page) fn shape(word: &str) -> &'static str {
    match word {
        "ready" => "○",
        "leased" => "◐",
        "waiting" => "◔",
        "done" | "ok" | "loaded" | "on" | "taken" => "●",
        "closed" => "◌",
        // Whatever failed has one shape, also where it is tried again.
        "dead" | "failed" | "retry" | "reject" | "trap" | "timeout" | "memory" | "error"
        | "crash" => "✕",
        "discarded" => "⊘",
        "cancelled" => "⊗",
        "held" | "paused" => "◆",
        "stale" | "missing" => "▲",
        "again" => "↻",
        _ => "·",
    }
}

/// The class that colours it.
fn class(word: &str) -> &'static str {
    match word {
        "done" | "ok" | "loaded" | "on" | "taken" => "good",
        "dead" | "failed" | "retry" | "reject" | "trap" | "timeout" | "memory" | "error"
        | "crash" => "bad",
        "waiting" | "held" | "paused" | "stale" | "missing" => "warn",
        _ => "calm",
    }
}

/// Shape and word.
pub(in crate::admin::page) fn badge(word: &str) -> Html {
    ending(word, word)
}

/// How an attempt ended, in words: `ok`, or `failed (trap)`.
pub(in crate::admin::page) fn ended(outcome: &str) -> String {
    match class(outcome) {
        "bad" => format!("failed ({outcome})"),
        _ => outcome.to_owned(),
    }
}

/// Shape and words for how an attempt ended.
pub(in crate::admin::page) fn ending(outcome: &str, words: &str) -> Html {
    let mut html = Html::default();
    let (class, shape) = (class(outcome), shape(outcome));
    html.raw(format_args!("<span class=\"st {class}\"><span aria-hidden=\"true\">{shape}</span> "))
        .text(words)
        .raw("</span>");
    html
}

/// The shape in front of a name; the word is there for those who do not see it.
pub(in crate::admin::page) fn named(word: &str, name: &str) -> Html {
    let mut html = Html::default();
    let (class, shape) = (class(word), shape(word));
    html.raw(format_args!(
        "<span class=\"st {class}\" title=\"{word}\"><span aria-hidden=\"true\">{shape}</span>\
         <span class=\"vh\">{word}</span> "
    ))
    .text(name)
    .raw("</span>");
    html
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Outcome, State};

    #[test]
    fn every_state_and_outcome_has_a_shape() {
        let words = State::ALL.map(State::name).into_iter().chain(Outcome::ALL.map(Outcome::name));
        for word in words {
            assert_ne!(shape(word), "·", "{word}");
            let html = badge(word).to_string();
            assert!(html.contains(word) && html.contains(shape(word)), "{html}");
        }
        let failed =
            Outcome::ALL.into_iter().filter(|it| !matches!(it, Outcome::Ok | Outcome::Again));
        for outcome in failed {
            assert_eq!((shape(outcome.name()), class(outcome.name())), ("✕", "bad"), "{outcome:?}");
        }
        assert_eq!((ended("ok").as_str(), ended("trap").as_str()), ("ok", "failed (trap)"));
        let html = ending("retry", "failed, retried").to_string();
        assert!(html.contains("✕") && html.contains("> failed, retried</span>"), "{html}");
        assert!(named("dead", "<a>").to_string().contains("&lt;a&gt;"));
    }
}
