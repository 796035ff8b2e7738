//! Warnings: a configuration can run with them, and they want attention all the same.

use super::Config;

/// Something that is no problem, or not yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The part of the host that it is about, if it is about one.
    pub about: Option<About>,
    /// Whether that part does not do what its owner wants of it, which `/readyz` says.
    pub degrades: bool,
    /// The matter and its remedy, for people.
    pub text: String,
}

/// The part of the host that a warning is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A source, by name.
    Source(String),
    /// A plugin, by name.
    Plugin(String),
}

impl Warning {
    /// Its text without the part that it is about, for those who say that themselves.
    pub fn matter(&self) -> &str {
        let matter = self.about.as_ref().and_then(|about| {
            self.text.strip_prefix(&format!("{} `{}`: ", about.kind(), about.name()))
        });
        matter.unwrap_or(&self.text)
    }

    /// About a file that works as it is.
    pub(super) fn new(text: String) -> Self {
        Self { about: None, degrades: false, text }
    }

    /// About a source that does not have what it needs.
    pub(super) fn of_source(name: &str, what: &str) -> Self {
        Self {
            about: Some(About::Source(name.to_owned())),
            degrades: true,
            text: format!("source `{name}`: {what}"),
        }
    }

    /// The same, about a source that works another way.
    pub(super) fn of_working_source(name: &str, what: &str) -> Self {
        Self { degrades: false, ..Self::of_source(name, what) }
    }

    /// About a plugin that does not have what it needs.
    pub(super) fn of_plugin(name: &str, what: &str) -> Self {
        Self {
            about: Some(About::Plugin(name.to_owned())),
            degrades: true,
            text: format!("plugin `{name}`: {what}"),
        }
    }
}

impl About {
    /// The word that `/readyz` has for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Source(_) => "source",
            Self::Plugin(_) => "plugin",
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        let (Self::Source(name) | Self::Plugin(name)) = self;
        name
    }
}

impl Config {
    /// Warnings about a plugin.
    pub fn warnings_of_plugin(&self, name: &str) -> impl Iterator<Item = &Warning> {
        let about = move |warning: &&Warning| {
            matches!(&warning.about,
            Some(About::Plugin(its)) if its == name)
        };
        self.warnings.iter().filter(about)
    }

    /// Whether a source does not have what it needs.
    pub fn degrades(&self, source: &str) -> bool {
        let is_it =
            |warning: &Warning| matches!(&warning.about, Some(About::Source(its)) if its == source);
        self.warnings.iter().any(|warning| warning.degrades && is_it(warning))
    }

    /// Logs every warning and what is doubtful about the routes, at every start and every change.
    pub fn log_warnings(&self) {
        self.warn_of_open_sources();
        self.warnings.iter().for_each(|warning| tracing::warn!("{}", warning.text));
        for cycle in self.routes.cycles() {
            tracing::warn!(cycle = %cycle, "the routes make a cycle");
        }
        for doubt in self.routes.doubts(&self.sources) {
            tracing::warn!("{doubt}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matter_of_a_warning_does_not_name_its_part_again() {
        assert_eq!(Warning::of_plugin("audit", "it has no key").matter(), "it has no key");
        assert_eq!(Warning::of_source("acme", "source `b`: x").matter(), "source `b`: x");
        assert_eq!(Warning::new("source `a`: x".to_owned()).matter(), "source `a`: x");
    }
}
