//! `pop3_uidl_format`, from which Dovecot makes unique-ids, as 2.3 and 2.4 spell it.
//!
//! ```abnf
//! format    = *( text / "%%" / short / long )
//! short     = "%" [ [ "-" ] digits "." ] [ "0" ] [ "-" ] [ digits ] *modifier variable   ; 2.3
//! modifier  = "L" / "U" / "E" / "X" / "R" / "H" / "N" / "M" / "D" / "T"
//! variable  = "u" / "v" / "f" / "g"
//! long      = "%{" name *( "|" filter [ "(" width ")" ] ) "}"                            ; 2.4
//! ```

use memchr::memchr;

use super::lines::decimal;
use super::uidl_filter::{Algorithm, Bucket, Cut, Filter, hexlify};

/// A format of unique-ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UidlFormat(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Variable(Variable, Vec<Filter>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variable {
    Uid,
    UidValidity,
    FileName,
    Guid,
}

/// The values of the variables for a message.
#[derive(Clone, Copy, Debug)]
pub struct UidlValues<'a> {
    /// `%u`, `%{uid}`.
    pub uid: u32,
    /// `%v`, `%{uidvalidity}`.
    pub uid_validity: u32,
    /// `%f`, `%{filename}`.
    pub base_name: &'a [u8],
    /// `%g`, `%{guid}`.
    pub guid: &'a [u8],
}

/// A format that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// No variable has this name.
    #[error(
        "there is no variable %{0}; the variables are %u or %{{uid}}, %v or %{{uidvalidity}}, %f or \
         %{{filename}}, %g or %{{guid}}"
    )]
    UnknownVariable(String),
    /// `%m`, `%{md5}`.
    #[error("%{0} is for mbox only: a Maildir has no such unique-ids")]
    MboxOnly(&'static str),
    /// No filter has this name.
    #[error(
        "the filter \"{0}\" is not supported; the filters are hex, hexlify, lower, upper, reverse, \
         ldap_dn, md5, sha1, sha256 and sha512"
    )]
    UnknownFilter(String),
    /// Only `hex` has an argument, which is a number.
    #[error("the argument of \"{0}\" is invalid; only hex has one, a number from -255 to 255")]
    InvalidArgument(String),
    /// `hex` needs a number.
    #[error("hex must be the first filter of %{{uid}} or %{{uidvalidity}}: it needs a number")]
    NotANumber,
    /// Such an id could not be legal.
    #[error("there is a width or offset over {MAX_WIDTH}")]
    TooWide,
    /// The format ends inside a variable.
    #[error("it ends inside a variable")]
    Incomplete,
    /// All messages would have the same unique-id.
    #[error("it has no variables")]
    NoVariable,
}

impl UidlFormat {
    /// Parses a format as `doveconf` prints it.
    ///
    /// # Errors
    ///
    /// A variable or filter is unknown or invalid, or there is no variable.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let (mut parts, mut rest) = (Vec::new(), text.as_bytes());
        while let Some(percent) = memchr(b'%', rest) {
            let (before, after) = rest.split_at(percent);
            parts.push(Part::Text(before.to_vec()));
            let (part, remaining) = match after {
                [b'%', b'%', rest @ ..] => (Part::Text(b"%".to_vec()), rest),
                [b'%', b'{', rest @ ..] => parse_long(rest)?,
                _ => parse_short(after.get(1..).unwrap_or_default())?,
            };
            parts.push(part);
            rest = remaining;
        }
        parts.push(Part::Text(rest.to_vec()));
        if !parts.iter().any(|part| matches!(part, Part::Variable(..))) {
            return Err(FormatError::NoVariable);
        }
        Ok(Self(parts))
    }

    /// The unique-id that Dovecot gives to a message, which may be illegal.
    pub fn expand(&self, values: &UidlValues<'_>) -> Vec<u8> {
        self.0.iter().flat_map(|part| part.expand(values)).collect()
    }
}

impl Part {
    fn expand(&self, values: &UidlValues<'_>) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone(),
            Self::Variable(variable, filters) => {
                let value = variable.value(values);
                let value = filters.iter().fold(value, |value, filter| filter.apply(value));
                if filters.last().is_some_and(|last| last.is_binary()) {
                    hexlify(&value)
                } else {
                    value
                }
            }
        }
    }
}

impl Variable {
    fn value(self, values: &UidlValues<'_>) -> Vec<u8> {
        match self {
            Self::Uid => values.uid.to_string().into_bytes(),
            Self::UidValidity => values.uid_validity.to_string().into_bytes(),
            Self::FileName => values.base_name.to_vec(),
            Self::Guid => values.guid.to_vec(),
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Uid | Self::UidValidity)
    }
}

/// Parses a variable of 2.3 after its `%`.
fn parse_short(mut text: &[u8]) -> Result<(Part, &[u8]), FormatError> {
    let mut cut = Cut::default();
    let is_negative = take(&mut text, b'-');
    cut.fill = take(&mut text, b'0');
    cut.width = take_number(&mut text)?;
    if take(&mut text, b'.') {
        cut.offset = if is_negative { -cut.width } else { cut.width };
        cut.fill = take(&mut text, b'0');
        let is_negative = take(&mut text, b'-');
        cut.width = take_number(&mut text)?;
        cut.width = if is_negative { -cut.width } else { cut.width };
    }
    let mut filters = Vec::new();
    while let [letter, rest @ ..] = text
        && let Some(of_modifier) = modifier(*letter, &mut cut)
    {
        filters.extend(of_modifier);
        text = rest;
    }
    filters.push(Filter::Cut(cut));
    let (letter, rest) = text.split_first().ok_or(FormatError::Incomplete)?;
    let variable = match letter {
        b'u' => Variable::Uid,
        b'v' => Variable::UidValidity,
        b'f' => Variable::FileName,
        b'g' => Variable::Guid,
        b'm' => return Err(FormatError::MboxOnly("m")),
        _ => return Err(FormatError::UnknownVariable(letter.escape_ascii().to_string())),
    };
    Ok((Part::Variable(variable, filters), rest))
}

/// The filters of a modifier of 2.3. `H` and `N` use the offset and width up.
fn modifier(letter: u8, cut: &mut Cut) -> Option<Vec<Filter>> {
    Some(match letter {
        b'L' => vec![Filter::Lower],
        b'U' => vec![Filter::Upper],
        b'E' => vec![Filter::Escape],
        b'X' => vec![Filter::Hexadecimal],
        b'R' => vec![Filter::Reverse],
        b'M' => vec![Filter::Digest(Algorithm::Md5), Filter::Hexlify],
        b'D' => vec![Filter::LdapDn],
        b'T' => vec![Filter::Trim],
        b'H' | b'N' => {
            let modulus = u32::try_from(cut.width).unwrap_or(0);
            let digits = usize::try_from(cut.offset).unwrap_or(0);
            *cut = Cut { fill: cut.fill, ..Cut::default() };
            vec![Filter::Bucket(Bucket { is_md5: letter == b'N', modulus, digits })]
        }
        _ => return None,
    })
}

fn take(text: &mut &[u8], octet: u8) -> bool {
    let rest = text.strip_prefix(&[octet]);
    *text = rest.unwrap_or(text);
    rest.is_some()
}

fn take_number(text: &mut &[u8]) -> Result<isize, FormatError> {
    let digits = text.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(digits);
    *text = rest;
    if digits.is_empty() {
        return Ok(0);
    }
    let number = decimal(digits).filter(|number| *number <= MAX_WIDTH);
    number.ok_or(FormatError::TooWide)
}

/// Parses a variable of 2.4 after its `%{`.
fn parse_long(text: &[u8]) -> Result<(Part, &[u8]), FormatError> {
    let (inside, brace_and_rest) =
        text.split_at(memchr(b'}', text).ok_or(FormatError::Incomplete)?);
    let mut words = inside.split(|octet| *octet == b'|').map(<[u8]>::trim_ascii);
    let variable = match words.next().unwrap_or_default() {
        b"uid" => Variable::Uid,
        b"uidvalidity" => Variable::UidValidity,
        b"filename" => Variable::FileName,
        b"guid" => Variable::Guid,
        b"md5" => return Err(FormatError::MboxOnly("{md5}")),
        other => return Err(FormatError::UnknownVariable(format!("{{{}}}", other.escape_ascii()))),
    };
    let filters = words.map(parse_filter).collect::<Result<Vec<_>, _>>()?;
    let is_number = |index| index == 0 && variable.is_number();
    let is_hex = |filter: &Filter| matches!(filter, Filter::HexadecimalOfWidth(_));
    if filters.iter().enumerate().any(|(index, filter)| is_hex(filter) && !is_number(index)) {
        return Err(FormatError::NotANumber);
    }
    Ok((Part::Variable(variable, filters), brace_and_rest.get(1..).unwrap_or_default()))
}

fn parse_filter(text: &[u8]) -> Result<Filter, FormatError> {
    let escaped = |text: &[u8]| text.escape_ascii().to_string();
    let (name, argument) = text.split_at(memchr(b'(', text).unwrap_or(text.len()));
    let filter = match name.trim_ascii_end() {
        b"hex" => Filter::HexadecimalOfWidth(0),
        b"hexlify" => Filter::Hexlify,
        b"lower" => Filter::Lower,
        b"upper" => Filter::Upper,
        b"reverse" => Filter::Reverse,
        b"ldap_dn" => Filter::LdapDn,
        b"md5" => Filter::Digest(Algorithm::Md5),
        b"sha1" => Filter::Digest(Algorithm::Sha1),
        b"sha256" => Filter::Digest(Algorithm::Sha256),
        b"sha512" => Filter::Digest(Algorithm::Sha512),
        other => return Err(FormatError::UnknownFilter(escaped(other))),
    };
    match (filter, argument) {
        (filter, [] | [b'(', b')']) => Ok(filter),
        (Filter::HexadecimalOfWidth(_), [b'(', width @ .., b')']) => {
            let width = str::from_utf8(width).ok().and_then(|width| width.trim().parse().ok());
            let width = width.filter(|width: &i32| width.unsigned_abs() <= 255);
            width
                .map(Filter::HexadecimalOfWidth)
                .ok_or_else(|| FormatError::InvalidArgument(escaped(text)))
        }
        _ => Err(FormatError::InvalidArgument(escaped(text))),
    }
}

/// The length of the longest legal unique-id.
const MAX_WIDTH: isize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(format: &str) -> String {
        let values = UidlValues {
            uid: 12,
            uid_validity: 1_795_742_397,
            base_name: b"1700000000.M1P2.Host,S=3",
            guid: b"0123456789abcdef",
        };
        String::from_utf8(UidlFormat::parse(format).unwrap().expand(&values)).unwrap()
    }

    #[test]
    fn formats_of_2_3() {
        for (format, expected) in [
            ("%08Xu%08Xv", "0000000c6b08dabd"),
            ("%08Xv%08Xu", "6b08dabd0000000c"),
            ("%v-%u", "1795742397-12"),
            ("UID%u-%v", "UID12-1795742397"),
            ("%v.%u", "1795742397.12"),
            ("%u", "12"),
            ("%f", "1700000000.M1P2.Host,S=3"),
            ("%g", "0123456789abcdef"),
            ("%Mf", "426d7753172739b6646549e99d1caa49"),
            ("%%%u%%", "%12%"),
            ("%Xu", "c"),
            ("%UXu", "c"),
            ("%XUu", "C"),
            ("%XUv", "6B08DABD"),
            ("%Xf", "0"),
            ("%4f", "1700"),
            ("%04u", "0012"),
            ("%01u", "12"),
            ("%-3.f", "S=3"),
            ("%-3.1f", "S"),
            ("%3.4f", "0000"),
            ("%11.-4f", "M1P2.Host"),
            ("%0.-50u", "12"),
            ("%2.05u", "00000"),
            ("%99.u!", "!"),
            ("%-3u", "12"),
            ("%4Rg", "fedc"),
            ("%Lf", "1700000000.m1p2.host,s=3"),
            ("%Df", "1700000000,dc=M1P2,dc=Host,S=3"),
            ("%EXu", "c"),
            ("%Tu", "12"),
            ("%Hu", "342"),
            ("%4.16Hu", "0002"),
        ] {
            assert_eq!(expand(format), expected, "{format}");
        }
    }

    #[test]
    fn formats_of_2_4() {
        for (format, expected) in [
            ("%{uid | hex(8)}%{uidvalidity | hex(8)}", "0000000c6b08dabd"),
            ("%{uid|hex( 8 )}", "0000000c"),
            ("%{uid | hex}", "c"),
            ("%{uidvalidity | hex(4)}", "dabd"),
            ("%{uid | hex(-4)}", "c000"),
            ("%{uidvalidity | hex(8) | upper}", "6B08DABD"),
            ("%{uidvalidity}-%{uid}", "1795742397-12"),
            ("%{filename}", "1700000000.M1P2.Host,S=3"),
            ("%{ guid }", "0123456789abcdef"),
            ("%{uid | md5}", "c20ad4d76fe97759aa27a0c99bff6710"),
            ("%{uid | md5 | hexlify}", "c20ad4d76fe97759aa27a0c99bff6710"),
            ("%{uid | md5 | hexlify | upper}", "C20AD4D76FE97759AA27A0C99BFF6710"),
            ("%{uid | sha1}", "7b52009b64fd0a2a49e6d8a939753077792b0554"),
            ("%%{%{uid}", "%{12"),
        ] {
            assert_eq!(expand(format), expected, "{format}");
        }
    }

    #[test]
    fn errors_say_what_there_is() {
        let variables = "the variables are %u or %{uid}, %v or %{uidvalidity}, %f or %{filename}, \
                         %g or %{guid}";
        let filters = "is not supported; the filters are hex, hexlify, lower, upper, reverse, \
                       ldap_dn, md5, sha1, sha256 and sha512";
        for (format, expected) in [
            ("", "it has no variables".to_owned()),
            ("%%u", "it has no variables".to_owned()),
            ("%u%x", format!("there is no variable %x; {variables}")),
            ("%8{uid}", format!("there is no variable %{{; {variables}")),
            ("%{user}", format!("there is no variable %{{user}}; {variables}")),
            ("%{}", format!("there is no variable %{{}}; {variables}")),
            ("%m", "%m is for mbox only: a Maildir has no such unique-ids".to_owned()),
            ("%{md5}", "%{md5} is for mbox only: a Maildir has no such unique-ids".to_owned()),
            ("%{uid | rot13}", format!("the filter \"rot13\" {filters}")),
            ("%u%", "it ends inside a variable".to_owned()),
            ("%u%08X", "it ends inside a variable".to_owned()),
            ("%{uid", "it ends inside a variable".to_owned()),
            ("%0256u", "there is a width or offset over 255".to_owned()),
            ("%99999999999999999999u", "there is a width or offset over 255".to_owned()),
        ] {
            assert_eq!(UidlFormat::parse(format).unwrap_err().to_string(), expected, "{format}");
        }
        for format in ["%{filename | hex}", "%{uid | md5 | hex(8)}", "%{guid|hex(1)}"] {
            assert_eq!(UidlFormat::parse(format), Err(FormatError::NotANumber), "{format}");
        }
        for format in ["%{uid | hex(x)}", "%{uid | hex(256)}", "%{uid | hex(8}", "%{uid|md5(1)}"] {
            let error = UidlFormat::parse(format).unwrap_err();
            assert!(matches!(error, FormatError::InvalidArgument(_)), "{format}: {error}");
        }
    }
}
