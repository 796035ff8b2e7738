//! The command line, run as a user runs it: what it prints, and its exit codes.
//!
//! `alone`, `cases`, `new` and `presets` need no host, `hosted` and `bench` talk to one. `remote`
//! has no good configuration, `terminal` has one to show something on, `pretender` is what only
//! looks like a host.

use crate::support::Site;

mod alone;
mod bench;
mod cases;
mod hosted;
mod kept;
mod new;
mod presets;
mod pretender;
mod remote;
mod routing;
mod run;
mod same;
mod terminal;
mod watch;

/// The smallest plugin.
const OK: &str = include_str!("guests/ok.wat");

/// A plugin that refuses everything.
const REJECT: &str = include_str!("guests/reject.wat");

const CONFIG: &str = r#"
[sources.heygen]
preset = "heygen"
secrets = [{ env = "HEYGEN_WEBHOOK_SECRET" }]

[routes]
"avatar_video.success" = "fine"
"avatar_video.fail" = "refuses"
"#;

/// A source and two plugins, `fine` and `refuses`.
fn site() -> Site {
    Site::new(CONFIG, &[("fine.wat", OK.as_bytes()), ("refuses.wat", REJECT.as_bytes())])
}
