//! The client of an answer that lasts. A stream or an export ends when its client could no longer
//! begin it: its token is gone or may less, or its session has ended.

use std::time::Duration;

use axum::http::HeaderMap;
use tokio::sync::watch;
use tokio::time::{Interval, interval};

use super::guard::identify;
use super::role::Identity;
use super::state::Admin;
use crate::status::Condition;

/// How often it is asked whose an answer is, beside all changes: a session ends with its time.
const ASK_EVERY: Duration = Duration::from_secs(15);

/// A client that has begun an answer that lasts.
pub(super) struct LastingClient {
    began: Identity,
    /// The request's own, by which it shows again who it is.
    headers: HeaderMap,
    conditions: watch::Receiver<Condition>,
    log_outs: watch::Receiver<()>,
    asks: Interval,
}

impl LastingClient {
    pub(super) fn new(admin: &Admin, began: Identity, headers: HeaderMap) -> Self {
        let (conditions, log_outs) = (admin.status.subscribe(), admin.access.log_outs());
        Self { began, headers, conditions, log_outs, asks: interval(ASK_EVERY) }
    }

    /// Whether it could still begin, with the same role and the same sight.
    pub(super) fn may_go_on(&self, admin: &Admin) -> bool {
        identify(admin, &self.headers)
            .is_some_and(|now| now.role == self.began.role && now.sees == self.began.sees)
    }

    /// Returns when it could no longer begin. The future may be dropped and made again.
    pub(super) async fn lost(&mut self, admin: &Admin) {
        loop {
            tokio::select! {
                changed = self.conditions.changed() => if changed.is_err() { return },
                changed = self.log_outs.changed() => if changed.is_err() { return },
                // The first comes at once, for what changed since the request was let in.
                _ = self.asks.tick() => {}
            }
            if !self.may_go_on(admin) {
                return;
            }
        }
    }
}
