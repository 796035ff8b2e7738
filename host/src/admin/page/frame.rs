//! The frame of every page: name, health, navigation, and how to get the same without a page.

use std::borrow::Cow;

use super::assets;
use super::parts::html::{Html, shown};
use super::parts::when::{as_of, clock, when};
use super::request::Asked;
use super::theme::THEMES;
use crate::admin::attention::{self, HostFacts, OpenTrouble};
use crate::admin::health::readiness;
use crate::admin::recent::RateSpan;
use crate::admin::role::{Identity, VIEWER};
use crate::admin::state::Admin;
use crate::config::{AdminUrl, Server};
use crate::event::State as DeliveryState;
use crate::series::{Meter, OwnerKind, SeriesOwner};
use crate::text::grouped;

/// A page in the navigation.
#[derive(Debug)]
pub(in crate::admin::page) struct NavItem {
    pub(in crate::admin::page) key: &'static str,
    pub(in crate::admin::page) label: &'static str,
    pub(in crate::admin::page) path: &'static str,
    /// The decisions that wait there: number and word, and the class that colours it.
    pub(in crate::admin::page) badge: Option<(String, &'static str)>,
}

/// The values that templates need around every page.
#[derive(Debug)]
pub(in crate::admin::page) struct PageFrame {
    pub(in crate::admin::page) title: String,
    /// The client, if somebody knows it; nobody else is shown how the host is.
    pub(in crate::admin::page) who: Option<Who>,
    /// Whether it may act; otherwise actions are absent.
    pub(in crate::admin::page) may_act: bool,
    pub(in crate::admin::page) server: String,
    pub(in crate::admin::page) active: &'static str,
    pub(in crate::admin::page) assets: &'static str,
    pub(in crate::admin::page) fragment: bool,
    /// The theme that its browser asks for.
    pub(in crate::admin::page) theme: &'static str,
    /// The address of the page.
    pub(in crate::admin::page) here: String,
    /// The topics of which a change is told to the page.
    pub(in crate::admin::page) topics: Cow<'static, str>,
    pub(in crate::admin::page) health: &'static str,
    /// Since when the host runs, on the page that is about the host.
    pub(in crate::admin::page) since: Option<Html>,
    /// Events that came in lately, and when that was read.
    pub(in crate::admin::page) accepted: String,
    pub(in crate::admin::page) as_of: Option<Html>,
    pub(in crate::admin::page) waiting: Option<String>,
    pub(in crate::admin::page) dead: Option<String>,
    pub(in crate::admin::page) nav: Vec<NavItem>,
    /// Where this host is, as the client calls it.
    origin: String,
    /// Whether clients of the API show a token.
    has_tokens: bool,
    /// The command that shows the same.
    pub(in crate::admin::page) command: String,
    /// The call of the API that gives the same.
    pub(in crate::admin::page) call: String,
}

/// The client that looks at a page.
#[derive(Debug)]
pub(in crate::admin::page) struct Who {
    pub(in crate::admin::page) name: String,
    pub(in crate::admin::page) role: &'static str,
    /// Whether it can log out.
    pub(in crate::admin::page) has_session: bool,
}

impl Who {
    fn of(client: &Identity) -> Self {
        let (role, has_session) = (client.role.name(), client.has_session);
        Self { name: client.name.to_string(), role, has_session }
    }
}

impl PageFrame {
    /// The frame of a page for somebody who is not known.
    pub(in crate::admin::page) fn bare(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            who: None,
            may_act: false,
            server: String::new(),
            active: "",
            assets: assets::hash(),
            fragment: false,
            theme: THEMES[0],
            here: String::new(),
            topics: "".into(),
            health: "",
            since: None,
            accepted: String::new(),
            as_of: None,
            waiting: None,
            dead: None,
            nav: Vec::new(),
            origin: String::new(),
            has_tokens: false,
            command: String::new(),
            call: String::new(),
        }
    }

    /// The frame of a page; `active` is its key in the navigation.
    pub(in crate::admin::page) async fn of(
        admin: &Admin,
        asked: &Asked,
        active: &'static str,
        title: impl Into<String>,
    ) -> Self {
        Self::of_facts(admin, asked, active, title, &HostFacts::at_once(admin).await)
    }

    /// The same, with what is known of the host.
    pub(in crate::admin::page) fn of_facts(
        admin: &Admin,
        asked: &Asked,
        active: &'static str,
        title: impl Into<String>,
        facts: &HostFacts,
    ) -> Self {
        let stats = facts.stats.value.clone().unwrap_or_default();
        let (_, health) = readiness(admin, &stats);
        let troubles = attention::all(admin, facts);
        let count = |state| Some(stats.deliveries(state)).filter(|n| *n > 0).map(grouped);
        let held = admin.registry.load().entries().filter(|(_, it)| it.held().is_some()).count();
        let dead = count(DeliveryState::Dead);
        let held = (held > 0).then(|| format!("{held} to approve"));
        let config = admin.config.load();
        Self {
            title: title.into(),
            who: asked.client.as_ref().map(Who::of),
            may_act: asked.may_act(),
            server: config.server.name.clone(),
            active,
            assets: assets::hash(),
            fragment: asked.fragment,
            theme: asked.theme,
            here: asked.here().to_owned(),
            topics: "stats".into(),
            health: health_word(health.status),
            since: None,
            accepted: accepted(admin),
            as_of: Some(as_of(facts.stats.as_of_ms.unwrap_or_else(|| admin.clock.now_ms()))),
            waiting: count(DeliveryState::Waiting),
            nav: nav(open(&troubles), dead.clone(), held),
            dead,
            origin: origin(&config.server, asked),
            has_tokens: !config.server.admin_tokens.is_empty(),
            command: String::new(),
            call: String::new(),
        }
    }

    /// The frame of a refusal: it must not fail for the reason that the page did.
    pub(in crate::admin::page) async fn of_problem(
        admin: &Admin,
        asked: &Asked,
        title: &str,
    ) -> Self {
        match asked.client.as_ref().is_some_and(|client| client.may(VIEWER)) {
            true => Self { topics: "".into(), ..Self::of(admin, asked, "", title).await },
            false => Self { theme: asked.theme, ..Self::bare(title) }.at(asked.here().to_owned()),
        }
    }

    /// The same at an address.
    pub(in crate::admin::page) fn at(self, here: String) -> Self {
        Self { here, ..self }
    }

    /// The same in a theme.
    pub(in crate::admin::page) fn themed(self, theme: &'static str) -> Self {
        Self { theme, ..self }
    }

    /// Every theme, and whether it is this page's.
    pub(in crate::admin::page) fn themes(&self) -> [(&'static str, bool); 3] {
        THEMES.map(|theme| (theme, theme == self.theme))
    }

    /// The command, for people to read.
    pub(in crate::admin::page) fn shown_command(&self) -> Html {
        shown(&self.command)
    }

    /// Tells of these topics.
    pub(in crate::admin::page) fn live(self, topics: impl Into<Cow<'static, str>>) -> Self {
        Self { topics: topics.into(), ..self }
    }

    /// Says since when the host runs.
    pub(in crate::admin::page) fn since(self, admin: &Admin) -> Self {
        let (started_ms, now_ms) = (admin.started_ms, admin.clock.now_ms());
        let mut html = shown(&format!("since {} UTC, ", clock(started_ms, now_ms)));
        html.raw(when(started_ms, now_ms));
        Self { since: Some(html), ..self }
    }

    /// Shows the command and the call that say the same.
    pub(in crate::admin::page) fn same_as(self, command: String, call: String) -> Self {
        let token = match self.has_tokens {
            true => "-H \"Authorization: Bearer $(cat TOKEN_FILE)\" ",
            false => "",
        };
        let call = format!("curl -s {token}'{}{call}'", self.origin);
        Self { command, call, ..self }
    }
}

/// The beginning of this host's addresses, as the client calls it.
fn origin(server: &Server, asked: &Asked) -> String {
    let public = |host: &str| server.admin_url.as_ref().filter(|url| url.is(host));
    match asked.host.as_deref() {
        Some(host) => public(host).map_or_else(|| format!("http://{host}"), AdminUrl::origin),
        None => format!("http://{}", server.admin),
    }
}

/// The pages of the navigation, with the open trouble of each.
fn nav(
    troubles: Option<(String, &'static str)>,
    dead: Option<String>,
    held: Option<String>,
) -> Vec<NavItem> {
    let item = |key, label, path, badge| NavItem { key, label, path, badge };
    vec![
        item("overview", "Overview", "/", troubles),
        item("events", "Events", "/events", None),
        item("failures", "Failures", "/failures", dead.map(|dead| (format!("{dead} dead"), "bad"))),
        item("deliveries", "Deliveries", "/deliveries", None),
        item("map", "Map", "/map", None),
        item("plugins", "Plugins", "/plugins", held.map(|held| (held, "dim"))),
        item("sources", "Sources", "/sources", None),
        item("joins", "Joins", "/joins", None),
        item("schedules", "Schedules", "/schedules", None),
        item("keys", "Keys", "/kv", None),
        item("settings", "Settings", "/settings", None),
    ]
}

/// How much wants attention, and the class that colours it.
fn open(troubles: &[OpenTrouble]) -> Option<(String, &'static str)> {
    let is_grave = troubles.iter().any(|trouble| trouble.is_grave);
    let says = match troubles.len() {
        0 => return None,
        1 => "1 trouble".to_owned(),
        n => format!("{n} troubles"),
    };
    Some((says, if is_grave { "bad" } else { "warn" }))
}

/// Events that came in lately.
fn accepted(admin: &Admin) -> String {
    let span = RateSpan::of(admin);
    let all = SeriesOwner { kind: OwnerKind::Source, name: None };
    let count = span.acts(admin, &all).count(Meter::ACCEPTED);
    format!("{} accepted in the {}", span.count(count), span.words())
}

/// The word for the health of the host; `ready` is a state of deliveries.
fn health_word(status: &'static str) -> &'static str {
    if status == "ready" { "serving" } else { status }
}
