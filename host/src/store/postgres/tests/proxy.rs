//! A proxy between a host and its server, which does to the connection what networks do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::rig::{PASSWORD, USER};
use crate::tasks;

/// The end of the message that commits.
const COMMIT: &[u8] = b"COMMIT\0";

/// The bytes of that message before its text.
const HEAD: usize = 5;

/// The code of a request to cancel, in the place of a protocol's version.
const CANCEL: [u8; 4] = 80_877_102_u32.to_be_bytes();

/// The moment at which a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// The server never gets the COMMIT.
    BeforeCommit,
    /// The server gets it, and the host never gets the answer.
    AfterCommit,
}

/// The next COMMIT, which may be held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NextCommit {
    Passes,
    IsHeld,
    /// One is held.
    Waits,
}

/// The condition of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Traffic {
    Passes,
    /// Connections stay, and nothing comes through.
    Held,
    /// Connections are closed, and so are new ones.
    Closed,
}

/// A proxy.
pub(super) struct Proxy {
    port: u16,
    state: Arc<ProxyState>,
}

struct ProxyState {
    server: u16,
    cut: Mutex<Option<Cut>>,
    commit: watch::Sender<NextCommit>,
    traffic: watch::Sender<Traffic>,
    cuts: AtomicUsize,
    cancels: AtomicUsize,
}

impl Proxy {
    /// A proxy before the server at this port.
    pub(super) async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let state = Arc::new(ProxyState {
            server,
            cut: Mutex::default(),
            commit: watch::Sender::new(NextCommit::Passes),
            traffic: watch::Sender::new(Traffic::Passes),
            cuts: AtomicUsize::new(0),
            cancels: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&state);
        tasks::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                tasks::spawn(serve(client, Arc::clone(&serving)));
            }
        });
        Self { port, state }
    }

    /// The address of a host that goes through the proxy.
    pub(super) fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Cuts the connection that commits next.
    pub(super) fn cut_next(&self, cut: Cut) {
        *self.state.cut.lock().expect("nobody panics") = Some(cut);
    }

    /// Cuts nothing more, and returns how many were cut.
    pub(super) fn cuts(&self) -> usize {
        self.state.cut.lock().expect("nobody panics").take();
        self.state.cuts.load(Ordering::Relaxed)
    }

    /// Holds the next COMMIT back. All that comes before it passes.
    pub(super) fn hold_commit(&self) {
        self.state.commit.send_replace(NextCommit::IsHeld);
    }

    /// Lets the COMMIT pass that is held, once it is.
    pub(super) async fn let_commit(&self) {
        let mut commit = self.state.commit.subscribe();
        commit.wait_for(|it| *it == NextCommit::Waits).await.expect("it is there");
        self.state.commit.send_replace(NextCommit::Passes);
    }

    pub(super) fn set(&self, traffic: Traffic) {
        self.state.traffic.send_replace(traffic);
    }

    /// The requests to cancel that were seen.
    pub(super) fn cancels(&self) -> usize {
        self.state.cancels.load(Ordering::Relaxed)
    }
}

impl ProxyState {
    /// Returns whether something comes through, once that is so or never will be.
    async fn passes(&self) -> bool {
        let mut traffic = self.traffic.subscribe();
        let now = traffic.wait_for(|it| *it != Traffic::Held).await.expect("it is there");
        *now == Traffic::Passes
    }

    /// Whether this COMMIT is the one to hold.
    fn holds(&self) -> bool {
        self.commit.send_if_modified(|commit| {
            let holds = *commit == NextCommit::IsHeld;
            if holds {
                *commit = NextCommit::Waits;
            }
            holds
        })
    }

    /// If these bytes have the COMMIT to hold, passes on what comes before, and returns it once it
    /// may pass; otherwise returns all.
    async fn held_back<'b>(&self, bytes: &'b [u8], server: &mut TcpStream) -> &'b [u8] {
        let Some(at) = commit_in(bytes) else { return bytes };
        if !self.holds() {
            return bytes;
        }
        let (before, rest) = bytes.split_at(at.saturating_sub(HEAD));
        // Of a server that is gone the COMMIT finds out as well.
        let _ = server.write_all(before).await;
        let mut commit = self.commit.subscribe();
        commit.wait_for(|it| *it == NextCommit::Passes).await.expect("it is there");
        rest
    }

    async fn closed(&self) {
        let mut traffic = self.traffic.subscribe();
        traffic.wait_for(|it| *it == Traffic::Closed).await.expect("it is there");
    }
}

/// The place of a COMMIT's text.
fn commit_in(bytes: &[u8]) -> Option<usize> {
    bytes.windows(COMMIT.len()).position(|window| window == COMMIT)
}

/// Passes bytes both ways. Both connections are closed when this returns.
async fn serve(mut client: TcpStream, state: Arc<ProxyState>) {
    if !state.passes().await {
        return;
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", state.server)).await else { return };
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut is_first = true;
    loop {
        let (from_client, read) = tokio::select! {
            read = client.read(&mut up) => (true, read),
            read = server.read(&mut down) => (false, read),
            () = state.closed() => return,
        };
        let Some(read) = read.ok().filter(|read| *read > 0) else { return };
        if !state.passes().await {
            return;
        }
        if !from_client {
            if client.write_all(&down[..read]).await.is_err() {
                return;
            }
            continue;
        }
        let bytes = state.held_back(&up[..read], &mut server).await;
        if std::mem::take(&mut is_first) && bytes.get(4..8) == Some(&CANCEL) {
            state.cancels.fetch_add(1, Ordering::Relaxed);
        }
        let commits = commit_in(bytes);
        let cut = commits.and_then(|at| {
            let cut = state.cut.lock().expect("nobody panics").take()?;
            state.cuts.fetch_add(1, Ordering::Relaxed);
            Some((at, cut))
        });
        match cut {
            Some((at, Cut::BeforeCommit)) => {
                let _ = server.write_all(&bytes[..at.saturating_sub(HEAD)]).await;
                return;
            }
            Some((_, Cut::AfterCommit)) => {
                let sent = server.write_all(bytes).await;
                drop(client);
                // The server ends the transaction before it sees the end of the connection.
                while sent.is_ok() && matches!(server.read(&mut down).await, Ok(1..)) {
                    if down.windows(COMMIT.len()).any(|window| window == COMMIT) {
                        return;
                    }
                }
                return;
            }
            None => {
                if server.write_all(bytes).await.is_err() {
                    return;
                }
            }
        }
    }
}
