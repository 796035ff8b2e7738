//! Compiling: in a child process with limits, whose machine code is cached.

mod cache;
mod child;
mod code;
mod compiler;
mod confined;

pub use cache::Cache;
pub use child::CompileLimits;
pub use compiler::{Compiler, Origin, Workshop};
pub use confined::{Confinement, compile_stdin};
