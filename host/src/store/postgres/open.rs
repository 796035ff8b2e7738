//! Opening the store.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::client::SqlClient as Client;
use super::connect::DatabaseAddress;
use super::error::PostgresOpenError;
use super::heartbeat::{Heart, beat};
use super::identity::HostIdentity;
use super::lease::noted;
use super::options::PostgresOptions;
use super::pauses;
use super::read::PostgresReads;
use super::read_connection::ReadConnection;
use super::recover::recover;
use super::rejoin::{HOST_VERSION, HostNames, REGISTER};
use super::shared::{HostRun, PostgresShared};
use super::statements::BatchStatements;
use super::work::WorkConnection;
use super::writer::{KEYED, PLAIN, PostgresWriter};
use super::{Postgres, schema};
use crate::store::Recovered;
use crate::store::append_limit::AppendLimit;
use crate::store::journal::{InFlightJournal, LeftRunning};
use crate::tasks;

/// The name of the journal of running attempts.
const JOURNAL: &str = "postgres-running";

/// A run that is registered.
struct Registered {
    run: HostRun,
    last_id: Option<i64>,
    asked_ms: i64,
    database_ms: i64,
    recovered: Recovered,
}

impl Postgres {
    /// Connects, brings the schema to this host's version, registers this host, and takes up what
    /// it held when it last died.
    ///
    /// # Errors
    /// See [`PostgresOpenError`].
    pub async fn open(options: PostgresOptions) -> Result<Self, PostgresOpenError> {
        let address = DatabaseAddress::read(&options)?;
        let identity = HostIdentity::take(&options.folder)?;
        let failed = |error| PostgresOpenError::Files {
            folder: options.folder.display().to_string(),
            error,
        };
        let (journal, left) =
            InFlightJournal::open(&options.folder.join(JOURNAL)).map_err(failed)?;
        let [mut writer, keyed_writer] = address.hold_two(options.pooler).await?;
        schema::prepare(&mut writer, &address).await?;
        let registered = register(&mut writer, &address, &options, (&identity, &left)).await?;
        journal.begin().map_err(failed)?;
        let statements = prepared(&writer, &address).await?;
        let keyed_statements = prepared(&keyed_writer, &address).await?;
        let connection = Arc::new(ReadConnection::new(address.hold().await?, address.clone()));
        let reads = PostgresReads { connection: Arc::clone(&connection) };
        let work = WorkConnection::new(address.hold().await?, address.clone());
        let listings = WorkConnection::new(address.hold().await?, address.clone());
        let heart = address.hold().await?;
        let run = (registered.run, registered.last_id);
        let shared = Arc::new(PostgresShared::new(run, &address.known, &options, journal));
        shared.compare(registered.asked_ms, registered.database_ms);
        let known = pauses::refresh(&heart, &shared).await;
        known.map_err(|error| address.refusal(&error))?;
        let identity = Arc::new(identity);
        let writes = |number, client, statements| {
            let (commands, received) = mpsc::unbounded_channel();
            let writer = PostgresWriter {
                number,
                address: address.clone(),
                client,
                statements,
                shared: Arc::clone(&shared),
                commands: received,
                carried: VecDeque::new(),
                seq: 0,
                run: registered.run.incarnation,
                _identity: Arc::clone(&identity),
            };
            tasks::spawn(writer.work());
            commands
        };
        let commands = writes(PLAIN, writer, statements);
        let keyed = writes(KEYED, keyed_writer, keyed_statements);
        address.pooler.tell();
        tasks::spawn(beat(Heart {
            client: heart,
            address: address.clone(),
            shared: Arc::clone(&shared),
            reads: connection,
            names: HostNames { identity: identity.id.clone(), title: options.host_name.clone() },
            poll_every: options.poll_every,
            orphans_every: options.orphans_every,
            snapshot_bound: options.snapshot_bound,
        }));
        let waiting = AppendLimit::new(options.max_waiting_appends);
        let recovered = registered.recovered;
        Ok(Self { shared, commands, keyed, waiting, reads, work, listings, recovered })
    }
}

async fn prepared(
    client: &Client,
    address: &DatabaseAddress,
) -> Result<BatchStatements, PostgresOpenError> {
    BatchStatements::prepare(client).await.map_err(|error| address.refusal(&error))
}

/// Registers this run and takes up what the run before held, together or not at all.
async fn register(
    client: &mut Client,
    address: &DatabaseAddress,
    options: &PostgresOptions,
    (identity, left): (&HostIdentity, &LeftRunning),
) -> Result<Registered, PostgresOpenError> {
    let refusal = |error| address.refusal(&error);
    let at = options.clock.by_hand_ms();
    let transaction = client.transaction().await.map_err(refusal)?;
    // Hosts that start at once take their turns.
    transaction.batch_execute("SET LOCAL lock_timeout = '60s'").await.map_err(refusal)?;
    let asked_ms = options.clock.host_ms();
    let row = transaction
        .query_opt(REGISTER, &[&identity.id, &options.host_name, &HOST_VERSION, &at])
        .await
        .map_err(refusal)?
        .ok_or(PostgresOpenError::NoSlot)?;
    let mut registered = Registered {
        run: HostRun { slot: row.get(0), incarnation: row.get(1) },
        last_id: row.get(3),
        asked_ms,
        database_ms: row.get(4),
        recovered: Recovered::default(),
    };
    if let Some(before) = row.get::<_, Option<i64>>(2) {
        let running = noted(left.noted());
        let taken = recover(&transaction, (at, before), &running, &*options.policies).await;
        registered.recovered = taken.map_err(refusal)?;
    }
    transaction.execute("SELECT hookbox.add_partitions_v1($1)", &[&at]).await.map_err(refusal)?;
    transaction.commit().await.map_err(refusal)?;
    Ok(registered)
}
