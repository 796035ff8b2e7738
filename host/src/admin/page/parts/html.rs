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

/// Text in which backticks stand around names and commands: these are shown as code.
pub(in crate::admin::page) fn coded(text: &str) -> Html {
    coded_by(text, Html::text)
}

/// Text of several lines, otherwise like [`coded`].
pub(in crate::admin::page) fn coded_lines(text: &str) -> Html {
    coded_by(text, Html::lines)
}

fn coded_by(text: &str, add: for<'a> fn(&'a mut Html, &str) -> &'a mut Html) -> Html {
    let (mut html, mut rest) = (Html::default(), text);
    while let Some((before, after)) = rest.split_once('`')
        && let Some((code, after)) = after.split_once('`')
    {
        add(&mut html, before).raw("<code>");
        add(&mut html, code).raw("</code>");
        rest = after;
    }
    add(&mut html, rest);
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
    fn what_stands_between_backticks_is_code_and_no_markup() {
        let html = coded_lines("see `type` under\n`<b>`; one ` is left").to_string();
        let expected = "see <code>type</code> under\n<code>&lt;b&gt;</code>; one ` is left";
        assert_eq!(html, expected);
    }

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
