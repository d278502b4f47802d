//! The language that a client wants for replies (RFC 6856 §3).

/// The argument of LANG (RFC 6856 §3.2).
///
/// ```abnf
/// language-range = (1*8ALPHA *("-" 1*8alphanum)) / "*"    ; RFC 4647
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LanguageRange {
    /// `*`: the language that the operator prefers.
    Any,
    /// A language, perhaps with a region or a script; in lower case.
    Tag(Box<str>),
}

impl LanguageRange {
    /// Reads a range.
    pub fn parse(range: &[u8]) -> Option<Self> {
        if range == b"*" {
            return Some(Self::Any);
        }
        let subtag = |octets: &[u8]| {
            (1..=8).contains(&octets.len()) && octets.iter().all(u8::is_ascii_alphanumeric)
        };
        let text = std::str::from_utf8(range).ok()?;
        let mut subtags = range.split(|octet| *octet == b'-');
        let begins_well = subtags
            .next()
            .is_some_and(|first| subtag(first) && first.iter().all(u8::is_ascii_alphabetic));
        (begins_well && subtags.all(subtag)).then(|| Self::Tag(text.to_ascii_lowercase().into()))
    }

    /// Whether the language with this tag may be chosen for the range: the range names the language
    /// or a variant of it. `en` may be chosen for `en-GB`, but not the other way round.
    pub fn includes(&self, tag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Tag(range) => {
                range.split_at_checked(tag.len()).is_some_and(|(language, variant)| {
                    language.eq_ignore_ascii_case(tag)
                        && (variant.is_empty() || variant.starts_with('-'))
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn language_ranges() {
        for (range, in_english) in [
            ("*", Some(true)),
            ("en", Some(true)),
            ("EN", Some(true)),
            ("en-GB", Some(true)),
            ("en-boont", Some(true)),
            ("MUL", Some(false)),
            ("uga", Some(false)),
            ("eng", Some(false)),
            ("e", Some(false)),
            ("de-1996", Some(false)),
            ("", None),
            ("-", None),
            ("en-", None),
            ("en--gb", None),
            ("e1", None),
            ("en_GB", None),
            ("en-*", None),
            ("**", None),
            ("englishes", None),
            ("\u{f6}", None),
        ] {
            let range = LanguageRange::parse(range.as_bytes());
            assert_eq!(range.map(|range| range.includes("en")), in_english);
        }
        let english = LanguageRange::parse(b"en").unwrap();
        assert!(!english.includes("en-GB") && !english.includes("\u{1f600}"));
        let british = LanguageRange::parse(b"en-gb").unwrap();
        assert!(british.includes("en-GB"));
    }
}
