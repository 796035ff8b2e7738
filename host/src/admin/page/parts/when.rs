//! Times: relative, with the exact one in UTC beside it.

use super::html::Html;
use crate::clock::rfc3339;

/// A time of the wall clock, as a page of the moment `now_ms` shows it.
pub(in crate::admin::page) fn when(at_ms: i64, now_ms: i64) -> Html {
    element(&rfc3339(at_ms), &relative(at_ms, now_ms))
}

/// The moment that a page is of: `as of 14:02:31 UTC`.
pub(in crate::admin::page) fn as_of(now_ms: i64) -> Html {
    let time = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default();
    let (exact, shown) = (rfc3339(now_ms), time.strftime("%H:%M:%S"));
    let mut html = Html::default();
    html.raw(format_args!("as of <time datetime=\"{exact}\">{shown}</time> UTC"));
    html
}

/// A time of the wall clock without its date, if it is of the last day: `14:02`. UTC.
pub(in crate::admin::page) fn clock(at_ms: i64, now_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default();
    let is_of_today = now_ms.abs_diff(at_ms) < 86_400_000;
    time.strftime(if is_of_today { "%H:%M" } else { "%d %b %H:%M" }).to_string()
}

/// A time that the API has given as RFC 3339.
pub(in crate::admin::page) fn when_text(at: &str, now_ms: i64) -> Html {
    match at.parse::<jiff::Timestamp>() {
        Ok(time) => when(time.as_millisecond(), now_ms),
        Err(_) => super::html::shown(at),
    }
}

/// The same for a time of which the milliseconds are not known.
pub(in crate::admin::page) fn when_about(at: &str, now_ms: i64) -> Html {
    match at.parse::<jiff::Timestamp>() {
        Ok(time) => element(&format!("{time:.0}"), &relative(time.as_millisecond(), now_ms)),
        Err(_) => super::html::shown(at),
    }
}

fn element(exact: &str, text: &str) -> Html {
    let mut html = Html::default();
    html.raw(format_args!("<hb-time><time datetime=\"{exact}\" title=\"{exact}\">"))
        .raw(text)
        .raw("</time></hb-time>");
    html
}

/// `2 s ago`, `in 12 s`, `3 d ago`.
pub(in crate::admin::page) fn relative(at_ms: i64, now_ms: i64) -> String {
    let away = at_ms.abs_diff(now_ms);
    let text = match away {
        0..1_000 => return "now".to_owned(),
        1_000..60_000 => format!("{} s", away / 1_000),
        60_000..3_600_000 => format!("{} min", away / 60_000),
        3_600_000..172_800_000 => format!("{} h", away / 3_600_000),
        _ => format!("{} d", away / 86_400_000),
    };
    if at_ms > now_ms { format!("in {text}") } else { format!("{text} ago") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_770_000_000_000;

    #[test]
    fn a_time_is_relative_and_exact() {
        assert_eq!(relative(NOW_MS - 2_900, NOW_MS), "2 s ago");
        assert_eq!(relative(NOW_MS + 61_000, NOW_MS), "in 1 min");
        assert_eq!(relative(NOW_MS - 7_200_000, NOW_MS), "2 h ago");
        assert_eq!(relative(NOW_MS - 260_000_000, NOW_MS), "3 d ago");
        assert_eq!(relative(NOW_MS, NOW_MS), "now");
        let html = when_text("2026-02-02T02:39:58.000Z", NOW_MS).to_string();
        assert!(html.contains("datetime=\"2026-02-02T02:39:58.000Z\""), "{html}");
        assert!(html.contains(">2 s ago<"), "{html}");
        assert!(as_of(NOW_MS).to_string().ends_with(">02:40:00</time> UTC"));
        assert_eq!(clock(NOW_MS, NOW_MS), "02:40");
        assert_eq!(clock(NOW_MS - 90_000_000, NOW_MS), "01 Feb 01:40");
        assert_eq!(when_text("<b>", NOW_MS).to_string(), "&lt;b&gt;");
    }
}
