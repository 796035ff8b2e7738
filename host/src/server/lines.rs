//! Finds line feeds without a carriage return in request headers.
//!
//! hyper takes them for line ends (RFC 9112 §2.2 allows it), but a proxy in front may not, and
//! would then see other headers than the host does. The check reads the bytes as they come. It
//! knows exactly where a header begins: at the start of a connection, and after a body of declared
//! length. After a chunked body or a pipelined request it does not know, and checks nothing more on
//! that connection, so a body is never mistaken for a header.

/// The lines of one connection's headers.
#[derive(Debug)]
pub(super) struct HeaderLines(At);

#[derive(Debug)]
enum At {
    Header(HeaderLine),
    /// After a header; this many bytes have come since.
    Body(u64),
    /// Unknown.
    Lost,
}

/// The current line.
#[derive(Debug, Default)]
struct HeaderLine {
    bytes: usize,
    ends_with_cr: bool,
    /// A line that is not empty has come before: the next empty one ends the header.
    begun: bool,
}

impl Default for HeaderLines {
    /// At the start of a connection.
    fn default() -> Self {
        Self(At::Header(HeaderLine::default()))
    }
}

impl HeaderLines {
    /// Reads on, and returns the position of the first line feed without a carriage return in a
    /// header.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<usize> {
        let line = match &mut self.0 {
            At::Header(line) => line,
            At::Body(read) => {
                *read += bytes.len() as u64;
                return None;
            }
            At::Lost => return None,
        };
        let mut start = 0;
        while let Some(length) = bytes[start..].iter().position(|byte| *byte == b'\n') {
            let end = start + length;
            // The carriage return may have come with the bytes before these.
            let follows_cr = if length == 0 { line.ends_with_cr } else { bytes[end - 1] == b'\r' };
            if !follows_cr {
                return Some(end);
            }
            let empty = line.bytes + length == 1;
            start = end + 1;
            // Empty lines before a request do not end its header: hyper skips them.
            if empty && line.begun {
                self.0 = At::Body((bytes.len() - start) as u64);
                return None;
            }
            *line = HeaderLine { begun: line.begun || !empty, ..HeaderLine::default() };
        }
        line.bytes += bytes.len() - start;
        if let Some(last) = bytes[start..].last() {
            line.ends_with_cr = *last == b'\r';
        }
        None
    }

    /// A request was replied to. `body_bytes` is the length of its body, if it was declared.
    pub(super) fn replied(&mut self, body_bytes: Option<u64>) {
        self.0 = match self.0 {
            At::Body(read) if body_bytes == Some(read) => At::Header(HeaderLine::default()),
            _ => At::Lost,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POST: &[u8] = b"\r\nPOST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\na\nb";

    /// The result when it comes in pieces of this size.
    fn found(request: &[u8], piece: usize) -> Option<usize> {
        let mut lines = HeaderLines::default();
        request
            .chunks(piece)
            .enumerate()
            .find_map(|(index, bytes)| Some(index * piece + lines.read(bytes)?))
    }

    #[test]
    fn a_line_feed_alone_is_found_in_headers_and_never_in_bodies() {
        let cases: [(&[u8], Option<usize>); 6] = [
            (POST, None),
            (b"GET / HTTP/1.1\nhost: a\r\n\r\n", Some(14)),
            (b"GET / HTTP/1.1\r\nhost: a\n\r\n", Some(23)),
            (b"GET / HTTP/1.1\r\nhost: a\r\n\n", Some(25)),
            (b"\nGET / HTTP/1.1\r\n\r\n", Some(0)),
            (b"GET / HTTP/1.1\r\na: \r\r\n\r\n\n\n", None),
        ];
        for (request, expected) in cases {
            for piece in 1..=request.len() {
                assert_eq!(
                    found(request, piece),
                    expected,
                    "{:?} by {piece}",
                    String::from_utf8_lossy(request)
                );
            }
        }
    }

    #[test]
    fn the_next_header_is_looked_at_behind_a_body_of_declared_length() {
        let mut lines = HeaderLines::default();
        for _ in 0..2 {
            assert_eq!(lines.read(POST), None);
            lines.replied(Some(3));
        }
        assert_eq!(lines.read(b"GET / HTTP/1.1\n"), Some(14));
    }

    #[test]
    fn where_the_next_header_begins_is_never_guessed() {
        for (sent, body_bytes) in
            [(&b""[..], None), (b"", Some(2)), (b"GET / HTTP/1.1\r\n", Some(3))]
        {
            let mut lines = HeaderLines::default();
            assert_eq!(lines.read(&[POST, sent].concat()), None);
            lines.replied(body_bytes);
            assert_eq!(lines.read(b"\nGET / HTTP/1.1\n"), None, "{body_bytes:?}");
        }
    }
}
