//! Changes of bodies between the signer and the check.

use super::respaced::{Escapes, Spaces, respaced};

/// A change of a body, for people, and how it is made; `None` if it cannot be.
pub(super) struct BodyVariation {
    pub(super) what: &'static str,
    pub(super) make: fn(&[u8]) -> Option<Vec<u8>>,
}

const fn variation(what: &'static str, make: fn(&[u8]) -> Option<Vec<u8>>) -> BodyVariation {
    BodyVariation { what, make }
}

/// The changes that are tried, the usual ones first.
pub(super) const VARIATIONS: [BodyVariation; 16] = [
    variation(
        "with the trailing newline removed: something changes bodies on the way",
        without_end,
    ),
    variation("with a newline at the end: something on the way takes it away", |body| {
        Some([body, b"\n"].concat())
    }),
    variation("with CR and LF at the end: something on the way takes them away", |body| {
        Some([body, b"\r\n"].concat())
    }),
    variation("with line ends LF in place of CRLF: something on the way changes them", to_lf),
    variation("with line ends CRLF in place of LF: something on the way changes them", |body| {
        to_lf(body).or_else(|| Some(body.to_vec())).map(to_crlf)
    }),
    variation(
        "with the JSON written without spaces: it is written again on the way, or signed before it is written",
        |body| respaced(body, Spaces::None, Escapes::Kept),
    ),
    variation(
        "with the JSON spaced as Python writes it: it is written again on the way, or signed before it is written",
        |body| respaced(body, Spaces::Python, Escapes::Kept),
    ),
    variation(
        "with the JSON indented by two spaces: it is written again on the way, or signed before it is written",
        |body| respaced(body, Spaces::Indent(2), Escapes::Kept),
    ),
    variation(
        "with the JSON indented by four spaces: it is written again on the way, or signed before it is written",
        |body| respaced(body, Spaces::Indent(4), Escapes::Kept),
    ),
    variation(
        "with the JSON written without spaces and without needless escapes, as JavaScript does",
        |body| respaced(body, Spaces::None, Escapes::Least),
    ),
    variation(
        "with the JSON spaced as Python writes it, everything beyond ASCII escaped",
        |body| respaced(body, Spaces::Python, Escapes::Ascii),
    ),
    variation("with the JSON written without spaces, everything beyond ASCII escaped", |body| {
        respaced(body, Spaces::None, Escapes::Ascii)
    }),
    variation(
        "with the JSON written without spaces, `/` and everything beyond ASCII escaped, as PHP does",
        |body| respaced(body, Spaces::None, Escapes::AsciiAndSlash),
    ),
    variation("with the byte order mark removed: something on the way adds one", |body| {
        body.strip_prefix(b"\xef\xbb\xbf").map(<[u8]>::to_vec)
    }),
    variation("with the white space around the body removed", |body| {
        Some(body.trim_ascii().to_vec())
    }),
    variation("over an empty body: the sender signs before it has the body", |_| Some(Vec::new())),
];

fn without_end(body: &[u8]) -> Option<Vec<u8>> {
    let shorter = body.strip_suffix(b"\n")?;
    Some(shorter.strip_suffix(b"\r").unwrap_or(shorter).to_vec())
}

/// `None` if there is no CRLF.
fn to_lf(body: &[u8]) -> Option<Vec<u8>> {
    body.windows(2).any(|pair| pair == b"\r\n").then(|| {
        let mut made = Vec::with_capacity(body.len());
        for (at, byte) in body.iter().enumerate() {
            if *byte != b'\r' || body.get(at + 1) != Some(&b'\n') {
                made.push(*byte);
            }
        }
        made
    })
}

fn to_crlf(body: Vec<u8>) -> Vec<u8> {
    let mut made = Vec::with_capacity(body.len() + 64);
    for byte in body {
        if byte == b'\n' {
            made.push(b'\r');
        }
        made.push(byte);
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_change_and_nothing_else() {
        assert_eq!(without_end(b"a\r\n").as_deref(), Some(&b"a"[..]));
        assert_eq!(without_end(b"a\n\n").as_deref(), Some(&b"a\n"[..]));
        assert_eq!(without_end(b"a"), None);
        assert_eq!(to_lf(b"a\r\nb\rc\n").as_deref(), Some(&b"a\nb\rc\n"[..]));
        assert_eq!(to_lf(b"a\n"), None);
        assert_eq!(to_crlf(b"a\nb".to_vec()), b"a\r\nb");
    }
}
