//! From a file's bytes to a plugin that can be invoked.

pub(super) mod imports;
pub(super) mod kind;
pub(super) mod link;
mod wrap;
