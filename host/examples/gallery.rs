//! Writes the gallery of hostile plugins into a folder, as a host takes them, and a list of them as
//! JSON to stdout, for `cargo xtask bench --hostile`. Left out is what does not become a plugin,
//! what needs a bug of the host, and what `cargo xtask bench --attacks` measures.

use std::process::ExitCode;

#[path = "../tests/hostile/gallery.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod gallery;

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1).map(std::path::PathBuf::from) else {
        eprintln!("usage: gallery FOLDER");
        return ExitCode::from(2);
    };
    let mut rows = Vec::new();
    let skipped = |guest: &gallery::Guest| {
        guest.is_refused() || guest.needs_a_bug() || guest.is_measured_in_numbers()
    };
    for guest in gallery::guests().into_iter().filter(|guest| !skipped(guest)) {
        let file = guest.file();
        let name =
            format!("{}.{}", guest.name, if file.starts_with(b"\0asm") { "wasm" } else { "wat" });
        if let Err(error) = std::fs::write(folder.join(&name), file) {
            eprintln!("{}: {error}", folder.join(name).display());
            return ExitCode::FAILURE;
        }
        let (timeout_ms, memory_mib) = (guest.timeout_ms(), guest.memory_mib());
        rows.push(serde_json::json!({
            "name": guest.name, "row": guest.row, "timeout_ms": timeout_ms, "memory_mib": memory_mib,
        }));
    }
    println!("{}", serde_json::Value::from(rows));
    ExitCode::SUCCESS
}
