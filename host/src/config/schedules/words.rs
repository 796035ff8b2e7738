//! Cron expressions in words: those of the usual forms. Others are left to who has written them.

const MONTHS: [(&str, &str); 12] = [
    ("JAN", "January"),
    ("FEB", "February"),
    ("MAR", "March"),
    ("APR", "April"),
    ("MAY", "May"),
    ("JUN", "June"),
    ("JUL", "July"),
    ("AUG", "August"),
    ("SEP", "September"),
    ("OCT", "October"),
    ("NOV", "November"),
    ("DEC", "December"),
];

/// Sunday is 0 and 7.
const DAYS: [(&str, &str); 8] = [
    ("SUN", "Sunday"),
    ("MON", "Monday"),
    ("TUE", "Tuesday"),
    ("WED", "Wednesday"),
    ("THU", "Thursday"),
    ("FRI", "Friday"),
    ("SAT", "Saturday"),
    ("SUN", "Sunday"),
];

/// The units of a length of time.
const UNITS: [(u64, &str); 5] =
    [(86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second"), (1, "ms")];

/// Five fields in words; `None` if they are of no usual form.
pub(super) fn of_cron(text: &str) -> Option<String> {
    let fields: Vec<&str> = text.split(' ').collect();
    let [minute, hour, day, month, weekday] = fields[..] else { return None };
    let days = days(day, month, weekday)?;
    let times = match (step(minute, 60), step(hour, 24)) {
        (Some(1), Some(1)) => "every minute".to_owned(),
        (Some(minutes), Some(1)) => format!("every {minutes} minutes"),
        (None, Some(hours)) => past(number(minute, 59)?, hours),
        (None, None) => at(number(minute, 59)?, hour)?,
        (Some(_), _) => return None,
    };
    Some(match (days.as_str(), step(hour, 24)) {
        ("", None) => format!("every day {times}"),
        ("", Some(_)) => times,
        (days, _) => format!("{times} {days}"),
    })
}

/// A length of time in words: `every 5 minutes`.
pub(super) fn of_every(ms: u64) -> String {
    let whole = UNITS.iter().find(|(unit, _)| ms.is_multiple_of(*unit) && ms >= *unit);
    let (unit, name) = whole.copied().unwrap_or((1, "ms"));
    match (ms / unit, name) {
        (1, "ms") => "every ms".to_owned(),
        (n, "ms") => format!("every {n} ms"),
        (1, name) => format!("every {name}"),
        (n, name) => format!("every {n} {name}s"),
    }
}

/// The number of units between two matches of `*` or `*/N`, if it divides the whole.
fn step(field: &str, whole: u32) -> Option<u32> {
    if field == "*" {
        return Some(1);
    }
    let step = number(field.strip_prefix("*/")?, whole - 1)?;
    (step > 0 && whole.is_multiple_of(step)).then_some(step)
}

fn number(text: &str, most: u32) -> Option<u32> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| is_plain && *n <= most)
}

fn past(minute: u32, hours: u32) -> String {
    let every = match hours {
        1 => "every hour".to_owned(),
        hours => format!("every {hours} hours"),
    };
    match minute {
        0 => format!("{every}, on the hour"),
        1 => format!("{every}, 1 minute past the hour"),
        minute => format!("{every}, {minute} minutes past the hour"),
    }
}

/// `at 03:00`, or `at 09:00 and 17:00`.
fn at(minute: u32, hours: &str) -> Option<String> {
    let time = |hour: &str| Some(format!("{:02}:{minute:02}", number(hour, 23)?));
    let times: Vec<String> = hours.split(',').map(time).collect::<Option<_>>()?;
    Some(format!("at {}", listed(&times)))
}

/// The days, as the end of a sentence; empty if it is every day.
fn days(day: &str, month: &str, weekday: &str) -> Option<String> {
    match (day, month, weekday) {
        ("*", "*", "*") => Some(String::new()),
        ("*", "*", weekday) => weekdays(weekday),
        (day, "*", "*") => Some(format!("on day {} of every month", number(day, 31)?)),
        (day, month, "*") => Some(format!("on {} {}", number(day, 31)?, named(month, &MONTHS, 1)?)),
        _ => None,
    }
}

/// `on Monday to Friday`, or `on Monday and Thursday`.
fn weekdays(field: &str) -> Option<String> {
    if let Some((first, last)) = field.split_once('-') {
        return Some(format!("on {} to {}", named(first, &DAYS, 0)?, named(last, &DAYS, 0)?));
    }
    let names = field.split(',').map(|day| named(day, &DAYS, 0).map(str::to_owned));
    Some(format!("on {}", listed(&names.collect::<Option<Vec<_>>>()?)))
}

/// The name of a number, which counts from `first`, or of a short name.
fn named(text: &str, names: &[(&str, &'static str)], first: usize) -> Option<&'static str> {
    let by_name = || names.iter().find(|(short, _)| short.eq_ignore_ascii_case(text));
    let by_number = |n: u32| names.get((n as usize).checked_sub(first)?);
    let found = number(text, 99).map_or_else(by_name, by_number);
    found.map(|(_, name)| *name)
}

/// `a`, `a and b`, `a, b and c`.
fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [before @ .., last] => format!("{} and {last}", before.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_forms_have_words() {
        for (cron, words) in [
            ("* * * * *", "every minute"),
            ("*/15 * * * *", "every 15 minutes"),
            ("0 * * * *", "every hour, on the hour"),
            ("1 * * * *", "every hour, 1 minute past the hour"),
            ("30 */6 * * *", "every 6 hours, 30 minutes past the hour"),
            ("0 3 * * *", "every day at 03:00"),
            ("5 9,13,17 * * *", "every day at 09:05, 13:05 and 17:05"),
            ("0 9 * * MON-FRI", "at 09:00 on Monday to Friday"),
            ("0 9 * * 1,4", "at 09:00 on Monday and Thursday"),
            ("0 9 * * 7", "at 09:00 on Sunday"),
            ("0 0 1 * *", "at 00:00 on day 1 of every month"),
            ("0 0 29 2 *", "at 00:00 on 29 February"),
            ("0 0 24 dec *", "at 00:00 on 24 December"),
            ("*/10 * * * sat", "every 10 minutes on Saturday"),
        ] {
            assert_eq!(of_cron(cron).as_deref(), Some(words), "{cron}");
        }
    }

    #[test]
    fn an_unusual_form_has_none() {
        for cron in [
            "*/7 * * * *",
            "0 */5 * * *",
            "0-30 * * * *",
            "*/5 9 * * *",
            "0 9 1 * MON",
            "0 9 L * *",
            "0 9 * * MON#2",
            "0 9 * JAN *",
            "0 9 1,15 * *",
            "60 1 * * *",
            "0 3 * *",
        ] {
            assert_eq!(of_cron(cron), None, "{cron}");
        }
    }

    #[test]
    fn a_length_of_time_has_one_unit() {
        for (ms, words) in [
            (60_000, "every minute"),
            (300_000, "every 5 minutes"),
            (5_400_000, "every 90 minutes"),
            (86_400_000, "every day"),
            (172_800_000, "every 2 days"),
            (250, "every 250 ms"),
        ] {
            assert_eq!(of_every(ms), words);
        }
    }
}
