//! Is this request from who it says it is from? From raw bytes to an answer: a template, a MAC, a
//! comparison.

use std::sync::Arc;

use hookbox::ingest::Unverified;

use crate::requests::{NOW_MS, Provider};
use crate::stage::Stage;

/// A request with a body of so many bytes, verified.
pub(crate) fn stage(body_bytes: usize) -> Stage {
    let provider = Provider::new();
    let source_runtime = Arc::new(provider.source_runtime());
    let (headers, body) = provider.request(1, body_bytes);
    Box::new(move || {
        let (source_runtime, request) =
            (source_runtime.clone(), Unverified::new(headers.clone(), body.clone()));
        Box::new(move || {
            let verified = request.verify(&source_runtime, NOW_MS).expect("it is authentic");
            assert_eq!(divan::black_box(verified).key(), Some(0));
        })
    })
}
