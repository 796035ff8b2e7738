//! Every integration test, in one binary: linking the sandbox once is enough.

mod crash;
mod harness;
mod load;
mod road;
