//! JSON, indented from its own characters: digits, the order of members, repeated members and
//! escapes stay as they came.

use super::html::Html;

/// The most characters of markup that are made of one body.
const MAX_HTML: usize = 60 << 10;

/// A text of JSON with line ends and indentation, coloured; the number of bytes that are shown.
/// The text must be JSON: nothing here checks it.
pub(in crate::admin::page) fn indented(text: &str) -> (Html, usize) {
    let mut html = Html::default();
    let mut depth = 0_usize;
    let mut rest = text;
    while !rest.is_empty() && html.len() < MAX_HTML {
        let token = token(rest);
        let after = &rest[token.len()..];
        match token.as_bytes().first() {
            Some(b' ' | b'\t' | b'\n' | b'\r') | None => {}
            Some(b'{' | b'[') => {
                html.text(token);
                let closing = after.trim_start();
                if closing.starts_with(['}', ']']) {
                    html.text(&closing[..1]);
                    rest = &closing[1..];
                    continue;
                }
                depth += 1;
                line(&mut html, depth);
            }
            Some(b'}' | b']') => {
                depth = depth.saturating_sub(1);
                line(&mut html, depth);
                html.text(token);
            }
            Some(b',') => {
                html.text(token);
                line(&mut html, depth);
            }
            Some(b':') => {
                html.raw(": ");
            }
            Some(b'"') => {
                let is_name = after.trim_start().starts_with(':');
                let class = if is_name { "jk" } else { "js" };
                html.raw(format_args!("<span class=\"{class}\">")).text(token).raw("</span>");
            }
            Some(_) => {
                html.raw("<span class=\"jn\">").text(token).raw("</span>");
            }
        }
        rest = after;
    }
    let shown = text.len() - rest.len();
    (html, shown)
}

fn line(html: &mut Html, depth: usize) {
    html.raw("\n");
    // Deeper than people read; serde_json does not read deeper than 128.
    for _ in 0..depth.min(64) {
        html.raw("  ");
    }
}

/// The token that a text begins with: white space, a sign, a string, or a number or word.
fn token(text: &str) -> &str {
    let bytes = text.as_bytes();
    let end = match bytes[0] {
        b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
        b'"' => {
            let mut at = 1;
            while at < bytes.len() && bytes[at] != b'"' {
                at += if bytes[at] == b'\\' { 2 } else { 1 };
            }
            (at + 1).min(bytes.len())
        }
        b' ' | b'\t' | b'\n' | b'\r' => {
            let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
            bytes.iter().take_while(|byte| is_space(byte)).count()
        }
        _ => {
            let ends = |byte: &u8| b"{}[],:\" \t\n\r".contains(byte);
            bytes.iter().take_while(|byte| !ends(byte)).count()
        }
    };
    // Signs are ASCII, so this is a boundary; a text that is no JSON ends here.
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of the markup.
    fn plain(text: &str) -> String {
        let (html, shown) = indented(text);
        assert_eq!(shown, text.len());
        let mut out = String::new();
        let mut within = false;
        for c in html.to_string().chars() {
            match c {
                '<' => within = true,
                '>' => within = false,
                c if !within => out.push(c),
                _ => {}
            }
        }
        out.replace("&#34;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    }

    #[test]
    fn digits_order_duplicates_and_escapes_stay() {
        let body =
            r#"{"n":9223372036854775808,"a":1.0,"a":1e5,"u":"\u202e\"","e":{},"l":[ ],"x":[1,2]}"#;
        assert_eq!(
            plain(body),
            "{\n  \"n\": 9223372036854775808,\n  \"a\": 1.0,\n  \"a\": 1e5,\n  \"u\": \"\\u202e\\\"\",\n  \
             \"e\": {},\n  \"l\": [],\n  \"x\": [\n    1,\n    2\n  ]\n}"
        );
    }

    #[test]
    fn a_hostile_text_is_text() {
        let (html, _) = indented("{\"</script><img onerror>\":\"\u{202e}\"}");
        let html = html.to_string();
        assert!(html.contains("&lt;/script&gt;") && !html.contains("<img"), "{html}");
        assert!(html.contains("\\u{202e}"), "{html}");
    }

    #[test]
    fn a_long_text_is_cut() {
        let body = format!("[{}1]", "1,".repeat(100_000));
        let (html, shown) = indented(&body);
        assert!(shown < body.len() && html.len() < MAX_HTML + 200, "{shown} {}", html.len());
    }

    #[test]
    fn what_is_no_json_ends() {
        for text in ["\"a", "\"a\\", "ü\"", "\\", "\"\\ü"] {
            let (_, shown) = indented(text);
            assert!(shown <= text.len(), "{text}");
        }
    }
}
