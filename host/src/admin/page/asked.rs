//! The request for a page: its path and the fields of its query.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{Uri, header};
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::parts::link::Link;
use crate::admin::params::read_fields;
use crate::admin::problem::ProblemJson;
use crate::admin::role::{Identity, OPERATOR};
use crate::admin::sees::Sees;

/// The field of a query that asks for the part of a page that changes.
const FRAGMENT: &str = "fragment";

/// An address: a form of a browser sends empty fields too, which stand for nothing.
#[derive(Debug, Clone, Default)]
pub(in crate::admin::page) struct Asked {
    path: String,
    fields: Vec<(String, String)>,
    /// Whether only the part that changes is asked for.
    pub(in crate::admin::page) fragment: bool,
    /// The host that it asked, as it calls it; the guard has let it pass.
    pub(in crate::admin::page) host: Option<String>,
    /// The client, if somebody knows it.
    pub(in crate::admin::page) client: Option<Identity>,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = ProblemJson;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ProblemJson> {
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let asked = Self { host: host.map(str::to_owned), ..Self::read(&parts.uri)? };
        Ok(asked.by(parts.extensions.get().cloned()))
    }
}

impl Asked {
    fn read(uri: &Uri) -> Result<Self, ProblemJson> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| ProblemJson::bad_request(error.body_text()))?;
        let (asked, mut fields): (Vec<_>, Vec<_>) =
            pairs.into_iter().partition(|(name, _)| name == FRAGMENT);
        fields.retain(|(_, value)| !value.trim().is_empty());
        for (_, value) in &mut fields {
            *value = value.trim().to_owned();
        }
        let fragment = !asked.is_empty();
        let path = uri.path().to_owned();
        Ok(Self { path, fields, fragment, ..Self::default() })
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
        let unread = || Self { path: uri.path().to_owned(), ..Self::default() };
        Self::read(uri).unwrap_or_else(|_| unread())
    }

    /// A field, which is the page's own: the API does not see it.
    pub(in crate::admin::page) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.fields.iter().position(|(field, _)| field == name)?;
        Some(self.fields.remove(at).1)
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

    /// The path.
    pub(in crate::admin::page) fn path(&self) -> &str {
        &self.path
    }

    /// The same address with another value of a field, or without it; from the first row on.
    pub(in crate::admin::page) fn but(&self, name: &str, value: Option<&str>) -> String {
        let mut link = Link::to(&self.path);
        for (field, old) in self.fields.iter().filter(|(field, _)| field != name) {
            if field != "cursor" {
                link = link.with(field, old);
            }
        }
        link.maybe(name, value).into_text()
    }

    /// The call of the API with the same fields.
    pub(in crate::admin::page) fn call(&self, path: &str) -> String {
        let link = Link::to(path);
        self.fields.iter().fold(link, |link, (name, value)| link.with(name, value)).into_text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut asked = Asked::of(&"/x?id=1&a=b&id=2".parse().unwrap());
        assert_eq!((asked.join("id"), asked.join("c")), (2, 0));
        assert_eq!(asked.call("/x"), "/x?a=b&id=1%2C2");
    }
}
