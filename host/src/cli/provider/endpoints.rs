//! The registrations at a provider: the verbs on endpoints.

use serde_json::{Value, json};

use super::secret_files;
use super::talk::Talk;
use crate::cli::failure::Failure;
use crate::cli::output::{Printout, print_json, printable};
use crate::cli::remarks::remark;
use crate::clock::{Clock, rfc3339};
use crate::providers::registered::{self, Registration, TimedSecret};
use crate::providers::{ApiError, ApiRequest, RegisteredEndpoint};

/// The most pages of a list that are read.
const MAX_PAGES: usize = 100;

impl Talk {
    /// Registers the address, and keeps the secret.
    pub(in crate::cli) fn register(
        &self,
        url: Option<&str>,
        events: &[String],
    ) -> Result<(), Failure> {
        let url = self.address(url)?;
        let request = ApiRequest::Register { url: &url, events };
        if self.shows_only(&request)? {
            return Ok(());
        }
        if let Some(known) = &self.source.provider.registration {
            let Registration { endpoint_id, url, .. } = known;
            return Err(Failure::usage(format!(
                "`{0}` is registered already, as {endpoint_id} for {url}: `hookbox provider {0} update` changes that, \
                 `rotate` makes another secret, `delete` removes it",
                self.source.name
            )));
        }
        let folder = secret_files::folder(&self.secrets_dir)?;
        self.refuse_known(&url)?;
        let answer = self.ask_json(&request)?;
        let endpoint = self.endpoint(&answer)?;
        let Some(secret) = endpoint.secret.clone() else {
            return Err(Failure::failed(format!(
                "{} is registered for {url}, and the answer has no secret: put the one of the provider where \
                 `secrets` of [sources.{}] names it",
                printable(&endpoint.id),
                self.source.name
            )));
        };
        let registration = Registration {
            provider: self.provider.name().to_owned(),
            endpoint_id: endpoint.id.clone(),
            url: url.clone(),
            events: Registration::types(events),
            secrets: vec![TimedSecret { secret: secret.0, until_ms: None }],
        };
        if let Err(error) = secret_files::write(&folder, &self.file_name(), &registration.text()) {
            // Nobody could ever sign for it.
            let removed = match self.ask(&ApiRequest::Delete { id: &endpoint.id }) {
                Ok(_) => "the registration was removed again".to_owned(),
                Err(other) => format!("{} stays registered ({other})", printable(&endpoint.id)),
            };
            let path = self.file().display().to_string();
            return Err(Failure::failed(format!("cannot write {path}: {error}; {removed}")));
        }
        self.tell("registered", &RegisteredEndpoint { url, ..endpoint }, None)
    }

    /// Lists the endpoints.
    pub(super) fn list(&self) -> Result<(), Failure> {
        if self.shows_only(&ApiRequest::List { cursor: None })? {
            return Ok(());
        }
        let endpoints = self.endpoints()?;
        let own = self.source.provider.registration.as_ref();
        let is_own =
            |endpoint: &RegisteredEndpoint| own.is_some_and(|own| own.endpoint_id == endpoint.id);
        if self.json {
            let item = |endpoint: &RegisteredEndpoint| {
                let mut item = shown(endpoint);
                item["registered_here"] = is_own(endpoint).into();
                item
            };
            return print_json(&json!({ "items": endpoints.iter().map(item).collect::<Vec<_>>() }));
        }
        let mut out = Printout::new();
        if endpoints.is_empty() {
            out.line("nothing is registered");
            return out.print();
        }
        let head = ["ENDPOINT", "ADDRESS", "TYPES", "STATUS", "HERE"].map(str::to_owned).to_vec();
        let row = |endpoint: &RegisteredEndpoint| {
            let here = if is_own(endpoint) { "registered here" } else { "" };
            vec![
                endpoint.id.clone(),
                endpoint.url.clone(),
                types(endpoint),
                endpoint.status.clone().unwrap_or_default(),
                here.to_owned(),
            ]
        };
        out.table(&std::iter::once(head).chain(endpoints.iter().map(row)).collect::<Vec<_>>());
        out.print()
    }

    /// Replaces address and types.
    pub(super) fn update(
        &self,
        id: Option<&str>,
        url: Option<&str>,
        events: &[String],
    ) -> Result<(), Failure> {
        let url = self.address(url)?;
        let id = self.id(id, &url)?;
        let request = ApiRequest::Update { id: &id, url: &url, events };
        if self.shows_only(&request)? {
            return Ok(());
        }
        let folder = secret_files::folder(&self.secrets_dir)?;
        let answer = self.ask_json(&request)?;
        let own = self.source.provider.registration.clone();
        if let Some(own) = own.filter(|own| own.endpoint_id == id) {
            let events = Registration::types(events);
            let moved = Registration { url: url.clone(), events, ..own };
            secret_files::write(&folder, &self.file_name(), &moved.text()).map_err(|error| {
                Failure::failed(format!("cannot write {}: {error}", self.file().display()))
            })?;
        }
        let found = self.provider.endpoint(&answer);
        let status = found.and_then(|endpoint| endpoint.status);
        let endpoint =
            RegisteredEndpoint { id, url, events: events.to_vec(), status, secret: None };
        self.tell("updated", &endpoint, None)
    }

    /// Has another secret made, and keeps the old one for a while.
    pub(super) fn rotate(&self, id: Option<&str>) -> Result<(), Failure> {
        let settings = &self.source.provider;
        let own = settings.registration.clone();
        self.refuse_another(id)?;
        let url = match &own {
            Some(own) => own.url.clone(),
            None if id.is_some() => String::new(),
            None => self.address(None)?,
        };
        let id = self.id(id, &url)?;
        let request = ApiRequest::Rotate { id: &id };
        if self.shows_only(&request)? {
            return Ok(());
        }
        self.call(&request)?;
        let folder = secret_files::folder(&self.secrets_dir)?;
        let mut kept = match own {
            Some(own) => own,
            None => self.taken_over(&id, &url)?,
        };
        let answer = self.ask_json(&request)?;
        let fresh = answer["data"]["secret"].as_str().or_else(|| answer["secret"].as_str());
        let secret = fresh.ok_or_else(|| self.strange("it has no secret"))?.to_owned();
        let now_ms = Clock::system().now_ms();
        let overlap_ms = i64::try_from(settings.overlap_ms).unwrap_or(i64::MAX);
        let until_ms = now_ms.saturating_add(overlap_ms);
        let had_one = !kept.secrets.is_empty();
        kept.rotate(secret, until_ms, now_ms);
        secret_files::write(&folder, &self.file_name(), &kept.text()).map_err(|error| {
            Failure::failed(format!(
                "the new secret is lost, {} cannot be written: {error}; rotate once more when it can",
                self.file().display()
            ))
        })?;
        let (url, events) = (kept.url, Vec::new());
        let endpoint = RegisteredEndpoint { id, url, events, status: None, secret: None };
        self.tell("rotated", &endpoint, had_one.then_some(until_ms))
    }

    /// A registration without a secret yet: that of an endpoint which was registered elsewhere.
    fn taken_over(&self, id: &str, url: &str) -> Result<Registration, Failure> {
        let listed = self.endpoints()?.into_iter().find(|endpoint| endpoint.id == id);
        let events = listed.as_ref().map(|endpoint| endpoint.events.clone()).unwrap_or_default();
        let url = listed
            .map(|endpoint| endpoint.url)
            .filter(|url| !url.is_empty())
            .unwrap_or(url.to_owned());
        Ok(Registration {
            provider: self.provider.name().to_owned(),
            endpoint_id: id.to_owned(),
            url,
            events: Registration::types(&events),
            secrets: Vec::new(),
        })
    }

    /// Refuses to take over another endpoint than the registered one, whose secret would be lost.
    fn refuse_another(&self, id: Option<&str>) -> Result<(), Failure> {
        let own = self.source.provider.registration.as_ref();
        let Some(own) = own.filter(|own| id.is_some_and(|id| id != own.endpoint_id)) else {
            return Ok(());
        };
        Err(Failure::usage(format!(
            "`{0}` is registered already, as {1}, and its secret would be lost: `hookbox provider {0} delete` removes \
             that endpoint; then another one can be taken over",
            self.source.name, own.endpoint_id
        )))
    }

    /// Removes what is registered, and its secret, also one that another host's took the place of.
    pub(super) fn delete(&self, id: Option<&str>) -> Result<(), Failure> {
        let own = self.source.provider.registration.as_ref();
        let url = match own {
            Some(own) => own.url.clone(),
            None if id.is_some() => String::new(),
            None => self.address(None)?,
        };
        let id = self.id(id, &url)?;
        let request = ApiRequest::Delete { id: &id };
        if self.shows_only(&request)? {
            return Ok(());
        }
        let is_own = own.is_some_and(|own| own.endpoint_id == id);
        match self.try_to(&request)? {
            Ok(_) => {}
            Err(ApiError::Absent(_) | ApiError::Refused(_)) if is_own && self.is_gone(&id)? => {
                remark(&format!("{} was removed before", printable(&id)));
            }
            Err(error) => return Err(self.failure(&request, &error)),
        }
        if is_own {
            secret_files::remove(&self.file())?;
            let replaced = registered::replaced_file_name(&self.file_name());
            secret_files::remove(&self.secrets_dir.join(replaced))?;
        }
        let endpoint =
            RegisteredEndpoint { id, url, events: Vec::new(), status: None, secret: None };
        self.tell("deleted", &endpoint, None)
    }

    /// Removes the endpoint of an address, if there is one.
    pub(in crate::cli) fn delete_at(&self, url: &str) -> Result<(), Failure> {
        let own = self.source.provider.registration.as_ref().filter(|own| own.url == url);
        let id = match own {
            Some(own) => Some(own.endpoint_id.clone()),
            None => {
                let listed = self.endpoints()?.into_iter().find(|endpoint| endpoint.url == url);
                listed.map(|endpoint| endpoint.id)
            }
        };
        id.map_or(Ok(()), |id| self.delete(Some(&id)))
    }

    /// Whether the provider's list has no such endpoint. An error alone does not say so: a wrong
    /// `api_url` has one too, and the secret is shown only once.
    fn is_gone(&self, id: &str) -> Result<bool, Failure> {
        Ok(!self.endpoints()?.iter().any(|endpoint| endpoint.id == id))
    }

    fn file_name(&self) -> String {
        registered::file_name(&self.source.name)
    }

    fn file(&self) -> std::path::PathBuf {
        self.secrets_dir.join(self.file_name())
    }

    fn endpoint(&self, answer: &Value) -> Result<RegisteredEndpoint, Failure> {
        self.provider.endpoint(answer).ok_or_else(|| self.strange("it names no endpoint"))
    }

    fn endpoints(&self) -> Result<Vec<RegisteredEndpoint>, Failure> {
        let (mut all, mut cursor) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let answer = self.ask_json(&ApiRequest::List { cursor: cursor.as_deref() })?;
            let page = self.provider.endpoints(&answer);
            let (endpoints, next) = page.ok_or_else(|| self.strange("it is no list"))?;
            all.extend(endpoints);
            if next.is_none() || next == cursor {
                return Ok(all);
            }
            cursor = next;
        }
        Err(self.strange(&format!("a list does not end after {MAX_PAGES} pages")))
    }

    /// Refuses an address that is registered: a second endpoint would get every event again, and
    /// sign it with another secret.
    fn refuse_known(&self, url: &str) -> Result<(), Failure> {
        let known = self.endpoints()?.into_iter().filter(|endpoint| endpoint.url == url);
        let ids: Vec<_> = known.map(|endpoint| printable(&endpoint.id)).collect();
        let Some(first) = ids.first() else { return Ok(()) };
        Err(Failure::failed(format!(
            "{url} is registered already, as {}, whose secret was shown once: `hookbox provider {1} rotate \
             --endpoint {first}` makes another one and keeps it, `delete --endpoint {first}` removes it",
            ids.join(" and "),
            self.source.name
        )))
    }

    /// The endpoint that is meant.
    fn id(&self, given: Option<&str>, url: &str) -> Result<String, Failure> {
        if let Some(given) = given {
            return Ok(given.to_owned());
        }
        if let Some(own) = &self.source.provider.registration {
            return Ok(own.endpoint_id.clone());
        }
        let name = &self.source.name;
        if self.dry_run {
            return Err(Failure::usage(format!(
                "`{name}` is not registered here: name an endpoint with --endpoint ID"
            )));
        }
        let known = self.endpoints()?.into_iter().filter(|endpoint| endpoint.url == url);
        let mut ids: Vec<_> = known.map(|endpoint| endpoint.id).collect();
        match ids.len() {
            1 => Ok(ids.remove(0)),
            0 => Err(Failure::failed(format!(
                "nothing is registered for {url}: `hookbox provider {name} register` does it"
            ))),
            count => Err(Failure::failed(format!(
                "{count} endpoints are registered for {url}: name one of {} with --endpoint",
                printable(&ids.join(", "))
            ))),
        }
    }

    /// Says what was done.
    fn tell(
        &self,
        done: &str,
        endpoint: &RegisteredEndpoint,
        until_ms: Option<i64>,
    ) -> Result<(), Failure> {
        let keeps = matches!(done, "registered" | "rotated");
        let path = self.file().display().to_string();
        if self.json {
            let mut answer = shown(endpoint);
            answer["done"] = done.into();
            if keeps {
                answer["secret_file"] = path.into();
                answer["old_secret_until"] = until_ms.map(rfc3339).into();
            }
            return print_json(&answer);
        }
        let mut out = Printout::new();
        out.line(printable(&format!("{done} {}  {}", endpoint.id, endpoint.url)));
        if keeps {
            out.field("secret", &json!(format!("in {path}")));
            if let Some(until_ms) = until_ms {
                out.field("old secret", &json!(format!("active until {}", rfc3339(until_ms))));
            }
            if !self.source.provider.names_registration {
                out.remark(format!(
                    "The host does not use it yet: add {{ registered = true }} to `secrets` under [sources.{}].",
                    self.source.name
                ));
            }
        }
        out.print()
    }
}

fn types(endpoint: &RegisteredEndpoint) -> String {
    if endpoint.events.is_empty() { "all".to_owned() } else { endpoint.events.join(", ") }
}

fn shown(endpoint: &RegisteredEndpoint) -> Value {
    let RegisteredEndpoint { id, url, events, status, .. } = endpoint;
    json!({ "endpoint_id": id, "url": url, "events": events, "status": status })
}
