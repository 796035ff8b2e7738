//! Parameters of what happened over time, and of the stream of hints.

use serde::Deserialize;
use utoipa::IntoParams;

use crate::admin::problem::ProblemJson;
use crate::event::EventId;
use crate::names::hint;
use crate::store::OperationId;

/// Parameters of `GET /api/v1/stats/history`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct HistoryQuery {
    /// `1h`, `24h` or `14d`; `1h` if absent.
    #[param(example = "24h")]
    window: Option<String>,
    /// Of this source.
    pub(in crate::admin) source: Option<String>,
    /// Of this plugin.
    pub(in crate::admin) plugin: Option<String>,
    /// Only these series, their names joined by commas.
    #[param(example = "accepted,refused")]
    series: Option<String>,
}

/// A time up to now, in steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin) struct TimeWindow {
    /// Its name in the query.
    pub(in crate::admin) name: &'static str,
    /// The length of a step, in milliseconds.
    pub(in crate::admin) step_ms: i64,
    /// The number of steps.
    pub(in crate::admin) steps: usize,
}

/// Every window: at most 120 steps, so that a chart shows each.
pub(in crate::admin) const WINDOWS: [TimeWindow; 3] = [
    TimeWindow { name: "1h", step_ms: 30_000, steps: 120 },
    TimeWindow { name: "24h", step_ms: 900_000, steps: 96 },
    TimeWindow { name: "14d", step_ms: 10_800_000, steps: 112 },
];

impl HistoryQuery {
    /// Everything over this window.
    pub(in crate::admin) fn over(window: &str) -> Self {
        Self { window: Some(window.to_owned()), ..Self::default() }
    }

    /// The acts of a source over this window.
    pub(in crate::admin) fn of_source(window: &str, source: &str) -> Self {
        Self { source: Some(source.to_owned()), ..Self::over(window) }
    }

    /// The attempts of a plugin over this window.
    pub(in crate::admin) fn of_plugin(window: &str, plugin: &str) -> Self {
        Self { plugin: Some(plugin.to_owned()), ..Self::over(window) }
    }

    pub(in crate::admin) fn window(&self) -> Result<TimeWindow, ProblemJson> {
        let wanted = self.window.as_deref().unwrap_or(WINDOWS[0].name);
        let found = WINDOWS.into_iter().find(|window| window.name == wanted);
        found.ok_or_else(|| {
            let wanted: String = wanted.chars().take(80).collect();
            ProblemJson::bad_request(format!(
                "`window`: `{wanted}` is none of `1h`, `24h` and `14d`"
            ))
        })
    }

    /// The wanted ones of `known`; all of them if the query names none.
    pub(in crate::admin) fn wanted<'k>(
        &self,
        known: &[&'k str],
    ) -> Result<Vec<&'k str>, ProblemJson> {
        let Some(names) = self.series.as_deref() else { return Ok(known.to_vec()) };
        let find = |name: &str| known.iter().copied().find(|known| *known == name);
        names
            .split(',')
            .map(|name| find(name).ok_or_else(|| unknown("series", name, known)))
            .collect()
    }
}

/// Parameters of `GET /api/v1/stream`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct StreamQuery {
    /// The topics to tell of, joined by commas: `stats`, `events`, `plugins`, `failures`,
    /// `sources`, `operations`; and up to four of `event:ID` (its whole tree) and `operation:ID`.
    #[param(example = "stats,events")]
    topics: Option<String>,
}

/// The topics of a stream.
#[derive(Debug, Default)]
pub(in crate::admin) struct StreamTopics {
    /// Topics of everything.
    pub(in crate::admin) words: Vec<&'static str>,
    /// Trees of these events.
    pub(in crate::admin) events: Vec<EventId>,
    /// These operations.
    pub(in crate::admin) operations: Vec<OperationId>,
}

/// The most events and operations that one stream tells of.
const MAX_SINGLE: usize = 4;

impl StreamQuery {
    /// The topics of the query, in the order of `known`; all of these if it names none.
    pub(in crate::admin) fn topics(
        &self,
        known: &[&'static str],
    ) -> Result<StreamTopics, ProblemJson> {
        let Some(names) = self.topics.as_deref() else {
            return Ok(StreamTopics { words: known.to_vec(), ..StreamTopics::default() });
        };
        let mut topics = StreamTopics::default();
        for name in names.split(',') {
            let refused = |why: String| ProblemJson::bad_request(format!("`topics`: {why}"));
            match name.split_once(':') {
                Some(("event", id)) => {
                    let id = id.parse::<EventId>().map_err(|error| refused(error.to_string()))?;
                    topics.events.push(id);
                }
                Some(("operation", id)) => {
                    let id = id.parse::<OperationId>();
                    topics.operations.push(id.map_err(|error| refused(error.to_string()))?);
                }
                _ if known.contains(&name) => {}
                _ => return Err(unknown("topics", name, known)),
            }
            if topics.events.len() + topics.operations.len() > MAX_SINGLE {
                return Err(refused(format!(
                    "a stream tells of {MAX_SINGLE} events and operations at most"
                )));
            }
        }
        let is_wanted = |topic: &&str| names.split(',').any(|name| name == *topic);
        topics.words = known.iter().copied().filter(is_wanted).collect();
        Ok(topics)
    }
}

fn unknown(parameter: &str, name: &str, known: &[&str]) -> ProblemJson {
    let shown: String = name.chars().take(80).collect();
    let hint = hint(&shown, known.iter().copied());
    let known = known.join("`, `");
    ProblemJson::bad_request(format!(
        "`{parameter}`: there is no `{shown}`{hint} (there are `{known}`)"
    ))
}
