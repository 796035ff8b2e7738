//! Reads `HOOKBOX_LOG`, and finds the mistakes in it that would make the log silent without a word.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use super::TelemetryError;

/// What is logged if nobody says otherwise.
const DEFAULT: &str = "info";

/// The log says what is wrong with its own filter, whatever the filter is. The libraries behind WASI have a word for much
/// that a guest does, as often as it does it: they speak only if somebody asks for them by name. That also holds for what
/// begins like this, as `wasmtime_wasi_http` does.
const ALWAYS: &str = "wasmtime_wasi=off,hookbox::telemetry=warn";

const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "off"];

/// Modules of this crate that a target can name.
const MODULES: [&str; 23] = [
    "admin",
    "app",
    "cli",
    "clock",
    "cloudevents",
    "config",
    "dispatch",
    "egress",
    "event",
    "fail",
    "fair",
    "files",
    "ingest",
    "plugins",
    "reload",
    "retry",
    "sandbox",
    "server",
    "status",
    "store",
    "tasks",
    "telemetry",
    "text",
];

/// Libraries that log.
const LIBRARIES: [&str; 11] = [
    "axum",
    "hyper",
    "hyper_util",
    "mio",
    "notify",
    "notify_debouncer_full",
    "tokio",
    "tower",
    "wasmtime",
    "wasmtime_wasi",
    "wasmtime_wasi_http",
];

/// The target of lines that plugins log (`log = "forward"`).
const PLUGIN: &str = "plugin";

/// The filter, and what in it is likely to be a mistake.
pub(super) fn read(text: Option<String>) -> Result<(EnvFilter, Vec<String>), TelemetryError> {
    let text = text.unwrap_or_else(|| DEFAULT.to_owned());
    let refuse = |reason: String| TelemetryError::Filter { filter: text.clone(), reason };
    let directives: Vec<&str> = text.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    let mut doubts = Vec::new();
    for directive in &directives {
        doubts.extend(judge(directive).map_err(refuse)?);
    }
    // Of two that fit, the longer name counts; of two that are alike, the last.
    let filter =
        EnvFilter::try_new(format!("{ALWAYS},{}", directives.join(","))).map_err(|error| refuse(error.to_string()))?;
    Ok((filter, doubts))
}

/// An error if a directive cannot be meant as it stands, a doubt if it names what logs nothing.
fn judge(directive: &str) -> Result<Option<String>, String> {
    // Spans and fields are for those who know.
    if directive.contains(['[', '{']) {
        return Ok(None);
    }
    if let Some((target, level)) = directive.split_once('=') {
        if !level.is_empty() && level.parse::<LevelFilter>().is_err() {
            return Err(format!("`{level}` is not a level{}; levels are {}", did_you_mean(level), LEVELS.join(", ")));
        }
        return Ok(doubt(target));
    }
    if directive.parse::<LevelFilter>().is_ok() {
        return Ok(None);
    }
    let doubt = doubt(directive);
    match near_level(directive) {
        Some(level) if doubt.is_some() => {
            Err(format!("`{directive}` is neither a level nor a module that logs; did you mean `{level}`?"))
        }
        _ => Ok(doubt),
    }
}

fn doubt(target: &str) -> Option<String> {
    let (name, module) = target.split_once("::").map_or((target, None), |(name, rest)| (name, rest.split("::").next()));
    let known = match (name, module) {
        ("hookbox", Some(module)) => MODULES.iter().any(|known| known.starts_with(module)),
        // A target is a prefix.
        _ => LIBRARIES.iter().chain(&["hookbox", PLUGIN]).any(|known| known.starts_with(name)),
    };
    if known && !name.is_empty() {
        return None;
    }
    let near = match (name, module) {
        ("hookbox", Some(module)) => near(module, &MODULES).map(|module| format!("hookbox::{module}")),
        _ => near(name, &LIBRARIES).or_else(|| near(name, &["hookbox", PLUGIN])).map(str::to_owned),
    };
    let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Some(format!("HOOKBOX_LOG: nothing logs as `{target}`{hint}"))
}

fn did_you_mean(word: &str) -> String {
    near_level(word).map(|level| format!("; did you mean `{level}`?")).unwrap_or_default()
}

/// The level that a mistyped word is likely to mean: also `err` and `warning`.
fn near_level(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    let longer = |level: &&str| word.len() > 2 && (level.starts_with(&word) || word.starts_with(*level));
    LEVELS.into_iter().find(longer).or_else(|| near(&word, &LEVELS))
}

fn near<'n>(word: &str, names: &[&'n str]) -> Option<&'n str> {
    let most = (word.chars().count() / 3).min(2);
    let distances = names.iter().map(|name| (strsim::damerau_levenshtein(word, name), *name));
    distances.filter(|(distance, _)| *distance <= most).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        read(Some(text.to_owned())).expect_err(text).to_string()
    }

    fn doubts(text: &str) -> Vec<String> {
        read(Some(text.to_owned())).expect(text).1
    }

    #[test]
    fn a_mistyped_level_is_refused_with_the_level_that_is_meant() {
        for (text, level) in [("debugg", "debug"), ("Wran", "warn"), ("warning", "warn"), ("err", "error")] {
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
            doubts("info,hookbox::dispach=debug,hookbx=debug,acme"),
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
            assert_eq!(doubts(text), Vec::<String>::new(), "{text}");
        }
        assert!(read(None).is_ok_and(|(_, doubts)| doubts.is_empty()));
    }

    #[test]
    fn every_module_can_be_named() {
        let declared = include_str!("../lib.rs").lines().filter_map(|line| line.strip_prefix("pub mod "));
        let mut declared: Vec<_> = declared.filter_map(|rest| rest.split(';').next()).collect();
        declared.sort_unstable();
        let mut known = MODULES.to_vec();
        known.sort_unstable();
        assert_eq!(known, declared);
    }
}
