//! How a request ends whose reply is late, whose sender is gone, or whose host shuts down.

use hookbox::server::ServerTimeouts;

use super::host::{Host, Options, PATIENT, SOON, events, request, signed};
use super::http::SUCCESS;

#[tokio::test]
async fn an_overdue_reply_is_503_and_the_event_a_duplicate_when_it_is_sent_again() {
    let (host, held) = Host::start_held(ServerTimeouts { reply: SOON, ..PATIENT }).await;
    host.exchange(signed(SUCCESS)).await.is_problem(503);
    held.open();
    held.ended(1).await;
    assert_eq!(host.events().await.len(), 1);
    // The sender's retry may itself be overdue on a slow machine, and is then sent again too.
    let status = loop {
        let response = host.exchange(signed(SUCCESS)).await;
        if response.status == 200 {
            break response.stored().1;
        }
        response.is_problem(503);
    };
    assert_eq!(status, "duplicate");
    assert_eq!(host.events().await.len(), 1);
}

/// Fault C18.
#[tokio::test]
async fn an_event_is_kept_when_its_sender_hangs_up_before_the_reply() {
    let (host, held) = Host::start_held(ServerTimeouts { drain: SOON, ..PATIENT }).await;
    let mut politely = host.connect().await;
    politely.send(signed(SUCCESS)).await;
    held.begun(1).await;
    drop(politely);
    let mut rudely = host.connect().await;
    rudely.send(signed(b"{}")).await;
    held.begun(2).await;
    rudely.reset();
    // With the intake gone, nothing is left of these requests but their appends.
    host.shutdown.cancel();
    host.serving.await.unwrap();
    held.open();
    held.ended(2).await;
    assert_eq!(events(&host.store).await.len(), 2);
}

#[tokio::test]
async fn a_sender_that_ends_its_side_still_gets_the_reply() {
    let host = Host::start(Options::default()).await;
    let mut client = host.connect().await;
    client.send(signed(SUCCESS)).await;
    client.finish().await;
    assert_eq!(client.response().await.stored().1, "accepted");
}

#[tokio::test]
async fn shutdown_lets_requests_under_way_finish_and_takes_no_more() {
    let (host, held) = Host::start_held(PATIENT).await;
    let mut idle = host.connect().await;
    idle.send(request("OPTIONS", "/webhook/heygen", &[], b"")).await;
    assert_eq!(idle.response().await.status, 204);
    let mut client = host.connect().await;
    client.send(signed(SUCCESS)).await;
    held.begun(1).await;
    host.shutdown.cancel();
    assert!(idle.rest().await.is_empty(), "an idle connection is closed at once");
    held.open();
    assert_eq!(client.response().await.stored().1, "accepted");
    assert!(client.rest().await.is_empty());
    host.serving.await.unwrap();
    assert!(tokio::net::TcpStream::connect(host.address).await.is_err());
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let (host, held) = Host::start_held(ServerTimeouts { drain: SOON, ..PATIENT }).await;
    let mut client = host.connect().await;
    client.send(signed(SUCCESS)).await;
    held.begun(1).await;
    host.shutdown.cancel();
    host.serving.await.unwrap();
    held.open();
    held.ended(1).await;
}
