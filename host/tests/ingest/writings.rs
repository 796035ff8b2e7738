//! Two writings of one signature: which of them are accepted, and that none makes a second event.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use hookbox::config::Source;
use hookbox::config::source::Verify;
use hookbox::ingest::SourceRuntime;

use super::host::{Host, Options, request};
use super::schemes_made::{Made, made};
use super::signed::{NOW_S, Sent};

/// The order of the group of P-256 (SEC 2 §2.4.2), big-endian.
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The order of the group of Ed25519 (RFC 8032 §5.1), little-endian.
const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// A scheme with a request that it accepts, signed in the header `x-s`.
struct Signed {
    runtime: SourceRuntime,
    sent: Sent,
}

impl Signed {
    fn of(name: &str) -> Self {
        let all = Made::all();
        Self::by(all.iter().find(|rule| rule.name == name).expect("there is one"))
    }

    fn by(rule: &Made) -> Self {
        let source = made(rule);
        let sent = Sent::of(&source, "");
        let runtime = SourceRuntime::new(source);
        let signed = Self { runtime, sent };
        assert!(signed.takes(&signed.text()), "{}", rule.name);
        signed
    }

    /// The signature as it stands there.
    fn text(&self) -> String {
        let found = self.sent.headers.iter().find(|(name, _)| name == "x-s");
        String::from_utf8(found.expect("it is signed").1.clone()).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        STANDARD.decode(self.text()).unwrap()
    }

    fn with(&self, text: &str) -> Sent {
        let mut sent = self.sent.clone();
        let found = sent.headers.iter_mut().find(|(name, _)| name == "x-s");
        found.expect("it is signed").1 = text.as_bytes().to_vec();
        sent
    }

    fn takes(&self, text: &str) -> bool {
        self.with(text).is_accepted_at(&self.runtime, NOW_S * 1_000)
    }

    fn takes_bytes(&self, bytes: &[u8]) -> bool {
        self.takes(&STANDARD.encode(bytes))
    }
}

/// `a - b` of big-endian numbers, `a` being the greater one.
fn minus(a: &[u8; 32], b: &[u8]) -> Vec<u8> {
    let padded = [&vec![0; 32 - b.len()][..], b].concat();
    let mut borrow = 0;
    let mut digits: Vec<u8> = a
        .iter()
        .zip(&padded)
        .rev()
        .map(|(a, b)| {
            let difference = i16::from(*a) - i16::from(*b) - borrow;
            borrow = i16::from(difference < 0);
            u8::try_from(difference.rem_euclid(256)).unwrap()
        })
        .collect();
    digits.reverse();
    digits
}

/// A positive number in DER.
fn integer(digits: &[u8]) -> Vec<u8> {
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    let digits = &digits[zeros..];
    let sign: &[u8] = if digits[0] >= 0x80 { &[0] } else { &[] };
    let length = u8::try_from(sign.len() + digits.len()).unwrap();
    [&[2, length], sign, digits].concat()
}

fn sequence(content: &[u8]) -> Vec<u8> {
    [&[0x30, u8::try_from(content.len()).unwrap()], content].concat()
}

/// The two numbers of an ECDSA signature in DER.
fn numbers(der: &[u8]) -> [Vec<u8>; 2] {
    let mut rest = &der[2..];
    [(), ()].map(|()| {
        let length = usize::from(rest[1]);
        let number = rest[2..2 + length].to_vec();
        rest = &rest[2 + length..];
        number.into_iter().skip_while(|digit| *digit == 0).collect()
    })
}

/// Of each ECDSA signature there is another one, with the second number negated, that says the same
/// of the same message. Providers make both, so both are accepted; DER has one form of each.
#[test]
fn an_ecdsa_signature_has_a_twin_of_the_same_message_and_no_other_form() {
    let signed = Signed::of("ecdsa-p256");
    let [r, s] = numbers(&signed.bytes());
    let twin = minus(&P256_ORDER, &s);
    assert!(signed.takes_bytes(&sequence(&[integer(&r), integer(&twin)].concat())));
    assert!(!signed.takes_bytes(&sequence(&[integer(&s), integer(&r)].concat())));
    assert!(!signed.takes_bytes(&sequence(&[integer(&twin), integer(&s)].concat())));
    let other_r = minus(&P256_ORDER, &r);
    assert!(!signed.takes_bytes(&sequence(&[integer(&other_r), integer(&s)].concat())));
    let padded = |digits: &[u8]| {
        let with_zero = [&[0][..], &integer(digits)[2..]].concat();
        [&[2, u8::try_from(with_zero.len()).unwrap()], &with_zero[..]].concat()
    };
    assert!(!signed.takes_bytes(&sequence(&[padded(&r), integer(&s)].concat())));
    assert!(!signed.takes_bytes(&sequence(&[integer(&r), padded(&s)].concat())));
    let content = [integer(&r), integer(&s)].concat();
    let long_length = [&[0x30, 0x81, u8::try_from(content.len()).unwrap()], &content[..]].concat();
    assert!(!signed.takes_bytes(&long_length));
    assert!(!signed.takes_bytes(&[&sequence(&content)[..], &[0]].concat()));
    assert!(!signed.takes_bytes(&sequence(&[&content[..], &[5, 0]].concat())));
    let fixed = [vec![0; 32 - r.len()], r, vec![0; 32 - s.len()], s].concat();
    assert!(!signed.takes_bytes(&fixed), "the form of tokens");
}

#[test]
fn an_ed25519_signature_has_one_form() {
    let signed = Signed::of("ed25519");
    let bytes = hex::decode(signed.text()).unwrap();
    let mut carry = 0;
    let added = bytes[32..].iter().zip(ED25519_ORDER).map(|(a, b)| {
        let sum = u16::from(*a) + u16::from(b) + carry;
        carry = sum >> 8;
        u8::try_from(sum & 0xff).unwrap()
    });
    let added: Vec<u8> = added.collect();
    assert!(!signed.takes(&hex::encode([&bytes[..32], &added].concat())), "it is not reduced");
    let mut negated = bytes.clone();
    negated[31] ^= 0x80;
    assert!(!signed.takes(&hex::encode(&negated)));
    assert!(signed.takes(&signed.text().to_uppercase()), "hex digits in the other case");
}

#[test]
fn an_rsa_signature_has_one_form() {
    let signed = Signed::of("rsa-sha256");
    let bytes = signed.bytes();
    assert!(!signed.takes_bytes(&[&[0][..], &bytes].concat()));
    assert!(!signed.takes_bytes(&bytes[..bytes.len() - 1]));
    let Verify::Signature(signature) = &signed.runtime.source().verify else {
        panic!("it is verified")
    };
    // The modulus, behind the heads of the sequence and of the number.
    let modulus = &signature.public_keys[0].bytes[9..9 + bytes.len()];
    let mut carry = 0;
    let mut sum: Vec<u8> = bytes
        .iter()
        .zip(modulus)
        .rev()
        .map(|(a, b)| {
            let sum = u16::from(*a) + u16::from(*b) + carry;
            carry = sum >> 8;
            u8::try_from(sum & 0xff).unwrap()
        })
        .collect();
    sum.reverse();
    let longer = if carry == 1 { [&[1][..], &sum].concat() } else { sum };
    assert!(!signed.takes_bytes(&longer), "it is not reduced");
}

#[test]
fn base64_has_one_form_of_each_signature() {
    let signed = Signed::of("hmac-sha256 base64");
    let (text, bytes) = (signed.text(), signed.bytes());
    // The last digit of 32 bytes has two bits that belong to none.
    let last = text.trim_end_matches('=').chars().next_back().unwrap();
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let at = DIGITS.find(last).unwrap();
    let body = text.trim_end_matches('=').strip_suffix(last).unwrap();
    for other in (0..4).map(|bits| &DIGITS[at - at % 4 + bits..=at - at % 4 + bits]) {
        let written = format!("{body}{other}=");
        assert_eq!(signed.takes(&written), written == text, "{written}");
    }
    let url_safe = URL_SAFE.encode(&bytes);
    assert_eq!(signed.takes(&url_safe), url_safe == text);
    for written in [
        STANDARD_NO_PAD.encode(&bytes),
        format!("{text}="),
        format!("{}\t{}", &text[..8], &text[8..]),
        hex::encode(&bytes),
    ] {
        assert!(!signed.takes(&written), "{written}");
    }
}

/// Signatures are no keys of repeated requests.
#[tokio::test]
async fn another_writing_of_a_signature_makes_no_second_event() {
    let verify = "scheme = \"ecdsa-p256\", header = \"X-S\", encoding = \"base64\"";
    let signed = Signed::by(&Made { name: "over the body", verify, is_public: true });
    let [r, s] = numbers(&signed.bytes());
    let twin = sequence(&[integer(&r), integer(&minus(&P256_ORDER, &s))].concat());
    let source = Source { name: "acme".into(), ..Source::clone(signed.runtime.source()) };
    let host = Host::start(Options { sources: vec![source], ..Options::default() }).await;
    let mut statuses = Vec::new();
    for text in [signed.text(), STANDARD.encode(twin)] {
        let sent = signed.with(&text);
        let headers = sent.headers.iter();
        let headers =
            headers.map(|(name, value)| (name.as_str(), std::str::from_utf8(value).unwrap()));
        let headers: Vec<_> = headers.collect();
        let response = host.exchange(request("POST", "/webhook/acme", &headers, &sent.body)).await;
        statuses.push(response.stored().1);
    }
    assert_eq!(statuses, ["accepted", "duplicate"]);
    assert_eq!(host.events().await.len(), 1);
}
