//! The loader against a server of a few lines that misbehaves in known ways.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use super::super::requests::{HANDLED, Requests, Spec, Subjects};
use super::{Steady, send};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Signed requests in a file of their own, gone with them.
struct Load(Requests);

impl Load {
    fn sign(name: &str, count: usize) -> Self {
        let file: PathBuf =
            std::env::temp_dir().join(format!("hookbox-steady-{}-{name}", std::process::id()));
        Self(
            Requests::sign(
                file,
                Spec { kind: HANDLED, body_bytes: 230, subjects: Subjects::Own, first: 0, count },
            )
            .unwrap(),
        )
    }

    /// Starts a server that answers the n-th request, from 0, with `answer(n)`, and closes where
    /// that says so. Its address, and what it gets.
    fn serve(
        &self,
        answer: impl Fn(usize) -> String + Send + Sync + 'static,
    ) -> (String, Receiver<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let ((got, requests), each_bytes) = (channel(), self.0.each_bytes);
        let (answer, next) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, got, answer, next) =
                    (stream.unwrap(), got.clone(), answer.clone(), next.clone());
                let answer = move || answer(next.fetch_add(1, Ordering::SeqCst));
                thread::spawn(move || converse(stream, each_bytes, &got, answer));
            }
        });
        (address, requests)
    }

    fn number(&self, request: &[u8]) -> usize {
        let text = String::from_utf8(request.to_vec()).unwrap();
        let number = text.split_once("order_").unwrap().1.split_once('"').unwrap().0;
        number.parse().unwrap()
    }

    /// That each of the first `count` came once.
    fn assert_each_came_once(&self, count: usize, requests: &Receiver<Vec<u8>>) {
        let came: Vec<usize> = requests.try_iter().map(|request| self.number(&request)).collect();
        assert_eq!(came.len(), count);
        assert_eq!(came.into_iter().collect::<BTreeSet<_>>(), (0..count).collect());
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0.path).unwrap();
    }
}

/// Answers on one connection until one of the two closes it.
fn converse(
    mut stream: TcpStream,
    each_bytes: usize,
    got: &Sender<Vec<u8>>,
    answer: impl Fn() -> String,
) {
    let mut request = vec![0; each_bytes];
    while stream.read_exact(&mut request).is_ok() {
        // The test may be over already.
        let _ = got.send(request.clone());
        let answer = answer();
        if stream.write_all(answer.as_bytes()).is_err()
            || answer.to_lowercase().contains("connection: close")
        {
            return;
        }
    }
}

#[test]
fn every_request_is_sent_once_at_a_rate_and_without_one() {
    let load = Load::sign("once", 500);
    let (address, requests) = load.serve(|_| OK.to_owned());
    for rate in [None, Some(20_000.0)] {
        let sent = send(&load.0, &address, Steady { connections: 7, count: 300, rate }).unwrap();
        assert_eq!(sent.latencies_ms.len(), 300);
        load.assert_each_came_once(300, &requests);
    }
}

#[test]
fn as_many_requests_are_under_way_as_there_are_connections() {
    let load = Load::sign("under-way", 24);
    let all_are_here = Barrier::new(8);
    let (address, requests) = load.serve(move |_| {
        all_are_here.wait();
        OK.to_owned()
    });
    send(&load.0, &address, Steady { connections: 8, count: 24, rate: None }).unwrap();
    load.assert_each_came_once(24, &requests);
}

#[test]
fn a_receiver_that_stalls_is_charged_from_when_each_request_was_due() {
    const STALL_MS: f64 = 200.0;
    let load = Load::sign("stalls", 20);
    let (never, stall) = channel::<()>();
    let stall = std::sync::Mutex::new((never, stall));
    let (address, _requests) = load.serve(move |number| {
        if number == 0 {
            stall
                .lock()
                .unwrap()
                .1
                .recv_timeout(Duration::from_secs_f64(STALL_MS / 1e3))
                .unwrap_err();
        }
        OK.to_owned()
    });
    // One connection: no answer comes before the first one has, a stall after the first was due at
    // the earliest.
    let sent =
        send(&load.0, &address, Steady { connections: 1, count: 20, rate: Some(1_000.0) }).unwrap();
    assert_eq!(sent.latencies_ms.len(), 20);
    for (number, latency_ms) in sent.latencies_ms.iter().enumerate() {
        assert!(*latency_ms >= STALL_MS - number as f64, "request {number}: {latency_ms} ms");
    }
    assert!(sent.seconds * 1e3 >= STALL_MS);
}

#[test]
fn a_connection_that_is_said_to_close_is_opened_again() {
    let load = Load::sign("closes", 40);
    let answer = "HTTP/1.1 202 Accepted\r\nConnection: close\r\ncontent-length: 0\r\n\r\n";
    let (address, requests) = load.serve(move |_| answer.to_owned());
    send(&load.0, &address, Steady { connections: 3, count: 40, rate: None }).unwrap();
    load.assert_each_came_once(40, &requests);
}

#[test]
fn an_answer_that_is_no_success_is_an_error_that_shows_it() {
    let load = Load::sign("error", 20);
    let refusal = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 9\r\n\r\ndisk full";
    let (address, _requests) =
        load.serve(move |number| if number == 10 { refusal } else { OK }.to_owned());
    let error = send(&load.0, &address, Steady { connections: 3, count: 20, rate: Some(5_000.0) })
        .unwrap_err();
    assert_eq!(error, format!("http://{address}: {refusal}"));
}

#[test]
fn an_answer_that_is_cut_off_is_an_error() {
    let load = Load::sign("cut", 20);
    let cut = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 9\r\n\r\nrec";
    let (address, _requests) = load.serve(move |_| cut.to_owned());
    let error =
        send(&load.0, &address, Steady { connections: 1, count: 20, rate: None }).unwrap_err();
    assert_eq!(error, format!("http://{address}: it was closed before the answer was whole"));
}

#[test]
fn what_cannot_be_sent_ends_the_wait_for_answers() {
    let load = Load::sign("short", 20);
    let (address, _requests) = load.serve(|_| OK.to_owned());
    std::fs::File::options().write(true).open(&load.0.path).unwrap().set_len(100).unwrap();
    let error =
        send(&load.0, &address, Steady { connections: 3, count: 20, rate: None }).unwrap_err();
    assert!(error.starts_with(&format!("http://{address}: ")), "{error}");
    assert!(error.contains("fill whole buffer"), "{error}");
}
