//! The public half of the road: what is let in, what it becomes, and what a sender is told.
//!
//! `vectors.json` holds signatures made by others, each with its provenance; `sources` the presets
//! they belong to; `host` an intake on a real store and a client that speaks HTTP byte by byte.

mod apart;
mod bad_input;
mod dedupe;
mod doors;
mod ed25519;
mod ends;
mod everybody;
mod forged;
mod host;
mod hostile;
mod http;
mod identify;
mod keep_alive;
mod key_sets;
mod keys;
mod legacy;
mod multiparts;
mod mutations;
mod parts;
mod providers;
mod public_keys;
mod redelivered;
mod refusals;
mod replayed;
mod roundtrip;
mod routing;
mod schemes;
mod schemes_made;
// Only Linux has more loopback addresses than 127.0.0.1 from the start.
#[cfg(target_os = "linux")]
mod senders;
mod signed;
mod sources;
mod stores;
mod unread;
mod vectors;
mod verify;
mod writings;
