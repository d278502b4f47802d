//! Reports on the location of mail: the directory above all of it, and the Maildirs of users.

use super::*;

#[test]
fn users_without_a_maildir_are_counted() {
    let fixture = Fixture::new();
    fixture.write("users", "fred@example.org:{PLAIN}x\nmrose@example.org:{PLAIN}x\n");
    let absent = "restante.toml:16:8: maildir.path: there is no Maildir yet for ";
    let found = |report: &Lines| report.warnings.iter().find(|w| w.starts_with(absent)).cloned();
    let both = found(&fixture.report()).unwrap();
    assert!(
        both.contains("2 users (such as mail/example.org/fred for fred@example.org)"),
        "{both}"
    );
    fs::create_dir_all(fixture.path("mail/example.org/fred")).unwrap();
    fs::create_dir_all(fixture.path("mail/example.org/mrose")).unwrap();
    assert_eq!(found(&fixture.report()), None);
}

#[test]
fn maildirs_that_a_login_creates_are_not_missing() {
    let fixture = Fixture::new();
    fixture.write("restante.toml", &GOOD.replace("[maildir]", "[maildir]\ncreate = true"));
    let found = |report: &Lines| report.warnings.iter().find(|w| w.contains("no Maildir")).cloned();
    let unmarked = found(&fixture.report()).unwrap();
    assert!(unmarked.contains("who cannot log in: ") && unmarked.contains("mail"), "{unmarked}");
    fixture.write("mail/restante.root", "");
    let marked = fixture.report();
    assert_eq!(found(&marked), None, "{marked:?}");
}

#[test]
fn the_location_in_the_credential_file_is_used() {
    let fixture = Fixture::new();
    fixture.write("restante.toml", &GOOD.replace("mail/{domain}/{local}", "{home}/Maildir"));
    let home = fixture.path("mail");
    let home = home.display();
    fixture.write(
        "users",
        &format!(
            "mrose:{{PLAIN}}x::::{home}/mrose::\n\
             fred:{{PLAIN}}x::::::userdb_mail=maildir:{home}/fred\n\
             nobody:{{PLAIN}}x::::::userdb_mail=maildir:%h/Maildir\n\
             bob:{{PLAIN}}x\n"
        ),
    );
    let maildir_path = |report: &Lines| {
        let about = report.warnings.iter().filter(|line| line.contains(" maildir.path: "));
        about.map(|line| line.replace("restante.toml:16:8: maildir.path: ", "")).collect()
    };
    let found: Vec<String> = maildir_path(&fixture.report());
    assert_eq!(
        found,
        [
            "there is no {home} for 1 user (bob), who cannot log in; give each a home \
             directory, or write {user} instead",
            "there is no Maildir yet for 2 users (such as mail/mrose/Maildir for mrose), who \
             cannot log in until it is created",
        ]
    );
    fs::create_dir_all(fixture.path("mail/mrose/Maildir")).unwrap();
    fs::create_dir_all(fixture.path("mail/fred")).unwrap();
    let report = fixture.report();
    assert_eq!(maildir_path(&report).len(), 1, "{report:?}");
    assert!(report.summary.contains("mail/mrose/Maildir  for mrose"), "{report:?}");
}

#[test]
fn maildirs_that_the_user_of_run_as_cannot_access_are_counted() {
    let fixture = Fixture::new();
    fixture.write("restante.toml", &format!("run-as = \"daemon\"\n{GOOD}"));
    fs::set_permissions(fixture.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (folder, mode) in [("cur", 0o777), ("new", 0o777), ("tmp", 0o755)] {
        let folder = fixture.path(&format!("mail/example.org/mrose/{folder}"));
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
    }
    let open = [("mail/example.org", 0o755), ("mail/example.org/mrose/cur", 0o777)];
    let warning = |modes: [(&str, u32); 2]| {
        for (path, mode) in modes {
            fs::set_permissions(fixture.path(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        let report = fixture.report();
        report.warnings.into_iter().find(|line| line.contains("cannot read mail, or "))
    };
    assert_eq!(warning(open), None);
    let [above, cur] = open;
    for (modes, why) in [
        ([(above.0, 0o700), cur], "daemon cannot enter "),
        ([above, (cur.0, 0o755)], "daemon cannot read and write mail/example.org/mrose/cur"),
    ] {
        let start = "restante.toml:17:8: maildir.path: 1 user (mrose@example.org) cannot \
                     read mail, or cannot remove it: ";
        let line = warning(modes).unwrap();
        assert!(line.starts_with(&format!("{start}{why}")), "{line}");
    }
    // An incomplete Maildir is reported even if its permissions are right.
    for folder in ["tmp", "new"] {
        let path = fixture.path("mail/example.org/mrose").join(folder);
        fs::remove_dir(&path).unwrap();
        let missing = warning(open).unwrap();
        assert!(missing.contains(&format!("open mail/example.org/mrose/{folder}: ")), "{missing}");
        std::os::unix::fs::symlink("cur", &path).unwrap();
        let link = warning(open).unwrap();
        assert!(link.contains(&format!("open mail/example.org/mrose/{folder}: not a ")), "{link}");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    }
}

#[test]
fn the_error_for_a_missing_directory_of_mail_names_the_mount() {
    let fixture = Fixture::new();
    fs::remove_dir(fixture.path("mail")).unwrap();
    for what in ["mail does not exist; ", "mail is not a directory; "] {
        let report = fixture.report();
        let start = format!("restante.toml:16:8: maildir.path: {what}");
        assert_eq!(report.errors.len(), 1, "{report:?}");
        assert!(report.errors[0].starts_with(&start), "{report:?}");
        assert!(report.errors[0].contains("RequiresMountsFor="), "{report:?}");
        assert!(!report.warnings.iter().any(|line| line.contains("no Maildir yet")), "{report:?}");
        fixture.write("mail", "");
    }
}

#[test]
fn at_most_a_hundred_maildirs_are_examined_unless_all_are_asked_for() {
    let fixture = Fixture::new();
    let users: String = (0..250).map(|nth| format!("user{nth}@example.org:{{PLAIN}}x\n")).collect();
    fixture.write("users", &users);
    let warned = |report: &Lines, count: &str| {
        let line = format!("there is no Maildir yet for {count} users ");
        report.warnings.iter().any(|warning| warning.contains(&line))
    };
    let report = fixture.report();
    assert!(warned(&report, "84"), "each third: {report:?}");
    assert!(report.summary.contains("  examined     84 of 250 Maildirs; --users "), "{report:?}");
    let all = Circumstances { all_users: true, ..circumstances() };
    let report = fixture.report_in(&all, Extent::Offline);
    assert!(warned(&report, "250") && !report.summary.contains("  examined "), "{report:?}");
}

#[test]
fn a_warning_about_the_unit_has_the_line_to_write() {
    let fixture = Fixture::new();
    let file = fixture.path("restante.toml").canonicalize().unwrap();
    fs::create_dir_all(fixture.path("mail/example.org/mrose")).unwrap();
    let unit = |properties: &str| {
        let command = format!("restante serve --config {}", file.display());
        let text = format!("LoadState=loaded\nExecStart={command} ;\n{properties}\n");
        Circumstances { unit: Unit::parse(&text, &file), ..circumstances() }
    };
    let home = fixture.0.path().canonicalize().unwrap();
    let rooted = GOOD.replace("path = \"mail/", &format!("path = \"{}/mail/", home.display()));
    for (properties, run_as, words) in [
        ("ProtectSystem=strict", "", "messages cannot be removed: mail is read-only for restante"),
        ("InaccessiblePaths=DIR", "", "mail is hidden from restante.service by ProtectHome="),
        ("ProtectSystem=strict\nReadWritePaths=DIR/mail", "", ""),
        ("User=daemon", "run-as = \"bin\"", "and only root can become bin; write User=bin"),
    ] {
        fixture.write("restante.toml", &format!("{run_as}\n{rooted}"));
        let properties = properties.replace("DIR", &home.display().to_string());
        let report = fixture.report_in(&unit(&properties), Extent::Offline);
        let about =
            |line: &&String| line.contains(" restante.service") || line.contains(" run-as: ");
        // The server does not start if it cannot become its user; otherwise it serves.
        let (findings, others) = match run_as {
            "" => (&report.warnings, &report.errors),
            _ => (&report.errors, &report.warnings),
        };
        let found: Vec<_> = findings.iter().filter(about).collect();
        assert_eq!(found.is_empty(), words.is_empty(), "{properties}: {report:#?}");
        assert!(found.iter().all(|line| line.contains(words)), "{properties}: {report:#?}");
        assert!(!others.iter().any(|line| about(&line)), "{properties}: {report:#?}");
        if run_as.is_empty() {
            assert_eq!(report.errors, [""; 0], "{report:#?}");
        }
    }
}

#[test]
fn two_users_in_one_maildir_are_named() {
    let fixture = Fixture::new();
    fixture.write("users", "mrose@example.org:{PLAIN}x\nmrose@example.net:{PLAIN}x\n");
    fixture.write("restante.toml", &GOOD.replace("{domain}/{local}", "{local}"));
    let report = fixture.report();
    let shared = "mail/mrose is the Maildir of mrose@example.org and of mrose@example.net; ";
    assert!(report.warnings.iter().any(|line| line.contains(shared)), "{report:?}");
}

#[test]
fn a_directory_of_mail_that_is_not_a_mail_root_is_named() {
    let fixture = Fixture::new();
    // Even if no user lacks a Maildir.
    fixture.write("users", "");
    let text = GOOD.replace("[maildir]\n", "[maildir]\ncreate = true\n");
    fixture.write("restante.toml", &text);
    let found = |fixture: &Fixture| {
        let report = fixture.report();
        report.warnings.into_iter().find(|line| line.contains(" maildir.create: "))
    };
    let line = found(&fixture).unwrap();
    assert!(
        line.contains("mail is not a mail root") && line.contains("restante init-root "),
        "{line}"
    );
    // A mail root for a domain is enough.
    fs::create_dir(fixture.path("mail/example.org")).unwrap();
    crate::mailbox::maildir::mark_root(&fixture.path("mail/example.org")).unwrap();
    assert_eq!(found(&fixture), None);
    fs::remove_dir_all(fixture.path("mail/example.org")).unwrap();
    crate::mailbox::maildir::mark_root(&fixture.path("mail")).unwrap();
    assert_eq!(found(&fixture), None);
    fixture.write("restante.toml", GOOD);
    assert_eq!(found(&fixture), None);
}

#[test]
fn names_with_another_flag_separator_are_noticed() {
    let fixture = Fixture::new();
    let cur = fixture.path("mail/example.org/mrose/cur");
    fs::create_dir_all(&cur).unwrap();
    let found = |fixture: &Fixture| {
        let report = fixture.report();
        report.warnings.into_iter().find(|line| line.contains(" maildir.flag-separator: "))
    };
    fs::write(cur.join("1.a:2,S"), "").unwrap();
    assert_eq!(found(&fixture), None);
    fs::write(cur.join("2.b;2,S"), "").unwrap();
    let line = found(&fixture).unwrap();
    assert!(line.contains("is \":\", but mail/example.org/mrose/cur has 2.b;2,S"), "{line}");
    fs::remove_file(cur.join("1.a:2,S")).unwrap();
    let text = GOOD.replace("[maildir]\n", "[maildir]\nflag-separator = \";\"\n");
    fixture.write("restante.toml", &text);
    assert_eq!(found(&fixture), None);
}
