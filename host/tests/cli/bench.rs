//! `hookbox bench` against a running host, and against what is none.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use super::site::{Host, Ran, Site};

fn bench(site: &Site, host: &Host, arguments: &[&str]) -> Ran {
    let target = ["--seconds", "1", "--connections", "4", "--url", &host.public, "--admin", &host.admin];
    site.run(&[&["bench", "heygen"], arguments, &target].concat())
}

#[test]
fn what_a_load_was_accepted_is_stored_and_settled() {
    let site = Site::new();
    let host = site.serve();
    let ran = bench(&site, &host, &["avatar_video.success", "--json"]);
    let report = ran.json();
    let accepted = report["accepted"].as_u64().unwrap();
    assert!(ran.code == 0 && accepted > 0, "{ran:?}");
    assert_eq!(
        (&report["stored"], &report["deliveries"]["done"]),
        (&report["accepted"], &report["accepted"]),
        "{ran:?}"
    );
    assert_eq!((&report["duplicates"], &report["lost"]), (&0.into(), &0.into()), "{ran:?}");
    assert!(report["fdatasync_ms"]["p99"].is_number(), "the host is local: {ran:?}");
    assert!(ran.err.contains("real events"), "{ran:?}");
}

#[test]
fn a_given_body_is_another_event_each_time() {
    let site = Site::new();
    let host = site.serve();
    site.put("body.json", r#"{"event_type":"avatar_video.success","event_data":{"video_id":"v"}}"#);
    let ran = bench(&site, &host, &["avatar_video.success", "--data", "body.json", "--rate", "40"]);
    assert!(ran.code == 0 && ran.out.contains("every delivery settled"), "{ran:?}");
    let report = bench(&site, &host, &["avatar_video.success", "--data", "body.json", "--rate", "40", "--json"]).json();
    assert_eq!(report["duplicates"], 0, "{report}");
    assert!(report["sent"].as_u64().unwrap() <= 40, "{report}");
}

#[test]
fn deliveries_that_failed_are_named() {
    let site = Site::new();
    let host = site.serve();
    let ran = bench(&site, &host, &["avatar_video.fail", "--rate", "10"]);
    assert!(ran.code == 0 && ran.out.contains("dead: dlv_"), "{ran:?}");
}

#[test]
fn a_bench_that_cannot_be_meant_is_refused_before_anything_is_sent() {
    let site = Site::new();
    site.put("text.txt", "no json");
    for (arguments, said) in [
        (&["bench", "heygn", "avatar_video.success"][..], "did you mean `heygen`?"),
        (&["bench", "heygen", "x", "--data", "text.txt"], "JSON object"),
        (&["bench", "heygen", "x", "--url", "https://hooks.example.com"], "--yes"),
        (&["bench", "heygen", "x", "--seconds", "0"], "--seconds"),
        (&["bench", "heygen", "x", "--data", "missing.json"], "missing.json"),
    ] {
        let ran = site.run(arguments);
        assert!(ran.code == 2 && ran.err.contains(said) && ran.out.is_empty(), "{said}: {ran:?}");
    }
}

#[test]
fn without_a_host_it_says_so() {
    let site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let ran = site.run(&["bench", "heygen", "avatar_video.success", "--url", &nobody, "--admin", &nobody]);
    assert!(ran.code == 1 && ran.err.contains("is `hookbox serve` running?"), "{ran:?}");
}

#[test]
fn a_host_that_refuses_everything_is_exit_code_1() {
    let site = Site::new();
    let host = site.serve();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            refuse(&mut connection.unwrap());
        }
    });
    let arguments = ["bench", "heygen", "avatar_video.success", "--rate", "20", "--seconds", "1", "--url", &busy];
    let ran = site.run(&[&arguments[..], &["--admin", &host.admin]].concat());
    assert!(ran.code == 1 && ran.out.contains("503 Service Unavailable"), "{ran:?}");
    assert!(ran.out.contains("nothing was accepted"), "{ran:?}");
}

/// Reads a request to the end of its body, which is a JSON object, and refuses it.
fn refuse(connection: &mut TcpStream) {
    let mut seen = Vec::new();
    let mut chunk = [0; 4096];
    while !seen.ends_with(b"}") {
        let count = connection.read(&mut chunk).unwrap();
        assert!(count > 0, "the request ended early");
        seen.extend_from_slice(&chunk[..count]);
    }
    let answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    connection.write_all(answer).unwrap();
}
