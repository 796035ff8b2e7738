//! Asks a running host through its admin API.

use std::io::{self, BufRead as _, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::http::StatusCode;
use ureq::typestate::AgentScope;

use super::Common;
use super::failure::Failure;
use super::known;
use super::output::printable;
use crate::{env, files};

/// The longest time for an answer; longer than the host gives itself.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The longest time between two parts of an answer that is copied.
const COPY_TIMEOUT: Duration = Duration::from_secs(3600);

/// The longest time between two lines of an answer that does not end; the host writes one in 15 s.
const LINE_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 256 << 20;

/// The longest file with a token, in bytes.
const MAX_TOKEN_BYTES: u64 = 4 << 10;

/// A parameter of a request; `None` leaves it out.
pub(super) type Param<'a> = (&'static str, Option<&'a str>);

/// The address of the host.
#[derive(Debug, Args)]
pub(super) struct HostArg {
    /// The host's admin address [default: HOOKBOX_ADMIN, or `server.admin` of the configuration]
    #[arg(long, global = true, value_name = "URL", display_order = 890)]
    admin: Option<String>,
    /// The file with the token to show [default: HOOKBOX_ADMIN_TOKEN_FILE, or no token]
    #[arg(long, global = true, value_name = "FILE", display_order = 891)]
    token_file: Option<PathBuf>,
}

/// A host that may be asked.
#[derive(Debug)]
pub(super) struct AdminClient {
    agent: Agent,
    base: String,
    origin: AddressOrigin,
    /// The value of `Authorization`.
    authorization: Option<String>,
}

/// The option, variable or file that says where the host is.
#[derive(Debug)]
enum AddressOrigin {
    /// `--admin` or `HOOKBOX_ADMIN`.
    Named(&'static str),
    /// The configuration, as it is called here.
    Configured(String),
}

impl HostArg {
    /// A host at another address than that of the configuration.
    pub(super) fn at(admin: String, token_file: Option<PathBuf>) -> Self {
        Self { admin: Some(admin), token_file }
    }

    pub(super) fn client(&self, common: &Common) -> Result<AdminClient, Failure> {
        let named = self.admin.clone().map(|url| (url, "--admin"));
        let named = named.or_else(|| env::admin_address().map(|url| (url, "HOOKBOX_ADMIN")));
        let (base, origin) = match named {
            Some((url, by)) => (base(&url, by)?, AddressOrigin::Named(by)),
            None => (
                format!("http://{}", known::admin(common)?),
                AddressOrigin::Configured(common.config.display().to_string()),
            ),
        };
        let authorization = self.token()?.map(|token| format!("Bearer {token}"));
        Ok(AdminClient { agent: agent(TIMEOUT), base, origin, authorization })
    }

    /// The token to show.
    fn token(&self) -> Result<Option<String>, Failure> {
        let Some(file) = self.token_file.clone().or_else(env::admin_token_file) else {
            return Ok(None);
        };
        let shown = file.display();
        let read = files::read_regular(&file, MAX_TOKEN_BYTES).map_err(|error| {
            Failure::usage(format!("the token file {shown} cannot be read: {error}"))
        })?;
        let text = String::from_utf8(read).unwrap_or_default();
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Failure::usage(format!(
                "the token file {shown} has no token: it has one line, which `hookbox token new` printed"
            )));
        }
        Ok(Some(token.to_owned()))
    }
}

/// The beginning of every URL at the address that `by` names.
fn base(text: &str, by: &str) -> Result<String, Failure> {
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let wrong = |why: &str| {
        let right = "write an address such as 127.0.0.1:3001 or http://127.0.0.1:3001";
        Failure::usage(format!("{by}: `{}` {why}: {right}", printable(text)))
    };
    let uri: ureq::http::Uri = url.parse().map_err(|_| wrong("is not an address"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(wrong("is neither http:// nor https://"));
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(wrong("names no host"));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// Explains why there is no answer from a URL. An address that does not speak TLS differs from one
/// that is not there.
pub(super) fn no_answer(url: &str, error: &ureq::Error, plain: &str) -> String {
    let said = error.to_string();
    let is_there = !matches!(
        error,
        ureq::Error::ConnectionFailed | ureq::Error::HostNotFound | ureq::Error::Timeout(_)
    ) && !said.contains("refused");
    if url.starts_with("https:") && is_there {
        return format!(
            "no answer over TLS from {url} ({said}): {plain} speaks plain HTTP, so write http://"
        );
    }
    format!("no answer from {url} ({said}): is `hookbox serve` running?")
}

/// A client that takes every status as an answer, and never goes through a proxy of the
/// environment.
pub(super) fn agent(timeout: Duration) -> Agent {
    builder().timeout_global(Some(timeout)).build().new_agent()
}

/// The same for many requests: each step has the time for itself, because a limit that covers the
/// lookup of the name costs a thread for every request.
pub(super) fn loading_agent(timeout: Duration) -> Agent {
    let timeout = Some(timeout);
    builder()
        .timeout_connect(timeout)
        .timeout_send_request(timeout)
        .timeout_send_body(timeout)
        .timeout_recv_response(timeout)
        .timeout_recv_body(timeout)
        .build()
        .new_agent()
}

fn builder() -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .max_redirects(0)
        .user_agent(concat!("hookbox/", env!("CARGO_PKG_VERSION")))
}

impl AdminClient {
    /// `GET path?query`; absent values are left out.
    pub(super) fn get(&self, path: &str, query: &[Param<'_>]) -> Result<Value, Failure> {
        let given = query.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        self.answer(self.known(self.agent.get(self.url(path))).query_pairs(given).call())
    }

    /// `POST path?query`; absent values are left out.
    pub(super) fn post(&self, path: &str, query: &[Param<'_>]) -> Result<Value, Failure> {
        let given = query.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        self.answer(self.known(self.agent.post(self.url(path))).query_pairs(given).send_empty())
    }

    /// `POST path` with a body and its media type, and a header if there is one.
    pub(super) fn post_body(
        &self,
        path: &str,
        (media_type, body): (&str, &[u8]),
        header: Option<(&str, &str)>,
    ) -> Result<Value, Failure> {
        let request = self.known(self.agent.post(self.url(path))).content_type(media_type);
        let request = match header {
            Some((name, value)) => request.header(name, value),
            None => request,
        };
        self.answer(request.send(body))
    }

    /// `PUT path?query` with these bytes; absent values are left out.
    pub(super) fn put(
        &self,
        path: &str,
        query: &[Param<'_>],
        bytes: &[u8],
    ) -> Result<Value, Failure> {
        let given = query.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        let request = self.agent.put(self.url(path)).query_pairs(given);
        self.answer(request.content_type("application/octet-stream").send(bytes))
    }

    /// `DELETE path?query`; absent values are left out.
    pub(super) fn delete(&self, path: &str, query: &[Param<'_>]) -> Result<Value, Failure> {
        let given = query.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        self.answer(self.agent.delete(self.url(path)).query_pairs(given).call())
    }

    /// Copies the answer to `GET path?query` as it comes; an answer that breaks off is a failure.
    pub(super) fn copy(
        &self,
        path: &str,
        query: &[Param<'_>],
        to: &mut impl Write,
    ) -> Result<(), Failure> {
        let given = query.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        let agent = loading_agent(COPY_TIMEOUT);
        let response = self.known(agent.get(self.url(path))).query_pairs(given).call();
        if !response.as_ref().is_ok_and(|response| response.status() == 200) {
            return self.answer(response).map(drop);
        }
        let mut response = response.map_err(|error| Failure::failed(error.to_string()))?;
        let mut body = response.body_mut().with_config().limit(u64::MAX).reader();
        match io::copy(&mut body, to) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(Failure::failed(format!("the answer broke off: {error}"))),
        }
    }

    /// Gives each line of JSON of an answer to `take`, until the host ends it.
    pub(super) fn lines(
        &self,
        path: &str,
        query: &[Param<'_>],
        take: &mut dyn FnMut(Value) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let given = query.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        let agent = loading_agent(LINE_TIMEOUT);
        let response = self.known(agent.get(self.url(path))).query_pairs(given).call();
        if !response.as_ref().is_ok_and(|response| response.status() == 200) {
            return self.answer(response).map(drop);
        }
        let mut response = response.map_err(|error| self.unreachable(&error))?;
        let body = response.body_mut().with_config().limit(u64::MAX).reader();
        for line in io::BufReader::new(body).lines() {
            let line = line.map_err(|_| Failure::failed(format!("{} is gone", self.base)))?;
            if !line.is_empty() {
                take(
                    serde_json::from_str(&line)
                        .map_err(|error| self.strange(&error.to_string()))?,
                )?;
            }
        }
        Ok(())
    }

    /// Rows of a listing from `cursor` on, until there are `limit` of them or no more, and the
    /// cursor to go on with.
    pub(super) fn list(
        &self,
        path: &str,
        filter: &[Param<'_>],
        mut cursor: Option<String>,
        limit: usize,
    ) -> Result<(Vec<Value>, Option<String>), Failure> {
        const MAX_PAGE: usize = 500;
        let mut items = Vec::new();
        loop {
            let page_rows = (limit - items.len()).min(MAX_PAGE).to_string();
            let mut query = filter.to_vec();
            query.extend([("limit", Some(&*page_rows)), ("cursor", cursor.as_deref())]);
            let mut page = self.get(path, &query)?;
            let Some(Value::Array(rows)) = page.get_mut("items").map(Value::take) else {
                return Err(self.strange("it has no `items`"));
            };
            items.extend(rows);
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() || items.len() >= limit {
                return Ok((items, cursor));
            }
        }
    }

    /// The same request with the token.
    fn known<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.authorization {
            Some(value) => request.header("authorization", value),
            None => request,
        }
    }

    /// The address of a path of the host.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// `GET path` of a probe: whether it says yes, and the answer, which has a `status` either way.
    pub(super) fn probe(&self, path: &str) -> Result<(bool, Value), Failure> {
        let (yes, value) = self.read(self.known(self.agent.get(self.url(path))).call())?;
        match &value["status"] {
            Value::String(_) => Ok((yes, value)),
            _ => Err(self.refusal(&value)),
        }
    }

    fn answer(
        &self,
        result: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Value, Failure> {
        let (yes, value) = self.read(result)?;
        if yes { Ok(value) } else { Err(self.refusal(&value)) }
    }

    /// Whether the status is one of success, and the answer.
    fn read(
        &self,
        result: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<(bool, Value), Failure> {
        let mut response = result.map_err(|error| self.unreachable(&error))?;
        let yes = response.status().is_success();
        let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
        let body = body.map_err(|error| self.unreachable(&error))?;
        Ok((yes, serde_json::from_slice(&body).map_err(|error| self.strange(&error.to_string()))?))
    }

    fn refusal(&self, value: &Value) -> Failure {
        let detail = printable(value["detail"].as_str().unwrap_or("it gives no reason"));
        // The host has not understood what was asked: it was asked wrongly.
        if value["status"] == StatusCode::BAD_REQUEST.as_u16() {
            Failure::usage(detail)
        } else {
            Failure::failed(detail)
        }
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let mut message = no_answer(&self.base, error, "the admin listener");
        match &self.origin {
            AddressOrigin::Named("--admin") => {}
            AddressOrigin::Named(by) => message.push_str(&format!(" The address is that of {by}.")),
            AddressOrigin::Configured(config) => message.push_str(&format!(
                " The address is `server.admin` of {config}; a change of it waits for a restart, and until then \
                 `--admin URL` or HOOKBOX_ADMIN names the old one."
            )),
        }
        Failure::failed(message)
    }

    fn strange(&self, reason: &str) -> Failure {
        Failure::failed(format!(
            "{} does not answer like a hookbox host: {}",
            self.base,
            printable(reason)
        ))
    }
}

/// A path segment: everything but letters, digits, `-`, `_` and `.` percent-encoded.
pub(super) fn encoded(segment: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    segment
        .bytes()
        .map(
            |byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_how_it_is_spoken_to() {
        for (text, expected) in [
            ("127.0.0.1:3001", "http://127.0.0.1:3001"),
            ("http://127.0.0.1:3001/", "http://127.0.0.1:3001"),
            ("https://admin.example.com/hookbox/", "https://admin.example.com/hookbox"),
            ("[::1]:3001", "http://[::1]:3001"),
        ] {
            assert_eq!(base(text, "--admin").ok().as_deref(), Some(expected), "{text}");
        }
        for text in ["ftp://127.0.0.1:3001", "http://", "127.0.0.1:3001 x", "://"] {
            let Err(Failure::Usage(message)) = base(text, "HOOKBOX_ADMIN") else {
                panic!("{text} was taken")
            };
            assert!(
                message.starts_with("HOOKBOX_ADMIN: ") && message.contains("http://127.0.0.1:3001"),
                "{message}"
            );
        }
    }
}
