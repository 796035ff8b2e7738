//! Faults under load: hosts and the server are killed, and what was acknowledged is there and
//! handled once.
//!
//! `HOOKBOX_LONG_TESTS` asks for the long forms.

mod backlog;
mod disk;
mod held;
mod kills;
mod poison;
mod server;
mod upgrade;
