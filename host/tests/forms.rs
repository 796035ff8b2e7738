//! The forms of requests and replies that providers insist on, on a running host.

mod replies;

use crate::support::{Host, agent};

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
