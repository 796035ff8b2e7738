//! The grants of a plugin in words, and grants that the plugin does not use.

use crate::config::PluginSettings;
use crate::sandbox::{Capability, Plugin};

/// Describes a plugin's grants, one text each, in the terms of the configuration. No text holds a
/// secret.
pub fn grants(settings: &PluginSettings) -> Vec<String> {
    Capability::all().flat_map(|capability| capability.grants(settings)).collect()
}

/// Names the grants that a plugin does not use, for people.
pub fn warnings(name: &str, settings: &PluginSettings, plugin: &Plugin) -> Vec<String> {
    let asked = plugin.capabilities();
    let unused = Capability::all().filter(|it| it.is_granted(settings) && !asked.contains(it));
    let mut found: Vec<String> = unused
        .map(|it| {
            format!("`{it}` says nothing to plugin `{name}`: it does not import {}", it.interface())
        })
        .collect();
    if settings.reuse && !plugin.contract().reusable() {
        found.push(format!(
            "`instance = \"reuse\"` says nothing to plugin `{name}`: a command runs once"
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use secrecy::SecretString;

    use super::*;
    use crate::config::{Grants, HostPattern, HttpRule, Injected};
    use crate::sandbox::{Sandbox, SandboxOptions};

    fn rule() -> HttpRule {
        HttpRule {
            tls: true,
            host: HostPattern::Name("api.example.com".to_owned()),
            port: 443,
            methods: Some(vec!["GET".to_owned(), "POST".to_owned()]),
            path: "/v1/".to_owned(),
            private: false,
            headers: vec![Injected {
                name: "authorization".to_owned(),
                prefix: "Bearer ".to_owned(),
                value: Ok(SecretString::from("sk_123")),
            }],
            idempotency_key: true,
            traceparent: true,
            authorities: None,
        }
    }

    fn settings(http: Vec<HttpRule>, config: &[(&str, &str)]) -> PluginSettings {
        let http = http.into_iter().map(Arc::new).collect();
        let config =
            config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        PluginSettings {
            grants: Arc::new(Grants { http }),
            config: Arc::new(config),
            ..PluginSettings::default()
        }
    }

    #[test]
    fn a_grant_is_told_in_the_terms_of_the_configuration_and_without_its_secret() {
        let open = HttpRule {
            tls: false,
            host: HostPattern::Below(".example.com".to_owned()),
            port: 8080,
            methods: None,
            path: "/".to_owned(),
            private: true,
            headers: Vec::new(),
            authorities: Some(Arc::default()),
            ..rule()
        };
        let told = grants(&settings(vec![rule(), open], &[("a", "1"), ("b", "sk_123")]));
        let expected = [
            "https://api.example.com:443 GET,POST /v1/ + header authorization",
            "http://*.example.com:8080 * / + private addresses + own authorities",
            "config: 2 values",
        ];
        assert_eq!(told, expected);
        assert!(grants(&PluginSettings::default()).is_empty());
    }

    #[test]
    fn what_is_granted_and_never_imported_is_a_warning() {
        let sandbox = Sandbox::new(SandboxOptions::default()).unwrap();
        let ok = sandbox.load(include_bytes!("../../tests/guests/ok.wat")).unwrap();
        let reads = sandbox.load(include_bytes!("../../tests/guests/config.wat")).unwrap();
        let both = settings(vec![rule()], &[("a", "1")]);
        let expected = [
            "`http` says nothing to plugin `a`: it does not import wasi:http/outgoing-handler",
            "`config` says nothing to plugin `a`: it does not import hookbox:plugin/config",
        ];
        assert_eq!(warnings("a", &both, &ok), expected);
        assert_eq!(warnings("a", &both, &reads), expected[..1]);
        assert!(warnings("a", &settings(Vec::new(), &[("a", "1")]), &reads).is_empty());
    }
}
