//! Signed requests of equal length, written to a file before anything is measured. No body is like
//! another, for a repeated one is a duplicate and takes a shorter road.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use hookbox_tools::{Result, say};

/// The secret of every receiver.
pub(super) const SECRET: &str = "whsec_a_secret_for_the_benchmark";

/// The type that every measured host routes to its plugin.
pub(super) const HANDLED: &str = "avatar_video.success";

/// Requests signed in one go by one thread.
const CHUNK: usize = 4_096;

/// The subjects of requests, and so what has a key in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subjects {
    /// Each has its own.
    Own,
    /// They take turns among so many.
    Among(usize),
    /// So many in a row have one.
    Groups(usize),
}

impl Subjects {
    fn of(self, number: usize) -> String {
        let number = match self {
            Self::Own => number,
            Self::Among(count) => number % count,
            Self::Groups(size) => number / size,
        };
        subject(number)
    }
}

/// A subject by its number.
pub(super) fn subject(number: usize) -> String {
    format!("order_{number:012}")
}

/// The requests of a load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spec {
    /// Their event type.
    pub(super) kind: &'static str,
    /// Length of each body.
    pub(super) body_bytes: usize,
    pub(super) subjects: Subjects,
    /// The number of the first one; a number is in each body.
    pub(super) first: usize,
    /// How many.
    pub(super) count: usize,
}

/// A file of them.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) path: PathBuf,
    pub(super) spec: Spec,
    /// Length of a request, its header included.
    pub(super) each_bytes: usize,
}

impl Requests {
    /// Signs them as HeyGen does, on every core, and writes them to `path`.
    pub(super) fn sign(path: PathBuf, spec: Spec) -> Result<Self> {
        Self::write(path, spec, &request)
    }

    /// Makes them on every core and writes them to `path`. All of them have one length.
    pub(super) fn write(
        path: PathBuf,
        spec: Spec,
        request: &(dyn Fn(&Spec, usize) -> Vec<u8> + Sync),
    ) -> Result<Self> {
        say(&format!("signing {} requests of {} bytes", spec.count, spec.body_bytes));
        let fail = |error: std::io::Error| format!("{}: {error}", path.display());
        let file = File::create(&path).map_err(fail)?;
        let each_bytes = request(&spec, spec.first).len();
        let next = AtomicUsize::new(0);
        let work = || -> std::io::Result<()> {
            loop {
                let from = next.fetch_add(CHUNK, Ordering::Relaxed);
                if from >= spec.count {
                    return Ok(());
                }
                let until = spec.count.min(from + CHUNK);
                let chunk: Vec<u8> =
                    (from..until).flat_map(|number| request(&spec, spec.first + number)).collect();
                file.write_all_at(&chunk, (from * each_bytes) as u64)?;
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().expect("signing does not panic"))
        })
        // Nothing of it is left to be written while a store is measured on the same disk.
        .and_then(|()| file.sync_all())
        .map_err(fail)?;
        Ok(Self { path, spec, each_bytes })
    }
}

/// The signature of a body, as HeyGen makes it.
pub(super) fn sign(body: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut mac =
        Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key of any length will do");
    mac.update(body.as_bytes());
    let mut text = String::with_capacity(64);
    for byte in mac.finalize().into_bytes() {
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 15)]));
    }
    text
}

fn request(spec: &Spec, number: usize) -> Vec<u8> {
    let body = body(spec, number);
    post("heygen", "heygen-signature", &sign(&body), &body)
}

/// The body with this number.
pub(super) fn body(spec: &Spec, number: usize) -> String {
    let Spec { kind, body_bytes, subjects, .. } = spec;
    let subject = subjects.of(number);
    let start = format!(
        r#"{{"event_type":"{kind}","event_data":{{"video_id":"v_{number:012}","callback_id":"{subject}","video_url":"https://files.example/video/{number:012}.mp4","duration":45.2,"title":""#
    );
    let end = r#""}}"#;
    format!("{start}{}{end}", "x".repeat(body_bytes - start.len() - end.len()))
}

/// A request to a source.
pub(super) fn post(source: &str, header: &str, signature: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST /webhook/{source} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{header}: {signature}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_share_subjects_as_they_are_told_and_no_two_bodies_are_alike() {
        let of = |subjects, number| {
            let spec = Spec { kind: HANDLED, body_bytes: 230, subjects, first: 0, count: 1 };
            String::from_utf8(request(&spec, number)).unwrap()
        };
        for (subjects, wanted) in
            [(Subjects::Own, 1234), (Subjects::Among(100), 34), (Subjects::Groups(3), 411)]
        {
            let request = of(subjects, 1234);
            assert!(request.contains(&format!(r#""callback_id":"{}""#, subject(wanted))));
            assert!(request.contains(r#""video_id":"v_000000001234""#));
            assert_ne!(request, of(subjects, 1235));
        }
    }
}
