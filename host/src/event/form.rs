//! Bodies that are HTML forms: a field of one, as some providers wrap their JSON in `payload=…`.

use std::borrow::Cow;

use percent_encoding::percent_decode;

mod multipart;

/// The media type of such a body.
pub const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";

/// The field occurs more than once in the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeated;

/// Whether a `Content-Type` says that the body is a form.
pub fn is_form(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(MEDIA_TYPE)
}

/// The decoded value of a field: `+` is a space, `%XX` a byte
/// (<https://url.spec.whatwg.org/#urlencoded-parsing>). `None` if the form has no such field.
///
/// # Errors
/// If there are several of this name.
pub fn field<'a>(body: &'a [u8], name: &str) -> Result<Option<Cow<'a, [u8]>>, Repeated> {
    let mut found = None;
    for (key, value) in pairs(body) {
        if *decoded(key) == *name.as_bytes() && found.replace(value).is_some() {
            return Err(Repeated);
        }
    }
    Ok(found.map(decoded))
}

/// The value of a field of a body that is a form of either kind by its `Content-Type`; `None` if it
/// is none.
pub fn wrapped<'a>(
    content_type: &str,
    body: &'a [u8],
    name: &str,
) -> Option<Result<Option<Cow<'a, [u8]>>, Repeated>> {
    if is_form(content_type) {
        return Some(field(body, name));
    }
    let boundary = multipart::boundary(content_type)?;
    let found = multipart::field(body, &boundary, name);
    Some(found.map(|value| value.map(Cow::Borrowed)))
}

/// The decoded name and value of each field, in the order of the form.
pub fn fields(body: &[u8]) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    pairs(body).map(|(name, value)| (decoded(name), decoded(value)))
}

/// Name and value of each field as they are written. Nothing between two `&` is no field.
fn pairs(body: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        }
    })
}

fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    for (index, words) in text.split(|byte| *byte == b'+').enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend(percent_decode(words));
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_decoded_as_browsers_encode_it() {
        for (body, expected) in [
            (&b"payload=%7B%22a%22%3A%22x+y%2Bz%22%7D"[..], Some(&br#"{"a":"x y+z"}"#[..])),
            (b"a=1&payload={}&b", Some(b"{}")),
            (b"pay%6Coad=1", Some(b"1")),
            (b"payload", Some(b"")),
            (b"payload=a=b", Some(b"a=b")),
            (b"payload=%ff%zz%", Some(b"\xff%zz%")),
            (b"payloads=1&Payload=2", None),
            (b"", None),
        ] {
            assert_eq!(field(body, "payload"), Ok(expected.map(Cow::from)), "{body:?}");
        }
        assert_eq!(field(b"payload=1&x=2&pay%6coad=3", "payload"), Err(Repeated));
    }

    #[test]
    fn a_field_is_found_in_either_kind_of_form_and_in_no_other_body() {
        let parts = b"--x\r\nContent-Disposition: form-data; name=json\r\n\r\n{+}\r\n--x--";
        for (content_type, body, expected) in [
            (MEDIA_TYPE, &b"json={+}"[..], Some(Ok(Some(&b"{ }"[..])))),
            (MEDIA_TYPE, b"a=1", Some(Ok(None))),
            (MEDIA_TYPE, b"json=1&json=2", Some(Err(Repeated))),
            ("multipart/form-data; boundary=x", parts, Some(Ok(Some(b"{+}")))),
            ("multipart/form-data; boundary=y", parts, Some(Ok(None))),
            ("multipart/form-data", parts, None),
            ("application/json", b"json=1", None),
        ] {
            let expected = expected.map(|found| found.map(|value| value.map(Cow::from)));
            assert_eq!(wrapped(content_type, body, "json"), expected, "{content_type}");
        }
    }

    #[test]
    fn the_fields_of_a_form_are_listed_in_its_order() {
        let text = |part: Cow<'_, [u8]>| String::from_utf8(part.into_owned()).unwrap();
        let listed: Vec<_> = fields(b"b=1&&a=x+y&b=%31&c&=2")
            .map(|(name, value)| (text(name), text(value)))
            .collect();
        let expected = [("b", "1"), ("a", "x y"), ("b", "1"), ("c", ""), ("", "2")];
        assert_eq!(listed, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn only_the_media_type_of_forms_is_one() {
        for form in [
            MEDIA_TYPE,
            "Application/X-WWW-Form-Urlencoded",
            "application/x-www-form-urlencoded ; charset=utf-8",
        ] {
            assert!(is_form(form), "{form}");
        }
        for other in
            ["application/json", "multipart/form-data", "application/x-www-form-urlencoded2", ""]
        {
            assert!(!is_form(other), "{other}");
        }
    }
}
