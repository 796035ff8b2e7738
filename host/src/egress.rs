//! The way out: HTTP requests of plugins, each under a rule of the configuration or refused.
