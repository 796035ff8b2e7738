//! The task that keeps this host's row fresh, learns the database's time, listens to other hosts,
//! and does what any host does for all.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Error;

use super::chores;
use super::connect::{DatabaseAddress, HeldConnection};
use super::error::{is_deposed, words};
use super::horizon::HorizonWatch;
use super::orphans::OrphanSearch;
use super::pauses;
use super::read_connection::ReadConnection;
use super::rejoin::{HostNames, Rejoined, rejoin};
use super::server;
use super::shared::PostgresShared;
use super::wake;
use crate::clock::since_boot;
use crate::tasks;

/// How often the row is renewed.
const EVERY: Duration = Duration::from_secs(1);

/// The time in which a heartbeat is answered, or the connection is of no use.
const WITHIN: Duration = Duration::from_secs(5);

/// How often a host checks whether it is cut off.
const CHECK_EVERY: Duration = Duration::from_millis(250);

/// The heartbeat's place among those that reach the primary or not, after the writers.
const HEART: usize = 2;

/// The heart of a host.
pub(super) struct Heart {
    pub(super) client: HeldConnection,
    pub(super) address: DatabaseAddress,
    pub(super) shared: Arc<PostgresShared>,
    pub(super) reads: Arc<ReadConnection>,
    pub(super) names: HostNames,
    /// How often it looks for what is due that nobody told of.
    pub(super) poll_every: Duration,
    /// How often it looks for leases that nobody has.
    pub(super) orphans_every: Duration,
    /// The time for which a snapshot may be held until operators are told.
    pub(super) snapshot_bound: Duration,
}

/// The next thing that a heart does.
enum Beat {
    Renew,
    Poll,
    FindOrphans,
    Send,
    Hear,
    End,
}

/// When a heart does what, and what it remembers.
struct HeartTimes {
    renew: Instant,
    poll: Instant,
    find_orphans: Instant,
    send: Instant,
    orphans: OrphanSearch,
    horizon: HorizonWatch,
    /// Whether a registration has had no answer.
    is_unsure: bool,
}

/// Beats until the writers have ended.
pub(super) async fn beat(mut heart: Heart) {
    let now = Instant::now();
    let mut times = HeartTimes {
        renew: now + jittered(EVERY),
        poll: now + jittered(heart.poll_every),
        find_orphans: now + heart.orphans_every,
        send: now,
        orphans: OrphanSearch::default(),
        horizon: HorizonWatch::default(),
        is_unsure: false,
    };
    tasks::spawn(watch(Arc::clone(&heart.shared)));
    heart.listen().await;
    loop {
        let next = heart.next(&times).await;
        if matches!(next, Beat::End) {
            return;
        }
        if heart.client.is_over() && !matches!(next, Beat::Renew) {
            // The next renewal connects again, and then polls.
            tokio::time::sleep_until(times.renew).await;
            continue;
        }
        if heart.client.is_over() && !heart.reconnect(&mut times).await {
            times.renew = Instant::now() + jittered(EVERY);
            continue;
        }
        let done = tokio::time::timeout(WITHIN, heart.do_next(&next, &mut times)).await;
        match done {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = words(&error), "{}", next.failure());
                if is_deposed(&error) {
                    heart.shared.known.distrust();
                }
                if matches!(next, Beat::Renew) {
                    heart.shared.reach.is_unreachable(HEART, &words(&error));
                }
            }
            Err(_) => {
                tracing::warn!("Postgres does not answer this host's heartbeat");
                heart.shared.reach.is_unreachable(HEART, "it does not answer a heartbeat");
                heart.reconnect(&mut times).await;
            }
        }
    }
}

/// Tells the dispatcher when this host is cut off from the primary: others may soon have what it
/// runs. The heartbeat itself may be waiting for an answer then.
async fn watch(shared: Arc<PostgresShared>) {
    let (mut ended, mut was_cut_off) = (shared.ended.subscribe(), false);
    while tokio::time::timeout(CHECK_EVERY, ended.wait_for(|ended| *ended)).await.is_err() {
        let is_cut_off = shared.reach.is_cut_off();
        if is_cut_off && !was_cut_off {
            tracing::warn!("this host is cut off from Postgres: it gives back what it runs");
            if let Some(dispatch) = shared.dispatch.get() {
                dispatch.give_back_all();
            }
        }
        was_cut_off = is_cut_off;
    }
}

/// A time that is up to a fifth longer or shorter, so that hosts do not ask all at once.
fn jittered(time: Duration) -> Duration {
    let drawn = getrandom::u64().expect("the operating system gives random numbers");
    time.mul_f64(0.8 + 0.4 * (drawn >> 11) as f64 / (1u64 << 53) as f64)
}

impl Beat {
    /// The failure of this, for people.
    fn failure(&self) -> &'static str {
        match self {
            Self::Renew | Self::End => "this host cannot renew its row in Postgres",
            Self::Poll | Self::Hear => "this host cannot look for what is due",
            Self::FindOrphans => "this host cannot look for leases that nobody has",
            Self::Send => "this host cannot tell the others of what is due",
        }
    }
}

impl Heart {
    /// Waits for what is to be done next.
    async fn next(&self, times: &HeartTimes) -> Beat {
        let mut ended = self.shared.ended.subscribe();
        tokio::select! {
            biased;
            _ = ended.wait_for(|ended| *ended) => Beat::End,
            () = tokio::time::sleep_until(times.renew) => Beat::Renew,
            () = self.shared.over.notified() => Beat::Renew,
            () = tokio::time::sleep_until(times.find_orphans) => Beat::FindOrphans,
            () = tokio::time::sleep_until(times.poll) => Beat::Poll,
            () = self.client.wakes.woken() => Beat::Hear,
            () = self.shared.wakes.due(times.send) => Beat::Send,
        }
    }

    async fn do_next(&mut self, next: &Beat, times: &mut HeartTimes) -> Result<(), Error> {
        let now = Instant::now();
        match next {
            Beat::Renew => {
                times.renew = now + jittered(EVERY);
                self.renew(times).await
            }
            Beat::Poll => {
                times.poll = now + jittered(self.poll_every);
                chores::look_for_due(&self.client, &self.shared).await
            }
            Beat::FindOrphans => {
                times.find_orphans = now + self.orphans_every;
                let found = times.orphans.scan(&mut self.client, &self.shared).await?;
                if found > 0 {
                    chores::look_for_due(&self.client, &self.shared).await
                } else {
                    Ok(())
                }
            }
            Beat::Hear => self.hear().await,
            Beat::Send => {
                times.send = now + wake::APART;
                let payload = self.shared.wakes.take(self.shared.run().incarnation);
                wake::send(&self.client, &payload).await
            }
            Beat::End => Ok(()),
        }
    }

    /// Renews the row, registers anew if it is gone, and does chores.
    async fn renew(&mut self, times: &mut HeartTimes) -> Result<(), Error> {
        let sent = since_boot();
        if !self.is_renewed().await? {
            // A close takes the row away as well, and has said so first.
            if self.shared.leaving.load(Ordering::Relaxed) {
                return Ok(());
            }
            let again = std::mem::replace(&mut times.is_unsure, true);
            let rejoined = rejoin(&mut self.client, &self.shared, &self.names, again).await?;
            times.is_unsure = false;
            match rejoined {
                Rejoined::Yes => times.poll = Instant::now(),
                Rejoined::NoSlot => {
                    let why = "others took this host for dead, and all slots are taken";
                    self.shared.reach.is_unreachable(HEART, why);
                    return Ok(());
                }
                Rejoined::Twice => {
                    let why = "another host has the same identity: its data folder is a copy of \
                         this one's, so remove the file `postgres-host` from the copy";
                    self.shared.reach.stop(why.to_owned());
                    return Ok(());
                }
            }
        }
        self.shared.reach.came_back();
        self.shared.reach.renew(sent);
        self.shared.reach.is_reachable(HEART);
        self.reads.renew().await;
        self.do_chores(times).await;
        Ok(())
    }

    /// Renews the row; false if it is gone.
    async fn is_renewed(&self) -> Result<bool, Error> {
        let (client, shared) = (&self.client, &self.shared);
        let asked_ms = shared.host_ms();
        let (me, acked, at) = (shared.run().incarnation, shared.acked(), shared.at());
        let sql = "SELECT hookbox.renew_v1($1, $2, $3)";
        let row = client.query_one(sql, &[&me, &&acked[..], &at]).await?;
        let Some(database_ms) = row.get::<_, Option<i64>>(0) else { return Ok(false) };
        shared.compare(asked_ms, database_ms);
        Ok(true)
    }

    async fn do_chores(&self, times: &mut HeartTimes) {
        let (client, shared) = (&self.client, &self.shared);
        match server::promise(client).await {
            Ok(promise) => shared.known.note(promise),
            Err(error) => {
                tracing::warn!(error = words(&error), "this host cannot learn what is promised");
            }
        }
        if let Err(error) = pauses::refresh(client, shared).await {
            tracing::warn!(error = words(&error), "this host cannot learn what is paused");
        }
        if let Err(error) = shared.limits.verify(client).await {
            tracing::warn!(error = words(&error), "this host cannot learn the time limits");
        }
        match chores::reap(client, shared).await {
            Ok(0) => {}
            Ok(_) => {
                shared.floors.forget();
                times.poll = Instant::now();
            }
            Err(error) => {
                let error = words(&error);
                tracing::warn!(error, "this host cannot look for hosts that are dead");
            }
        }
        if let Err(error) = chores::do_due(client, shared).await {
            tracing::warn!(error = words(&error), "this host cannot do a chore of all");
        }
        times.horizon.observe(client, shared, self.snapshot_bound).await;
    }

    /// Tells the dispatcher what other hosts have left.
    async fn hear(&self) -> Result<(), Error> {
        let woken = self.client.wakes.take(self.shared.run().incarnation);
        if let Some(dispatch) = self.shared.dispatch.get() {
            woken.plugins.iter().for_each(|plugin| dispatch.notify(plugin, Duration::ZERO));
        }
        if woken.any { chores::look_for_due(&self.client, &self.shared).await } else { Ok(()) }
    }

    /// Connects again and listens again. Notifications may have been lost meanwhile, so it polls at
    /// once. Returns whether it is connected.
    async fn reconnect(&mut self, times: &mut HeartTimes) -> bool {
        match self.address.hold().await {
            Ok(connected) => {
                self.client = connected;
                self.listen().await;
                (times.renew, times.poll) = (Instant::now(), Instant::now());
                true
            }
            Err(error) => {
                tracing::warn!(%error, "this host cannot renew its row in Postgres");
                self.shared.reach.is_unreachable(HEART, &error.to_string());
                false
            }
        }
    }

    async fn listen(&self) {
        if self.address.pooler.is_there() {
            // It would lend the connection that listens to somebody else.
            return;
        }
        let listening = tokio::time::timeout(WITHIN, wake::listen(&self.client)).await;
        if !matches!(listening, Ok(Ok(()))) {
            tracing::warn!(
                "this host cannot LISTEN: it hears of what others leave by its poll alone"
            );
        }
    }
}
