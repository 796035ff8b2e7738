//! The fate of each order and each video, drawn from a seed before anything begins.

use std::collections::{BTreeMap, HashMap, HashSet};

/// Videos of one order.
pub(super) const VIDEOS: usize = 3;

/// The end of an order whose videos are all made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The customer approves, and the shop delivers.
    Granted,
    /// HeyGen refuses to make the first video.
    Refused,
    /// The customer answers when the time is over.
    Late,
    /// The customer denies.
    Denied,
    /// The customer approves, and the shop cannot deliver.
    Undeliverable,
}

/// The end of a video, as HeyGen reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VideoFate {
    Made,
    /// Its webhook says that it failed.
    Failed,
    /// Its webhook says that it is finished, and the API knows better.
    Lost,
}

/// Everything that is drawn. Each kind has its exact share.
pub(super) struct Plan {
    pub(super) orders: usize,
    fates: HashMap<usize, Fate>,
    videos: HashMap<(usize, usize), VideoFate>,
    repeated: HashSet<(usize, usize)>,
    unanswered: HashSet<(usize, usize)>,
}

impl Plan {
    pub(super) fn new(seed: u64, orders: usize) -> Self {
        let share = |percent: usize| (orders * percent).div_ceil(100);
        let mut order = shuffled(seed, "order", (0..orders).collect());
        let mut fates = HashMap::new();
        for (fate, percent) in
            [(Fate::Refused, 1), (Fate::Late, 5), (Fate::Denied, 2), (Fate::Undeliverable, 1)]
        {
            fates.extend(order.drain(..share(percent).min(order.len())).map(|order| (order, fate)));
        }
        // Orders that come that far all ask for an approval, so no other video fails.
        let rest = order.iter().flat_map(|order| (0..VIDEOS).map(move |video| (*order, video)));
        let failing = shuffled(seed, "failing", rest.collect()).into_iter();
        let kinds = [VideoFate::Failed, VideoFate::Lost].into_iter().cycle();
        let videos = failing.take(VIDEOS * share(5)).zip(kinds).collect();
        let all: Vec<_> =
            (0..orders).flat_map(|order| (0..VIDEOS).map(move |video| (order, video))).collect();
        let some = |what, percent| {
            shuffled(seed, what, all.clone()).into_iter().take(VIDEOS * share(percent)).collect()
        };
        let (repeated, unanswered) = (some("repeated", 15), some("unanswered", 3));
        Self { orders, fates, videos, repeated, unanswered }
    }

    /// A plan for one order, of this number, in which nothing else happens.
    pub(super) fn of_one(order: usize, fate: Fate) -> Self {
        Self { fates: HashMap::from([(order, fate)]), ..Self::new(0, 0) }
    }

    pub(super) fn fate(&self, order: usize) -> Fate {
        self.fates.get(&order).copied().unwrap_or(Fate::Granted)
    }

    pub(super) fn video(&self, order: usize, video: usize) -> VideoFate {
        self.videos.get(&(order, video)).copied().unwrap_or(VideoFate::Made)
    }

    /// Whether the webhook of a video is sent again after it was acknowledged.
    pub(super) fn is_repeated(&self, order: usize, video: usize) -> bool {
        self.repeated.contains(&(order, video))
    }

    /// Whether HeyGen makes a video at first and does not say so.
    pub(super) fn is_unanswered(&self, order: usize, video: usize) -> bool {
        self.unanswered.contains(&(order, video))
    }

    /// How an order ends: `complete`, or the reason of its refund.
    pub(super) fn end(&self, order: usize) -> &'static str {
        let failed = (0..VIDEOS).any(|video| self.video(order, video) != VideoFate::Made);
        match self.fate(order) {
            Fate::Refused => "not-made",
            _ if failed => "video-failed",
            Fate::Late => "approval-late",
            Fate::Denied => "approval-denied",
            Fate::Undeliverable => "not-delivered",
            Fate::Granted => "complete",
        }
    }
}

/// How many there are of each end.
pub(super) fn counted<'a>(ends: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    ends.for_each(|end| *counts.entry(end).or_default() += 1);
    counts
}

/// The same things in an order that depends on the seed and on what it is for (Fisher and Yates).
fn shuffled<T>(seed: u64, what: &str, mut things: Vec<T>) -> Vec<T> {
    let mut state = what.bytes().fold(seed, |state, byte| mixed(state ^ u64::from(byte)));
    for last in (1..things.len()).rev() {
        state = mixed(state);
        let among = u64::try_from(last).unwrap() + 1;
        things.swap(last, usize::try_from(state % among).unwrap());
    }
    things
}

/// The next number of a sequence that looks random (SplitMix64).
fn mixed(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[test]
fn a_plan_has_its_shares_and_is_the_same_for_the_same_seed() {
    let ends = |seed| {
        let plan = Plan::new(seed, 200);
        (0..200).map(|order| plan.end(order)).collect::<Vec<_>>()
    };
    let counts = counted(ends(7).into_iter());
    let of = |end: &str| counts[end];
    assert_eq!((of("not-made"), of("not-delivered")), (2, 2));
    assert_eq!((of("approval-late"), of("approval-denied")), (10, 4));
    assert!((10..=30).contains(&of("video-failed")), "{counts:?}");
    assert_eq!(ends(7), ends(7));
    assert_ne!(ends(7), ends(8));
}
