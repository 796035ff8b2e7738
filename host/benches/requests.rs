//! Incoming requests of HeyGen, signed, none like another, and the same ones in every run.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use hookbox::config::{Config, MakeSecrets, Source, Surroundings};
use hookbox::event::NewEvent;
use hookbox::ingest::{SourceRuntime, Unverified, sign};

/// When they come, Unix milliseconds.
pub(crate) const NOW_MS: i64 = 1_770_000_000_000;

/// The plugin that gets them.
pub(crate) const PLUGIN: &str = "audit";

/// The event type of each.
pub(crate) const KIND: &str = "avatar_video.success";

const SECRET: &str = "whsec_a_secret_for_the_benchmark";

/// A source as a configuration has it, and the other end of it.
pub(crate) struct Provider {
    source: Arc<Source>,
    config: Config,
}

impl Provider {
    /// HeyGen, with its events routed to [`PLUGIN`].
    pub(crate) fn new() -> Self {
        let config = config(&format!("\"{KIND}\" = \"{PLUGIN}\"\n"));
        Self { source: config.sources["heygen"].clone(), config }
    }

    /// The verifier of its requests.
    pub(crate) fn source_runtime(&self) -> SourceRuntime {
        SourceRuntime::new(self.source.clone())
    }

    /// Its request of this number, with a body of so many bytes.
    pub(crate) fn request(&self, number: usize, body_bytes: usize) -> (HeaderMap, Bytes) {
        let body = body(number, body_bytes);
        let signed = sign(&self.source, &body, &format!("evt_{number:012}"), NOW_MS / 1_000)
            .expect("it has a secret");
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        for (name, value) in signed {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("the name of a header");
            headers.insert(name, value.parse().expect("the value of a header"));
        }
        (headers, body)
    }

    /// The event that the host makes of that request.
    pub(crate) fn event(
        &self,
        source_runtime: &SourceRuntime,
        number: usize,
        body_bytes: usize,
    ) -> NewEvent {
        let (headers, body) = self.request(number, body_bytes);
        let verified =
            Unverified::new(headers, body).verify(source_runtime, NOW_MS).expect("it is authentic");
        verified.identify(&self.config.routes, NOW_MS)
    }
}

/// A configuration with these routes and the plugins of the repository.
pub(crate) fn config(routes: &str) -> Config {
    let text = format!(
        "[sources.heygen]\npreset = \"heygen\"\nsecrets = [{{ env = \"HEYGEN_WEBHOOK_SECRET\" }}]\n[routes]\n{routes}"
    );
    let env = |_: &str| Some(OsString::from(SECRET));
    let around = Surroundings { make_secrets: MakeSecrets::No, env: &env };
    Config::parse(&repository().join("config.toml"), &text, around)
        .expect("a configuration without problems")
}

/// The root of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("host/ stands in the repository")
}

fn body(number: usize, bytes: usize) -> Bytes {
    let start = format!(
        r#"{{"event_type":"{KIND}","event_data":{{"video_id":"v_{number:012}","callback_id":"order_{number:012}","video_url":"https://files.example/video/{number:012}.mp4","duration":45.2,"title":""#
    );
    let end = r#""}}"#;
    let title =
        bytes.checked_sub(start.len() + end.len()).expect("a body has room for its attributes");
    format!("{start}{}{end}", "x".repeat(title)).into()
}
