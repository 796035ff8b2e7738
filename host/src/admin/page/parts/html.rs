//! HTML that is made by hand: text is escaped on its way in.

use std::fmt::{self, Display, Write as _};

use askama::filters::HtmlSafe;

use crate::text::needs_escape;

/// HTML whose text is escaped already: templates print it as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::admin::page) struct Html(String);

impl HtmlSafe for Html {}

impl Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Html {
    /// Adds markup of our own. Nothing that came from outside goes in here.
    pub(in crate::admin::page) fn raw(&mut self, markup: impl Display) -> &mut Self {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{markup}");
        self
    }

    /// Adds text, escaped, with the characters visible that control how text is shown.
    pub(in crate::admin::page) fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            push(&mut self.0, c, false);
        }
        self
    }

    /// Adds text like [`Html::text`], with its line ends and tabs.
    pub(in crate::admin::page) fn lines(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            push(&mut self.0, c, true);
        }
        self
    }

    pub(in crate::admin::page) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Text of strangers, escaped, with the characters visible that control how text is shown.
pub(in crate::admin::page) fn shown(text: &str) -> Html {
    let mut html = Html::default();
    html.text(text);
    html
}

/// Text of several lines, otherwise like [`shown`].
pub(in crate::admin::page) fn shown_lines(text: &str) -> Html {
    let mut html = Html::default();
    html.lines(text);
    html
}

/// Text for a field of a form, which gives it back as it is: what controls how it is shown is
/// written as a number.
pub(in crate::admin::page) fn field_text(text: &str) -> Html {
    let mut html = Html::default();
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => html.0.push(c),
            c if needs_escape(c) && !c.is_control() => {
                let _ = write!(html.0, "&#x{:x};", u32::from(c));
            }
            '<' => html.0.push_str("&lt;"),
            '&' => html.0.push_str("&amp;"),
            c => html.0.push(c),
        }
    }
    html
}

fn push(to: &mut String, c: char, lines: bool) {
    match c {
        '<' => to.push_str("&lt;"),
        '>' => to.push_str("&gt;"),
        '&' => to.push_str("&amp;"),
        '"' => to.push_str("&#34;"),
        '\'' => to.push_str("&#39;"),
        '\n' | '\t' if lines => to.push(c),
        c if needs_escape(c) => {
            let _ = write!(to, "<span class=\"ctl\">\\u{{{:x}}}</span>", u32::from(c));
        }
        c => to.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text_and_controls_are_visible() {
        let html = shown("</script><img onerror='a'>\"&\u{202e}\0\n").to_string();
        assert_eq!(
            html,
            "&lt;/script&gt;&lt;img onerror=&#39;a&#39;&gt;&#34;&amp;<span class=\"ctl\">\\u{202e}</span>\
             <span class=\"ctl\">\\u{0}</span><span class=\"ctl\">\\u{a}</span>"
        );
        let mut lines = Html::default();
        lines.lines("a\n\tb\r");
        assert_eq!(lines.to_string(), "a\n\tb<span class=\"ctl\">\\u{d}</span>");
    }
}
