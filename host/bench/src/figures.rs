//! Figures with what they are meant to be. A figure that is short is said to be, and fails nothing:
//! what is measured belongs to the machine as well.

use serde_json::{Value, json};

/// The target of a figure.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    AtLeast(f64),
    AtMost(f64),
    /// Nothing is wanted of it.
    Known,
}

/// One figure.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) value: f64,
    /// Of `value` and `wanted`; empty for a ratio.
    pub(super) unit: &'static str,
    pub(super) wanted: Wanted,
}

impl Figure {
    pub(super) fn new(
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        wanted: Wanted,
    ) -> Self {
        Self { name: name.into(), value, unit, wanted }
    }

    /// Whether it is what it is meant to be.
    pub(super) fn holds(&self) -> bool {
        match self.wanted {
            Wanted::AtLeast(least) => self.value >= least,
            Wanted::AtMost(most) => self.value <= most,
            Wanted::Known => true,
        }
    }

    fn verdict(&self) -> &'static str {
        match self.wanted {
            Wanted::Known => "",
            _ if self.holds() => "ok",
            _ => "short",
        }
    }

    fn wanted_text(&self) -> String {
        match self.wanted {
            Wanted::AtLeast(least) => format!("≥ {}", self.text(least)),
            Wanted::AtMost(most) => format!("≤ {}", self.text(most)),
            Wanted::Known => String::new(),
        }
    }

    fn text(&self, value: f64) -> String {
        let digits = match value.abs() {
            large if large >= 1000.0 => 0,
            middle if middle >= 10.0 => 1,
            _ => 3,
        };
        format!("{value:.digits$} {}", self.unit).trim_end().to_owned()
    }

    pub(super) fn json(&self) -> Value {
        let (least, most) = match self.wanted {
            Wanted::AtLeast(least) => (Some(least), None),
            Wanted::AtMost(most) => (None, Some(most)),
            Wanted::Known => (None, None),
        };
        json!({ "figure": self.name, "value": self.value, "unit": self.unit, "at_least": least, "at_most": most,
            "verdict": self.verdict() })
    }
}

/// The middle one of these figures.
pub(super) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Prints them as a table.
pub(super) fn print(figures: &[Figure]) {
    println!("\n| figure | measured | target | |");
    println!("| --- | ---: | ---: | --- |");
    for figure in figures {
        println!(
            "| {} | {} | {} | {} |",
            figure.name,
            figure.text(figure.value),
            figure.wanted_text(),
            figure.verdict()
        );
    }
}
