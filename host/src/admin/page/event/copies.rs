//! Commands that make an event again: replayed, sent, or as a golden test.

use crate::admin::page::parts::link::{Link, word};
use crate::admin::state::Admin;
use crate::admin::view::EventDetail;
use crate::config::Source;
use crate::config::source::{Field, Place, Verify};
use crate::names::is_built_in;

/// Plugins of which a golden test is named.
const MAX_CASES: usize = 5;

/// The commands, each with a label.
pub(super) fn copies(admin: &Admin, event: &EventDetail) -> Vec<(&'static str, String)> {
    let attributes = &event.attributes;
    let (id, source, kind) = (&attributes.id, &attributes.source, &attributes.kind);
    let mut found = vec![
        ("replay", format!("hookbox events replay {id}")),
        ("tree", format!("hookbox events tree {id}")),
    ];
    let is_outside = !source.contains('/');
    if is_outside {
        let send = format!("hookbox send {} {} --data -", word(source), word(kind));
        found.push(("send (signed again)", format!("hookbox events body {id} | {send}")));
    }
    if let Some(section) = admin.config.load().sources.get(&**source) {
        let url = format!("http://{}/webhook", admin.public_address);
        let media_type = attributes.datacontenttype.as_deref();
        let curl = curl(&url, section, media_type);
        let label = "curl (put a signature in)";
        found.push((label, format!("hookbox events body {id} | {curl}")));
    }
    let mut plugins: Vec<&str> = Vec::new();
    for delivery in event.deliveries.iter().filter(|it| !it.attempts.is_empty()) {
        let plugin = delivery.plugin.as_str();
        if !is_built_in(plugin) && !plugins.contains(&plugin) && plugins.len() < MAX_CASES {
            plugins.push(plugin);
        }
    }
    let case = |plugin| {
        let dir = format!("plugins/{plugin}/cases/{id}");
        format!("hookbox events case {id} --plugin {} --dir {}", word(plugin), word(&dir))
    };
    found.extend(plugins.into_iter().map(|plugin| ("golden test", case(plugin))));
    found
}

/// A request to a source, with placeholders for its signature and the time of sending.
fn curl(url: &str, source: &Source, media_type: Option<&str>) -> String {
    let mut url = Link::to(url).segment(&source.name);
    let kind = ("content-type".to_owned(), media_type.unwrap_or("application/octet-stream"));
    let mut headers = vec![(kind.0, kind.1.to_owned())];
    for (place, value) in placeholders(source) {
        match place {
            Place::Header(name) => headers.push((name, value)),
            Place::Query(name) => url = url.with(&name, &value),
            // They are in the body as it came.
            Place::Json(_) | Place::Form(_) => {}
        }
    }
    let mut text = format!("curl {} --data-binary @-", word(&url.into_text()));
    for (name, value) in headers {
        text.push_str(&format!(" -H {}", word(&format!("{name}: {value}"))));
    }
    text
}

/// Where a request has its signature and its time, and what stands there for them.
fn placeholders(source: &Source) -> Vec<(Place, String)> {
    let Verify::Signature(rule) = &source.verify else { return Vec::new() };
    let text = |field: &Field, word: &str| format!("{}{word}", field.prefix);
    let signature = rule.signatures.first();
    let time = rule.timestamp.as_ref().map(|timestamp| &timestamp.field);
    match (signature, time) {
        (Some(signature), Some(time)) if signature.place == time.place => {
            let separator = signature.separator.unwrap_or(',');
            let (time, proof) = (text(time, "TIMESTAMP"), text(signature, "SIGNATURE"));
            vec![(signature.place.clone(), format!("{time}{separator}{proof}"))]
        }
        (signature, time) => {
            let signature = signature.map(|it| (it.place.clone(), text(it, "SIGNATURE")));
            let time = time.map(|it| (it.place.clone(), text(it, "TIMESTAMP")));
            signature.into_iter().chain(time).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, MakeSecrets, Surroundings};

    const SOURCES: &str = r#"
[sources.shop]
preset = "stripe"
secrets = [{ env = "A" }]
[sources.code]
preset = "github"
secrets = [{ env = "A" }]
[sources.open]
verify = { scheme = "none" }
type = { json = "/type" }
"#;

    #[test]
    fn a_request_has_placeholders_where_its_source_looks() {
        let env = |_: &str| Some("a secret for tests, long enough".into());
        let surroundings = Surroundings { make_secrets: MakeSecrets::No, env: &env };
        let path = std::path::Path::new("config.toml");
        let config = Config::parse(path, SOURCES, surroundings)
            .unwrap_or_else(|problems| panic!("{}", problems.render(false)));
        let kind = Some("application/json");
        let of = |name: &str| curl("http://h/webhook", &config.sources[name], kind);
        let json = "--data-binary @- -H 'content-type: application/json'";
        assert_eq!(of("open"), format!("curl http://h/webhook/open {json}"));
        assert_eq!(
            of("shop"),
            format!(
                "curl http://h/webhook/shop {json} -H 'stripe-signature: t=TIMESTAMP,v1=SIGNATURE'"
            )
        );
        assert_eq!(
            of("code"),
            format!("curl http://h/webhook/code {json} -H 'x-hub-signature-256: sha256=SIGNATURE'")
        );
    }
}
