//! Feeds the series from the metrics: what is counted for Prometheus is counted for the charts, and
//! nothing is counted twice in the code.

use std::sync::Arc;
use std::time::Duration;

use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

use crate::event::Outcome;
use crate::series::{Meter, OwnerKind, Series};

/// Passes everything on, and counts what the series are made of.
pub(super) struct Tee<R> {
    pub(super) inner: R,
    pub(super) series: Arc<Series>,
}

/// A counter of an owner, and the kind of count in the owner's meter.
struct MeteredCounter {
    inner: Counter,
    meter: Arc<Meter>,
    kind: usize,
}

impl CounterFn for MeteredCounter {
    fn increment(&self, value: u64) {
        self.inner.increment(value);
        self.meter.count(self.kind, value);
    }

    fn absolute(&self, value: u64) {
        self.inner.absolute(value);
    }
}

/// The durations of an owner.
struct Timed {
    inner: Histogram,
    meter: Arc<Meter>,
}

impl HistogramFn for Timed {
    fn record(&self, seconds: f64) {
        self.inner.record(seconds);
        self.meter.took(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    }
}

impl<R: Recorder> Recorder for Tee<R> {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.inner.describe_counter(key, unit, description);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.inner.describe_gauge(key, unit, description);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.inner.describe_histogram(key, unit, description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        let inner = self.inner.register_counter(key, metadata);
        let Some((owner, name, kind)) = counted(key) else { return inner };
        let meter = self.series.meter(owner, name);
        Counter::from_arc(Arc::new(MeteredCounter { inner, meter, kind }))
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.inner.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        let inner = self.inner.register_histogram(key, metadata);
        let owner = match key.name() {
            "hookbox_ingest_ack_duration_seconds" => {
                label(key, "source").map(|it| (OwnerKind::Source, it))
            }
            "hookbox_attempt_duration_seconds" => {
                label(key, "plugin").map(|it| (OwnerKind::Plugin, it))
            }
            _ => None,
        };
        let Some((owner, name)) = owner else { return inner };
        Histogram::from_arc(Arc::new(Timed { inner, meter: self.series.meter(owner, name) }))
    }
}

/// The owner of a counter, and which of its counts this one is.
fn counted(key: &Key) -> Option<(OwnerKind, &str, usize)> {
    match key.name() {
        "hookbox_ingest_requests_total" => {
            let kind = match (label(key, "reason")?, label(key, "code")?) {
                ("accepted", _) => Meter::ACCEPTED,
                ("duplicate", _) => Meter::DUPLICATE,
                (_, code) if code.starts_with(['4', '5']) => Meter::REFUSED,
                _ => return None,
            };
            Some((OwnerKind::Source, label(key, "source")?, kind))
        }
        "hookbox_attempts_total" => {
            let name = label(key, "outcome")?;
            let outcome = Outcome::ALL.into_iter().find(|outcome| outcome.name() == name)?;
            Some((OwnerKind::Plugin, label(key, "plugin")?, usize::from(outcome.code())))
        }
        "hookbox_dead_letters_total" => {
            Some((OwnerKind::Plugin, label(key, "plugin")?, Meter::DEAD))
        }
        _ => None,
    }
}

fn label<'k>(key: &'k Key, name: &str) -> Option<&'k str> {
    key.labels().find(|label| label.key() == name).map(metrics::Label::value)
}

#[cfg(test)]
mod tests {
    use metrics::NoopRecorder;

    use super::*;
    use crate::series::SeriesOwner;

    #[test]
    fn what_is_measured_is_in_the_series() {
        let series = Arc::new(Series::default());
        let tee = Tee { inner: NoopRecorder, series: Arc::clone(&series) };
        metrics::with_local_recorder(&tee, || {
            let request = |reason: &'static str, code: &'static str| {
                metrics::counter!(
                    "hookbox_ingest_requests_total",
                    "source" => "heygen", "reason" => reason, "code" => code
                )
            };
            request("accepted", "200").increment(3);
            request("duplicate", "200").increment(2);
            request("bad_signature", "401").increment(1);
            request("challenge", "200").increment(1);
            for outcome in ["ok", "trap", "nonsense"] {
                metrics::counter!("hookbox_attempts_total", "plugin" => "audit", "outcome" => outcome)
                    .increment(1);
            }
            metrics::counter!("hookbox_dead_letters_total", "plugin" => "audit").increment(1);
            metrics::histogram!("hookbox_ingest_ack_duration_seconds", "source" => "heygen")
                .record(0.001);
            metrics::histogram!("hookbox_attempt_duration_seconds", "plugin" => "audit")
                .record(0.5);
        });
        series.sample(1);
        let point = |kind, name: &str| {
            series.window(&SeriesOwner { kind, name: Some(name.into()) })[0].point
        };
        let heygen = point(OwnerKind::Source, "heygen");
        assert_eq!(heygen.counts[..3], [3, 2, 1]);
        assert!(heygen.p99_us.abs_diff(1000) < 70, "{heygen:?}");
        let audit = point(OwnerKind::Plugin, "audit");
        let (ok, trap) = (usize::from(Outcome::Ok.code()), usize::from(Outcome::Trap.code()));
        assert_eq!((audit.counts[ok], audit.counts[trap], audit.counts[Meter::DEAD]), (1, 1, 1));
        assert_eq!(audit.timed, 1);
    }
}
