//! What a request is about: parameters, programs, and the XML of autodiscover.

use roxmltree::{Document, ParsingOptions};

use crate::client_settings::Address;

/// The first parameter of this name in a query or in a form.
pub(super) fn parameter(encoded: &str, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(encoded.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// A mail program, or several that are set up in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Thunderbird,
    Outlook,
    Apple,
    Android,
    Other,
}

impl Program {
    pub(super) const ALL: [Self; 5] =
        [Self::Thunderbird, Self::Outlook, Self::Apple, Self::Android, Self::Other];

    /// The program with this name in a form.
    pub(super) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|program| program.name() == name)
    }

    /// Its name in a form.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Thunderbird => "thunderbird",
            Self::Outlook => "outlook",
            Self::Apple => "apple",
            Self::Android => "android",
            Self::Other => "other",
        }
    }
}

/// Why a request of autodiscover has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AutodiscoverError {
    #[error("the request is not XML in UTF-8 without a DTD")]
    Xml,
    #[error("the request has no EMailAddress with an e-mail address")]
    Address,
    #[error("only the response schema of Outlook is here, not that of ActiveSync")]
    Schema,
}

/// The address in the body of a request.
///
/// - A DTD is refused, so there are no entities to expand.
pub(super) fn autodiscover_address(body: &[u8]) -> Result<Address, AutodiscoverError> {
    let text = str::from_utf8(body).map_err(|_| AutodiscoverError::Xml)?;
    let text = text.trim_start_matches('\u{feff}');
    let options = ParsingOptions { nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    let document =
        Document::parse_with_options(text, options).map_err(|_| AutodiscoverError::Xml)?;
    let text_of = |name: &str| {
        let mut nodes = document.descendants();
        nodes.find(|node| node.tag_name().name() == name)?.text()
    };
    if text_of("AcceptableResponseSchema").is_some_and(|schema| schema.contains("/mobilesync/")) {
        return Err(AutodiscoverError::Schema);
    }
    text_of("EMailAddress").and_then(Address::parse).ok_or(AutodiscoverError::Address)
}

/// A real request has eleven.
const MOST_NODES: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    /// As Outlook sends it.
    fn outlook(address: &str, schema: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<Autodiscover \
             xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/{schema}/requestschema/2006\">\
             <Request><EMailAddress>{address}</EMailAddress><AcceptableResponseSchema>\
             http://schemas.microsoft.com/exchange/autodiscover/{schema}/responseschema/2006a\
             </AcceptableResponseSchema></Request></Autodiscover>"
        )
    }

    #[test]
    fn the_address_of_a_request_of_outlook_is_read() {
        for text in [
            outlook("m&amp;n@Example.org", "outlook"),
            "\u{feff}".to_owned() + &outlook("m&amp;n@Example.org", "outlook"),
        ] {
            let address = autodiscover_address(text.as_bytes()).unwrap();
            assert_eq!(address.to_string(), "m&n@example.org");
        }
    }

    #[test]
    fn other_requests_are_refused() {
        let bomb = "<!DOCTYPE a [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><EMailAddress>&b;@a</EMailAddress>";
        let file = "<!DOCTYPE a [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><EMailAddress>&a;@a</EMailAddress>";
        let deep = "<a>".repeat(2000);
        let wide = format!("<a>{}</a>", "<b/>".repeat(2000));
        let schema = outlook("mrose@example.org", "mobilesync");
        for (text, expected) in [
            (bomb, AutodiscoverError::Xml),
            (file, AutodiscoverError::Xml),
            (&deep, AutodiscoverError::Xml),
            (&wide, AutodiscoverError::Xml),
            ("", AutodiscoverError::Xml),
            ("EMailAddress=mrose@example.org", AutodiscoverError::Xml),
            ("<EMailAddress/>", AutodiscoverError::Address),
            (&outlook("mrose", "outlook"), AutodiscoverError::Address),
            (&schema, AutodiscoverError::Schema),
        ] {
            assert_eq!(autodiscover_address(text.as_bytes()), Err(expected), "{text}");
        }
        assert_eq!(autodiscover_address(b"<a>\xff</a>"), Err(AutodiscoverError::Xml));
    }

    #[test]
    fn parameters_are_decoded() {
        let form = "lang=de&address=m%2Bn%40example.org&address=b";
        assert_eq!(parameter(form, "address").as_deref(), Some("m+n@example.org"));
        assert_eq!(parameter(form, "program"), None);
    }
}
