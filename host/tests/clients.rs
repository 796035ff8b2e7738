//! Plugins that send requests, each with what its language has for that, on a running host.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{Host, SOURCE, Site, built, file};

const KEY: &str = "a-key-nobody-sees";

/// A service that answers every request in one way and remembers what it was asked.
struct Service {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Service {
    fn answering(body: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, asked) =
            (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let kept = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                kept.lock().unwrap().extend(answer(stream.unwrap(), &body.to_string()));
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, body: &str) -> Option<String> {
    let (mut asked, mut piece) = (Vec::new(), [0; 4096]);
    let text = loop {
        let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        asked.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&asked).to_lowercase();
        let Some((head, rest)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let chunked = head.contains("transfer-encoding: chunked");
        if chunked && rest.ends_with("0\r\n\r\n") || !chunked && rest.len() >= length.unwrap_or(0) {
            break text;
        }
    };
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
    Some(text)
}

/// Runs `file` once, with a rule for the service, and returns its delivery and what it emitted.
fn handled(file: &[u8], config: &str, service: &Service) -> (Value, Value) {
    let rule = format!(
        "{{ scheme = \"http\", host = \"127.0.0.1\", port = {}, private = true, headers = {{ X-Api-Key = {{ file = \"key\" }} }} }}",
        service.address.port()
    );
    let site = Site::new(
        &format!(
            "{SOURCE}[routes]\n\"avatar_video.*\" = \"sends\"\n[plugins.sends]\nconfig = {{ {config} }}\nhttp = [{rule}]\n\
             timeout = \"60s\"\n"
        ),
        &[("sends.wasm", file)],
    );
    site.put("key", KEY);
    let host = Host::start(&site);
    let body = json!({ "event_type": "avatar_video.success", "event_data": { "video_id": "v_1", "callback_id": "order_1" } });
    let id = host.provide(&body.to_string())["id"].as_str().unwrap().to_owned();
    host.settled();
    let event = host.event(&id);
    let emitted = event["children"][0].as_str().map(|id| host.event(id)).unwrap_or_default();
    let log = site.log();
    for shown in
        [&event.to_string(), &emitted.to_string(), &log, &host.api("/api/v1/plugins").to_string()]
    {
        assert!(!shown.contains(KEY), "the key is shown: {shown}");
    }
    (event["deliveries"][0].clone(), emitted)
}

#[test]
fn the_example_asks_the_api_about_a_video_with_a_key_that_it_never_sees() {
    let file = file("../plugins/video-details.wasm");
    let video = json!({ "status": "completed", "video_url": format!("https://files.example.com/v_1.mp4?key={KEY}"),
        "thumbnail_url": null, "duration": 12.5, "error": null });
    let service = Service::answering(json!({ "code": 100, "data": video }));
    let (delivery, emitted) =
        handled(&file, &format!("api = \"http://{}\"", service.address), &service);
    assert_eq!(delivery["state"], "done", "{delivery}");
    let masked = format!("https://files.example.com/v_1.mp4?key={}", "*".repeat(KEY.len()));
    let expected =
        json!({ "video_id": "v_1", "url": masked, "thumbnail_url": null, "duration": 12.5 });
    assert_eq!((&emitted["type"], &emitted["data"]), (&json!("video.details"), &expected));
    let call = &delivery["attempts"][0]["calls"][0];
    let url = format!("http://{}/v1/video_status.get?video_id=*", service.address);
    assert_eq!(
        (&call["method"], &call["url"], &call["status"]),
        (&json!("GET"), &json!(url), &json!(200))
    );
    let asked = service.asked();
    assert!(
        asked[0].starts_with("get /v1/video_status.get?video_id=v_1 http/1.1\r\n"),
        "{asked:?}"
    );
    assert!(asked[0].contains(&format!("x-api-key: {KEY}\r\n")), "{asked:?}");
}

#[test]
fn fetch_works_in_javascript() {
    let Some(file) = built("clients/javascript.wasm") else { return };
    let service = Service::answering(json!({ "got": "it" }));
    let (delivery, _) =
        handled(&file, &format!("url = \"http://{}/js\"", service.address), &service);
    assert_eq!(delivery["state"], "done", "{delivery}");
    assert_eq!(delivery["attempts"][0]["logs"][0]["message"], "200 {\"got\":\"it\"}", "{delivery}");
    let asked = service.asked();
    assert!(
        asked[0].starts_with("post /js http/1.1\r\n")
            && asked[0].contains("{\"subject\":\"order_1\"}"),
        "{asked:?}"
    );
    let key = format!("idempotency-key: {}\r\n", delivery["id"].as_str().unwrap());
    assert!(asked[0].contains(&key), "{asked:?}");
}

#[test]
fn a_request_works_in_python() {
    let Some(file) = built("clients/python.wasm") else { return };
    let service = Service::answering(json!({ "got": "it" }));
    let (delivery, _) = handled(&file, &format!("authority = \"{}\"", service.address), &service);
    assert_eq!(delivery["state"], "done", "{delivery}");
    assert_eq!(delivery["attempts"][0]["logs"][0]["message"], "200 {\"got\":\"it\"}", "{delivery}");
    assert!(
        service.asked()[0].starts_with("get /python?subject=order_1 http/1.1\r\n"),
        "{:?}",
        service.asked()
    );
}
