//! The variables of Dovecot in a path, as placeholders of this server.

use crate::protocol::Placeholder;

/// Part of a path that no placeholder can stand for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} has no equivalent")]
pub(super) struct NoPlaceholder(String);

/// The template for a path of Dovecot. `home` is the template of home directories.
///
/// - User names are in lower case here, so `lower` is implied.
/// - A relative path starts at the home directory.
pub(super) fn template(path: &str, home: &str) -> Result<String, NoPlaceholder> {
    let (mut template, mut rest) = match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => (home.to_owned(), rest),
        Some(_) => return Err(NoPlaceholder(path.to_owned())),
        None if path.starts_with(['/', '%']) => (String::new(), path),
        None => (format!("{home}/"), path),
    };
    while let Some((text, after)) = rest.split_once('%') {
        push_text(&mut template, text)?;
        let (variable, remaining) = take_variable(after)?;
        match variable {
            Variable::Percent => template.push('%'),
            Variable::Placeholder(Placeholder::Home) => {
                // A home directory is an absolute path.
                if !template.is_empty() && home.starts_with('{') {
                    return Err(NoPlaceholder("a home directory within a path".to_owned()));
                }
                template.push_str(home);
            }
            Variable::Placeholder(placeholder) => template.push_str(placeholder.word()),
        }
        rest = remaining;
    }
    push_text(&mut template, rest)?;
    Ok(template)
}

fn push_text(template: &mut String, text: &str) -> Result<(), NoPlaceholder> {
    if text.contains(['{', '}']) {
        return Err(NoPlaceholder("a brace in a path".to_owned()));
    }
    template.push_str(text);
    Ok(())
}

enum Variable {
    Percent,
    Placeholder(Placeholder),
}

/// The variable after a `%`, and what follows it.
fn take_variable(text: &str) -> Result<(Variable, &str), NoPlaceholder> {
    if let Some(rest) = text.strip_prefix('%') {
        return Ok((Variable::Percent, rest));
    }
    let bare = text.trim_start_matches('L');
    let (placeholder, rest) = match bare.strip_prefix('{').and_then(|long| long.split_once('}')) {
        Some((long, rest)) => (of_long(long), rest),
        None => {
            let end = bare.chars().next().map_or(0, char::len_utf8);
            let (letter, rest) = bare.split_at_checked(end).unwrap_or_default();
            (of_letter(letter), rest)
        }
    };
    match placeholder {
        Some(placeholder) => Ok((Variable::Placeholder(placeholder), rest)),
        None => Err(NoPlaceholder(format!("%{}", whole_variable(text)))),
    }
}

fn of_letter(letter: &str) -> Option<Placeholder> {
    match letter {
        "u" => Some(Placeholder::User),
        "n" => Some(Placeholder::Local),
        "d" => Some(Placeholder::Domain),
        "h" => Some(Placeholder::Home),
        _ => None,
    }
}

/// `user`, or `user | domain` with filters.
fn of_long(text: &str) -> Option<Placeholder> {
    let mut words = text.split('|').map(str::trim);
    let first = match words.next()? {
        "user" => Placeholder::User,
        "username" => Placeholder::Local,
        "domain" => Placeholder::Domain,
        "home" => Placeholder::Home,
        _ => return None,
    };
    words.try_fold(first, |placeholder, filter| match (placeholder, filter) {
        (Placeholder::User, "username") => Some(Placeholder::Local),
        (Placeholder::User, "domain") => Some(Placeholder::Domain),
        (Placeholder::User | Placeholder::Local | Placeholder::Domain, "lower") => {
            Some(placeholder)
        }
        _ => None,
    })
}

/// The variable as it is written, for a message.
fn whole_variable(text: &str) -> &str {
    let is_letter = |c: char| c.is_ascii_lowercase() || c == '{';
    let end = match text.split_once(is_letter) {
        Some((before, after)) if text.get(before.len()..).is_some_and(|it| it.starts_with('{')) => {
            before.len() + 1 + after.find('}').map_or(after.len(), |at| at + 1)
        }
        Some((before, _)) => before.len() + 1,
        None => text.len(),
    };
    text.get(..end).unwrap_or(text)
}
