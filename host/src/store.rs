//! The store: accepted events, the deliveries that handle them, and their attempts, all durable.
//!
//! ```text
//!               append                                    settle
//!                 │                     ┌────────────────────────────────────► done
//!                 │ no permit           │
//!                 ├──────────────► ready ──lease──► leased ──┬──────────────► dead
//!                 │                  ▲  ▲             ▲      │                  │
//!                 │ permit           │  │ give back,  │      │ retry            │ operator retries
//!                 └──────────────────┼──┼─ host died ─┼──────┤                  │
//!                (leased on insert)  │  └─────────────┼──────┘                  │
//!                                    │                │                         │
//!                 delayed event ► waiting ────────────┘ when due                │
//!                                    └──────────────────────────────────────────┘ (to ready)
//! ```
//!
//! Operators also cancel open deliveries and discard dead ones: see [`Action`].
//!
//! A store implements ten narrow traits. [`Queue`] moves deliveries along this diagram.
//! [`Operate`] has the actions of operators, and [`Operations`] those that go on by steps. [`Read`]
//! (with [`ReadOne`] and [`Count`]) answers queries. [`Schedules`] keeps how far schedules have
//! come, [`History`] what the host did over time, [`AuditLog`] who changed what, and
//! [`LogPositions`] how far the logs of providers have been read. [`Hosts`] lists the hosts that
//! share the store, and has their secrets. [`Health`] reports the store's condition. A caller takes
//! the narrowest one. Callers and the store exchange durations, never instants of the caller's
//! clock, because the store owns the time by which deliveries are due. Listings show times for
//! people, and the nominal times of schedules are times of the wall clock.
//!
//! Laws, each with a test of the same words in `store/conformance.rs`:
//! - what was appended is there after a crash, and what was not acknowledged may or may not be;
//! - a repeated dedupe key creates nothing, names the first event and is counted on it;
//! - a lease is settled at most once: the settlement names the attempt, and a late one is lost;
//! - a crash is held against the deliveries that were running, and against no other;
//! - a settlement's outcome, emitted events and key-value writes commit together or not at all;
//! - what an operator cancels leaves no event, no value and no further attempt, whatever crashes;
//! - a recorded step is never run again for its delivery, whatever crashes;
//! - a record of an attempt that lost its lease is refused;
//! - a delivery that asks to be called again spends no attempt and loses no event;
//! - a counter incremented by n events reads n after kill -9 throughout, with and without `add`;
//! - no conflict spends an attempt;
//! - a pause is there after a crash, and nothing of a paused plugin is leased;
//! - an approval is there after a crash, and goes when it was used or is over;
//! - of many hosts that make one tick, one stores its event, and the next tick with it;
//! - retention deletes only what is settled, and nothing because the clock was set;
//! - what is ready has no time to wait for, whatever the clock does;
//! - what a group of failures counts is what a full count finds, after every call;
//! - an I/O error acknowledges nothing and ends the store.
//!
//! The reasons are in `docs/design/store.md`.

mod answer;
mod append_limit;
mod audit;
mod changes;
#[cfg(test)]
mod conformance;
mod copy;
mod error;
mod health;
mod held_leases;
mod history;
mod hosts;
mod in_flight;
mod journal;
#[cfg(test)]
pub(crate) mod memory;
mod model;
mod operate;
mod operations;
mod positions;
mod postgres;
mod queue;
mod read;
mod schedules;
mod side_file;
mod sqlite;

pub use answer::{MaybeReady, Pending};
pub use audit::AuditLog;
pub use changes::{Changes, Hint};
pub use copy::{CopiedRows, CopyProgress, StoreCopy, copy_store};
pub use error::StoreError;
pub use health::{Health, StoreSpace};
pub use history::History;
pub use hosts::Hosts;
pub use in_flight::InFlight;
pub use model::{
    Action, Actor, AgainSoFar, Appended, Approval, ApprovalChange, AttemptView, AuditEntry,
    AuditFilter, AuditNote, Changed, Cursor, DeliveryFilter, DeliveryView, DueTimes, Emptied,
    Erased, Erasure, EventFilter, EventState, EventSummary, EventView, FailureCursor,
    FailureFilter, FailureView, FileCounts, FoundFacts, FoundOperation, GatheringCursor,
    GatheringFilter, GatheringState, GatheringView, HostView, ItemResult, KEY_KNOWN_FOR_MS, Keep,
    KeyChange, KeyExpected, KvEntry, KvKey, KvRange, KvTransaction, KvValue, Lease, LeaseHolder,
    LeasePermit, LeaseQueue, Leased, ListedKeys, MAX_CHILDREN, MAX_CRASHES, MAX_LOOKED_AT,
    MAX_LOOKED_AT_BODIES, MAX_MEMBERSHIPS, MAX_OPERATION_IDS, MAX_PAGE, MAX_SAMPLES,
    MAX_SKIP_RECORDS, MAX_TREE_ATTEMPTS, MAX_TREE_CALLS, MAX_TREE_MEMBERS, MemberView, Membership,
    MemoryReservation, NewOperation, NewStep, Next, NotAnOperation, OPERATION_KEPT_FOR_MS,
    OPERATION_PLANNED_FOR_MS, Operation, OperationDeed, OperationId, OperationMarks,
    OperationOptions, OperationScope, OperationState, Page, Pausable, Pause, PauseChange, Pauses,
    PluginCounts, PluginPolicies, Preview, Progress, Recorded, ScheduleChange, ScheduleMark,
    SealedSecret, SecretMark, Settled, Settlement, SkipReason, SkippedTicks, Stats, Steer,
    StepView, StoredApproval, StoredFacts, StoredSample, StoredSchedule, TREND_HOURS, Tick,
    TickStep, Ticked, TreeBudget, TreeDelivery, TreeEvent, TreeMember, TreeView, Trend, TriedItem,
    UnreadableOperation, Via, Waits, Which,
};
pub use operate::Operate;
pub use operations::{OperationSignal, Operations};
pub use positions::LogPositions;
pub use postgres::{Postgres, PostgresOpenError, PostgresOptions};
pub use queue::{DispatchHandle, Queue};
pub use read::{Count, Read, ReadOne};
pub use schedules::Schedules;
pub use sqlite::{
    BackedUp, OnLoss, OpenError, Recovered, Sqlite, SqliteOptions, backup, peek_approvals,
};

/// A whole store. Cheap to share; every call may be made from any task.
pub trait Store
where
    Self: Queue + Operate + Operations + Read + Schedules + History,
    Self: AuditLog + LogPositions + Hosts + Health,
{
}

impl<T> Store for T where
    T: Queue
        + Operate
        + Operations
        + Read
        + Schedules
        + History
        + AuditLog
        + LogPositions
        + Hosts
        + Health
{
}
