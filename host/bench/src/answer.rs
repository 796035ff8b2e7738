//! The head of an answer, read from what has come of it.

use std::io;

/// The head of an answer of HTTP/1.1 that says how long its body is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// Length of the head, the empty line included.
    pub(super) bytes: usize,
    pub(super) body_bytes: usize,
    /// The receiver says that it closes the connection.
    pub(super) closes: bool,
}

impl Head {
    /// `None`: there is more to come.
    pub(super) fn read(answer: &[u8]) -> io::Result<Option<Self>> {
        // A body may be anything, and may be cut anywhere.
        let text = answer.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let (mut bytes, mut body_bytes, mut closes) = (0, None, false);
        for line in text.split_inclusive('\n') {
            bytes += line.len();
            if line == "\r\n" {
                let Some(body_bytes) = body_bytes else {
                    return fail(format!("no length in {text}"));
                };
                let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
                let Some(status) = status else { return fail(format!("no status in {text}")) };
                return Ok(Some(Self { status, bytes, body_bytes, closes }));
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            if name.eq_ignore_ascii_case("content-length") {
                body_bytes = value.trim().parse().ok();
            } else if name.eq_ignore_ascii_case("connection") {
                closes = value.trim().eq_ignore_ascii_case("close");
            }
        }
        Ok(None)
    }
}

fn fail<T>(what: String) -> io::Result<T> {
    Err(io::Error::other(what))
}
