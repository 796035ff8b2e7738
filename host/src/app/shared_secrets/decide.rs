//! Decides which of two versions of a secret holds: that of this host's file, or the stored one.

/// The version of a secret that this host has seen last.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SeenSecret {
    /// The number of the stored version.
    pub(super) version: i64,
    /// SHA-256 of its sealed content, in hex digits.
    pub(super) sealed: String,
    /// SHA-256 of the file that was like it; none if there was no file.
    pub(super) file: Option<String>,
}

/// The present version in the store.
#[derive(Debug, Clone, Copy)]
pub(super) enum StoredVersion<'a> {
    /// There is none.
    Absent,
    /// The one that this host has seen last.
    Seen,
    /// Another one, and SHA-256 of its content; none if it was removed.
    Other(i64, Option<&'a str>),
}

/// The next thing to do about a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecretStep {
    /// Nothing.
    Leave,
    /// File and store are alike, which is noted.
    Note,
    /// The file is put into the store.
    Put,
    /// The stored version is put into the file.
    Take,
    /// The same, and the file is kept beside it.
    TakeBeside,
}

/// Decides by SHA-256 of the file, if there is one, by what was seen last, and by the store.
pub(super) fn decide(
    file: Option<&str>,
    seen: Option<&SeenSecret>,
    stored: StoredVersion<'_>,
) -> SecretStep {
    let has_changed = file != seen.and_then(|seen| seen.file.as_deref());
    let (version, content) = match stored {
        StoredVersion::Seen if has_changed => return SecretStep::Put,
        StoredVersion::Seen => return SecretStep::Leave,
        // The store has lost it, or somebody has emptied the table.
        StoredVersion::Absent if file.is_some() || seen.is_some() => return SecretStep::Put,
        StoredVersion::Absent => return SecretStep::Leave,
        StoredVersion::Other(version, content) => (version, content),
    };
    if file == content {
        return SecretStep::Note;
    }
    let seen_version = seen.map_or(0, |seen| seen.version);
    match version < seen_version {
        // A failover has lost the version that this host has.
        true => SecretStep::Put,
        // The same number was given twice, so that this host's version was lost.
        false if file.is_some() && (has_changed || version == seen_version) => {
            SecretStep::TakeBeside
        }
        false => SecretStep::Take,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(version: i64, file: Option<&str>) -> Option<SeenSecret> {
        Some(SeenSecret { version, sealed: "s".to_owned(), file: file.map(str::to_owned) })
    }

    #[test]
    fn the_side_that_has_changed_holds_and_of_both_the_stored_one() {
        use SecretStep::{Leave, Note, Put, Take, TakeBeside};
        use StoredVersion::{Absent, Other, Seen};
        let cases = [
            ("nothing anywhere", None, None, Absent, Leave),
            ("a first file", Some("a"), None, Absent, Put),
            ("an empty folder", None, None, Other(3, Some("a")), Take),
            ("an empty folder, removed", None, None, Other(3, None), Note),
            ("another file of before", Some("b"), None, Other(3, Some("a")), TakeBeside),
            ("the same file of before", Some("a"), None, Other(3, Some("a")), Note),
            ("all as it was", Some("a"), seen(3, Some("a")), Seen, Leave),
            ("changed here", Some("b"), seen(3, Some("a")), Seen, Put),
            ("removed here", None, seen(3, Some("a")), Seen, Put),
            ("made again here", Some("a"), seen(3, None), Seen, Put),
            ("changed there", Some("a"), seen(3, Some("a")), Other(4, Some("b")), Take),
            ("removed there", Some("a"), seen(3, Some("a")), Other(4, None), Take),
            ("removed there and here", None, seen(3, Some("a")), Other(4, None), Note),
            ("made again there", None, seen(4, None), Other(5, Some("b")), Take),
            ("changed at both", Some("c"), seen(3, Some("a")), Other(4, Some("b")), TakeBeside),
            (
                "changed here, removed there",
                Some("c"),
                seen(3, Some("a")),
                Other(4, None),
                TakeBeside,
            ),
            ("removed here, changed there", None, seen(3, Some("a")), Other(4, Some("b")), Take),
            ("its answer was lost", Some("b"), seen(3, Some("a")), Other(4, Some("b")), Note),
            ("the store lost a version", Some("a"), seen(4, Some("a")), Other(3, Some("z")), Put),
            ("the store lost a row", Some("a"), seen(1, Some("a")), Absent, Put),
            ("the store lost a removal", None, seen(1, None), Absent, Put),
            ("one number twice", Some("a"), seen(4, Some("a")), Other(4, Some("b")), TakeBeside),
        ];
        for (case, file, seen, stored, step) in cases {
            assert_eq!(decide(file, seen.as_ref(), stored), step, "{case}");
        }
    }
}
