//! Valid values, and the errors for invalid ones.

use super::*;

#[test]
fn host_names() {
    for good in ["pop.example.org", "mail", "a-b.c_d", "192.0.2.1", "xn--bcher-kva.example"] {
        assert_eq!(host_name(good), Ok(good.to_owned()));
    }
    let long = "a.".repeat(130);
    for bad in ["", ".", "a..b", "a.", "-a", "a-", "a b", "<a>", "a@b", "bücher", "a\r\nb", &long]
    {
        assert!(host_name(bad).is_err(), "{bad:?}");
    }
    assert_eq!(certificate_name("*.Example.ORG"), Ok("*.example.org".to_owned()));
    for bad in ["*", "*.", "a.*", "*.*.a", "**.a"] {
        assert!(certificate_name(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn domains() {
    for (good, whole) in [
        ("example.org", "example.org"),
        ("Example.ORG", "example.org"),
        ("localhost", "localhost"),
        ("b\u{fc}cher.example", "b\u{fc}cher.example"),
    ] {
        assert_eq!(domain(good).as_deref(), Ok(whole));
    }
    let long = "a.".repeat(130);
    for bad in [
        "",
        ".",
        "@",
        "@example.org",
        "mrose@example.org",
        ".org",
        "a..b",
        "a.",
        "a b",
        "a/b",
        "{domain}",
        "%d",
        "*.org",
        "a\0",
        "a\u{200b}b",
        &long,
    ] {
        assert!(domain(bad).is_err(), "{bad:?}");
    }
    let error = domain("@example.org").unwrap_err();
    assert!(error.to_string().ends_with("write \"example.org\""));
    let error = domain("@\u{1b}[31m").unwrap_err();
    assert_eq!(error.to_string(), r#""@\u{1b}[31m" begins with "@"; write "\u{1b}[31m""#);
}

#[test]
fn socket_addresses() {
    for good in ["[::]:995", "0.0.0.0:110", "127.0.0.1:0", "[fe80::1%2]:995"] {
        assert!(socket_address(good).is_ok(), "{good}");
    }
    for (bad, hint) in [
        ("995", "write \"[::]:995\""),
        (":995", "write \"[::]:995\""),
        ("*:110", "write \"[::]:110\""),
        ("[::1]", "such as \"[::1]:995\""),
        ("192.0.2.1", "such as \"192.0.2.1:995\""),
        ("localhost:995", "only IP addresses are allowed"),
        ("fe80:0:0:0:0:0:0:1:995", "write \"[fe80::1]:995\""),
        ("192.0.2.256:995", "not an IP address"),
        ("192.0.2.1:99999", "not an IP address"),
        ("", "not an IP address"),
    ] {
        let error = socket_address(bad).unwrap_err().to_string();
        assert!(error.contains(hint), "{bad}: {error}");
    }
}

#[test]
fn networks() {
    for (good, shown) in [
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.1", "192.0.2.1/32"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
    ] {
        assert_eq!(network(good).unwrap().to_string(), shown);
    }
    for bad in ["", "192.0.2", "192.0.2.0/33", "localhost", "192.0.2.0-192.0.2.9"] {
        assert!(network(bad).unwrap_err().to_string().contains("such as"), "{bad}");
    }
}

#[test]
fn users() {
    let vmail =
        |group: Option<&str>| RunAs { user: "vmail".to_owned(), group: group.map(str::to_owned) };
    assert_eq!(run_as("vmail"), Ok(vmail(None)));
    assert_eq!(run_as("vmail:mail"), Ok(vmail(Some("mail"))));
    for bad in ["", ":", "vmail:", ":mail", "a:b:c", "a b", "a\n"] {
        assert!(run_as(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn keywords() {
    for good in ["$POP3Deleted", "deleted", "a-b"] {
        assert_eq!(keyword(good), Ok(good.to_owned()));
    }
    for bad in ["", "a b", "\\Deleted", "(a)", "a]", "\"a\"", "k\u{e4}se", "a\n"] {
        assert!(keyword(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn path_templates() {
    for good in [
        "/m/{user}",
        "m/{domain}/{local}/Maildir",
        "/m/x-{local}@{domain}.d",
        "../{user}",
        "{home}",
        "{home}/Maildir",
        "{home}/{local}",
    ] {
        assert_eq!(path_template(good, "\"/m/{user}\""), Ok(()), "{good}");
    }
    for (bad, hint) in [
        ("", "is empty; write a path such as \"/m/{user}\""),
        ("/m", "same for all users; write {user} or {local} in it, as in \"/m/{user}\""),
        ("/m/{domain}", "same for all users"),
        ("/m/{house}", "\"{house}\" is not a placeholder"),
        ("/m/{home}", "begin with it, as in \"{home}/Maildir\""),
        ("{user}{home}", "begin with it, as in"),
        ("/m/{User}", "\"{User}\" is not a placeholder"),
        ("/m/{user", "unmatched brace"),
        ("/m/user}", "unmatched brace"),
        ("/m/{}", "\"{}\" is not a placeholder"),
        ("~/{user}", "\"~\""),
        ("/m/%d/%n", "write \"{local}\""),
        ("/m/{user}\0", "NUL"),
    ] {
        let error = path_template(bad, "\"/m/{user}\"").unwrap_err().to_string();
        assert!(error.contains(hint), "{bad}: {error}");
    }
}
