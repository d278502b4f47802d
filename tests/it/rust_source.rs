//! Parses Rust source as far as `tidy.rs` needs it: code for tests only, comments, strings, and the
//! paths in all other code.

use std::collections::HashMap;
use std::ops::Range;

/// The source with blanks in the place of its tests, so that lines keep their numbers.
pub(crate) fn without_tests(text: &str) -> String {
    blanked(text, tests(&without_prose(text)))
}

/// The same with blanks in the place of comments and of the contents of strings.
pub(crate) fn code(text: &str) -> String {
    let code = without_prose(text);
    blanked(&code, tests(&code))
}

/// A path in the code, from the root of its crate on, and its line.
pub(crate) struct Named {
    pub(crate) line: usize,
    pub(crate) path: String,
}

/// Every path of at least two names in the code of a file, and all paths that `use` imports.
///
/// Groups are expanded, and imported names are replaced by their paths.
pub(crate) fn paths(file: &str, text: &str) -> Vec<Named> {
    let code = code(text);
    let tokens = tokens(&code);
    let (mut found, mut at) = (Vec::new(), 0);
    let mut brought_in = HashMap::new();
    while let Some(&(offset, token)) = tokens.get(at) {
        let mut written = Vec::new();
        if token == "use" {
            at = use_tree(&tokens, at + 1, &[], &mut written);
        } else if is_name(token) || token == "::" {
            let path;
            (path, at) = path_at(&tokens, at);
            if path.len() > 1 {
                written.push((path, None));
            }
        } else {
            at += 1;
        }
        for (path, name) in written {
            if let Some(name) = name.filter(|&name| path.len() > 1 || path[0] != name) {
                brought_in.insert(name, path.clone());
            }
            found.push((offset, path));
        }
    }
    let absolute = |(offset, path): (usize, Vec<&str>)| Named {
        line: code[..offset].matches('\n').count() + 1,
        path: absolute(file, &meant(&path, &brought_in)).join("::"),
    };
    found.into_iter().map(absolute).collect()
}

/// The path with its first name replaced by the path that `use` imports under this name.
fn meant<'a>(path: &[&'a str], brought_in: &HashMap<&str, Vec<&'a str>>) -> Vec<&'a str> {
    match brought_in.get(path[0]) {
        Some(means) if !path.starts_with(means) => [means, &path[1..]].concat(),
        _ => path.to_vec(),
    }
}

/// The path with `crate` first in place of `self`, `super` and the name of this crate.
fn absolute<'a>(file: &'a str, path: &[&'a str]) -> Vec<&'a str> {
    let module = file.trim_start_matches("src/").trim_end_matches(".rs");
    let module = module.split('/').filter(|name| !["lib", "main", "mod"].contains(name));
    let mut base: Vec<&str> = ["crate"].into_iter().chain(module).collect();
    let mut rest = path;
    match path {
        ["crate" | "restante", ..] => base.truncate(1),
        ["self" | "super", ..] => {}
        _ => return path.to_vec(),
    }
    while let ["crate" | "restante" | "self" | "super", further @ ..] = rest {
        if rest[0] == "super" {
            base.truncate((base.len() - 1).max(1));
        }
        rest = further;
    }
    [&base, rest].concat()
}

/// The paths that a `use` imports, from a token on, each with its name. Returns the token after it.
fn use_tree<'a>(
    tokens: &[(usize, &'a str)],
    at: usize,
    before: &[&'a str],
    found: &mut Vec<(Vec<&'a str>, Option<&'a str>)>,
) -> usize {
    let (own, mut at) = path_at(tokens, at);
    let mut path = [before, &own].concat();
    let token = |at: usize| tokens.get(at).map_or("", |&(_, token)| token);
    match token(at) {
        "{" => {
            while !["}", ""].contains(&token(at)) {
                at = use_tree(tokens, at + 1, &path, found);
            }
            return at + 1;
        }
        "*" => {
            found.push((path, None));
            return at + 1;
        }
        // After the last comma of a group.
        _ if own.is_empty() => return at,
        _ => {}
    }
    if path.len() > 1 && path.last() == Some(&"self") {
        path.pop();
    }
    let mut name = path.last().copied();
    if token(at) == "as" {
        name = Some(token(at + 1));
        at += 2;
    }
    found.push((path, name));
    at
}

/// Names with `::` between them, from this token on, and the token after them.
fn path_at<'a>(tokens: &[(usize, &'a str)], mut at: usize) -> (Vec<&'a str>, usize) {
    let mut path = Vec::new();
    let mut wants_name = true;
    while let Some(&(_, token)) = tokens.get(at) {
        match token {
            "::" => wants_name = true,
            name if wants_name && is_name(name) => {
                path.push(name);
                wants_name = false;
            }
            _ => break,
        }
        at += 1;
    }
    (path, at)
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Words, `::`, and all other characters, each with its position.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = code[at..].chars().next() {
        let rest = &code[at..];
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let length = match first {
            ':' if rest.starts_with("::") => 2,
            _ => word.max(first.len_utf8()),
        };
        if !first.is_whitespace() {
            tokens.push((at, &rest[..length]));
        }
        at += length;
    }
    tokens
}

/// The ranges of code for tests only, with their attributes.
fn tests(code: &str) -> Vec<Range<usize>> {
    if code.contains("#![cfg(test)]") {
        return std::iter::once(0..code.len()).collect();
    }
    let mut found: Vec<Range<usize>> = Vec::new();
    for attribute in ["#[cfg(test)]", "#[cfg(all(test,"] {
        found.extend(code.match_indices(attribute).map(|(at, _)| at..end_of_item(code, at)));
    }
    found
}

/// The end of the item whose first attribute is at `at`.
fn end_of_item(code: &str, at: usize) -> usize {
    let mut begin = at;
    while code[begin..].starts_with('#') {
        begin += length_of_group(&code[begin..]);
        begin += code[begin..].len() - code[begin..].trim_start().len();
    }
    let item = &code[begin..];
    let mut words = item.split(|c: char| !c.is_alphanumeric() && c != '_');
    let word = words.find(|word| !["", "pub", "crate", "super", "in"].contains(word));
    let is_use = word == Some("use");
    let is_field = word.is_none_or(|word| !KEYWORDS.contains(&word));
    let mut end = 0;
    while let Some(c) = item[end..].chars().next() {
        match c {
            ';' => return begin + end + 1,
            ',' if is_field => return begin + end + 1,
            // The last one among fields, variants or arms.
            '}' | ')' | ']' => return begin + end,
            '{' if !is_use => return begin + end + length_of_group(&item[end..]),
            '{' | '(' | '[' => end += length_of_group(&item[end..]),
            _ => end += c.len_utf8(),
        }
    }
    code.len()
}

/// The first words of an item after its visibility, unless it is a field, a variant or an arm.
const KEYWORDS: [&str; 14] = [
    "async", "const", "enum", "extern", "fn", "impl", "let", "mod", "static", "struct", "trait",
    "type", "unsafe", "use",
];

/// The length up to the end of the first bracketed group.
fn length_of_group(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 1 => return at + 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// The source with blanks in the place of comments and of the contents of quotes.
fn without_prose(text: &str) -> String {
    let (mut prose, mut at) = (Vec::new(), 0);
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let is_within_word = text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let raw = rest.trim_start_matches(['b', 'c']);
        let to = |end: &str| rest[1..].find(end).map_or(rest.len(), |found| found + 1);
        let length = match first {
            '/' if rest.starts_with("//") => to("\n"),
            '/' if rest.starts_with("/*") => length_of_comment(rest),
            '"' => length_of_string(rest),
            '\'' => length_of_character(rest),
            'b' | 'c' | 'r' if !is_within_word && raw.starts_with('r') => {
                length_of_raw_string(rest)
            }
            _ => 0,
        };
        if length > 0 {
            prose.push(at..at + length);
        }
        at += length.max(first.len_utf8());
    }
    blanked(text, prose)
}

/// Comments of this kind may be nested.
fn length_of_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while let Some(found) = text[at..].find(['/', '*']) {
        at += found;
        let step = match text.as_bytes().get(at..at + 2) {
            Some(b"/*") => 1,
            Some(b"*/") => -1,
            _ => 0,
        };
        depth += step;
        at += if step == 0 { 1 } else { 2 };
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

fn length_of_string(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !is_escaped => return at + 1,
            _ => is_escaped = c == '\\' && !is_escaped,
        }
    }
    text.len()
}

/// None for `r#name` and other words that begin like a raw string.
fn length_of_raw_string(text: &str) -> usize {
    let start = text.find('r').unwrap() + 1;
    let hashes = text[start..].len() - text[start..].trim_start_matches('#').len();
    let Some(inside) = text[start + hashes..].strip_prefix('"') else { return 0 };
    let end = format!("\"{}", "#".repeat(hashes));
    let length = inside.find(&end).map_or(inside.len(), |found| found + end.len());
    start + hashes + 1 + length
}

/// None for a lifetime.
fn length_of_character(text: &str) -> usize {
    let mut inside = text[1..].chars();
    let first = inside.next();
    if first == Some('\\') {
        let escaped = inside.next().map_or(0, char::len_utf8);
        return text[2 + escaped..].find('\'').map_or(text.len(), |end| 2 + escaped + end + 1);
    }
    let end = 1 + first.map_or(0, char::len_utf8);
    if text[end..].starts_with('\'') { end + 1 } else { 0 }
}

/// The text with blanks in these ranges, except for line ends.
fn blanked(text: &str, places: Vec<Range<usize>>) -> String {
    let mut octets = text.as_bytes().to_vec();
    for place in places {
        octets[place].iter_mut().filter(|octet| **octet != b'\n').for_each(|octet| *octet = b' ');
    }
    String::from_utf8(octets).unwrap()
}
