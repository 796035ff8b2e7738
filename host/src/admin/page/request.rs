//! The request for a page: its path and the fields of its query.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::parts::link::{Link, safe, word};
use super::theme;
use crate::admin::params::read_fields;
use crate::admin::problem::ProblemJson;
use crate::admin::role::{Identity, OPERATOR};
use crate::admin::sees::Sees;

/// The field of a query that asks for the part of a page that changes.
const FRAGMENT: &str = "fragment";

/// The field that has the cursors of the pages before this one, the oldest first.
const BACK: &str = "back";

/// Joins the cursors of the pages before; none of them has it.
const BETWEEN: char = '.';

/// Pages that a page knows the way back to; before them it is the newest one.
const MAX_BACK: usize = 40;

/// An address: a form of a browser sends empty fields too, which stand for nothing.
#[derive(Debug, Clone, Default)]
pub(in crate::admin::page) struct Asked {
    path: String,
    /// The address of the page, with every field.
    here: String,
    fields: Vec<(String, String)>,
    /// The cursors of the pages before this one, but for the newest, which has none.
    back: Vec<String>,
    /// Whether only the part that changes is asked for.
    pub(in crate::admin::page) fragment: bool,
    /// The host that it asked, as it calls it; the guard has let it pass.
    pub(in crate::admin::page) host: Option<String>,
    /// The client, if somebody knows it.
    pub(in crate::admin::page) client: Option<Identity>,
    /// The theme that its browser asks for.
    pub(in crate::admin::page) theme: &'static str,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = ProblemJson;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ProblemJson> {
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let asked = Self { host: host.map(str::to_owned), ..Self::read(&parts.uri)? };
        Ok(asked.dressed(&parts.headers).by(parts.extensions.get().cloned()))
    }
}

impl Asked {
    fn read(uri: &Uri) -> Result<Self, ProblemJson> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| ProblemJson::bad_request(error.body_text()))?;
        let (asked, fields): (Vec<_>, Vec<_>) =
            pairs.into_iter().partition(|(name, _)| name == FRAGMENT);
        let here = fields.iter().map(|(name, value)| (name, value.trim()));
        let here = here
            .filter(|(_, value)| !value.is_empty())
            .fold(Link::to(uri.path()), |link, (name, value)| link.with(name, value));
        let (back, mut fields): (Vec<_>, Vec<_>) =
            fields.into_iter().partition(|(name, _)| name == BACK);
        let back = back.iter().flat_map(|(_, cursors)| cursors.split(BETWEEN));
        let back = back.filter(|cursor| !cursor.is_empty()).map(str::to_owned).collect();
        fields.retain(|(_, value)| !value.trim().is_empty());
        for (_, value) in &mut fields {
            *value = value.trim().to_owned();
        }
        let fragment = !asked.is_empty();
        let path = uri.path().to_owned();
        Ok(Self { path, here: here.into_text(), fields, back, fragment, ..Self::default() })
    }

    /// The same, in the theme of a browser.
    pub(in crate::admin::page) fn dressed(self, headers: &HeaderMap) -> Self {
        Self { theme: theme::of(headers), ..self }
    }

    /// The same, asked by a client.
    pub(in crate::admin::page) fn by(self, client: Option<Identity>) -> Self {
        Self { client, ..self }
    }

    /// Whether the client may act; otherwise actions are absent.
    pub(in crate::admin::page) fn may_act(&self) -> bool {
        self.client.as_ref().is_some_and(|client| client.may(OPERATOR))
    }

    /// The data that the client may read.
    pub(in crate::admin::page) fn sees(&self) -> Sees {
        self.client.as_ref().map_or(Sees::NO_PAYLOADS, |client| client.sees)
    }

    /// The address as far as it can be read.
    pub(in crate::admin::page) fn of(uri: &Uri) -> Self {
        let path = || uri.path().to_owned();
        let unread = || Self { path: path(), here: path(), ..Self::default() };
        Self::read(uri).unwrap_or_else(|_| unread())
    }

    /// The same with the address of the page that sent it, as far as the browser says.
    pub(in crate::admin::page) fn sent_from(self, headers: &HeaderMap) -> Self {
        let page = headers.get(header::REFERER).and_then(|value| value.to_str().ok());
        let page = page.and_then(|page| page.parse::<Uri>().ok());
        let path = page.and_then(|page| page.path_and_query().map(ToString::to_string));
        Self { here: safe(path), ..self }
    }

    /// A field, which is the page's own: the API does not see it.
    pub(in crate::admin::page) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.fields.iter().position(|(field, _)| field == name)?;
        Some(self.fields.remove(at).1)
    }

    /// Adds a field.
    pub(in crate::admin::page) fn put(&mut self, name: &str, value: &str) {
        self.fields.push((name.to_owned(), value.to_owned()));
    }

    /// Makes one field of those that have this name, its values joined by commas; how many there
    /// were.
    pub(in crate::admin::page) fn join(&mut self, name: &str) -> usize {
        let (found, mut rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.fields).into_iter().partition(|(field, _)| field == name);
        let values: Vec<String> = found.into_iter().map(|(_, value)| value).collect();
        if !values.is_empty() {
            rest.push((name.to_owned(), values.join(",")));
        }
        self.fields = rest;
        values.len()
    }

    /// A field.
    pub(in crate::admin::page) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The fields that are left, in the order of the address.
    pub(in crate::admin::page) fn fields(&self) -> &[(String, String)] {
        &self.fields
    }

    /// The fields that are left, as a query of the API.
    pub(in crate::admin::page) fn query<T: DeserializeOwned + IntoParams>(
        &self,
    ) -> Result<T, ProblemJson> {
        read_fields(self.fields.clone())
    }

    /// The address of the page, with the fields that were taken and the way back.
    pub(in crate::admin::page) fn here(&self) -> &str {
        &self.here
    }

    /// The path.
    pub(in crate::admin::page) fn path(&self) -> &str {
        &self.path
    }

    /// The same address with another value of a field, or without it; from the first row on.
    pub(in crate::admin::page) fn but(&self, name: &str, value: Option<&str>) -> String {
        self.link_but(name, value).into_text()
    }

    fn link_but(&self, name: &str, value: Option<&str>) -> Link {
        let mut link = Link::to(&self.path);
        for (field, old) in self.fields.iter().filter(|(field, _)| field != name) {
            if field != "cursor" {
                link = link.with(field, old);
            }
        }
        link.maybe(name, value)
    }

    /// The page after this one, which begins at a cursor.
    pub(in crate::admin::page) fn older(&self, cursor: &str) -> String {
        let here = self.field("cursor").map(str::to_owned);
        let back: Vec<String> = self.back.iter().cloned().chain(here).collect();
        self.page_at(cursor, &back[back.len().saturating_sub(MAX_BACK)..])
    }

    /// The page before this one, unless that is the newest one or is not known.
    pub(in crate::admin::page) fn newer(&self) -> Option<String> {
        self.field("cursor")?;
        let (last, before) = self.back.split_last()?;
        Some(self.page_at(last, before))
    }

    fn page_at(&self, cursor: &str, back: &[String]) -> String {
        let back = back.join(&BETWEEN.to_string());
        let back = Some(&*back).filter(|back| !back.is_empty());
        self.link_but("cursor", Some(cursor)).maybe(BACK, back).into_text()
    }

    /// The call of the API with the same fields.
    pub(in crate::admin::page) fn call(&self, path: &str) -> String {
        let link = Link::to(path);
        self.fields.iter().fold(link, |link, (name, value)| link.with(name, value)).into_text()
    }

    /// The command with the same fields as its options.
    pub(in crate::admin::page) fn command(&self, command: &str) -> String {
        let mut text = command.to_owned();
        for (name, value) in &self.fields {
            text.push_str(&option(name, value));
        }
        text
    }

    /// The fields that are parameters of `T`, but for where its page begins.
    pub(in crate::admin::page) fn filters<T: IntoParams>(&self) -> Vec<(String, String)> {
        let known: Vec<String> =
            T::into_params(|| None).into_iter().map(|parameter| parameter.name).collect();
        let is_filter = |name: &str| name != "cursor" && known.iter().any(|known| known == name);
        self.fields.iter().filter(|(name, _)| is_filter(name)).cloned().collect()
    }
}

/// A field as an option of a command.
pub(in crate::admin::page) fn option(name: &str, value: &str) -> String {
    let flag = if name == "q" { "query".to_owned() } else { name.replace('_', "-") };
    // A value that begins with a dash would be taken for another option.
    let between = if value.starts_with('-') { '=' } else { ' ' };
    match (name, value) {
        ("emitted", "true") => format!(" --{flag}"),
        ("emitted", _) => format!(" --{flag}={}", word(value)),
        _ => format!(" --{flag}{between}{}", word(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::params::EventQuery;

    #[test]
    fn pages_know_the_way_back() {
        let asked = |address: &str| Asked::of(&address.parse().unwrap());
        let second = asked("/events?type=a").older("C1");
        assert_eq!(second, "/events?type=a&cursor=C1");
        assert_eq!((asked(&second).newer(), asked("/events?type=a").newer()), (None, None));
        let third = asked(&second).older("C2");
        assert_eq!(third, "/events?type=a&cursor=C2&back=C1");
        assert_eq!(asked(&third).newer().as_deref(), Some(&*second));
        let fourth = asked(&third).older("C3");
        assert_eq!(fourth, "/events?type=a&cursor=C3&back=C1.C2");
        assert_eq!(asked(&fourth).newer().as_deref(), Some(&*third));
        assert_eq!(asked(&fourth).but("type", None), "/events");
        assert_eq!(asked(&fourth).here(), fourth, "all of it");
        assert_eq!(asked(&fourth).call("/x"), "/x?type=a&cursor=C3");
        let far = (0..100).fold("/events".to_owned(), |at, n| asked(&at).older(&format!("c{n}")));
        assert!(far.contains("cursor=c99&back=c59.c60.") && far.ends_with(".c98"), "{far}");
    }

    #[test]
    fn a_command_has_every_field_as_its_option() {
        let asked = |address: &str| Asked::of(&address.parse().unwrap());
        let events =
            asked("/events?type=a.*&min_attempts=2&subject=-x&emitted=true&cursor=c&q=a+b");
        assert_eq!(
            events.command("hookbox events"),
            "hookbox events --type 'a.*' --min-attempts 2 --subject=-x --emitted --cursor c --query 'a b'"
        );
        let not = asked("/events?emitted=false&limit=7").command("hookbox events");
        assert_eq!(not, "hookbox events --emitted=false --limit 7");
    }

    #[test]
    fn filters_are_what_the_listing_takes_but_for_where_it_begins() {
        let asked = Asked::of(&"/events?type=a&after=b&cursor=c&nothing=d".parse().unwrap());
        let names: Vec<String> =
            asked.filters::<EventQuery>().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["type", "after"]);
    }

    #[test]
    fn empty_fields_stand_for_nothing() {
        let uri = "/events?type=&state=dead&q=+a+&fragment=1&cursor=x".parse().unwrap();
        let mut asked = Asked::of(&uri);
        assert!(asked.fragment);
        assert_eq!(asked.field("q"), Some("a"));
        assert_eq!(asked.but("state", Some("done")), "/events?q=a&state=done");
        assert_eq!(asked.but("state", None), "/events?q=a");
        assert_eq!(asked.call("/api/v1/events"), "/api/v1/events?state=dead&q=a&cursor=x");
        assert_eq!(asked.take("cursor").as_deref(), Some("x"));
        assert_eq!(asked.take("cursor"), None);
        assert_eq!(asked.here(), "/events?state=dead&q=a&cursor=x");
        let mut asked = Asked::of(&"/x?id=1&a=b&id=2".parse().unwrap());
        assert_eq!((asked.join("id"), asked.join("c")), (2, 0));
        assert_eq!(asked.call("/x"), "/x?a=b&id=1%2C2");
    }
}
