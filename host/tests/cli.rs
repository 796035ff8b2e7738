//! The command line, run as a user runs it: what it prints, and its exit codes.
//!
//! `alone`, `cases` and `new` need no host, `hosted` and `bench` talk to one, `site` holds a folder and
//! runs the binary on it, `remote` has no good configuration, `terminal` has one to show
//! something on, `pretender` is what only looks like a host.

mod alone;
mod bench;
mod cases;
mod hosted;
mod new;
mod pretender;
mod remote;
mod routing;
mod run;
mod site;
mod terminal;
mod watch;
