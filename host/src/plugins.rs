//! The shelf: name → loaded plugin, one immutable snapshot that is swapped whole.
