//! The forms of requests and replies that providers insist on, on a running host.

mod batches;
mod cloudevents;
mod replies;

use std::path::Path;

use crate::support::{Host, agent};

/// The first block of code in this language under a heading of docs/sources.md.
fn documented(heading: &str, language: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join("docs/sources.md")).unwrap();
    let (_, section) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let (_, block) = section.split_once(&format!("\n```{language}\n")).unwrap();
    block.split("\n```").next().unwrap().to_owned()
}

/// The status, the headers of interest and the body of a reply.
#[derive(Debug)]
struct Reply {
    status: u16,
    content_type: String,
    event: String,
    allow: String,
    body: String,
}

/// Sends a request with a body.
fn sent(host: &Host, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut request =
        ureq::http::Request::builder().method(method).uri(format!("{}{path}", host.public_url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = agent().run(request.body(body.to_owned()).unwrap()).unwrap();
    let header = |name: &str| {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
    };
    Reply {
        status: response.status().as_u16(),
        content_type: header("content-type"),
        event: header("hookbox-event"),
        allow: header("allow"),
        body: response.body_mut().read_to_string().unwrap(),
    }
}
