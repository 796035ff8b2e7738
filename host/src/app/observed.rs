//! Measurements of a host that belong to the process: metrics, series and spans.

use std::fmt;
use std::sync::Arc;

use crate::admin::RenderMetrics;
use crate::series::Series;
use crate::trace::Tracer;

/// The measurements of the host while it runs.
#[derive(Clone)]
pub struct Observed {
    /// All of it, for Prometheus.
    pub render_metrics: RenderMetrics,
    /// Rates and durations over time, for the charts.
    pub series: Arc<Series>,
    /// Begins spans, if the host is traced.
    pub tracer: Tracer,
}

impl Default for Observed {
    /// Nothing is measured.
    fn default() -> Self {
        Self {
            render_metrics: Arc::new(|_, _| String::new()),
            series: Arc::default(),
            tracer: Tracer::default(),
        }
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").field("series", &self.series).finish_non_exhaustive()
    }
}
