//! Compiling, and how machine code comes into this process.
//!
//! Compiling takes seconds and hundreds of MiB for a large runtime, and any amount for a hostile
//! file. So a host never compiles in its own process: a short-lived child process with limits does,
//! and everything that parses a file's bytes happens there. `child` starts it, `confined` runs in
//! it. The result is cached in a folder of the host (`cache`) by what the file holds and what the
//! code was made for; the next start maps it into memory (`machine_code`).
//!
//! Invariant: machine code is run only if a process of this host made it and nobody else could have
//! changed it since.

mod cache;
mod child;
mod compiler;
mod confined;
mod files;
mod machine_code;
mod temp_file;

pub use cache::Cache;
pub use child::CompileLimits;
pub use compiler::{ChildCompiler, CodeSource, Compiler};
pub use confined::{Confinement, compile_stdin};
