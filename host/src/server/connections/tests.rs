//! Which connection is closed, and when, by a clock that the test moves.

use std::task::Context;

use super::*;

const SECOND: u64 = 1_000_000;
const LIMIT: Duration = Duration::from_secs(1);

fn client(last: u8) -> Option<ClientKey> {
    Some(ClientKey::of([192, 0, 2, last].into()))
}

/// A permit for a connection, and why another was closed for it.
#[track_caller]
fn admitted(
    connections: &Arc<Connections>,
    client: Option<ClientKey>,
    now_us: u64,
) -> (ConnectionPermit, Option<Closed>) {
    match connections.admit(client, now_us) {
        NewConnection::Admitted { permit, closed } => (permit, closed),
        refused => panic!("{refused:?}"),
    }
}

fn is_closed(permit: &ConnectionPermit) -> bool {
    !permit.state.begin(None)
}

/// A request is under way.
fn begin(permit: &ConnectionPermit) {
    assert!(permit.state.begin(None));
}

/// Its reply is sent.
fn end(permit: &ConnectionPermit, now_us: u64) {
    permit.state.reply_made();
    permit.state.idle_from(now_us);
}

#[test]
fn a_full_listener_closes_what_has_been_idle_for_longest() {
    let connections = Connections::new(4);
    let permits: Vec<_> =
        (1..=4).map(|n| admitted(&connections, client(n), u64::from(n))).collect();
    assert!(permits.iter().all(|(_, closed)| closed.is_none()));
    // The first has had a request and a reply since.
    begin(&permits[0].0);
    end(&permits[0].0, 10);
    let (_newest, closed) = admitted(&connections, client(5), 11);
    assert_eq!((closed, connections.count()), (Some(Closed::Full), 4));
    let closed: Vec<_> = permits.iter().map(|(permit, _)| is_closed(permit)).collect();
    assert_eq!(closed, [false, true, false, false]);
}

#[test]
fn a_connection_with_a_request_under_way_is_never_closed() {
    let connections = Connections::new(2);
    let [(busy, _), (replying, _)] = [1, 2].map(|n| admitted(&connections, client(n), 0));
    begin(&busy);
    begin(&replying);
    replying.state.reply_made();
    assert!(matches!(connections.admit(client(3), SECOND), NewConnection::Full));
    assert_eq!(connections.close_overdue(Duration::ZERO, SECOND), Some(0));
    // All of the reply is sent, so nobody misses it.
    replying.state.idle_from(2 * SECOND);
    assert_eq!(admitted(&connections, client(3), 3 * SECOND).1, Some(Closed::Full));
    assert!(is_closed(&replying) && !is_closed(&busy));
}

#[test]
fn a_request_that_comes_when_its_connection_is_told_to_close_does_not_begin() {
    let connections = Connections::new(1);
    let (first, _) = admitted(&connections, None, 0);
    let _second = admitted(&connections, None, 1);
    assert!(!first.state.begin(None));
    first.state.reply_made();
    first.state.idle_from(2);
    assert_eq!(first.state.idle_since(), None, "it is not idle again: it is to be closed");
}

#[tokio::test]
async fn what_is_closed_is_told() {
    let connections = Connections::new(1);
    let (first, _) = admitted(&connections, None, 0);
    let second = admitted(&connections, None, 1).0;
    first.state.told_to_close().await;
    let mut waiting = std::pin::pin!(second.state.told_to_close());
    assert!(waiting.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
}

#[test]
fn a_client_with_its_share_loses_its_own_connection() {
    let connections = Connections::new(16);
    let (others, _) = admitted(&connections, client(1), 0);
    let its: Vec<_> = (1..=4).map(|n| admitted(&connections, client(2), n).0).collect();
    let (_fifth, closed) = admitted(&connections, client(2), 5);
    assert_eq!(closed, Some(Closed::OverShare));
    let closed: Vec<_> = its.iter().map(is_closed).collect();
    assert_eq!(closed, [true, false, false, false]);
    assert!(!is_closed(&others), "it has been idle for longer, and is somebody else's");
}

#[test]
fn a_client_whose_share_is_at_work_is_refused_and_others_are_not() {
    let connections = Connections::new(8);
    let [(one, _), (other, _)] = [1, 1].map(|n| admitted(&connections, client(n), 0));
    begin(&one);
    begin(&other);
    assert!(matches!(connections.admit(client(1), 1), NewConnection::OverShare));
    assert!(admitted(&connections, client(2), 1).1.is_none());
    drop(one);
    assert!(admitted(&connections, client(1), 2).1.is_none(), "a permit of its own is free again");
}

#[test]
fn a_connection_that_counts_for_no_share_may_have_all() {
    let connections = Connections::new(8);
    let _permits: Vec<_> = (0..8).map(|n| admitted(&connections, None, n)).collect();
    assert_eq!(connections.count(), 8);
    assert!(connections.open().clients.is_empty());
}

#[test]
fn the_permit_of_a_closed_connection_is_given_back_once() {
    let connections = Connections::new(4);
    let (first, _) = admitted(&connections, client(1), 0);
    let (second, _) = admitted(&connections, client(1), 1);
    assert_eq!(connections.count(), 1, "a quarter of four is one");
    // Its position is another's by now.
    drop(first);
    assert_eq!(connections.count(), 1);
    drop(second);
    assert_eq!((connections.count(), connections.open().clients.len()), (0, 0));
    let _permits: Vec<_> = (1..=4).map(|n| admitted(&connections, client(n), 2)).collect();
    assert_eq!(connections.open().listed.len(), 4, "positions are used again");
}

#[test]
fn a_full_listener_hurries_slow_headers_and_forgets_it_a_second_later() {
    let connections = Connections::new(2);
    let (slow, _) = admitted(&connections, client(1), 0);
    assert_eq!(
        connections.close_overdue(LIMIT, 10 * SECOND),
        None,
        "a listener that is not full leaves it to the usual limit"
    );
    let (fresh, _) = admitted(&connections, client(2), 10 * SECOND);
    assert_eq!(connections.close_overdue(LIMIT, 10 * SECOND), Some(1));
    assert!(is_closed(&slow) && !is_closed(&fresh));
    // There is a permit again, and the second begins in which it has been full.
    assert_eq!(connections.close_overdue(LIMIT, 10 * SECOND + SECOND / 2), Some(0));
    assert_eq!(connections.close_overdue(LIMIT, 11 * SECOND), None);
    assert!(!is_closed(&fresh));
}

#[tokio::test]
async fn the_listener_says_when_it_is_full_and_when_it_is_worth_asking_again() {
    let connections = Connections::new(1);
    let (first, _) = admitted(&connections, client(1), 0);
    connections.crowded().await;
    begin(&first);
    connections.want(true);
    assert!(matches!(connections.admit(client(2), 1), NewConnection::Full));
    end(&first, 2);
    connections.change().await;
    let (second, closed) = admitted(&connections, client(2), 3);
    assert_eq!(closed, Some(Closed::Full));
    begin(&second);
    connections.want(true);
    assert!(matches!(connections.admit(client(3), 4), NewConnection::Full));
    drop(second);
    connections.change().await;
    assert!(admitted(&connections, client(3), 5).1.is_none());
}
