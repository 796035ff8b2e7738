//! The configuration as a user meets it: what is read, what is refused, and how that is told.

mod addresses;
mod dedupe;
mod forms;
mod gatherings;
mod grants;
mod home;
mod mistakes;
mod params;
mod partial;
mod presets;
mod problems;
mod reference;
mod routes;
mod schedules;
mod secrets;
mod settings;
mod sources;
mod store;
mod telemetry;
mod tokens;
mod warnings;
