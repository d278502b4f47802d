//! `dovecot-keywords`, where Dovecot keeps the names of the keywords of a Maildir: a number and a
//! keyword on each line. In file names, the letter `a` stands for keyword 0, `b` for 1, up to `z`.

use std::io::{self, BufRead};

use super::lines::{LineEnd, Lines, decimal};

/// A `dovecot-keywords` that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct KeywordError(#[from] io::Error);

/// The letter of a keyword; `None` if the file does not have it.
///
/// # Errors
/// `input` cannot be read.
pub fn keyword_letter(input: impl BufRead, keyword: &str) -> Result<Option<u8>, KeywordError> {
    let mut lines = Lines::new(input, LONGEST_LINE);
    while let Some(line) = lines.next_line()? {
        let mut fields = line.octets.splitn(2, |octet| *octet == b' ');
        let (number, name) = (fields.next().and_then(decimal::<u8>), fields.next());
        let is_whole = line.end != LineEnd::TooLong;
        let name = name.filter(|name| is_whole && name.eq_ignore_ascii_case(keyword.as_bytes()));
        if let (Some(number @ 0..26), Some(_)) = (number, name) {
            return Ok(Some(b'a' + number));
        }
    }
    Ok(None)
}

const LONGEST_LINE: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_keywords() {
        let file = "0 $POP3Deleted\n1 NonJunk\n25 $Label1\n26 far\nx y\n\n2\n";
        for (keyword, expected) in [
            ("$POP3Deleted", Some(b'a')),
            ("$pop3deleted", Some(b'a')),
            ("NonJunk", Some(b'b')),
            ("$Label1", Some(b'z')),
            ("far", None),
            ("y", None),
            ("", None),
        ] {
            assert_eq!(keyword_letter(file.as_bytes(), keyword).unwrap(), expected, "{keyword}");
        }
    }
}
