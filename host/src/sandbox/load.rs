//! From a file's bytes to a plugin that can be invoked: everything that can be refused is refused
//! here, with a reason.

mod error;
mod imports;
mod kind;
mod link;
mod wrap;

pub use error::{LoadError, MAX_FILE_BYTES};

pub(super) use link::{Code, link, precompile};
