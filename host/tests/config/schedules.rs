//! `[schedules.NAME]`: when something is emitted, and what is refused.

use hookbox::config::Config;
use hookbox::config::schedules::MissedTicks;

use super::home::Home;

/// 2026-03-28, a day before the clocks of Berlin change.
const NOW_MS: i64 = 1_774_656_000_000;

/// A file with a schedule of these keys, and a route for what it emits.
fn file(keys: &str) -> String {
    format!("[schedules.daily]\n{keys}\n[routes]\n\"report.due\" = \"audit\"\n")
}

fn good(keys: &str) -> Config {
    Home::new().good(&file(&format!("emit = \"report.due\"\n{keys}")))
}

#[test]
fn a_schedule_has_defaults() {
    let config = good("cron = \"0  9 * * mon-fri\"");
    let schedule = &config.schedules["daily"];
    assert_eq!((&*schedule.subject, &*schedule.data), ("daily", &b"{}"[..]));
    assert_eq!((schedule.missed, schedule.skips_overlap), (MissedTicks::Once, false));
    assert_eq!((schedule.jitter_ms, schedule.enabled), (0, true));
    assert_eq!(schedule.spec(), "0 9 * * mon-fri (UTC)");
    assert_eq!(schedule.source(), "schedules/daily");
    assert_eq!(schedule.next_after(NOW_MS), 1_774_861_200_000, "Monday at nine");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn every_key_of_a_schedule_is_read() {
    let config = good(
        "cron = \"30 6 * * *\"\ntz = \"Europe/Berlin\"\nsubject = \"shop 1\"\nmissed = \"all\"\noverlap = \"skip\"\n\
         data = { kind = \"daily\", days = [1, 2.5], on = true }\njitter = \"5m\"\nenabled = false",
    );
    let schedule = &config.schedules["daily"];
    assert_eq!(&*schedule.data, br#"{"days":[1,2.5],"kind":"daily","on":true}"#);
    assert_eq!((&*schedule.subject, schedule.missed), ("shop 1", MissedTicks::All));
    assert!(schedule.skips_overlap && !schedule.enabled && schedule.jitter_ms == 300_000);
    assert_eq!(schedule.next_after(NOW_MS), 1_774_675_800_000, "05:30 in UTC");
    let every = good("every = \"1h30m\"");
    assert_eq!(every.schedules["daily"].spec(), "every 1h30m");
    assert_eq!(every.schedules["daily"].next_after(NOW_MS), NOW_MS + 5_400_000);
}

#[test]
fn other_times_are_known_by_their_number() {
    let hash = |keys: &str| good(keys).schedules["daily"].spec_hash();
    let nine = hash("cron = \"0 9 * * *\"");
    assert_eq!(nine, hash("cron = \"0  9 * * *\"\ntz = \"UTC\"\ndata = 1"));
    assert_ne!(nine, hash("cron = \"0 9 * * *\"\ntz = \"Europe/Berlin\""));
    assert_ne!(nine, hash("cron = \"0 10 * * *\""));
    assert_ne!(hash("every = \"1h\""), hash("every = \"2h\""));
}

#[test]
fn what_cannot_tick_is_refused_with_its_line_and_remedy() {
    let home = Home::new();
    let cases: &[(&str, &[&str])] = &[
        (
            "cron = \"0 9 * *\"",
            &["`schedules.daily.cron` is \"0 9 * *\"", "4 of five fields", "minute, hour"],
        ),
        ("cron = \"0 0 9 * * *\"", &["6 fields, not five"]),
        ("cron = \"61 * * * *\"", &["no cron expression", "\"*/15 * * * *\""]),
        ("cron = \"@daily\"", &["1 of five fields"]),
        ("cron = \"0 0 30 2 *\"", &["never ticks within 8 years", "\"0 0 28 2 *\""]),
        ("cron = \"0 0 31 4 *\"\ntz = \"Europe/Berlin\"", &["never ticks within 8 years"]),
        ("cron = 9", &["is a whole number, but must be a string"]),
        (
            "cron = \"0 9 * * *\"\ntz = \"Europe/Berlyn\"",
            &["a time zone that nobody knows", "did you mean `Europe/Berlin`?"],
        ),
        ("cron = \"0 9 * * *\"\ntz = \"\"", &["a time zone that nobody knows"]),
        (
            "every = \"5m\"\ntz = \"Europe/Berlin\"",
            &["means nothing beside `every`", "take it out"],
        ),
        ("every = \"5m\"\ncron = \"0 9 * * *\"", &["stands beside `cron`", "keep one of them"]),
        ("missed = \"all\"", &["says nothing of when it ticks", "every = \"5m\""]),
        ("every = \"5ms\"", &["out of bounds", "from 10ms to 366d"]),
        ("every = \"often\"", &["not a duration"]),
        (
            "every = \"1h\"\nmissed = \"one\"",
            &["did you mean `once`?", "\"skip\", \"once\", \"all\""],
        ),
        ("every = \"1h\"\noverlap = \"never\"", &["\"allow\", \"skip\""]),
        (
            "every = \"1h\"\njitter = \"1h\"",
            &["as long as the time between two ticks", "shorter than `every` (1h)"],
        ),
        ("every = \"1h\"\njitter = \"2d\"", &["out of bounds"]),
        (
            "cron = \"*/5 * * * *\"\njitter = \"10m\"",
            &[
                "as long as the time between two ticks",
                "shorter than the shortest time between two (5m)",
            ],
        ),
        ("cron = \"0,2 9 1 * *\"\njitter = \"2m\"", &["the shortest time between two (2m)"]),
        ("every = \"1h\"\ndata = nan", &["a number that JSON cannot carry"]),
        ("every = \"1h\"\ndata = { a = [inf] }", &["a number that JSON cannot carry"]),
        ("every = \"1h\"\nsubject = \"\"", &["is no subject: it is empty"]),
        ("every = \"1h\"\nenabled = \"yes\"", &["must be true or false"]),
        ("every = \"1h\"\ntimezone = \"UTC\"", &["is not a key of hookbox", "`tz`"]),
    ];
    for (keys, says) in cases {
        home.refuses(&file(&format!("emit = \"report.due\"\n{keys}")), says);
    }
    let lines = |keys: &str| {
        let problems = home.bad(&file(&format!("emit = \"report.due\"\n{keys}")));
        problems.iter().map(|problem| problem.line).collect::<Vec<_>>()
    };
    assert_eq!(lines("cron = \"0 9 * *\""), [3]);
    assert_eq!(lines("cron = \"61 2 * * *\"\ntz = \"Europe/Berlyn\""), [3, 4], "both at once");
}

#[test]
fn a_jitter_that_is_shorter_than_the_time_between_two_ticks_is_taken() {
    for keys in [
        "cron = \"*/5 * * * *\"\njitter = \"4m59s\"",
        "cron = \"0 9 * * *\"\njitter = \"3h\"",
        "cron = \"0 9 29 2 *\"\njitter = \"1d\"",
        "cron = \"*/5 * * * *\"\njitter = \"0s\"",
    ] {
        good(keys);
    }
}

#[test]
fn what_cannot_be_emitted_is_refused() {
    let home = Home::new();
    for (emit, says) in [
        ("emit = \"hookbox.tick\"", "types that begin with `hookbox.` are the host's own"),
        ("emit = \" a\"", "is no event type: it has blanks"),
        ("emit = \"\"", "is no event type: it is empty"),
        ("emit = 1", "must be a string"),
        ("", "has no `emit`"),
    ] {
        home.refuses(&file(&format!("{emit}\nevery = \"1h\"")), &[says]);
    }
    let long = "x".repeat(65_536);
    home.refuses(
        &file(&format!("emit = \"report.due\"\nevery = \"1h\"\ndata = \"{long}\"")),
        &["64 KiB"],
    );
    home.refuses("[schedules.\"Ä\"]\nevery = \"1h\"\nemit = \"a\"", &["is no name of a schedule"]);
    home.refuses("schedules = 1", &["must be a table"]);
}

#[test]
fn what_is_doubtful_is_warned_of() {
    let warnings = |text: &str| -> Vec<String> {
        Home::new().good(text).warnings.into_iter().map(|warning| warning.text).collect()
    };
    let fast = warnings(&file("emit = \"report.due\"\nevery = \"100ms\""));
    assert!(fast.len() == 1 && fast[0].contains("`schedules.daily.every` is 100ms"), "{fast:?}");
    let lost = warnings("[schedules.daily]\nemit = \"report.due\"\nevery = \"1h\"");
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert!(lost[0].contains("`report.due`, which no route takes"), "{lost:?}");
    assert!(lost[0].contains("\"schedules/daily:report.due\" = \"PLUGIN\""), "{lost:?}");
    let off = "[schedules.daily]\nemit = \"report.due\"\nevery = \"1h\"\nenabled = false";
    assert_eq!(warnings(off), Vec::<String>::new());
    let routed = format!("{off}\n[routes]\n\"schedules/daily:report.*\" = \"audit\"")
        .replace("false", "true");
    assert_eq!(warnings(&routed), Vec::<String>::new());
    let joined = "[schedules.daily]\nemit = \"report.due\"\nevery = \"1h\"\n\
                  [batches.reports]\non = \"report.due\"\nkey = \"source\"\nsize = 7\nwithin = \"8d\"\nemit = \"week\"\n\
                  [routes]\nweek = \"audit\"";
    assert_eq!(warnings(joined), Vec::<String>::new());
}
