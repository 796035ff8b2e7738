//! Plugins: the file of each that runs, and its replacement by a newer one.
//!
//! `directory` scans the plugins folder without trusting it, `loader` compiles new files, and
//! `admission` decides whether they may run. `refresh` makes a new `registry` out of the old one, a
//! scan and the loader's outcomes. Nothing here watches the folder: `reload` says when to refresh.

mod admission;
mod directory;
mod grants;
mod loader;
mod refresh;
mod registry;
mod reloads;
mod usage;

pub use admission::{Admission, Approvals, NotApproved};
pub use directory::{MAX_FILE_BYTES, MAX_PLUGINS};
pub use grants::{grants, warnings};
pub use loader::{LoadContext, LoadQueue};
pub use refresh::{Refreshed, SETTLE_MS};
pub use registry::{Change, Entry, Loaded, PLUGIN_STATES, PendingApproval, Registry};
pub use reloads::{Reload, ReloadLog};
pub use usage::{AttemptCounts, Peaks, Usage, UsageSnapshot};
