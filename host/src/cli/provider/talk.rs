//! Talks with the API of a provider: performs the calls that it describes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::cli::Common;
use crate::cli::client::agent;
use crate::cli::failure::Failure;
use crate::cli::known;
use crate::cli::output::{Printout, print_json, printable};
use crate::cli::remarks::remark;
use crate::cli::send::is_loopback;
use crate::config::Source;
use crate::names::{closest, did_you_mean};
use crate::providers::{self, ApiAnswer, ApiCall, ApiError, ApiRequest, Provider};
use crate::text::duration;

/// The longest time for an answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 16 << 20;

/// The most times that a call is made.
const MAX_TRIES: u32 = 3;

/// The longest pause before a call is made again.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The text that is shown in place of a key.
const MASKED: &str = "********";

/// A source, and its provider.
#[derive(Debug)]
pub(in crate::cli) struct Talk {
    pub(super) source: Arc<Source>,
    pub(super) provider: &'static dyn Provider,
    pub(super) secrets_dir: PathBuf,
    pub(super) dry_run: bool,
    pub(super) json: bool,
}

impl Talk {
    /// With the provider of a source of the configuration.
    pub(in crate::cli) fn new(
        common: &Common,
        name: &str,
        (dry_run, json): (bool, bool),
    ) -> Result<Self, Failure> {
        let mut config = known::partial(common)?;
        let Some(source) = config.take_source(name) else {
            let near = closest(name, config.source_names());
            let hint = near.map(|near| format!(": {}", did_you_mean(near))).unwrap_or_default();
            return Err(Failure::usage(format!("there is no source `{}`{hint}", printable(name))));
        };
        let source = source?;
        let provider = source.provider.provider().ok_or_else(|| {
            let known = providers::names().collect::<Vec<_>>().join(", ");
            Failure::usage(format!(
                "the API of the provider of source `{name}` is not known: sources with these presets have one: {known}"
            ))
        })?;
        Ok(Self { source, provider, secrets_dir: config.secrets_dir, dry_run, json })
    }

    /// The name of the source.
    pub(in crate::cli) fn name(&self) -> &str {
        &self.source.name
    }

    /// Whether something is registered for it here.
    pub(in crate::cli) fn is_registered(&self) -> bool {
        self.source.provider.registration.is_some()
    }

    /// The address under which the provider reaches this source.
    pub(super) fn address(&self, given: Option<&str>) -> Result<String, Failure> {
        let name = &self.source.name;
        let url = match (given, &self.source.provider.public_url) {
            (Some(given), _) => given.to_owned(),
            (None, Some(public)) => format!("{public}/webhook/{name}"),
            (None, None) => {
                return Err(Failure::usage(format!(
                    "nothing says how {} reaches this host: write `public_url = \"https://hooks.example.com\"` \
                     in [server] or [sources.{name}], or --url URL",
                    self.provider.name()
                )));
            }
        };
        let uri: Option<ureq::http::Uri> = url.parse().ok();
        let scheme = uri.as_ref().and_then(|uri| uri.scheme_str());
        match scheme {
            Some("https") => Ok(url),
            // A stand-in on this machine, or the end of a tunnel.
            Some("http") if is_loopback(&url) => Ok(url),
            Some("http") => Err(Failure::usage(format!(
                "{} is not https: events and their signatures would pass in the clear, and providers refuse it",
                printable(&url)
            ))),
            _ => Err(Failure::usage(format!(
                "{} is not an address: write one such as https://hooks.example.com/webhook/{name}",
                printable(&url)
            ))),
        }
    }

    /// The call for a request; refused if this generation of the API has none.
    pub(super) fn call(&self, request: &ApiRequest<'_>) -> Result<ApiCall, Failure> {
        let api = self.source.provider.api(self.provider);
        self.provider.call(&api, request).map_err(Failure::usage)
    }

    /// Shows the request if that is all that is wanted; says whether it was.
    pub(super) fn shows_only(&self, request: &ApiRequest<'_>) -> Result<bool, Failure> {
        if !self.dry_run {
            return Ok(false);
        }
        let call = self.call(request)?;
        let (header, prefix) = self.provider.auth();
        let key = format!("{prefix}{MASKED}");
        if self.json {
            let body = call.body.as_ref().map(|(media_type, text)| match *media_type {
                "application/json" => serde_json::from_str(text).unwrap_or_default(),
                _ => Value::String(text.clone()),
            });
            print_json(&json!({
                "dry_run": true, "method": call.method, "url": call.url,
                "headers": { header: key }, "body": body,
            }))?;
            return Ok(true);
        }
        let mut out = Printout::new();
        out.line(printable(&format!("{} {}", call.method, call.url)));
        out.line(format!("{header}: {key}"));
        if let Some((media_type, text)) = &call.body {
            out.line(format!("Content-Type: {media_type}"));
            out.line("");
            out.line(printable(text));
        }
        out.remark("Nothing was sent.".to_owned());
        out.print()?;
        Ok(true)
    }

    /// Performs a request, again after a limit, while the provider cannot answer, and where the
    /// answer was lost.
    pub(super) fn ask(&self, request: &ApiRequest<'_>) -> Result<Vec<u8>, Failure> {
        self.try_to(request)?.map_err(|error| self.failure(request, &error))
    }

    /// The same, where the provider's refusal is looked at.
    pub(super) fn try_to(
        &self,
        request: &ApiRequest<'_>,
    ) -> Result<Result<Vec<u8>, ApiError>, Failure> {
        let call = self.call(request)?;
        // The same for every try, so that a registration is made once.
        let key = request.changes().then(random).transpose()?;
        let mut tries = 1;
        loop {
            let error = match self.perform(&call, key.as_deref())? {
                Ok(body) => return Ok(Ok(body)),
                Err(error) => error,
            };
            let pause = pause(&error, tries);
            if tries == MAX_TRIES || pause.is_none() {
                return Ok(Err(error));
            }
            if let Some(pause) = pause.filter(|pause| !pause.is_zero()) {
                let wait = duration(pause.as_secs_f64() * 1000.0);
                remark(&format!("{error}; once more in {wait}"));
                std::thread::sleep(pause);
            }
            tries += 1;
        }
    }

    /// The same, and reads the answer as JSON.
    pub(super) fn ask_json(&self, request: &ApiRequest<'_>) -> Result<Value, Failure> {
        let body = self.ask(request)?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|error| self.strange(&error.to_string()))
    }

    fn perform(
        &self,
        call: &ApiCall,
        idempotency_key: Option<&str>,
    ) -> Result<Result<Vec<u8>, ApiError>, Failure> {
        let (header, prefix) = self.provider.auth();
        let key = &self.source.provider.api_key;
        let Some(value) = &key.value else {
            return Err(Failure::usage(format!(
                "there is no API key of {}: {} is empty or absent (`api_key` under [sources.{}] names another place)",
                self.provider.name(),
                key.place,
                self.source.name
            )));
        };
        let mut request = ureq::http::Request::builder()
            .method(call.method)
            .uri(&call.url)
            .header(header, format!("{prefix}{}", value.expose_secret()));
        if let Some(idempotency_key) = idempotency_key {
            request = request.header("Idempotency-Key", idempotency_key);
        }
        let answered = match &call.body {
            Some((media_type, text)) => {
                let request = request.header("Content-Type", *media_type).body(text.as_str());
                request.map(|request| agent(TIMEOUT).run(request))
            }
            // Of a POST without any body the length would not be said.
            None if call.method == "POST" => {
                request.body("").map(|request| agent(TIMEOUT).run(request))
            }
            None => request.body(()).map(|request| agent(TIMEOUT).run(request)),
        };
        let answered = answered.map_err(|error| Failure::usage(format!("`api_url`: {error}")))?;
        let mut response = match answered {
            Ok(response) => response,
            Err(error) if was_sent(&error) => return Ok(Err(self.lost(call, &error))),
            Err(error) => return Err(self.unreachable(call, &error)),
        };
        let retry_after = response.headers().get("retry-after").cloned();
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
        let body = match body {
            Ok(body) => body,
            Err(error) => return Ok(Err(self.lost(call, &error))),
        };
        let retry_after = retry_after.as_ref().and_then(|value| value.to_str().ok());
        let answer = ApiAnswer { status, retry_after, body: &body };
        Ok(providers::check(self.provider, &answer).map(|()| body))
    }

    fn unreachable(&self, call: &ApiCall, error: &ureq::Error) -> Failure {
        let (host, name) = (host_of(call), self.provider.name());
        Failure::failed(format!(
            "no answer from {name} at {host} ({error}): look at the network, and at `api_url` if it is set"
        ))
    }

    fn lost(&self, call: &ApiCall, error: &ureq::Error) -> ApiError {
        ApiError::Lost(format!("from {}: {error}", host_of(call)))
    }

    pub(super) fn failure(&self, request: &ApiRequest<'_>, error: &ApiError) -> Failure {
        let name = self.provider.name();
        let command = format!("hookbox provider {}", self.source.name);
        let help = match error {
            ApiError::Key(_) => {
                format!(": compare {} with {name}", self.source.provider.api_key.place)
            }
            ApiError::Absent(_) => {
                format!(": `{command} list` shows what is, and `delete` ends what is no more")
            }
            ApiError::Lost(_) if matches!(request, ApiRequest::Rotate { .. }) => {
                ", and the old secret may have ended: rotate once more".to_owned()
            }
            ApiError::Lost(_) if request.changes() => {
                format!(", and it may have been done: `{command} list` shows what is")
            }
            ApiError::Limited { retry_after_ms: Some(ms), .. } => {
                format!(": try again in {} s", ms.div_ceil(1000))
            }
            _ => String::new(),
        };
        Failure::failed(format!("{name}: {}{help}", printable(&error.to_string())))
    }

    pub(super) fn strange(&self, why: &str) -> Failure {
        let error = ApiError::Strange(why.to_owned());
        Failure::failed(format!("{}: {}", self.provider.name(), printable(&error.to_string())))
    }
}

/// The host and port of a call, for people.
fn host_of(call: &ApiCall) -> String {
    let uri: Option<ureq::http::Uri> = call.url.parse().ok();
    let authority = uri.and_then(|uri| uri.authority().map(ToString::to_string));
    authority.unwrap_or_default()
}

/// Whether a call that failed may have reached the provider.
fn was_sent(error: &ureq::Error) -> bool {
    use ureq::{Error, Timeout};
    match error {
        Error::Timeout(Timeout::Resolve | Timeout::Connect)
        | Error::HostNotFound
        | Error::ConnectionFailed
        | Error::BadUri(_)
        | Error::InvalidProxyUrl
        | Error::Tls(_)
        | Error::Rustls(_) => false,
        Error::Io(error) => error.kind() != std::io::ErrorKind::ConnectionRefused,
        _ => true,
    }
}

/// How long to wait before the call is made again; `None` if it would not help, or is too long.
fn pause(error: &ApiError, tries: u32) -> Option<Duration> {
    let asked = match error {
        ApiError::Limited { retry_after_ms, .. } => retry_after_ms.map(Duration::from_millis),
        _ => None,
    };
    let pause = asked.unwrap_or(Duration::from_secs(1 << tries.min(4)));
    (error.passes() && pause <= MAX_PAUSE).then_some(pause)
}

/// Random digits, for a key that no other request has.
pub(super) fn random() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::failed(format!("the system has no randomness: {error}")))?;
    Ok(hex::encode(bytes))
}
