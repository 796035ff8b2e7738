//! The client against a server of a few lines that does what receivers do under attack.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use super::{Answer, Load, send};

const ACK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"id\":\"evt_1\"}";
const REFUSED: &str =
    "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbusy";

/// As long as each request.
const REQUEST_BYTES: usize = 8;

/// A request that a server got, and from where.
type Got = (String, std::net::SocketAddr);

/// Answers the n-th request, from 0, with `answer(n)`; closes the connection where that is empty or
/// says so.
fn serve(
    answer: impl Fn(usize) -> &'static str + Send + Sync + 'static,
) -> (String, Receiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (got, requests) = channel();
    let (answer, next) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, got, answer, next) =
                (stream.unwrap(), got.clone(), answer.clone(), next.clone());
            thread::spawn(move || {
                let mut request = [0; REQUEST_BYTES];
                while stream.read_exact(&mut request).is_ok() {
                    let text = String::from_utf8(request.to_vec()).unwrap();
                    let _ = got.send((text, stream.peer_addr().unwrap()));
                    let answer = answer(next.fetch_add(1, Ordering::SeqCst));
                    let closes = answer.is_empty() || answer.contains("close");
                    if stream.write_all(answer.as_bytes()).is_err() || closes {
                        return;
                    }
                }
            });
        }
    });
    (address, requests)
}

fn requests(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| format!("{number:08}").into_bytes()).collect()
}

fn load(requests: &[Vec<u8>]) -> Load<'_> {
    let (from, count) = (Ipv4Addr::new(127, 0, 0, 2), requests.len());
    Load { from, requests, count, rate: None, connections: 4, fresh: false }
}

fn sent(address: &str, load: Load<'_>) -> Vec<Answer> {
    send(address, load, &AtomicBool::new(false)).unwrap()
}

#[test]
fn every_request_is_sent_once_from_the_address_that_was_said() {
    let all = requests(50);
    let (address, got) = serve(|_| ACK);
    for rate in [None, Some(2_000.0)] {
        let answers = sent(&address, Load { rate, ..load(&all) });
        assert!(
            answers.iter().all(|answer| answer.is_ack() && answer.id.as_deref() == Some("evt_1")),
            "{answers:?}"
        );
        let got: Vec<Got> = got.try_iter().collect();
        assert_eq!(got.len(), 50);
        assert_eq!(got.iter().map(|(text, _)| text.as_str()).collect::<BTreeSet<_>>().len(), 50);
        assert!(got.iter().all(|(_, peer)| peer.ip() == Ipv4Addr::new(127, 0, 0, 2)), "{got:?}");
    }
}

#[test]
fn a_refusal_is_noted_and_the_next_request_goes_on_a_new_connection() {
    let all = requests(20);
    let (address, _got) = serve(|number| if number % 2 == 0 { REFUSED } else { ACK });
    let answers = sent(&address, load(&all));
    let refused = answers.iter().filter(|answer| answer.status == Some(503)).count();
    assert_eq!((answers.len(), refused), (20, 10));
}

#[test]
fn an_answer_that_is_cut_off_is_none() {
    let all = requests(1);
    let (address, _got) =
        serve(|_| "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 9\r\n\r\nrec");
    let answers = sent(&address, load(&all));
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [None]);
}

#[test]
fn a_request_on_a_connection_that_was_closed_meanwhile_is_asked_once_more() {
    let all = requests(3);
    let (address, _got) = serve(|number| if number == 1 { "" } else { ACK });
    let answers = sent(&address, Load { connections: 1, ..load(&all) });
    assert_eq!(answers.iter().filter(|answer| answer.is_ack()).count(), 3, "{answers:?}");
}

#[test]
fn a_new_connection_is_made_for_each_request_if_that_is_asked() {
    let all = requests(10);
    let (address, got) = serve(|_| ACK);
    sent(&address, Load { fresh: true, ..load(&all) });
    assert_eq!(got.try_iter().map(|(_, peer)| peer.port()).collect::<BTreeSet<_>>().len(), 10);
}

#[test]
fn nobody_who_listens_is_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let all = requests(5);
    let answers = sent(&address, load(&all));
    assert!(
        answers.len() == 5 && answers.iter().all(|answer| answer.status.is_none()),
        "{answers:?}"
    );
}

#[test]
fn a_slow_answer_keeps_nothing_from_being_sent_when_it_is_due() {
    let all = requests(30);
    let (let_go, held) = channel::<()>();
    let held = Mutex::new(held);
    // The first answer waits for the last request.
    let (address, _got) = serve(move |number| {
        match number {
            0 => held.lock().unwrap().recv().unwrap(),
            29 => let_go.send(()).unwrap(),
            _ => {}
        }
        ACK
    });
    let answers = sent(&address, Load { rate: Some(1_000.0), connections: 30, ..load(&all) });
    assert!(answers.iter().all(Answer::is_ack), "{answers:?}");
}
