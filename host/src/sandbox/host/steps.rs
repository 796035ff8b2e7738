//! `hookbox:plugin/steps`: results that outlive the attempt, and the wish to be called again.
//!
//! The records of earlier attempts are read once, when the guest first asks. A record waits until
//! the store has it on disk; a guest that waits computes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::WasiView;

use super::import::{HostImport, Offer, Start};
use crate::event::StepUse;
use crate::sandbox::bindings::hookbox::plugin::steps::{self, Error};
use crate::sandbox::limits::MAX_AGAIN;
use crate::sandbox::{Invocation, StepRecorded, StepStore};

/// The longest name, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// The largest result, in bytes.
const MAX_VALUE_BYTES: usize = 256 << 10;
/// Results that a delivery may record.
const MAX_STEPS: usize = 64;
/// Results that a delivery may record, in bytes.
const MAX_STEPS_BYTES: usize = 1 << 20;

/// The steps of one attempt's delivery.
pub(super) struct Steps {
    store: Arc<dyn StepStore>,
    began: Instant,
    /// Everything that is recorded, once it was read.
    known: Option<BTreeMap<String, Vec<u8>>>,
    used: Vec<StepUse>,
    again: Option<Duration>,
}

impl HostImport for Steps {
    const OFFER: Offer = Offer {
        interfaces: &["hookbox:plugin/steps"],
        version: "0.1.",
        shown: "steps",
        // It reaches nothing but the delivery that the plugin is given.
        capability: None,
    };

    fn begin(start: &Start<'_>) -> Self {
        Self::new(Arc::clone(&start.call.steps))
    }

    fn link<T: WasiView + 'static>(
        linker: &mut Linker<T>,
        of: fn(&mut T) -> &mut Self,
    ) -> wasmtime::Result<()> {
        steps::add_to_linker::<T, HasSelf<Self>>(linker, of)
    }

    fn record(&mut self, invocation: &mut Invocation) {
        invocation.steps = std::mem::take(&mut self.used);
        invocation.again = self.again.take();
    }
}

impl steps::Host for Steps {
    async fn recall(&mut self, name: String) -> Result<Option<Vec<u8>>, Error> {
        check(&name)?;
        let found = self.known().await?.get(&name).cloned();
        if let Some(value) = &found {
            self.note(&name, value.len(), None);
        }
        Ok(found)
    }

    async fn record(&mut self, name: String, value: Vec<u8>) -> Result<(), Error> {
        self.keep(name, value).await
    }

    fn again(&mut self, after_ms: u64) -> Result<(), Error> {
        self.ask(Duration::from_millis(after_ms));
        Ok(())
    }
}

impl Steps {
    fn new(store: Arc<dyn StepStore>) -> Self {
        let (began, used) = (Instant::now(), Vec::new());
        Self { store, began, known: None, used, again: None }
    }

    /// Records a result, unless there is one under this name.
    async fn keep(&mut self, name: String, value: Vec<u8>) -> Result<(), Error> {
        check(&name)?;
        if value.len() > MAX_VALUE_BYTES {
            return Err(Error::TooLarge);
        }
        let known = self.known().await?;
        if let Some(first) = known.get(&name) {
            let bytes = first.len();
            self.note(&name, bytes, None);
            return Ok(());
        }
        // Steps of earlier attempts count too, since the delivery keeps them all.
        let bytes: usize = known.values().map(Vec::len).sum();
        if known.len() >= MAX_STEPS || bytes + value.len() > MAX_STEPS_BYTES {
            return Err(Error::Full);
        }
        // Only a result that is on disk is noted: a later attempt recalls nothing else.
        match self.store.record(&name, value.clone()).await {
            Ok(StepRecorded::Kept) => {}
            Ok(StepRecorded::Lost) => return Err(Error::Lost),
            Err(why) => return Err(Error::Unavailable(why)),
        }
        self.note(&name, value.len(), Some(self.began.elapsed()));
        self.known.get_or_insert_default().insert(name, value);
        Ok(())
    }

    /// Asks for another call after this time.
    pub(super) fn ask(&mut self, after: Duration) {
        self.again = Some(after.min(MAX_AGAIN));
    }

    /// Everything that the delivery has recorded.
    async fn known(&mut self) -> Result<&BTreeMap<String, Vec<u8>>, Error> {
        if self.known.is_none() {
            self.known = Some(self.store.all().await.map_err(Error::Unavailable)?);
        }
        Ok(self.known.get_or_insert_default())
    }

    /// Notes the first use of a step.
    fn note(&mut self, name: &str, bytes: usize, recorded_after: Option<Duration>) {
        if self.used.iter().any(|used| used.name == name) {
            return;
        }
        let recorded_after_ms =
            recorded_after.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let (name, bytes) = (name.to_owned(), bytes as u64);
        self.used.push(StepUse { name, bytes, recorded_after_ms });
    }
}

fn check(name: &str) -> Result<(), Error> {
    let fits =
        !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(Error::InvalidName) }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::steps::Host;
    use super::*;
    use crate::sandbox::{StepAnswer, StepsAnswer};

    /// A store that counts how often it is read.
    #[derive(Debug, Default)]
    struct Kept {
        steps: Mutex<BTreeMap<String, Vec<u8>>>,
        reads: AtomicU32,
        lost: bool,
    }

    impl StepStore for Kept {
        fn all(&self) -> StepsAnswer<'_> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let steps = self.steps.lock().unwrap().clone();
            Box::pin(async move { Ok(steps) })
        }

        fn record<'a>(&'a self, name: &'a str, value: Vec<u8>) -> StepAnswer<'a> {
            let answer = if self.lost { StepRecorded::Lost } else { StepRecorded::Kept };
            if !self.lost {
                self.steps.lock().unwrap().insert(name.to_owned(), value);
            }
            Box::pin(async move { Ok(answer) })
        }
    }

    #[tokio::test]
    async fn what_was_recorded_is_read_once_and_the_first_result_stays() {
        let kept = Arc::new(Kept::default());
        kept.steps.lock().unwrap().insert("old".to_owned(), b"1".to_vec());
        let mut steps = Steps::new(kept.clone());
        assert_eq!(steps.recall("new".to_owned()).await.unwrap(), None);
        steps.keep("new".to_owned(), b"22".to_vec()).await.unwrap();
        steps.keep("new".to_owned(), b"other".to_vec()).await.unwrap();
        steps.keep("old".to_owned(), b"other".to_vec()).await.unwrap();
        assert_eq!(steps.recall("new".to_owned()).await.unwrap().as_deref(), Some(&b"22"[..]));
        assert_eq!(steps.recall("old".to_owned()).await.unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(kept.reads.load(Ordering::Relaxed), 1);
        assert_eq!(kept.steps.lock().unwrap()["old"], b"1");
        let used: Vec<_> = steps
            .used
            .iter()
            .map(|used| (used.name.as_str(), used.bytes, used.recorded_after_ms.is_some()))
            .collect();
        assert_eq!(used, [("new", 2, true), ("old", 1, false)], "each once");
    }

    #[tokio::test]
    async fn names_and_results_are_limited() {
        let mut steps = Steps::new(Arc::new(Kept::default()));
        for name in ["", "a\0b", "a\nb", &"n".repeat(MAX_NAME_BYTES + 1)] {
            assert!(matches!(steps.recall(name.into()).await, Err(Error::InvalidName)), "{name:?}");
            let recorded = steps.keep(name.into(), Vec::new()).await;
            assert!(matches!(recorded, Err(Error::InvalidName)), "{name:?}");
        }
        let large = vec![0; MAX_VALUE_BYTES];
        let larger = steps.keep("a".into(), [&large[..], b"x"].concat()).await;
        assert!(matches!(larger, Err(Error::TooLarge)));
        for n in 0..4 {
            steps.keep(n.to_string(), large.clone()).await.unwrap();
        }
        assert!(matches!(steps.keep("more".into(), vec![0]).await, Err(Error::Full)));
        for n in 4..MAX_STEPS {
            steps.keep(n.to_string(), Vec::new()).await.unwrap();
        }
        assert!(matches!(steps.keep("more".into(), Vec::new()).await, Err(Error::Full)));
        steps.keep("0".into(), Vec::new()).await.unwrap();
    }

    #[tokio::test]
    async fn a_lost_lease_records_nothing() {
        let mut steps = Steps::new(Arc::new(Kept { lost: true, ..Kept::default() }));
        assert!(matches!(steps.keep("a".into(), vec![1]).await, Err(Error::Lost)));
        assert_eq!(steps.recall("a".into()).await.unwrap(), None);
        assert!(steps.used.is_empty());
    }

    #[test]
    fn the_last_wish_counts_and_longer_than_seven_days_is_seven_days() {
        let mut steps = Steps::new(Arc::new(Kept::default()));
        steps.again(5).unwrap();
        steps.again(u64::MAX).unwrap();
        assert_eq!(steps.again, Some(Duration::from_secs(7 * 24 * 3600)));
    }
}
