//! Plugins: which file of each runs, and how the next one takes its place.
//!
//! `directory` scans the plugins folder without trusting it, `loader` compiles what is new there,
//! `admission` holds what asks for more than it may, and `refresh` makes a new `registry` out of
//! the old one, the last scan and what the loader has finished. Nothing here watches: `reload` says
//! when to look.

mod admission;
mod directory;
mod grants;
mod loader;
mod refresh;
mod registry;
mod usage;

pub use admission::{Admission, Approvals, NotApproved};
pub use directory::{MAX_FILE_BYTES, MAX_NAME_BYTES, MAX_PLUGINS, is_name};
pub use grants::{grants, warnings};
pub use loader::{LoadContext, LoadQueue};
pub use refresh::{Refreshed, SETTLE_MS};
pub use registry::{Change, Entry, Loaded, PendingApproval, Registry};
pub use usage::{Usage, UsageSnapshot};
