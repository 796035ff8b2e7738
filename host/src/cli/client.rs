//! Asks a running host through its admin API.

use std::time::Duration;

use clap::Args;
use serde_json::Value;
use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;

use super::Common;
use super::failure::Failure;
use super::output::printable;
use crate::config::{Config, MakeSecrets};

/// How long an answer may take; longer than the host gives itself.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 256 << 20;

/// Where the host is.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// The host's admin address [default: `server.admin` of the configuration]
    #[arg(long, global = true, value_name = "URL")]
    admin: Option<String>,
}

/// A host that may be asked.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    base: String,
}

impl Target {
    pub(super) fn client(&self, common: &Common) -> Result<Client, Failure> {
        let base = match &self.admin {
            Some(url) if url.contains("://") => url.trim_end_matches('/').to_owned(),
            Some(address) => format!("http://{}", address.trim_end_matches('/')),
            None => format!("http://{}", Config::load(&common.config, MakeSecrets::No)?.server.admin),
        };
        Ok(Client { agent: agent(TIMEOUT), base })
    }
}

/// A client that takes every status as an answer, and never goes through a proxy of the environment.
pub(super) fn agent(timeout: Duration) -> Agent {
    builder().timeout_global(Some(timeout)).build().new_agent()
}

/// The same for many requests: each step has the time for itself, because a limit that covers the lookup of the name
/// costs a thread for every request.
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

impl Client {
    /// `GET path?query`; absent values are left out.
    pub(super) fn get(&self, path: &str, query: &[(&str, Option<String>)]) -> Result<Value, Failure> {
        let given = query.iter().filter_map(|(name, value)| value.as_deref().map(|value| (*name, value)));
        self.answer(self.agent.get(self.url(path)).query_pairs(given).call())
    }

    /// `POST path?query`.
    pub(super) fn post(&self, path: &str, query: &[(&str, Option<String>)]) -> Result<Value, Failure> {
        let given = query.iter().filter_map(|(name, value)| value.as_deref().map(|value| (*name, value)));
        self.answer(self.agent.post(self.url(path)).query_pairs(given).send_empty())
    }

    /// Rows of a listing until there are `limit` of them or no more, and the cursor to go on with.
    pub(super) fn list(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
        limit: usize,
    ) -> Result<(Vec<Value>, Value), Failure> {
        const MAX_PAGE: usize = 500;
        let mut query: Vec<_> = query.iter().map(|(name, value)| (*name, value.clone())).collect();
        let mut items = Vec::new();
        loop {
            let page_limit = (limit - items.len()).min(MAX_PAGE);
            query.push(("limit", Some(page_limit.to_string())));
            let mut page = self.get(path, &query)?;
            let Some(Value::Array(rows)) = page.get_mut("items").map(Value::take) else {
                return Err(self.strange("it has no `items`"));
            };
            items.extend(rows);
            let cursor = page["next_cursor"].take();
            let Some(next) = cursor.as_str().filter(|_| items.len() < limit) else { return Ok((items, cursor)) };
            query.retain(|(name, _)| !matches!(*name, "limit" | "cursor"));
            query.push(("cursor", Some(next.to_owned())));
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// `GET path` of a probe: whether it says yes, and the answer, which has a `status` either way.
    pub(super) fn probe(&self, path: &str) -> Result<(bool, Value), Failure> {
        let (yes, value) = self.read(self.agent.get(self.url(path)).call())?;
        match &value["status"] {
            Value::String(_) => Ok((yes, value)),
            _ => Err(self.refusal(&value)),
        }
    }

    fn answer(&self, result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value, Failure> {
        let (yes, value) = self.read(result)?;
        if yes { Ok(value) } else { Err(self.refusal(&value)) }
    }

    /// Whether the status is one of success, and the answer.
    fn read(&self, result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<(bool, Value), Failure> {
        let mut response = result.map_err(|error| self.unreachable(&error))?;
        let yes = response.status().is_success();
        let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
        let body = body.map_err(|error| self.unreachable(&error))?;
        Ok((yes, serde_json::from_slice(&body).map_err(|error| self.strange(&error.to_string()))?))
    }

    fn refusal(&self, value: &Value) -> Failure {
        let detail = value["detail"].as_str().unwrap_or("it gives no reason");
        Failure::failed(printable(detail))
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        Failure::failed(format!("no answer from {} ({error}): is `hookbox serve` running?", self.base))
    }

    fn strange(&self, reason: &str) -> Failure {
        Failure::failed(format!("{} does not answer like a hookbox host: {}", self.base, printable(reason)))
    }
}
