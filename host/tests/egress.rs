//! Attacks by plugins that want more than their rules allow: each is aimed at a server that must
//! not see it, and the same server is reached when a rule says so.

mod addresses;
mod answers;
mod bypasses;
mod guest;
mod limits;
mod secrets;
mod smuggling;
mod tls;
mod world;
