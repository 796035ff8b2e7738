//! Hints of what a durable batch has changed.

use super::batch::{BatchResult, BatchResults};
use super::command::PostgresCommand;
use super::command::left_by;
use super::created::AppendedAs;
use crate::store::{Hint, Recorded, Settled, Ticked};

/// The changes of these commands.
pub(super) fn hint(commands: &[PostgresCommand], results: &BatchResults) -> Hint {
    let mut hint = Hint::default();
    for (command, result) in commands.iter().zip(&results.each) {
        match (command, result) {
            (_, BatchResult::Appended(AppendedAs::New(_) | AppendedAs::DuplicateOf(_)))
            | (_, BatchResult::Ticked(Ticked::Emitted(_))) => hint.events = true,
            (PostgresCommand::Settle { lease, settlement, .. }, BatchResult::Settled(it)) => {
                hint.events |= *it == Settled::Kept && left_by(&settlement.next).next().is_some();
                if *it != Settled::Lost {
                    hint.plugins.insert(lease.plugin.clone());
                }
            }
            (PostgresCommand::Record { work, .. }, BatchResult::Recorded(Recorded::Kept)) => {
                hint.plugins.insert(work.0.plugin.clone());
            }
            (_, BatchResult::Leased(rows)) => {
                let plugins = rows.iter().filter_map(|row| row.get::<_, Option<String>>("plugin"));
                hint.plugins.extend(plugins.map(Into::into));
            }
            _ => {}
        }
    }
    hint.plugins.extend(results.created.leases.iter().map(|lease| lease.plugin.clone()));
    hint.plugins.extend(results.created.waiting.iter().map(|(plugin, _)| plugin.clone()));
    hint
}
