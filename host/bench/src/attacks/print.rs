//! The table.

use std::time::Duration;

use serde_json::{Value, json};

use super::judge::{ACK_LINE, ANSWERED_LINE, Summary};
use super::{GOOD_RATE, KNOWN, Row, Verdict};
use crate::Options;
use crate::figures::{Figure, Wanted};

/// Shows a row as soon as it is measured, beside the answer.
pub(super) fn show(row: &Row) {
    eprintln!("{}", line(row));
}

/// Prints every row, or all of it as JSON.
pub(super) fn print(rows: &[Row], took: Duration, options: &Options) {
    if options.json {
        let rows: Vec<Value> = rows.iter().map(json).collect();
        println!("{}", json!({ "rows": rows, "seconds": took.as_secs() }));
        return;
    }
    println!(
        "\nA good client, {GOOD_RATE} requests a second, alone and beside an attack; milliseconds to the acknowledgement:\n"
    );
    println!(
        "| attack | alone p50 | p99 | beside p50 | p99 | at most | answered | other lines | attacker | tries | |"
    );
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
    println!(
        "\n{} attacks in {} s. Attacker: its CPU time, in percent of a core.",
        rows.len(),
        took.as_secs()
    );
}

fn notes(row: &Row) -> String {
    row.measured.notes.iter().map(|note| format!(" Note: {note}.")).collect()
}

fn line(row: &Row) -> String {
    let measured = &row.measured;
    let [alone, beside] = [&measured.alone, &measured.beside].map(|summary| summary.as_ref());
    let find = |name: &str| measured.figures.iter().find(|figure| figure.name == name);
    let most = find(ACK_LINE).map(|figure| figure.wanted);
    let most = if let Some(Wanted::AtMost(most)) = most { ms(most) } else { String::new() };
    let answered = beside.map_or(String::new(), |summary| format!("{:.1} %", summary.answered));
    let others = measured
        .figures
        .iter()
        .filter(|figure| figure.name != ACK_LINE && figure.name != ANSWERED_LINE);
    let others: Vec<String> = others.map(other).collect();
    let attacker =
        measured.attacker_percent.map_or(String::new(), |percent| format!("{percent:.0} %"));
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
    let Figure { name, value, unit, wanted } = figure;
    let wanted = match wanted {
        Wanted::AtLeast(least) => format!(" (≥ {})", number(*least)),
        Wanted::AtMost(most) => format!(" (≤ {})", number(*most)),
        Wanted::Known => String::new(),
    };
    let mark = if figure.holds() { "" } else { "**" };
    let value = format!("{} {unit}", number(*value));
    format!("{name} {mark}{}{mark}{wanted}", value.trim_end())
}

/// With thousands apart; one digit behind the point where there is something.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return "none".to_owned();
    }
    let text = if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") };
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let digits: Vec<&str> = (0..whole.len()).map(|at| &whole[at..=at]).collect();
    let groups: Vec<String> = digits.rchunks(3).rev().map(|group| group.concat()).collect();
    groups.join(",") + rest
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
    let known: Vec<Value> =
        known.map(|known| json!({ "line": known.line, "reason": known.reason })).collect();
    json!({
        "attack": name, "what": row.attack.what(), "alone": summary(&measured.alone), "beside": summary(&measured.beside),
        "lines": lines, "notes": measured.notes, "attacker_percent": measured.attacker_percent, "tries": measured.tries,
        "verdict": verdict.text(), "known": known,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_does_not_hold_stands_out() {
        let figure =
            |value| other(&Figure::new("events of a tree", value, "", Wanted::AtMost(10_256.0)));
        assert_eq!(figure(9_984.0), "events of a tree 9,984 (≤ 10,256)");
        assert_eq!(figure(2_400_000.0), "events of a tree **2,400,000** (≤ 10,256)");
        assert_eq!(other(&Figure::new("log", 12.34, "KiB", Wanted::Known)), "log 12.3 KiB");
        assert_eq!(
            other(&Figure::new("begun p99", f64::INFINITY, "ms", Wanted::Known)),
            "begun p99 none ms"
        );
    }
}
