//! The table.

use std::time::Duration;

use serde_json::{Value, json};

use super::judge::{ACK_LINE, ANSWERED_LINE, Summary};
use super::{GOOD_RATE, KNOWN, Row, Verdict};
use crate::bench::Options;
use crate::bench::figures::Figure;

/// Prints every row, or all of it as JSON.
pub(super) fn print(rows: &[Row], took: Duration, options: &Options) {
    if options.json {
        let rows: Vec<Value> = rows.iter().map(json).collect();
        println!("{}", json!({ "rows": rows, "seconds": took.as_secs() }));
        return;
    }
    println!("\nA good client, {GOOD_RATE} requests a second, alone and beside an attack; milliseconds to the acknowledgement:\n");
    println!("| attack | alone p50 | p99 | beside p50 | p99 | at most | answered | other lines | attacker | tries | |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: | --- |");
    for row in rows {
        println!("{}", line(row));
    }
    println!();
    for row in rows {
        println!("- `{}`: {}.{}", row.attack.name(), row.attack.what(), notes(row));
    }
    for known in KNOWN {
        println!("- known of `{}`, {}: {}", known.attack, known.line, known.reason);
    }
    println!("\n{} attacks in {} s. Attacker: its processor time, in percent of a core.", rows.len(), took.as_secs());
}

fn notes(row: &Row) -> String {
    row.measured.notes.iter().map(|note| format!(" Note: {note}.")).collect()
}

fn line(row: &Row) -> String {
    let measured = &row.measured;
    let [alone, beside] = [&measured.alone, &measured.beside].map(|summary| summary.as_ref());
    let find = |name: &str| measured.figures.iter().find(|figure| figure.name == name);
    let most = find(ACK_LINE).map_or(String::new(), |figure| figure.wanted_text().trim_start_matches("≤ ").to_owned());
    let answered = beside.map_or(String::new(), |summary| format!("{:.1} %", summary.answered));
    let others = measured.figures.iter().filter(|figure| figure.name != ACK_LINE && figure.name != ANSWERED_LINE);
    let others: Vec<String> = others.map(other).collect();
    let attacker = measured.attacker_percent.map_or(String::new(), |percent| format!("{percent:.0} %"));
    format!(
        "| {} | {} | {} | {most} | {answered} | {} | {attacker} | {} | {} |",
        row.attack.name(),
        cells(alone),
        cells(beside),
        others.join("; "),
        measured.tries,
        row.verdict().text()
    )
}

fn cells(summary: Option<&Summary>) -> String {
    summary.map_or(" | ".to_owned(), |summary| summary.ack_ms.map(ms).join(" | "))
}

fn ms(ms: f64) -> String {
    if ms.is_finite() { format!("{ms:.1}") } else { "none".to_owned() }
}

fn other(figure: &Figure) -> String {
    let wanted = figure.wanted_text();
    let wanted = if wanted.is_empty() { wanted } else { format!(" ({wanted})") };
    let mark = if figure.holds() { "" } else { "**" };
    format!("{mark}{} {}{mark}{wanted}", figure.name, figure.value_text())
}

fn json(row: &Row) -> Value {
    let measured = &row.measured;
    let summary = |summary: &Option<Summary>| {
        summary.as_ref().map(|summary| {
            let [p50, p99] = summary.ack_ms;
            json!({ "sent": summary.sent, "answered_percent": summary.answered, "ack_p50_ms": p50, "ack_p99_ms": p99 })
        })
    };
    let lines: Vec<Value> = measured.figures.iter().map(Figure::json).collect();
    let name = row.attack.name();
    let verdict = row.verdict();
    let known = KNOWN.iter().filter(|known| known.attack == name && verdict == Verdict::Known);
    let known: Vec<Value> = known.map(|known| json!({ "line": known.line, "reason": known.reason })).collect();
    json!({
        "attack": name, "what": row.attack.what(), "alone": summary(&measured.alone), "beside": summary(&measured.beside),
        "lines": lines, "notes": measured.notes, "attacker_percent": measured.attacker_percent, "tries": measured.tries,
        "verdict": verdict.text(), "known": known,
    })
}
