//! Bodies of `multipart/form-data` (RFC 7578): a field of one, as some providers wrap their JSON.

use super::Repeated;

/// The media type of such a body.
const MEDIA_TYPE: &str = "multipart/form-data";

/// The longest head of a part that is read, in bytes.
const MAX_HEAD_BYTES: usize = 8 << 10;

/// Whether a backslash within quotes takes the next character as it is. In a `Content-Type` it
/// does; browsers write it unchanged into the head of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backslash {
    Escapes,
    IsItself,
}

/// The text between two parts that a `Content-Type` names; `None` if it is of another media type.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let (essence, parameters) = content_type.split_once(';')?;
    if !essence.trim().eq_ignore_ascii_case(MEDIA_TYPE) {
        return None;
    }
    let boundary = parameter(parameters, "boundary", Backslash::Escapes)?;
    let fits = (1..=70).contains(&boundary.len()) && boundary.is_ascii();
    fits.then_some(boundary)
}

/// The value of a parameter (RFC 9110, section 5.6.6), without the quotes around it. There may be
/// blanks around `=`. Parameters that are empty or have no value are passed over.
fn parameter(mut parameters: &str, wanted: &str, backslash: Backslash) -> Option<String> {
    while !parameters.is_empty() {
        let end = parameters.find(['=', ';']).unwrap_or(parameters.len());
        let (name, mut rest) = parameters.split_at(end);
        if let Some(after) = rest.strip_prefix('=') {
            let value;
            (value, rest) = match after.trim_start().strip_prefix('"') {
                Some(quoted) => unquoted(quoted, backslash)?,
                None => {
                    let (value, rest) = after.split_at(after.find(';').unwrap_or(after.len()));
                    (value.trim().to_owned(), rest)
                }
            };
            if name.trim().eq_ignore_ascii_case(wanted) {
                return Some(value);
            }
        }
        parameters = rest.split_once(';').map_or("", |(_, next)| next);
    }
    None
}

/// The text up to the quote that ends it, and the rest behind that; `None` if it has no end.
fn unquoted(text: &str, backslash: Backslash) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') if backslash == Backslash::Escapes => value.push(chars.next()?.1),
            (_, char) => value.push(char),
        }
    }
}

/// The value of a field. `None` if the form has no such field, or breaks off before its end.
///
/// # Errors
/// If there are several of this name.
pub(super) fn field<'a>(
    body: &'a [u8],
    boundary: &str,
    name: &str,
) -> Result<Option<&'a [u8]>, Repeated> {
    let mut found = None;
    for part in parts(body, boundary) {
        let Some((head, value)) = split(part) else { continue };
        if is_named(head, name) && found.replace(value).is_some() {
            return Err(Repeated);
        }
    }
    Ok(found)
}

/// The parts that are whole: head, an empty line and content.
fn parts<'a>(body: &'a [u8], boundary: &str) -> impl Iterator<Item = &'a [u8]> {
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    // The first one needs no line before it.
    let first = body.strip_prefix(&delimiter[2..]);
    let mut rest = first.or_else(|| Some(&body[find(body, &delimiter)? + delimiter.len()..]));
    std::iter::from_fn(move || {
        let part = rest?;
        // Two hyphens end the form.
        if part.starts_with(b"--") {
            return None;
        }
        let at = find(part, &delimiter)?;
        rest = Some(&part[at + delimiter.len()..]);
        Some(&part[..at])
    })
}

/// Head and content of a part, behind the line of its delimiter.
fn split(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = find(part, b"\r\n")?;
    if !part[..line].iter().all(|byte| matches!(byte, b' ' | b'\t')) {
        return None;
    }
    let within = &part[line..part.len().min(line + MAX_HEAD_BYTES)];
    let end = find(within, b"\r\n\r\n")? + line;
    Some((part.get(line + 2..end).unwrap_or_default(), &part[end + 4..]))
}

/// Whether the head of a part names this field.
fn is_named(head: &[u8], name: &str) -> bool {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let disposition = lines.find(|(key, _)| key.trim().eq_ignore_ascii_case("content-disposition"));
    let parameters = disposition.and_then(|(_, value)| value.split_once(';'));
    parameters.is_some_and(|(kind, parameters)| {
        kind.trim().eq_ignore_ascii_case("form-data")
            && parameter(parameters, "name", Backslash::IsItself).as_deref() == Some(name)
    })
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    let first = part[0];
    let mut from = 0;
    loop {
        let at = from + bytes.get(from..)?.iter().position(|byte| *byte == first)?;
        if bytes[at..].starts_with(part) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boundary_is_that_of_the_content_type() {
        for (content_type, expected) in [
            ("multipart/form-data; boundary=----abc", Some("----abc")),
            ("Multipart/Form-Data;Boundary=\"a b;c\"", Some("a b;c")),
            ("multipart/form-data; charset=utf-8; boundary=x ; a=b", Some("x")),
            ("multipart/form-data; charset=\"a;b\"; boundary=x", Some("x")),
            ("multipart/form-data; charset; boundary=x", Some("x")),
            ("multipart/form-data; ; charset ;;boundary = \"x\" y; z", Some("x")),
            ("multipart/form-data; a=\"\\\"; boundary=y\"; =z; boundary=x", Some("x")),
            ("multipart/form-data; boundary=\"x\\y\"; boundary=z", Some("xy")),
            ("multipart/form-data; a=boundary=y; boundary=x", Some("x")),
            ("multipart/form-data; boundary", None),
            ("multipart/form-data; boundary; boundary=x", Some("x")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data; boundary=\"x", None),
            ("multipart/mixed; boundary=x", None),
            ("application/json", None),
        ] {
            assert_eq!(boundary(content_type).as_deref(), expected, "{content_type}");
        }
        let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
        assert_eq!(boundary(&long), None);
    }

    const HEAD: &str = "Content-Disposition: form-data; name=";

    #[test]
    fn a_field_is_found_by_its_name_as_it_was_sent() {
        let body = format!(
            "preamble\r\n--x\r\n{HEAD}\"a\"\r\n\r\n1\r\n--x \r\nContent-Type: text/plain\r\n\
             content-disposition:form-data;filename=\"name=c\"; name=json\r\n\r\n{{\"b\":\r\n\r\n\"--x\"}}\r\n--x\r\n\
             {HEAD}\"\"\r\n\r\n\r\n--x\r\n\r\nno head\r\n--x--\r\n--x\r\n{HEAD}\"late\"\r\n\r\n2\r\n--x--"
        );
        for (name, expected) in [
            ("a", Some("1")),
            ("json", Some("{\"b\":\r\n\r\n\"--x\"}")),
            ("", Some("")),
            ("c", None),
            ("late", None),
            ("JSON", None),
        ] {
            let found = field(body.as_bytes(), "x", name);
            assert_eq!(found, Ok(expected.map(str::as_bytes)), "{name}");
        }
    }

    #[test]
    fn a_backslash_in_the_name_of_a_field_or_file_is_itself() {
        let part = "filename=\"C:\\\"; name=\"a\\\"";
        let body = format!("--x\r\nContent-Disposition: form-data; {part}\r\n\r\n1\r\n--x--");
        assert_eq!(field(body.as_bytes(), "x", "a\\"), Ok(Some(&b"1"[..])));
    }

    #[test]
    fn a_field_that_is_there_twice_or_not_whole_is_not_taken() {
        let part = |name: &str, value: &str| format!("--x\r\n{HEAD}\"{name}\"\r\n\r\n{value}\r\n");
        let twice = format!("{}{}--x--", part("a", "1"), part("a", "2"));
        assert_eq!(field(twice.as_bytes(), "x", "a"), Err(Repeated));
        let whole = format!("{}--x--\r\n", part("a", "1"));
        assert_eq!(field(whole.as_bytes(), "x", "a"), Ok(Some(&b"1"[..])));
        // Up to the delimiter that ends the part.
        let end = whole.len() - "--\r\n".len();
        for length in 0..end {
            assert_eq!(field(&whole.as_bytes()[..length], "x", "a"), Ok(None), "{length}");
        }
        let other = "--x\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\n1\r\n--x--";
        assert_eq!(field(other.as_bytes(), "x", "a"), Ok(None));
        let head = format!("X: {}\r\n{HEAD}\"a\"", "x".repeat(MAX_HEAD_BYTES));
        let long = format!("--x\r\n{head}\r\n\r\n1\r\n--x--");
        assert_eq!(field(long.as_bytes(), "x", "a"), Ok(None));
        // The delimiter of another boundary that begins alike ends no part and begins none.
        let alike = "--xy\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--xy--";
        assert_eq!(field(alike.as_bytes(), "x", "a"), Ok(None));
    }
}
