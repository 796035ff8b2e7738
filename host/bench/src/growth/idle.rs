//! A host that has nothing to do.

use std::path::Path;
use std::time::Duration;

use crate::figures::{Figure, Wanted};
use crate::process::{cpu, resident_mib};
use crate::receivers::{Receiver, Running, plugin};
use crate::watch::until_loaded;
use hookbox_tools::{Result, say};

/// Until the start, or a load before, is over with all that follows it.
const CALM: Duration = Duration::from_secs(10);

/// How long it is watched: the kernel tells CPU time in hundredths of a second, and a host
/// without work takes two or three of them a minute.
const WATCHED: Duration = Duration::from_secs(60);

/// CPU time and memory with two plugins in Rust.
pub(super) fn measure(sites: &Path) -> Result<Vec<Figure>> {
    say("doing nothing");
    let plugins = ["audit.wasm", "video-orders.wasm"].map(|file| (file, plugin(file)));
    let receiver = Receiver::hookbox(&sites.join("idle"), &plugins, "")?;
    let again = receiver.again();
    // The first start compiles.
    until_loaded(receiver.start()?.admin()?)?;
    let host = again.start()?;
    until_loaded(host.admin()?)?;
    Ok(vec![
        Figure::new(
            "CPU, idle, two Rust plugins",
            cpu_percent(&host)?,
            "% of a core",
            Wanted::AtMost(0.5),
        ),
        Figure::new(
            "memory, idle, two Rust plugins",
            resident_mib(host.pid())?,
            "MiB",
            Wanted::AtMost(50.0),
        ),
    ])
}

/// The CPU time of a host that has nothing to do, in percent of a core.
pub(super) fn cpu_percent(host: &Running) -> Result<f64> {
    std::thread::sleep(CALM);
    let before = cpu(host.pid())?;
    std::thread::sleep(WATCHED);
    Ok((cpu(host.pid())? - before).as_secs_f64() / WATCHED.as_secs_f64() * 100.0)
}
