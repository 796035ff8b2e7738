//! A curve as small as a word.

use super::html::Html;

/// Bars for these counts, the newest at the right; `label` says the same in words.
pub(in crate::admin::page) fn spark(counts: &[u32], label: &str) -> Html {
    spark_with(counts, label, &[])
}

/// The same with marks: each the place of the count in whose time something was changed, and the
/// change in words.
pub(in crate::admin::page) fn spark_with(
    counts: &[u32],
    label: &str,
    marks: &[(usize, String)],
) -> Html {
    const STEP: usize = 4;
    const HEIGHT: f64 = 16.0;
    let width = counts.len() * STEP;
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let mut html = Html::default();
    html.raw(format_args!(
        "<svg class=\"spark\" width=\"{width}\" height=\"16\" role=\"img\" aria-label=\""
    ))
    .text(label)
    .raw("\"><path class=\"c-bad\" d=\"");
    for (at, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        // One among many is seen as well.
        let height = (f64::from(*count) / f64::from(most) * HEIGHT).max(1.0);
        html.raw(format_args!("M{} 16v-{height:.1}h3v{height:.1}z", at * STEP));
    }
    html.raw("\"/>");
    for (at, title) in marks {
        let x = at * STEP + STEP / 2;
        html.raw(format_args!("<g class=\"mark\"><path d=\"M{x} 0v16\"/><title>"))
            .text(title)
            .raw("</title></g>");
    }
    html.raw("</svg>");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_count_has_the_whole_height_and_none_has_no_bar() {
        let svg = spark(&[0, 1, 1_000], "1,001 <in> 3 h").to_string();
        assert!(svg.contains("d=\"M4 16v-1.0h3v1.0zM8 16v-16.0h3v16.0z\""), "{svg}");
        assert!(svg.contains("aria-label=\"1,001 &lt;in&gt; 3 h\""), "{svg}");
        let svg = spark_with(&[1, 1], "2", &[(1, "worker <loaded>".to_owned())]).to_string();
        assert!(svg.contains("<path d=\"M6 0v16\"/><title>worker &lt;loaded&gt;</title>"), "{svg}");
        assert!(spark(&[], "none").to_string().contains("d=\"\""));
    }
}
