//! The connection of queries, which is made again when it is gone.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::MutexGuard;

use super::connect::{DatabaseAddress, HeldConnection};
use crate::store::StoreError;

/// For how long a query waits for a connection.
const WITHIN: Duration = Duration::from_millis(2_500);

/// A connection that is made again when it is gone, by the first query or heartbeat that finds out.
#[derive(Debug)]
pub(super) struct ReadConnection {
    held: Mutex<Arc<HeldConnection>>,
    address: DatabaseAddress,
    /// Held by whoever connects again. The last failure, which is also that of all who waited.
    connecting: tokio::sync::Mutex<Option<(Instant, StoreError)>>,
}

impl ReadConnection {
    pub(super) fn new(held: HeldConnection, address: DatabaseAddress) -> Self {
        let connecting = tokio::sync::Mutex::default();
        Self { held: Mutex::new(Arc::new(held)), address, connecting }
    }

    /// The connection that was made last.
    pub(super) fn held(&self) -> Arc<HeldConnection> {
        Arc::clone(&self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A connection to a primary, which is made again if need be.
    pub(super) async fn live(&self) -> Result<Arc<HeldConnection>, StoreError> {
        let (held, asked) = (self.held(), Instant::now());
        if !held.is_over() {
            return Ok(held);
        }
        let turn = self.connecting.lock().await;
        match &*turn {
            Some((at, error)) if *at >= asked => Err(error.clone()),
            _ => self.connect(turn).await,
        }
    }

    /// Connects again if need be, unless a query does so already.
    pub(super) async fn renew(&self) {
        if self.held().is_over()
            && let Ok(turn) = self.connecting.try_lock()
            && let Err(error) = self.connect(turn).await
        {
            tracing::warn!(%error, "this host cannot connect for its queries");
        }
    }

    async fn connect(
        &self,
        mut turn: MutexGuard<'_, Option<(Instant, StoreError)>>,
    ) -> Result<Arc<HeldConnection>, StoreError> {
        let held = self.held();
        if !held.is_over() {
            return Ok(held);
        }
        held.close();
        let why = match tokio::time::timeout(WITHIN, self.address.hold()).await {
            Ok(Ok(held)) => {
                let held = Arc::new(held);
                *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&held);
                return Ok(held);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("{} does not answer in time", self.address.server),
        };
        let error = StoreError::Unreachable(why);
        *turn = Some((Instant::now(), error.clone()));
        Err(error)
    }
}
