//! Begins spans, and keeps those that have ended until they are sent.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::context::{SpanContext, SpanId, TraceId};
use super::span::{SpanFields, SpanKind, SpanRecord};
use crate::clock;

/// The parts of a host that are traced, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceSettings {
    /// An attempt that begins so much later than its event is a trace of its own.
    pub join: Duration,
    /// Whether subjects of events are attributes of spans.
    pub subjects: bool,
}

/// Begins spans. Clones fill the same queue. The default is off, and begins none.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<Arc<TracerState>>);

#[derive(Debug)]
struct TracerState {
    queue: mpsc::Sender<SpanRecord>,
    settings: TraceSettings,
}

/// A span that others may be parts of, on their way through parts of the host that know nothing
/// else of it.
#[derive(Debug, Clone)]
pub struct SpanParent {
    tracer: Tracer,
    context: SpanContext,
}

impl SpanParent {
    /// Begins a span that is a part of it.
    pub fn child(&self) -> OpenSpan {
        let Self { tracer, context } = self;
        let own = SpanContext { trace: context.trace, span: SpanId::random() };
        OpenSpan::new(tracer.clone(), own, Some(context.span), None)
    }
}

impl From<&OpenSpan> for SpanParent {
    fn from(span: &OpenSpan) -> Self {
        Self { tracer: span.tracer().clone(), context: span.context() }
    }
}

impl Tracer {
    /// A tracer whose spans go to this queue when they have ended.
    pub fn new(queue: mpsc::Sender<SpanRecord>, settings: TraceSettings) -> Self {
        Self(Some(Arc::new(TracerState { queue, settings })))
    }

    /// Whether it begins any span.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether subjects of events may be told.
    pub fn tells_subjects(&self) -> bool {
        self.0.as_ref().is_some_and(|state| state.settings.subjects)
    }

    /// Begins a trace, perhaps one that has to do with another span.
    pub fn root(&self, link: Option<SpanContext>) -> Option<OpenSpan> {
        self.0.as_ref()?;
        let own = SpanContext { trace: TraceId::random(), span: SpanId::random() };
        Some(OpenSpan::new(self.clone(), own, None, link))
    }

    /// Begins a span that is a part of another one.
    pub fn child_of(&self, parent: SpanContext) -> Option<OpenSpan> {
        self.0.as_ref()?;
        Some(SpanParent { tracer: self.clone(), context: parent }.child())
    }

    /// Begins the span of an attempt: a part of the span that made its event, or, if that is long
    /// ago, a trace of its own with a link to that span.
    pub fn follow(&self, creation: Option<SpanContext>, age: Duration) -> Option<OpenSpan> {
        let settings = self.0.as_ref()?.settings;
        match creation {
            Some(creation) if age <= settings.join => self.child_of(creation),
            link => self.root(link),
        }
    }

    /// Keeps a span that has ended, if there is room for it.
    fn keep(&self, record: SpanRecord) {
        let Some(state) = &self.0 else { return };
        if state.queue.try_send(record).is_err() {
            dropped_spans(1);
        }
    }
}

/// A span that has not ended. A dropped span leaves nothing.
#[derive(Debug)]
pub struct OpenSpan {
    tracer: Tracer,
    context: SpanContext,
    parent: Option<SpanId>,
    link: Option<SpanContext>,
    start_ns: u64,
    began: Instant,
    /// How long it took, if it is over already.
    took: Option<Duration>,
}

impl OpenSpan {
    fn new(
        tracer: Tracer,
        context: SpanContext,
        parent: Option<SpanId>,
        link: Option<SpanContext>,
    ) -> Self {
        let (start_ns, began) = (clock::unix_ns(), Instant::now());
        Self { tracer, context, parent, link, start_ns, began, took: None }
    }

    /// Its ids.
    pub fn context(&self) -> SpanContext {
        self.context
    }

    /// The tracer that has begun it.
    pub fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// Begins a span that is a part of it.
    pub fn child(&self) -> Self {
        let Self { tracer, context, .. } = self;
        let own = SpanContext { trace: context.trace, span: SpanId::random() };
        Self::new(tracer.clone(), own, Some(context.span), None)
    }

    /// Lets it begin only now.
    pub fn begin_now(&mut self) {
        (self.start_ns, self.began) = (clock::unix_ns(), Instant::now());
    }

    /// Notes that it is over, before it is told what became of it.
    pub fn stop(&mut self) {
        self.took.get_or_insert_with(|| self.began.elapsed());
    }

    /// Ends it.
    pub fn end(
        self,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        fields: SpanFields,
        failed: bool,
    ) {
        let Self { tracer, context, parent, link, start_ns, began, took } = self;
        let took_ns = took.unwrap_or_else(|| began.elapsed()).as_nanos();
        let end_ns = start_ns.saturating_add(u64::try_from(took_ns).unwrap_or(u64::MAX));
        let name = name.into();
        tracer.keep(SpanRecord {
            context,
            parent,
            link,
            name,
            kind,
            start_ns,
            end_ns,
            fields,
            failed,
        });
    }
}

/// Counts spans that are not sent.
pub fn dropped_spans(count: u64) {
    metrics::counter!("hookbox_spans_dropped_total").increment(count);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: TraceSettings =
        TraceSettings { join: Duration::from_secs(3_600), subjects: false };

    fn end(span: Option<OpenSpan>) {
        span.unwrap().end("a span", SpanKind::Client, SpanFields::default(), false);
    }

    #[test]
    fn a_tracer_that_is_off_begins_nothing() {
        let off = Tracer::default();
        let other = SpanContext { trace: TraceId::random(), span: SpanId::random() };
        assert!(off.root(None).is_none() && off.child_of(other).is_none());
        assert!(off.follow(Some(other), Duration::ZERO).is_none() && !off.is_on());
    }

    #[test]
    fn an_attempt_joins_the_trace_of_its_event_until_it_is_late() {
        let (queue, mut records) = mpsc::channel(8);
        let tracer = Tracer::new(queue, SETTINGS);
        let creation = SpanContext { trace: TraceId::random(), span: SpanId::random() };
        end(tracer.follow(Some(creation), SETTINGS.join));
        let joined = records.try_recv().unwrap();
        assert_eq!((joined.context.trace, joined.parent), (creation.trace, Some(creation.span)));
        assert_eq!(joined.link, None);
        end(tracer.follow(Some(creation), SETTINGS.join + Duration::from_millis(1)));
        let late = records.try_recv().unwrap();
        assert_ne!(late.context.trace, creation.trace);
        assert_eq!((late.parent, late.link), (None, Some(creation)));
        end(tracer.follow(None, Duration::ZERO));
        let alone = records.try_recv().unwrap();
        assert_eq!((alone.parent, alone.link), (None, None));
    }

    #[test]
    fn a_full_queue_and_a_closed_one_take_nothing_and_hold_nobody_up() {
        let (queue, mut records) = mpsc::channel(1);
        let tracer = Tracer::new(queue, SETTINGS);
        (0..3).for_each(|_| end(tracer.root(None)));
        assert!(records.try_recv().is_ok() && records.try_recv().is_err());
        drop(records);
        end(tracer.root(None));
    }
}
