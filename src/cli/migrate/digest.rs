//! Digests of headers, by which a message is found again after it has been copied.

use sha2::{Digest as _, Sha256};

/// The digest of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Digest {
    pub(super) kind: Kind,
    pub(super) hash: [u8; 32],
}

/// What follows if messages have the same digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// They have the same Message-ID, so they are copies of one message.
    WithId,
    /// They may be different messages: a program sends the same header twice in a second.
    WithoutId,
    /// Nothing: no field counts.
    Empty,
}

/// Digests a header line by line.
///
/// - Line ends, blanks at the ends of lines and the blanks of folded lines do not count.
/// - Fields that a server or a copy may add, change or remove do not count.
#[derive(Debug, Default)]
pub(super) struct HeaderDigest {
    hash: Sha256,
    octets: usize,
    /// Whether a field counts.
    has_fields: bool,
    has_id: bool,
    /// Whether the last field does not count.
    is_ignored: bool,
    is_ended: bool,
    is_too_long: bool,
}

impl HeaderDigest {
    /// The digest of the header at the start of a message; `None` if it is too long.
    pub(super) fn of(head: &[u8]) -> Option<Digest> {
        let mut digest = Self::default();
        for line in head.split(|octet| *octet == b'\n') {
            digest.add(line);
        }
        digest.finish()
    }

    /// Adds a line. What follows an empty line is not part of the header.
    pub(super) fn add(&mut self, line: &[u8]) {
        let text = line.trim_ascii_end();
        self.is_ended |= text.is_empty();
        if self.is_ended {
            return;
        }
        self.octets = self.octets.saturating_add(text.len());
        self.is_too_long |= self.octets > LONGEST;
        if !matches!(text.first(), Some(b' ' | b'\t')) {
            let mut parts = text.splitn(2, |octet| *octet == b':');
            let name = parts.next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
            self.is_ignored = IGNORED.iter().any(|ignored| ignored.as_bytes() == name);
            self.has_fields |= !self.is_ignored;
            let mut has_value = || parts.next().is_some_and(|value| !value.trim_ascii().is_empty());
            self.has_id |= name == b"message-id" && has_value();
            self.update(b"\n");
        } else {
            self.update(b" ");
        }
        self.update(text.trim_ascii());
    }

    fn update(&mut self, text: &[u8]) {
        if !self.is_ignored {
            self.hash.update(text);
        }
    }

    /// The digest of the lines so far; `None` if there are more than can be compared.
    pub(super) fn finish(self) -> Option<Digest> {
        let kind = match (self.has_fields, self.has_id) {
            (false, _) => Kind::Empty,
            (true, false) => Kind::WithoutId,
            (true, true) => Kind::WithId,
        };
        (!self.is_too_long).then(|| Digest { kind, hash: self.hash.finalize().into() })
    }
}

/// A longer header is not compared.
const LONGEST: usize = 60 << 10;

const IGNORED: [&str; 24] = [
    "content-length",
    "delivered-to",
    "envelope-to",
    "lines",
    "received",
    "return-path",
    "status",
    "x-envelope-from",
    "x-envelope-to",
    "x-evolution",
    "x-imap",
    "x-imapbase",
    "x-keywords",
    "x-message-flag",
    "x-mozilla-keys",
    "x-mozilla-status",
    "x-mozilla-status2",
    "x-offlineimap",
    "x-original-to",
    "x-status",
    "x-tuid",
    "x-uid",
    "x-uidl",
    "x-yahoo-newman-property",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_copy_changes_does_not_count() {
        let header = "From: a@b.c\nSubject: one\n two\nMessage-ID: <1@b.c>\n\ntext\n";
        let digest = HeaderDigest::of(header.as_bytes()).unwrap();
        for same in [
            &header.replace('\n', "\r\n"),
            "Received: from x\n\tby y\nFrom: a@b.c \nSubject: one\n\ttwo\nMessage-ID: <1@b.c>\n",
            "From: a@b.c\nSubject: one\n two\nMessage-ID: <1@b.c>\nX-TUID: of mbsync\n\n",
            "From: a@b.c\nX-UIDL: 7\nSubject: one\n  two\nMessage-ID: <1@b.c>\nSTATUS: RO\n\nother",
        ] {
            assert_eq!(HeaderDigest::of(same.as_bytes()), Some(digest), "{same}");
        }
        for other in [
            "From: a@b.c\nSubject: one\ntwo\nMessage-ID: <1@b.c>\n\n",
            "From: a@b.c\nSubject: one\n two\nMessage-ID: <2@b.c>\n\n",
            "Subject: one\n two\nFrom: a@b.c\nMessage-ID: <1@b.c>\n\n",
        ] {
            assert_ne!(HeaderDigest::of(other.as_bytes()), Some(digest), "{other}");
        }
        assert_eq!(HeaderDigest::of(&b"a: b\n".repeat(1 << 14)), None);
    }

    #[test]
    fn not_every_header_identifies_a_message() {
        for (header, expected) in [
            ("Subject: a\nMessage-ID: <1@b.c>\n\n", Kind::WithId),
            ("message-id:<1@b.c>\n\n", Kind::WithId),
            ("Subject: a\nMessage-ID: \n\n", Kind::WithoutId),
            ("Subject: a\n\nMessage-ID: <1@b.c>\n", Kind::WithoutId),
            ("Received: from x\n\tby y\nStatus: RO\n\n", Kind::Empty),
            ("\ntext: without a header\n", Kind::Empty),
            ("", Kind::Empty),
        ] {
            assert_eq!(HeaderDigest::of(header.as_bytes()).unwrap().kind, expected, "{header}");
        }
        let digests = ["Received: a\n\n", "Status: RO\n\n"].map(str::as_bytes);
        let [one, other] = digests.map(HeaderDigest::of);
        assert_eq!(one, other);
    }
}
