//! The checksum that is stored with each event, and compared before a plugin gets the event from
//! the file.
//!
//! It is a CRC-32 of the data that a plugin gets. It detects damage of a disk or of memory, not
//! forgery: a program that can write the file can write the checksum too.

use crc32fast::Hasher;
use rusqlite::{Error, Row};

use crate::event::Attributes;

/// The checksum of an event.
pub(super) fn of(attributes: &Attributes) -> u32 {
    let Attributes { source, kind, subject, content_type, time_ms, body } = attributes;
    let length = |text: Option<&str>| text.map_or(u64::MAX, |text| text.len() as u64).to_le_bytes();
    // Lengths first: what goes from the end of one text to the beginning of the next is noticed.
    let head = [
        time_ms.to_le_bytes(),
        length(Some(source)),
        length(Some(kind)),
        length(subject.as_deref()),
        length(content_type.as_deref()),
    ];
    let mut hasher = Hasher::new();
    hasher.update(head.as_flattened());
    hasher.update(source.as_bytes());
    hasher.update(kind.as_bytes());
    if let Some(subject) = subject {
        hasher.update(subject.as_bytes());
    }
    if let Some(content_type) = content_type {
        hasher.update(content_type.as_bytes());
    }
    hasher.update(body);
    hasher.finalize()
}

/// Source, type, subject and content type, as columns of an event.
const TEXTS: [usize; 4] = [1, 2, 3, 4];

fn is_no_text(bytes: Option<&[u8]>) -> bool {
    bytes.is_some_and(|bytes| std::str::from_utf8(bytes).is_err())
}

/// Why an event that was read is not the one that was stored, if so. The checksum is in `column`;
/// events of an older host have none.
pub(super) fn damage(
    row: &Row<'_>,
    column: usize,
    read: &Attributes,
) -> Result<Option<String>, Error> {
    let Some(stored) = row.get::<_, Option<u32>>(column)? else {
        let is_bad = |column| {
            row.get_ref(column).is_ok_and(|value| value.as_bytes_or_null().is_ok_and(is_no_text))
        };
        let bad = TEXTS.into_iter().any(is_bad);
        return Ok(bad.then(|| {
            "the stored event is damaged: one of its attributes is no text. It was not delivered".to_owned()
        }));
    };
    let found = of(read);
    Ok((stored != found).then(|| {
        format!(
            "the stored event is damaged: its checksum is {found:08x}, and was {stored:08x} when it was stored. It was not \
             delivered: look at the disk, and have the sender send it again"
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attribute_and_every_bit_of_the_body_counts() {
        let event = Attributes {
            source: "acme".into(),
            kind: "order.paid".to_owned(),
            subject: Some("order_1".to_owned()),
            content_type: None,
            time_ms: 7,
            body: bytes::Bytes::from_static(b"{}"),
        };
        let sum = of(&event);
        assert_eq!(of(&event.clone()), sum);
        let others = [
            Attributes { source: "acmf".into(), ..event.clone() },
            Attributes {
                kind: "order.pai".to_owned(),
                subject: Some("dorder_1".to_owned()),
                ..event.clone()
            },
            Attributes { content_type: Some(String::new()), ..event.clone() },
            Attributes { subject: None, content_type: Some("order_1".to_owned()), ..event.clone() },
            Attributes { time_ms: 8, ..event.clone() },
            Attributes { body: bytes::Bytes::from_static(b"{|"), ..event.clone() },
        ];
        for other in others {
            assert_ne!(of(&other), sum, "{other:?}");
        }
    }
}
