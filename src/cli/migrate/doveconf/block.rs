//! The output of `doveconf`: settings in nested blocks.
//!
//! ```text
//! # 2.3.19.1 (9b53102964): /etc/dovecot/dovecot.conf
//! mail_location = maildir:~/Maildir
//! protocol pop3 {
//!   pop3_uidl_format = %v-%u
//! }
//! ```

use std::borrow::Cow;

/// A block of settings, or the whole output.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Block<'a> {
    /// Its kind and name, such as `protocol pop3`; empty for the whole output.
    pub(super) header: &'a str,
    settings: Vec<(&'a str, Cow<'a, str>)>,
    blocks: Vec<Self>,
}

/// Why text is not the output of `doveconf`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli::migrate) enum SyntaxError {
    #[error("line {0} is not a setting of Dovecot; pass the output of doveconf -n")]
    Line(usize),
    #[error("ends inside a block; pass the whole output of doveconf -n")]
    Incomplete,
    #[error("has no settings; pass the output of doveconf -n")]
    Empty,
}

impl<'a> Block<'a> {
    /// Reads the whole output.
    pub(super) fn parse(text: &'a str) -> Result<Self, SyntaxError> {
        let (mut around, mut block) = (Vec::new(), Self::default());
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            let no_setting = || SyntaxError::Line(index + 1);
            if line.is_empty() || line.starts_with('#') || line.starts_with(WARNING) {
                continue;
            }
            if line == "}" {
                let inner = std::mem::replace(&mut block, around.pop().ok_or_else(no_setting)?);
                block.blocks.push(inner);
            } else if let Some((name, value)) =
                line.split_once('=').filter(|(name, _)| is_name(name))
            {
                block.settings.push((name.trim(), unquoted(value.trim())));
            } else {
                let header = line.strip_suffix('{').filter(|_| around.len() < DEEPEST);
                let header = header.ok_or_else(no_setting)?.trim();
                around.push(std::mem::replace(&mut block, Self { header, ..Self::default() }));
            }
        }
        match (around.is_empty(), block.settings.is_empty() && block.blocks.is_empty()) {
            (false, _) => Err(SyntaxError::Incomplete),
            (true, true) => Err(SyntaxError::Empty),
            (true, false) => Ok(block),
        }
    }

    /// The value of a setting, which may be empty; of several, the last one.
    pub(super) fn setting(&self, name: &str) -> Option<&str> {
        let last = self.settings.iter().rev().find(|(own, _)| *own == name);
        last.map(|(_, value)| value.as_ref())
    }

    /// Whether a setting has the value `yes`.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.setting(name) == Some("yes")
    }

    /// The blocks directly in this one.
    pub(super) fn blocks(&self) -> impl DoubleEndedIterator<Item = &Self> {
        self.blocks.iter()
    }

    /// The blocks of a kind, the first word of their headers.
    pub(super) fn blocks_of(&self, kind: &str) -> impl DoubleEndedIterator<Item = &Self> {
        self.blocks().filter(move |block| block.kind() == kind)
    }

    /// The first word of the header.
    pub(super) fn kind(&self) -> &'a str {
        self.header.split(' ').next().unwrap_or_default()
    }

    /// Whether this block, or one in it, has a setting whose name begins like this.
    pub(super) fn mentions(&self, start: &str) -> bool {
        self.settings.iter().any(|(name, _)| name.starts_with(start))
            || self.blocks.iter().any(|block| block.mentions(start))
    }
}

fn is_name(text: &str) -> bool {
    let name = text.trim_end();
    !name.is_empty() && !name.contains([' ', '{', '"'])
}

/// The value without the quotes and escapes that 2.4 writes.
fn unquoted(value: &str) -> Cow<'_, str> {
    let Some(quoted) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return value.into();
    };
    let mut text = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        text.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
    }
    text.into()
}

/// How deep blocks are nested at most. Those of Dovecot are nested up to five deep.
const DEEPEST: usize = 32;

/// The start of warnings, which doveconf writes to standard error.
const WARNING: &str = "doveconf: ";
