//! A request and its response, within the time that is left.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::body::Sent;
use super::failure::{Failure, FailureKind};
use super::passage::Timeouts;
use super::pool::{Connection, Pool};
use super::target::Host;
use super::ways::Way;

/// The shortest timeout: less would be none.
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

impl Timeouts {
    /// The same, none of them beyond the end of the attempt: to connect, to the response, between its parts.
    pub(super) fn within(self, deadline: Instant) -> [Duration; 3] {
        let left = deadline.saturating_duration_since(Instant::now()).max(MIN_TIMEOUT);
        [self.connect, self.first_byte, self.between_bytes]
            .map(|wanted| wanted.unwrap_or(left).clamp(MIN_TIMEOUT, left))
    }
}

/// A connection while a response comes over it. Dropping it closes the connection.
#[derive(Debug)]
pub(super) struct Lease {
    connection: Connection,
    host: String,
    pool: Arc<Pool>,
}

impl Lease {
    /// The response has been read to its end: the connection can serve another.
    pub(super) fn give_back(self) {
        self.pool.give(self.host, self.connection);
    }
}

/// Sends a request and waits for the head of its response.
pub(super) async fn exchange(
    way: &Way,
    host: &Host,
    mut request: Request<Sent>,
    [connect, first_byte, _]: [Duration; 3],
) -> Result<(Response<Incoming>, Lease), Failure> {
    let name = host.to_string();
    loop {
        let kept = way.pool.take(&name);
        let was_kept = kept.is_some();
        let mut connection = match kept {
            Some(connection) => connection,
            None => {
                let connector = way.connector.as_ref().map_err(Failure::clone)?;
                let late = |_| {
                    let why = format!("there was no connection within {} ms", connect.as_millis());
                    Failure::new(FailureKind::ConnectTimeout, why)
                };
                timeout(connect, connector.connect(host)).await.map_err(late)??
            }
        };
        let late = |_| {
            let why = format!("no response came within {} ms", first_byte.as_millis());
            Failure::new(FailureKind::ReadTimeout, why)
        };
        match timeout(first_byte, connection.sender.try_send_request(request)).await.map_err(late)? {
            Ok(response) => return Ok((response, Lease { connection, host: name, pool: Arc::clone(&way.pool) })),
            // The other side closed it while it was kept, and nothing of the request has gone out.
            Err(mut error) => match error.take_message().filter(|_| was_kept) {
                Some(unsent) => request = unsent,
                None => return Err(failure(error.error())),
            },
        }
    }
}

/// What an error of the connection comes down to.
pub(super) fn failure(error: &hyper::Error) -> Failure {
    let mut causes: Vec<&(dyn Error + 'static)> = vec![error];
    while let Some(cause) = causes.last().copied().and_then(Error::source) {
        causes.push(cause);
    }
    if let Some(failure) = causes.iter().find_map(|cause| cause.downcast_ref::<Failure>()) {
        return failure.clone();
    }
    let (kind, what) = match () {
        () if error.is_user() => (FailureKind::Protocol, "the body of the request broke off"),
        () if error.is_parse() => (FailureKind::Protocol, "what came is no HTTP response that is taken"),
        () => (FailureKind::Terminated, "the connection ended"),
    };
    let root = causes.last().map_or_else(String::new, ToString::to_string);
    Failure::new(kind, format!("{what}: {root}"))
}
