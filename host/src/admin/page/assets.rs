//! Style and script: part of the program, and served under an address that changes with them.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;
use sha2::{Digest as _, Sha256};

use crate::admin::problem::ProblemJson;

#[derive(RustEmbed)]
#[folder = "assets/"]
struct Assets;

/// An asset never changes: another one has another address.
const KEEP: &str = "public, max-age=31536000, immutable";

/// The part of their address that changes with them.
pub(in crate::admin::page) fn hash() -> &'static str {
    static HASH: LazyLock<String> = LazyLock::new(|| {
        let mut names: Vec<_> = Assets::iter().collect();
        names.sort_unstable();
        let mut all = Sha256::new();
        for name in names {
            let file = Assets::get(&name).map(|file| file.data).unwrap_or_default();
            all = all.chain_update(name.as_bytes()).chain_update([0]).chain_update(&file);
        }
        let hash = all.finalize();
        hex::encode(&hash[..8])
    });
    &HASH
}

/// Style, script and icon of the pages.
pub(in crate::admin::page) async fn show(
    Path((hash, name)): Path<(String, String)>,
) -> Result<Response, ProblemJson> {
    let file = if hash == self::hash() { Assets::get(&name) } else { None };
    let file = file.ok_or_else(|| {
        ProblemJson::not_found("there is no such asset: load the page again, it names others now")
    })?;
    let kind = match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        _ => "image/svg+xml",
    };
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, KEEP)];
    Ok((headers, file.data.into_owned()).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_are_small_and_ours() {
        let size = |ending: &str| -> usize {
            let names = Assets::iter().filter(|name| name.ends_with(ending));
            names.filter_map(|name| Some(Assets::get(&name)?.data.len())).sum()
        };
        assert!((1..=16 << 10).contains(&size(".css")), "{}", size(".css"));
        assert!((1..=15 << 10).contains(&size(".js")), "{}", size(".js"));
        for name in Assets::iter() {
            let file = Assets::get(&name).unwrap();
            let text = std::str::from_utf8(&file.data).unwrap();
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("://") && !text.contains("innerHTML +="), "{name}");
        }
        assert_eq!(hash().len(), 16);
    }
}
