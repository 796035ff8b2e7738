//! Attacks by a plugin: so many events wait for it, then it is let in and does what it does.

use std::time::Duration;

use super::host::{ATTACKED, ATTACKER, Binary, Host, Site};
use super::turn::Turn;
use super::{Attack, Beside};
use crate::figures::{Figure, Wanted};
use hookbox_tools::Result;

/// The type that leads to the attacker.
const KIND: &str = "attack.one";

/// Between two looks at whether something is left.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The most that a log may grow by beside a plugin that fails all the time, in KiB.
const LOG_KIB: f64 = 64.0;

/// The most attempts of a plugin that only fails: 20 until the breaker opens, those that are under
/// way by then, and one each half a minute.
const BROKEN_ATTEMPTS: f64 = 64.0;

/// An attack by a backlog of events for a hostile plugin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backlog {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// Of the gallery.
    pub(super) guest: &'static str,
    pub(super) waiting: usize,
    /// Keys of the plugin.
    pub(super) settings: &'static str,
    /// Whether its circuit breaker is off.
    pub(super) unbroken: bool,
    /// It fails all the time: the host's log is to stay short.
    pub(super) fails: bool,
    /// It is to be stopped by its breaker.
    pub(super) breaks: bool,
}

impl Backlog {
    /// The plugin, its route and its settings.
    pub(super) fn site_of(&self, binary: &Binary) -> Site {
        let breaker = if self.unbroken && binary.breaker { "breaker = false\n" } else { "" };
        Site {
            plugins: vec![(format!("{ATTACKER}.wat"), self.guest)],
            routes: format!("\"{ATTACKED}:{KIND}\" = \"{ATTACKER}\"\n"),
            sections: format!(
                "[plugins.{ATTACKER}]\napprove = \"auto\"\n{breaker}{}",
                self.settings
            ),
            memory_mib: None,
        }
    }

    /// Attempts so far, whatever came of them.
    fn attempts(host: &Host) -> Result<f64> {
        let url = format!("http://{}/metrics", host.admin()?);
        let fail = |error: ureq::Error| format!("{url}: {error}");
        let text =
            ureq::get(&url).call().map_err(fail)?.body_mut().read_to_string().map_err(fail)?;
        Ok(attempts(&text))
    }
}

/// Attempts of the attacker in the text of the metrics.
fn attempts(metrics: &str) -> f64 {
    let of_attacker = format!("plugin=\"{ATTACKER}\"");
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with("hookbox_attempts_total{") && line.contains(&of_attacker));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

impl Attack for Backlog {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn what(&self) -> String {
        self.what.to_owned()
    }

    fn site(&self, binary: &Binary) -> Site {
        self.site_of(binary)
    }

    fn prepare(&self, host: &Host) -> Result {
        host.fill(KIND, self.waiting)
    }

    fn attack(&self, host: &Host, turn: &Turn) -> Result {
        host.let_in()?;
        turn.begin();
        turn.until_over(LOOK_EVERY, || {
            if host.counts(ATTACKER)?.open == 0 {
                turn.note_early_end();
            }
            Ok(())
        })
    }

    fn figures(&self, host: &Host, beside: &Beside) -> Result<Vec<Figure>> {
        let mut figures = Vec::new();
        let attempts = Self::attempts(host)?;
        let most = if self.breaks { Wanted::AtMost(BROKEN_ATTEMPTS) } else { Wanted::Known };
        figures.push(Figure::new("attempts", attempts, "", most));
        if self.fails {
            let [before, after] = beside.log_kib;
            figures.push(Figure::new("log", after - before, "KiB", Wanted::AtMost(LOG_KIB)));
        }
        Ok(figures)
    }

    fn notes(&self, binary: &Binary, _: &Host) -> Vec<String> {
        let missing = self.unbroken && !binary.breaker;
        missing.then(|| "this host does not know `breaker`".to_owned()).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_those_of_the_attacker_whatever_came_of_them() {
        let metrics = "# TYPE hookbox_attempts_total counter\n\
                       hookbox_attempts_total{plugin=\"attacker\",outcome=\"retry\"} 40\n\
                       hookbox_attempts_total{plugin=\"good\",outcome=\"ok\"} 300\n\
                       hookbox_attempts_total{outcome=\"trap\",plugin=\"attacker\"} 2\n";
        assert_eq!(attempts(metrics), 42.0);
    }
}
