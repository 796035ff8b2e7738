//! A row of what wants attention: what it is, since when, what follows, where to look and what to
//! do.

use super::changes::NearbyChanges;
use crate::admin::attention::{OpenTrouble, TroubleKind, TroubleSpan};
use crate::admin::page::parts::html::{Html, coded_lines, shown};
use crate::admin::page::parts::link::Link;
use crate::admin::page::parts::spark::spark;
use crate::admin::page::parts::when::{clock, when};
use crate::text::grouped;

/// Something that wants attention.
#[derive(Debug)]
pub(super) struct TroubleRow {
    pub(super) class: &'static str,
    pub(super) shape: &'static str,
    pub(super) trouble: OpenTrouble,
    pub(super) detail: Html,
    /// How often it happened in the last hour.
    pub(super) trend: Option<Html>,
    /// Its time in words, with what was changed shortly before.
    pub(super) since: Option<Html>,
    /// Where to look.
    pub(super) link: (String, &'static str),
    /// Where to act: a page that asks first.
    pub(super) act: Option<(String, &'static str)>,
}

impl TroubleRow {
    pub(super) fn of(trouble: OpenTrouble) -> Self {
        let (class, shape) = match trouble.about {
            TroubleKind::Approval => ("warn", "◆"),
            TroubleKind::DeadLetters => ("bad", "✕"),
            _ if trouble.is_grave => ("bad", "✕"),
            _ => ("warn", "▲"),
        };
        let label = || {
            let all = trouble.trend.iter().map(|n| u64::from(*n)).sum();
            format!("{} in the last hour", grouped(all))
        };
        Self {
            class,
            shape,
            detail: match trouble.about {
                TroubleKind::Host | TroubleKind::Paused | TroubleKind::Approval => {
                    coded_lines(&trouble.says)
                }
                // These have the texts of strangers.
                _ => shown(&trouble.says),
            },
            trend: (!trouble.trend.is_empty()).then(|| spark(&trouble.trend, &label())),
            since: None,
            link: link(&trouble),
            act: act(&trouble),
            trouble,
        }
    }

    /// Says when it began, and after which change.
    pub(super) fn tell_since(&mut self, changes: &NearbyChanges, now_ms: i64) {
        let OpenTrouble { about, ref name, .. } = self.trouble;
        let Some(span) = self.trouble.span else { return };
        let mut html = words(span, about, now_ms);
        if let Some(later) = self.trouble.later {
            html.text(&format!(", {} succeeded since", grouped(later)));
        }
        let has_cause = matches!(
            about,
            TroubleKind::Attempts
                | TroubleKind::Retries
                | TroubleKind::DeadLetters
                | TroubleKind::Refusals
        );
        // The beginning of what waits for approval is the change itself.
        // Of what may be older it is not known what was changed before.
        let change = if span.is_older { None } else { changes.before(name, span) };
        let is_change = matches!(about, TroubleKind::Approval | TroubleKind::Paused);
        if let Some(change) = change
            && !is_change
        {
            html.text("; ").raw(change);
        } else if has_cause && changes.none_before(name, span) {
            html.text("; no file or setting was changed just before");
        }
        self.since = Some(html);
    }
}

/// Where to look.
fn link(trouble: &OpenTrouble) -> (String, &'static str) {
    let OpenTrouble { about, part, name, .. } = trouble;
    let own = |path: &str| Link::to(path).segment(name).into_text();
    let its = |path: &str, state: &str| {
        Link::to(path).with("state", state).with("plugin", name).into_text()
    };
    match about {
        TroubleKind::DeadLetters => (its("/deliveries", "dead"), "look at them"),
        TroubleKind::Attempts | TroubleKind::Retries => {
            (Link::to("/failures").with("plugin", name).into_text(), "see why")
        }
        TroubleKind::OldReady => (its("/deliveries", "ready"), "look at them"),
        TroubleKind::Approval => (own("/plugins"), "see what it asks for"),
        TroubleKind::Refusals => (own("/sources"), "see why"),
        TroubleKind::Schedule => ("/schedules".to_owned(), "see its ticks"),
        TroubleKind::Unrouted => ("/events?state=unrouted".to_owned(), "see them"),
        TroubleKind::Paused | TroubleKind::Host => match *part {
            // Joins and batches have no page of their own.
            "plugin" if name.contains('/') => ("/joins".to_owned(), "look at it"),
            "plugin" => (own("/plugins"), "look at it"),
            "source" => (own("/sources"), "look at it"),
            "plugins_dir" => ("/plugins".to_owned(), "see what is loaded"),
            "store" | "disk" | "clock" => ("/settings/about".to_owned(), "see this host"),
            _ => ("/settings".to_owned(), "see what applies"),
        },
    }
}

/// The one thing to do that loses nothing: a page that asks first.
fn act(trouble: &OpenTrouble) -> Option<(String, &'static str)> {
    let OpenTrouble { about, name, .. } = trouble;
    // A plugin of the host itself is not paused.
    let is_own = name.contains('/');
    let of = |path: &str, action: &str| Link::to(path).segment(name).segment(action).into_text();
    match about {
        TroubleKind::DeadLetters => {
            let link = Link::to("/operations/new").with("action", "retry").with("state", "dead");
            Some((link.with("plugin", name).into_text(), "retry …"))
        }
        TroubleKind::Attempts | TroubleKind::Retries if !is_own => {
            Some((of("/plugins", "pause"), "pause …"))
        }
        TroubleKind::Paused => Some((of("/plugins", "resume"), "let it go on …")),
        TroubleKind::Approval => Some((of("/plugins", "approve"), "let it in …")),
        TroubleKind::Schedule => Some((of("/schedules", "run"), "run it now …")),
        _ => None,
    }
}

/// A time in words: `since 14:02 UTC, 2 h ago`. Dead letters stay when nothing fails now.
fn words(span: TroubleSpan, about: TroubleKind, now_ms: i64) -> Html {
    let mut html = Html::default();
    let TroubleSpan { from_ms, is_older, to_ms } = span;
    let older = if is_older { " or before" } else { "" };
    let from = clock(from_ms, now_ms);
    let Some(to_ms) = to_ms else {
        html.text(&format!("since {from} UTC{older}, ")).raw(when(from_ms, now_ms));
        return html;
    };
    let to = clock(to_ms, now_ms);
    html.text(&match about {
        TroubleKind::DeadLetters | TroubleKind::Retries => {
            format!("attempts failed from {from}{older} to {to} UTC, the last one ")
        }
        TroubleKind::Unrouted => format!("since {from} UTC{older}, the last one "),
        _ => format!("from {from}{older} to {to} UTC, over: the last one "),
    })
    .raw(when(to_ms, now_ms));
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_770_000_000_000;

    #[test]
    fn the_words_say_when_it_began_and_when_it_was_seen_last() {
        let says = |span, about| words(span, about, NOW_MS).to_string();
        let now = says(TroubleSpan::since(NOW_MS - 7_200_000), TroubleKind::DeadLetters);
        assert!(now.starts_with("since 00:40 UTC, ") && now.contains("2 h ago"), "{now}");
        let over =
            TroubleSpan { to_ms: Some(NOW_MS - 600_000), ..TroubleSpan::since(NOW_MS - 900_000) };
        let refused = says(over, TroubleKind::Refusals);
        assert!(refused.starts_with("from 02:25 to 02:30 UTC, over: the last one "), "{refused}");
        for about in [TroubleKind::DeadLetters, TroubleKind::Retries] {
            let failed = says(over, about);
            let begin = "attempts failed from 02:25 to 02:30 UTC, the last one ";
            assert!(failed.starts_with(begin) && !failed.contains("over"), "{failed}");
        }
        let unrouted = says(over, TroubleKind::Unrouted);
        assert!(unrouted.starts_with("since 02:25 UTC, the last one "), "{unrouted}");
    }

    #[test]
    fn a_text_of_trouble_is_escaped_and_has_one_link_and_at_most_one_action() {
        let row = |about, part, name: &str| {
            TroubleRow::of(OpenTrouble {
                is_grave: false,
                about,
                part,
                name: name.to_owned(),
                says: "<script>".to_owned(),
                effect: "",
                span: None,
                later: None,
                trend: vec![0, 3],
            })
        };
        let host = row(TroubleKind::Host, "plugin", "a");
        assert_eq!(host.detail.to_string(), "&lt;script&gt;");
        assert_eq!((host.link.0.as_str(), host.act), ("/plugins/a", None));
        assert!(host.trend.unwrap().to_string().contains("3 in the last hour"));
        for (about, part, link, act) in [
            (TroubleKind::Host, "config", "/settings", ""),
            (TroubleKind::Host, "store", "/settings/about", ""),
            (TroubleKind::Host, "disk", "/settings/about", ""),
            (TroubleKind::Paused, "plugin", "/plugins/a", "/plugins/a/resume"),
            (TroubleKind::Approval, "plugin", "/plugins/a", "/plugins/a/approve"),
            (TroubleKind::Retries, "plugin", "/failures?plugin=a", "/plugins/a/pause"),
            (TroubleKind::OldReady, "plugin", "/deliveries?state=ready&plugin=a", ""),
            (TroubleKind::Schedule, "schedule", "/schedules", "/schedules/a/run"),
        ] {
            let row = row(about, part, "a");
            let acts = row.act.map(|(path, _)| path).unwrap_or_default();
            assert_eq!((row.link.0.as_str(), acts.as_str()), (link, act), "{about:?}");
        }
        let dead = row(TroubleKind::DeadLetters, "plugin", "a");
        assert_eq!(dead.link.0, "/deliveries?state=dead&plugin=a");
        let retry = "/operations/new?action=retry&state=dead&plugin=a";
        assert_eq!((dead.class, dead.act.unwrap().0.as_str()), ("bad", retry));
    }
}
