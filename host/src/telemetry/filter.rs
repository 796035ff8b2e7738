//! Reads `HOOKBOX_LOG`, and finds mistakes in it that would silence the log.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use super::TelemetryError;
use crate::names::{closest_within, hint_at};

/// The default filter.
const DEFAULT: &str = "info";

/// Directives that hold unless the filter overrides them. Warnings about the filter itself are
/// always logged. The WASI libraries log what guests do, as often as they do it, so they are off
/// unless named; the prefix also covers `wasmtime_wasi_http`.
const ALWAYS: &str = "wasmtime_wasi=off,hookbox::telemetry=warn";

/// The directive for messages about a collector; it joins [`ALWAYS`] if that much of the host is
/// logged.
const COLLECTOR: &str = "hookbox::telemetry::otlp=info";

const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "off"];

/// The modules of this crate.
const MODULES: [&str; 29] = [
    "admin",
    "app",
    "cli",
    "clock",
    "cloudevents",
    "config",
    "dispatch",
    "egress",
    "env",
    "event",
    "fail",
    "fair",
    "files",
    "ingest",
    "names",
    "plugins",
    "providers",
    "reload",
    "retry",
    "sandbox",
    "seal",
    "series",
    "server",
    "status",
    "store",
    "tasks",
    "telemetry",
    "text",
    "trace",
];

/// The libraries that log.
const LIBRARIES: [&str; 10] = [
    "axum",
    "hyper",
    "hyper_util",
    "mio",
    "notify",
    "tokio",
    "tower",
    "wasmtime",
    "wasmtime_wasi",
    "wasmtime_wasi_http",
];

/// The target of lines that plugins log (`log = "forward"`).
const PLUGIN: &str = "plugin";

/// Returns the filter, and warnings about likely mistakes in it.
pub(super) fn read(text: Option<String>) -> Result<(EnvFilter, Vec<String>), TelemetryError> {
    let text = text.unwrap_or_else(|| DEFAULT.to_owned());
    let refuse = |reason: String| TelemetryError::Filter { filter: text.clone(), reason };
    let directives: Vec<&str> =
        text.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    let mut warnings = Vec::new();
    for directive in &directives {
        warnings.extend(check(directive).map_err(refuse)?);
    }
    // Of two directives that match, the longer target counts; of two with the same target, the
    // last.
    let level = directives.iter().rev().find_map(|directive| directive.parse().ok());
    let has_infos = level.is_some_and(|level: LevelFilter| level >= LevelFilter::INFO);
    let collector = if has_infos { COLLECTOR } else { "" };
    let filter = EnvFilter::try_new(format!("{ALWAYS},{collector},{}", directives.join(",")))
        .map_err(|error| refuse(error.to_string()))?;
    Ok((filter, warnings))
}

/// Checks a directive: an error if it is invalid, a warning if nothing logs under its target.
fn check(directive: &str) -> Result<Option<String>, String> {
    // Directives for spans and fields are not checked.
    if directive.contains(['[', '{']) {
        return Ok(None);
    }
    if let Some((target, level)) = directive.split_once('=') {
        if !level.is_empty() && level.parse::<LevelFilter>().is_err() {
            return Err(format!(
                "`{level}` is not a level{}; levels are {}",
                did_you_mean(level),
                LEVELS.join(", ")
            ));
        }
        return Ok(warning(target));
    }
    if directive.parse::<LevelFilter>().is_ok() {
        return Ok(None);
    }
    let warning = warning(directive);
    match near_level(directive) {
        Some(level) if warning.is_some() => {
            let hint = hint_at(Some(level));
            Err(format!("`{directive}` is neither a level nor a module that logs{hint}"))
        }
        _ => Ok(warning),
    }
}

fn warning(target: &str) -> Option<String> {
    let (name, module) = target
        .split_once("::")
        .map_or((target, None), |(name, rest)| (name, rest.split("::").next()));
    let known = match (name, module) {
        ("hookbox", Some(module)) => MODULES.iter().any(|known| known.starts_with(module)),
        // A target matches as a prefix.
        _ => LIBRARIES.iter().chain(&["hookbox", PLUGIN]).any(|known| known.starts_with(name)),
    };
    if known && !name.is_empty() {
        return None;
    }
    let near = match (name, module) {
        ("hookbox", Some(module)) => {
            near(module, MODULES).map(|module| format!("hookbox::{module}"))
        }
        _ => near(name, LIBRARIES).or_else(|| near(name, ["hookbox", PLUGIN])).map(str::to_owned),
    };
    let hint = hint_at(near.as_deref());
    Some(format!("HOOKBOX_LOG: nothing logs as `{target}`{hint}"))
}

fn did_you_mean(word: &str) -> String {
    hint_at(near_level(word))
}

/// The level that a mistyped word probably means, including `err` and `warning`.
fn near_level(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    let longer =
        |level: &&str| word.len() > 2 && (level.starts_with(&word) || word.starts_with(*level));
    LEVELS.into_iter().find(longer).or_else(|| near(&word, LEVELS))
}

fn near<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    closest_within(word, names, (word.chars().count() / 3).min(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        read(Some(text.to_owned())).expect_err(text).to_string()
    }

    fn warnings(text: &str) -> Vec<String> {
        read(Some(text.to_owned())).expect(text).1
    }

    #[test]
    fn a_mistyped_level_is_refused_with_the_level_that_is_meant() {
        for (text, level) in
            [("debugg", "debug"), ("Wran", "warn"), ("warning", "warn"), ("err", "error")]
        {
            let refused = refused(text);
            assert!(refused.contains(&format!("did you mean `{level}`?")), "{refused}");
        }
        let refused = refused("info,hookbox::dispatch=debugg");
        assert!(refused.contains("`debugg` is not a level; did you mean `debug`?"), "{refused}");
        assert!(refused.contains("trace, debug, info, warn, error, off"), "{refused}");
    }

    #[test]
    fn a_target_that_logs_nothing_is_doubted() {
        assert_eq!(
            warnings("info,hookbox::dispach=debug,hookbx=debug,acme"),
            [
                "HOOKBOX_LOG: nothing logs as `hookbox::dispach`; did you mean `hookbox::dispatch`?",
                "HOOKBOX_LOG: nothing logs as `hookbx`; did you mean `hookbox`?",
                "HOOKBOX_LOG: nothing logs as `acme`",
            ]
        );
    }

    #[test]
    fn what_is_right_is_not_doubted() {
        for text in [
            "info",
            "DEBUG",
            "off",
            "3",
            "hookbox",
            "hookbox=debug,info",
            "hookbox::dispatch::attempt=trace",
            "plugin=off",
            " info , hyper=debug",
            "wasmtime_wasi_http=debug",
            "warn,[request{id=1}]=debug",
        ] {
            assert_eq!(warnings(text), Vec::<String>::new(), "{text}");
        }
        assert!(read(None).is_ok_and(|(_, warnings)| warnings.is_empty()));
    }

    #[test]
    fn what_becomes_of_a_collector_is_logged_as_far_as_the_host_is() {
        let of_collector = |text: Option<&str>| {
            let filter = read(text.map(str::to_owned)).unwrap().0.to_string();
            filter.contains("hookbox::telemetry::otlp=info")
        };
        for text in [None, Some("info"), Some("hookbox::store=warn,debug")] {
            assert!(of_collector(text), "{text:?}");
        }
        for text in ["error", "warn", "hookbox::store=debug"] {
            assert!(!of_collector(Some(text)), "{text}");
        }
    }

    #[test]
    fn every_module_can_be_named() {
        let declared =
            include_str!("../lib.rs").lines().filter_map(|line| line.strip_prefix("pub mod "));
        let mut declared: Vec<_> = declared.filter_map(|rest| rest.split(';').next()).collect();
        declared.sort_unstable();
        let mut known = MODULES.to_vec();
        known.sort_unstable();
        assert_eq!(known, declared);
    }
}
