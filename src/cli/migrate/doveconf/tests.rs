//! Parts of the output of doveconf, and their translation.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[test]
fn variables_become_placeholders() {
    for (path, home, expected) in [
        ("~/Maildir", "{home}", "{home}/Maildir"),
        ("~", "{home}", "{home}"),
        ("Maildir", "{home}", "{home}/Maildir"),
        ("%h/Maildir", "{home}", "{home}/Maildir"),
        ("%{home}/Maildir", "/m/{user}", "/m/{user}/Maildir"),
        ("/control%h", "/m/{user}", "/control/m/{user}"),
        ("/m/%d/%n", "{home}", "/m/{domain}/{local}"),
        ("/m/%Ld/%Ln/%Lu", "{home}", "/m/{domain}/{local}/{user}"),
        ("/m/%{domain}/%L{username}", "{home}", "/m/{domain}/{local}"),
        ("/m/%{user | domain}/%{user|username|lower}", "{home}", "/m/{domain}/{local}"),
        ("/m/%{user | lower | username}", "{home}", "/m/{local}"),
        ("/100%%/%u", "{home}", "/100%/{user}"),
    ] {
        assert_eq!(variable::template(path, home).as_deref(), Ok(expected), "{path}");
    }
    for (path, what) in [
        ("/m/%1n/%n", "%1n"),
        ("/m/%2.256Hu/%u", "%2.256Hu"),
        ("/m/%1Mn/%{user}", "%1Mn"),
        ("/m/%{user | md5}", "%{user | md5}"),
        ("/m/%{user | domain | domain}", "%{user | domain | domain}"),
        ("/m/%{user", "%{user"),
        ("/m/%", "%"),
        ("/m/%s", "%s"),
        ("/m/{user}", "a brace in a path"),
        ("/control/%h", "a home directory within a path"),
        ("~vmail/%u", "~vmail/%u"),
    ] {
        let error = variable::template(path, "{home}").unwrap_err().to_string();
        assert_eq!(error, format!("{what} has no equivalent"), "{path}");
    }
}

#[test]
fn a_location_has_keys() {
    let of = |value: &str| {
        let text = format!("mail_location = {value}\n");
        let root = Block::parse(&text).unwrap();
        let location = Location::of(&Settings::of(&root));
        let path = location.maildir().map(|path| path.map(str::to_owned));
        (path.map_err(|error| error.to_string()), location.control())
    };
    let control = |path: &str| Some(path.to_owned());
    for (value, path, control) in [
        ("maildir:~/Maildir", "~/Maildir", None),
        ("Maildir:~/Maildir:INDEX=/i/%u", "~/Maildir", None),
        ("~/Maildir", "~/Maildir", None),
        ("/m/%u:CONTROL=/c/%u/", "/m/%u", control("/c/%u/.INBOX")),
        ("maildir:/m/%u:LAYOUT=fs:CONTROL=/c", "/m/%u", control("/c/INBOX")),
        ("maildir:/m/%u:INBOX=/i/%u:DIRNAME=mail", "/i/%u", None),
        ("maildir:/a::b/%u", "/a:b/%u", None),
    ] {
        assert_eq!(of(value), (Ok(Some(path.to_owned())), control), "{value}");
    }
    for value in ["sdbox:~/sdbox", "imapc:", "maildir:~/m:LAYOUT=index", "maildir:~/m:DIRNAME=m"] {
        let error = of(value).0.unwrap_err();
        assert!(error.contains("only Maildirs can be served; copy the mail"), "{value}: {error}");
    }
    assert_eq!(of(""), (Ok(None), None));
    assert_eq!(of("maildir:"), (Ok(None), None));
}

#[test]
fn values_may_be_quoted() {
    let root = Block::parse("a = \"  \\\"b\\\\ \"\nb = \"c\" d\nc=\ne = f = {\n").unwrap();
    assert_eq!(root.setting("a"), Some("  \"b\\ "));
    assert_eq!(root.setting("b"), Some("\"c\" d"));
    assert_eq!(root.setting("c"), Some(""));
    assert_eq!(root.setting("e"), Some("f = {"));
}

#[test]
fn text_that_is_no_output_is_refused_with_its_line() {
    for (text, error) in [
        ("", SyntaxError::Empty),
        ("# 2.3.19.1\n\ndoveconf: Fatal: no\n", SyntaxError::Empty),
        ("a = b\nc {\n", SyntaxError::Incomplete),
        ("a = b\n}\n", SyntaxError::Line(2)),
        ("# c\na = b\nwhat\n", SyntaxError::Line(3)),
        ("= b\n", SyntaxError::Line(1)),
        (&"a {\n".repeat(100_000), SyntaxError::Line(33)),
    ] {
        assert_eq!(Block::parse(text), Err(error), "{text}");
    }
}

#[test]
fn notes_are_comments_of_any_length() {
    let sections = translate("mail_location = maildir:/m/%u\npop3_uidl_format = %k\n").unwrap();
    let (notes, keys) = sections.split_once("\n\n").unwrap();
    assert!(notes.lines().all(|line| line.starts_with("# ")));
    assert!(
        notes.contains("\n# pop3_uidl_format = \"%k\" cannot be used: there is no variable %k; ")
    );
    assert!(keys.starts_with("[maildir]\npath = \"/m/{user}\"\n"), "{keys}");
    let long = "x".repeat(1000);
    let note = Note::Filter(long.clone()).comment();
    assert!(note.contains(&format!("\n# \"{long}\"\n# apply ")), "{note}");
}

/// Lines with the names of settings that are translated, and any values.
fn output() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        4 => (
            prop::sample::select(vec![
                "mail_location",
                "mail_path",
                "mail_driver",
                "mail_home",
                "mail_control_path",
                "auth_username_format",
                "pop3_uidl_format",
                "pop3_deleted_flag",
                "dovecot_config_version",
                "driver",
                "args",
                "inbox",
            ]),
            "(maildir:|~/|/|%)?(\\PC|[%{}|:\"\\\\\r\t\u{1b}]|user|yes|static){0,8}",
        )
            .prop_map(|(name, value)| format!("{name} = {value}")),
        1 => prop::sample::select(vec![
            "protocol pop3 {",
            "namespace inbox {",
            "remote \u{7f} {",
            "userdb a\u{1b}b {",
            "}",
        ])
        .prop_map(str::to_owned),
        1 => "\\PC{0,8}",
    ];
    vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn sections_are_valid_whatever_the_values(text in output()) {
        if let Ok(sections) = translate(&text) {
            let parsed = sections.parse::<toml::Table>();
            prop_assert!(parsed.is_ok(), "{:?} in {sections:?}", parsed.unwrap_err());
        }
    }
}
