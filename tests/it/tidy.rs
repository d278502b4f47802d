//! Rules about the repository itself, which no compiler checks.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::rust_source::{code, paths, without_tests};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `directory` that ends in `extension`, relative to the root, with its text.
fn files(directory: &str, extension: &str) -> Vec<(String, String)> {
    let mut open = vec![root().join(directory)];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|own| own == extension) {
            let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    found
}

/// The source files below `directory` without those of tests, which may combine rooms.
fn code_files(directory: &str) -> Vec<(String, String)> {
    let mut found = files(directory, "rs");
    found.retain(|(file, _)| !file.contains("/tests/") && !file.ends_with("/tests.rs"));
    found
}

/// The room that a source file belongs to: `src/login/token.rs` and `src/main.rs` alike.
fn room(file: &str) -> &str {
    let below = file.strip_prefix("src/").unwrap();
    below.split(['/', '.']).next().unwrap()
}

#[test]
fn rooms_use_only_the_rooms_that_they_may() {
    let may_use = |room: &str| -> &[&str] {
        match room {
            "protocol" | "threads" | "control" | "http" => &[],
            "config" | "counters" | "limits" | "password" => &["protocol"],
            "last_login" => &["protocol", "threads"],
            "client_settings" => &["config"],
            "web" => &["config", "client_settings", "http"],
            "credentials" => &["protocol", "counters", "threads", "limits", "password", "config"],
            "login" => {
                &["protocol", "counters", "threads", "limits", "password", "config", "credentials"]
            }
            "uidl" => &["protocol", "config"],
            "mailbox" => &["protocol", "counters", "threads", "config", "login", "uidl"],
            "session" => {
                &["protocol", "counters", "limits", "credentials", "login", "last_login", "mailbox"]
            }
            "telemetry" => &["protocol", "config"],
            "server" => &[
                "protocol",
                "counters",
                "threads",
                "limits",
                "password",
                "credentials",
                "login",
                "last_login",
                "uidl",
                "mailbox",
                "session",
                "config",
                "http",
                "client_settings",
                "web",
                "control",
                "telemetry",
            ],
            "cli" => &[
                "protocol",
                "password",
                "credentials",
                "login",
                "last_login",
                "uidl",
                "mailbox",
                "session",
                "config",
                "client_settings",
                "control",
                "telemetry",
                "server",
            ],
            "lib" => &[],
            "main" => &["cli", "telemetry"],
            // A test.
            "sweep" => &["config", "password", "credentials", "login", "mailbox", "session"],
            room => panic!("{room} is a new room: say here what it may use"),
        }
    };
    let mut wrong = Vec::new();
    for (file, text) in code_files("src") {
        wrong.extend(rooms_beyond(may_use(room(&file)), &file, &text));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The rooms that a file uses in addition to its own and these.
fn rooms_beyond(allowed: &[&str], file: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for used in paths(file, text) {
        let Some(below) = used.path.strip_prefix("crate::") else { continue };
        let other = below.split("::").next().unwrap();
        if other != room(file) && !allowed.contains(&other) {
            wrong.push(format!("{file}:{}: {} uses {other}", used.line, room(file)));
        }
    }
    wrong
}

#[test]
fn a_room_is_seen_in_whatever_way_it_is_named() {
    for (text, line) in [
        ("use crate::login;", 1),
        ("#[cfg(test)]\nmod tests;\nuse crate::login;", 3),
        ("#[cfg(test)]\nmod tests {\n    const END: &str = \"}\";\n}\nuse crate::login::Rules;", 5),
        ("#[cfg(test)]\npub use {crate::session::End};\nuse crate::login;", 3),
        ("struct Both {\n    #[cfg(test)]\n    one: bool,\n    two: crate::login::Rules,\n}", 4),
        ("fn f(identity: &crate::login::Identity) {}", 1),
        ("use std::fs;\nuse crate::{\n    protocol::Line,\n    login::{Identity as User},\n};", 2),
        ("use super::super::login::Identity;", 1),
        ("use crate as all;\nfn f() {\n    all::login::f();\n}", 3),
        ("const QUOTE: char = '\"';\nuse crate::login; // \"", 2),
        ("const RAW: &str = r#\"\" /* \"#;\nuse crate::login; /* */", 2),
    ] {
        let seen = rooms_beyond(&["protocol"], "src/mailbox/lock.rs", text);
        assert_eq!(seen, [format!("src/mailbox/lock.rs:{line}: mailbox uses login")], "{text}");
    }
    for text in [
        "// use crate::login;\n/* crate::login /* */ crate::login::f() */",
        "const TEXT: &str = \"\\\"; crate::login::f()\";\nconst RAW: &str = r\"crate::login::f()\";",
        "#[cfg(test)]\n#[expect(missing_docs)]\nfn f() {\n    let _ = '}';\n    crate::login::f();\n}",
        "use crate::protocol::{self, login};\nfn f<'a>(of: &'a super::Line) -> crate::mailbox::Lock {}",
    ] {
        let seen = rooms_beyond(&["protocol"], "src/mailbox/lock.rs", text);
        assert!(seen.is_empty(), "{seen:?} in {text}");
    }
}

#[test]
fn rooms_use_only_the_crates_that_they_may() {
    let banned: [(&str, &[&str]); 12] = [
        (
            "src/protocol",
            &["tokio", "tracing", "std::fs", "std::net", "std::io::Read", "std::time"],
        ),
        ("src/session", &["tokio::net", "rustls", "std::fs", "maildir", "rustix"]),
        ("src/mailbox", &["tokio::net", "rustls"]),
        ("src/http", &["tokio::net", "rustls", "std::fs"]),
        ("src/limits", &["tokio::net", "std::fs", "std::io"]),
        ("src/password", &["tokio", "tracing", "std::fs", "std::net", "std::io", "std::time"]),
        ("src/credentials/file", &["tokio::net"]),
        ("src/login", &["tokio::net", "std::fs", "sqlx", "ldap3", "ureq", "jsonwebtoken"]),
        ("src/uidl", &["tokio", "tracing", "rustix", "std::fs", "std::net", "std::time"]),
        ("src/config", &["tokio", "tracing", "rustls"]),
        ("src/client_settings", &["tokio", "tracing", "rustls", "std::fs", "std::net", "std::io"]),
        ("src/web", &["tokio::net", "rustls", "std::fs"]),
    ];
    let mut wrong = Vec::new();
    for (directory, words) in banned {
        for (file, text) in code_files(directory) {
            wrong.extend(paths_with(words, &file, &text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The paths in a file that have one of these words in them.
fn paths_with(words: &[&str], file: &str, text: &str) -> Vec<String> {
    let has_word = |path: &str| words.iter().any(|word| path.contains(word));
    let used = paths(file, text).into_iter().filter(|used| has_word(&used.path));
    used.map(|used| format!("{file}:{}: {}", used.line, used.path)).collect()
}

#[test]
fn a_crate_is_seen_in_whatever_way_it_is_named() {
    for text in [
        "use tokio::net::TcpStream;",
        "fn f() -> tokio::net::TcpStream {}",
        "fn f() -> ::tokio::net::TcpStream {}",
        "use tokio::{net::TcpStream, time};",
        "use {\n    tokio::{\n        net::{TcpStream as Stream},\n    },\n};",
        "use tokio::{self as all};\nfn f() -> all::net::TcpStream {}",
        "#[cfg(test)]\nmod tests {\n}\npub(crate) use ::tokio::net::TcpStream;",
    ] {
        let seen = paths_with(&["tokio::net"], "src/session/wire/mod.rs", text);
        let last = seen.last().map_or("", String::as_str);
        assert!(last.ends_with(": tokio::net::TcpStream"), "{seen:?} in {text}");
    }
    let reader = "use std::io;\nfn f(from: impl io::Read) {}";
    let seen = paths_with(&["std::io::Read"], "src/protocol/line/mod.rs", reader);
    assert_eq!(seen, ["src/protocol/line/mod.rs:2: std::io::Read"]);
}

#[test]
fn the_maildir_store_calls_the_system_in_one_place() {
    // All other names in lower case are functions.
    let modules = ["fs", "io", "path", "process"];
    let methods = ["sync_all", "sync_data", "set_len", "set_permissions", "try_clone", "metadata"];
    let more =
        ["read_at", "read_exact_at", "write_at", "read_to_end", "try_lock", "symlink_metadata"];
    let of_paths = ["File::open", "File::create", "File::options", "OpenOptions", "DirBuilder"];
    let mut wrong = Vec::new();
    for (file, text) in files("src/mailbox/maildir", "rs") {
        if file.contains("/system") || file.contains("/tests") {
            continue;
        }
        for used in paths(&file, &text) {
            let name = used.path.rsplit("::").next().unwrap();
            let is_system = ["rustix::", "std::fs::"].iter().any(|of| used.path.starts_with(of));
            let is_function = !used.path.contains(|c: char| c.is_ascii_uppercase());
            if is_system && is_function && !modules.contains(&name) {
                wrong.push(format!("{file}:{}: {}", used.line, used.path));
            }
        }
        let code = code(&text);
        let calls = methods.iter().chain(&more).map(|method| format!(".{method}("));
        let calls = calls.chain(of_paths.map(str::to_owned));
        wrong
            .extend(calls.filter(|call| code.contains(call)).map(|call| format!("{file}: {call}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_source_file_says_what_lives_in_it() {
    for (file, text) in files("src", "rs").into_iter().chain(files("tests", "rs")) {
        assert!(text.starts_with("//! "), "{file} begins without //!");
    }
}

#[test]
fn a_module_with_files_of_its_own_is_the_mod_of_their_folder() {
    let beside = |file: &String| root().join(file.strip_suffix(".rs").unwrap()).is_dir();
    let found = files("src", "rs").into_iter().map(|(file, _)| file).filter(beside);
    assert_eq!(found.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn the_map_of_the_code_stays_short() {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let count = text.lines().count();
    assert!(count <= 150, "docs/ARCHITECTURE.md has {count} lines, and may have 150");
}

#[test]
fn long_tests_stand_in_a_file_of_their_own() {
    const MOST_LINES: usize = 120;
    for (file, text) in files("src", "rs") {
        let lines = text.lines().skip_while(|line| *line != "mod tests {").skip(1);
        let count = lines.take_while(|line| *line != "}").count();
        assert!(count <= MOST_LINES, "{file} has {count} lines of tests: put them into tests.rs");
    }
}

/// The cells of the table rows of docs/RFC.md that name a section of an RFC.
fn rows() -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs/RFC.md")).unwrap();
    text.lines()
        .filter(|line| line.starts_with("| RFC ") || line.starts_with("| draft-"))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// The texts between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_row_of_the_rfc_table_names_files_and_tests_that_exist() {
    let sources: String =
        files("src", "rs").into_iter().chain(files("tests", "rs")).map(|(_, text)| text).collect();
    let exists = |name: &str| {
        if name.contains('/') {
            root().join(name).exists()
        } else {
            sources.contains(&format!("fn {name}("))
        }
    };
    let mut wrong = Vec::new();
    for row in rows() {
        let [section, requirement, place, test] = row.as_slice() else {
            panic!("a row has four cells: {row:?}");
        };
        let is_rule = place.contains("src/");
        for name in quoted(test).chain(quoted(place).filter(|name| name.contains('/'))) {
            if !exists(name) {
                wrong.push(format!("{section}, {requirement}: there is no {name}"));
            }
        }
        if is_rule && quoted(test).next().is_none() {
            wrong.push(format!("{section}, {requirement}: no test"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_row_of_the_fault_matrix_names_tests_that_exist() {
    let page = fs::read_to_string(root().join("docs/RELIABILITY.md")).unwrap();
    let sources: String =
        files("src", "rs").into_iter().chain(files("tests", "rs")).map(|(_, text)| text).collect();
    let mut wrong = Vec::new();
    for row in page.split("## The matrix").nth(1).unwrap().lines().filter(|row| row.contains("` |"))
    {
        let test = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for name in quoted(test) {
            let exists = root().join(name).exists()
                || root().join("tests/transcripts").join(name).exists()
                || sources.contains(&format!("fn {name}("))
                || sources.contains(&format!("name: \"{name}\""));
            if !exists {
                wrong.push(format!("there is no {name}: {row}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_citation_in_the_code_has_a_row() {
    let sections: BTreeSet<String> = rows().into_iter().map(|row| row[0].clone()).collect();
    let mut missing = BTreeSet::new();
    for (file, text) in files("src", "rs") {
        for citation in citations(&without_tests(&text)) {
            let listed = sections.iter().any(|section| {
                *section == citation || section.starts_with(&format!("{citation} "))
            });
            if !listed {
                missing.insert(format!("{file}: {citation}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.into_iter().collect::<Vec<_>>().join("\n"));
}

/// `RFC 1939 §5 RETR`, `RFC 2595 §4`: the RFC, the section, and for commands their name.
fn citations(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in text.split("RFC ").skip(1) {
        let mut words = rest.split_whitespace();
        let (Some(number), Some(section)) = (words.next(), words.next()) else { continue };
        let Some(section) = section.strip_prefix('§') else { continue };
        let number: String = number.chars().take_while(char::is_ascii_digit).collect();
        let end = section.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(section.len());
        let ends_here = end < section.len();
        let section = section[..end].trim_end_matches('.');
        let mut citation = format!("RFC {number} §{section}");
        if let (false, Some(word)) = (ends_here, words.next()) {
            let word: String = word.chars().take_while(char::is_ascii_uppercase).collect();
            if number == "1939" && (3..=4).contains(&word.len()) {
                citation = format!("{citation} {word}");
            }
        }
        found.push(citation);
    }
    found
}

/// The values of `why=` in the log: those of `End`, and those that `server` adds.
fn reasons() -> BTreeSet<String> {
    let read = |file| fs::read_to_string(root().join(file)).unwrap();
    let mut reasons = BTreeSet::new();
    for file in [
        "src/session/end.rs",
        "src/server/connection.rs",
        "src/server/proxy/mod.rs",
        "src/server/tls/handshake_failure.rs",
    ] {
        let text = read(file);
        let text = without_tests(&text);
        let literals = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for literal in literals.flat_map(|line| line.split('"').skip(1).step_by(2)) {
            let is_word = |word: &str| {
                !word.is_empty()
                    && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            };
            let words = literal.split('-').all(is_word);
            if words && (literal.contains('-') || file.ends_with("end.rs")) {
                reasons.insert(literal.to_owned());
            }
        }
    }
    reasons
}

#[test]
fn every_why_of_the_log_is_explained_and_no_other() {
    let page = fs::read_to_string(root().join("docs/LOGS.md")).unwrap();
    let table = page.split("## Why a session ended").nth(1).unwrap();
    let table = table.split("\n## ").next().unwrap();
    let explained: BTreeSet<String> = table
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split('`').next()?.to_owned()))
        .filter(|word| word != "why")
        .collect();
    // It is never logged: STLS begins another session on the same connection.
    let mut reasons = reasons();
    assert!(reasons.remove("starttls"));
    assert_eq!(explained, reasons);
}

#[test]
fn every_transcript_says_what_it_shows() {
    for (file, text) in files("tests/transcripts", "txt") {
        assert!(text.starts_with("# "), "{file} begins without a comment");
    }
}

#[test]
fn documents_point_to_what_exists() {
    let mut wrong = Vec::new();
    let mut documents = files("docs", "md");
    documents.push(("README.md".to_owned(), fs::read_to_string(root().join("README.md")).unwrap()));
    for (file, text) in documents {
        let directory = root().join(&file).parent().unwrap().to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap();
            let elsewhere = target.contains("://") || target.starts_with("mailto:");
            if !elsewhere && !path.is_empty() && !PathBuf::from(&directory).join(path).exists() {
                wrong.push(format!("{file}: {target}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The suites below `tests/live`, each a directory or a file.
fn live_suites() -> BTreeSet<String> {
    let python = files("tests/live", "py");
    let mut suites: BTreeSet<String> = python.iter().map(|(file, _)| suite(file)).collect();
    for other in ["__main__", "lib"] {
        assert!(suites.remove(other), "{other} is not there");
    }
    suites
}

/// The suite that a file is part of: of `tests/live/stores/sql.py` and `tests/live/stores.py` alike.
fn suite(file: &str) -> String {
    let below = file.strip_prefix("tests/live/").unwrap();
    below.split(['/', '.']).next().unwrap().to_owned()
}

#[test]
fn no_live_suite_uses_another() {
    let suites = live_suites();
    let mut wrong = Vec::new();
    for (file, text) in files("tests/live", "py") {
        for line in text.lines() {
            let Some(rest) = line.strip_prefix("from ").or(line.strip_prefix("import ")) else {
                continue;
            };
            let package = rest.split([' ', '.', ',']).next().unwrap();
            if suites.contains(package) && package != suite(&file) {
                wrong.push(format!("{file}: {line}"));
            }
        }
    }
    assert!(wrong.is_empty(), "what two suites use is in lib:\n{}", wrong.join("\n"));
}

#[test]
fn every_live_suite_is_described() {
    let page = fs::read_to_string(root().join("docs/CONTRIBUTING.md")).unwrap();
    for suite in live_suites() {
        assert!(page.contains(&format!("\n| `{suite}` |")), "{suite} has no row");
    }
}

/// Suites outside of `.ci/run` take commands from the documents, too.
#[test]
fn every_block_that_a_live_suite_names_is_there_once() {
    let mut named = 0;
    for (file, text) in files("tests/live", "py") {
        for call in text.split("block(\"").skip(1) {
            let mut words = call.split('"');
            let (page, beginning) = (words.next().unwrap(), words.nth(1).unwrap());
            let beginning = beginning.replace("\\n", "\n");
            let document = fs::read_to_string(root().join(page)).unwrap();
            // A block may belong to an item of a list.
            let document = document.lines().map(str::trim_start).collect::<Vec<_>>().join("\n");
            let found = document.matches(&format!("\n```sh\n{beginning}")).count();
            assert_eq!(found, 1, "{file}: blocks of {page} that begin with {beginning:?}");
            named += 1;
        }
    }
    assert!(named > 4, "{named}");
}
