//! Reports on certificates, keys and CA certificates.

use std::time::Duration;

use super::*;

#[test]
fn certificate_and_key_are_both_named_when_both_are_missing() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.path("tls.crt")).unwrap();
    fs::remove_file(fixture.path("tls.key")).unwrap();
    let report = fixture.report();
    assert_eq!(report.errors.len(), 2, "{report:?}");
    assert!(report.errors[0].starts_with("restante.toml:12:15: tls.certificate: tls.crt: "));
    assert!(report.errors[1].starts_with("restante.toml:13:15: tls.private-key: tls.key: "));
}

#[test]
fn ca_certificates_for_clients_are_checked() {
    let fixture = Fixture::new();
    let with_ca = "client-ca = \"clients.pem\"\nprivate-key";
    fixture.write("restante.toml", &GOOD.replace("private-key", with_ca));
    let certificate = fs::read_to_string(fixture.path("tls.crt")).unwrap();
    for (text, hint) in [
        (None, "cannot be read: No such file"),
        (Some(String::new()), "has no certificate in it"),
        (Some("-----BEGIN CERTIFICATE-----\nMAA=\n".to_owned()), "is not a complete PEM file"),
        (Some(certificate.replacen("MII", "AAA", 1)), "cannot be used"),
    ] {
        if let Some(text) = text {
            fixture.write("clients.pem", &text);
        }
        let report = fixture.report();
        assert_eq!(report.errors.len(), 1, "{report:?}");
        let start = format!("restante.toml:13:13: tls.client-ca: clients.pem: {hint}");
        assert!(report.errors[0].starts_with(&start), "{start} is not {report:?}");
    }
    fixture.write("clients.pem", &certificate.repeat(2));
    let report = fixture.report();
    assert_eq!(report.errors, [""; 0]);
    let summary = &report.summary;
    assert!(summary.contains("\n  client-ca    2 certificates in clients.pem\n"), "{summary}");
    let unusable = "restante.toml:13:13: tls.client-ca: no user can log in with a certificate";
    let warned = |report: Lines| report.warnings.iter().any(|line| line.starts_with(unusable));
    assert!(!warned(report));
    let text = fs::read_to_string(fixture.path("restante.toml")).unwrap();
    let program = "kind = \"checkpassword\"\ncommand = [\"/bin/false\"]\n";
    let store = "kind = \"file\"\npath = \"users\"\n";
    fixture.write("restante.toml", &text.replace(store, program));
    assert!(warned(fixture.report()));
}

#[test]
fn the_known_file_of_half_a_pair_is_checked() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.path("tls.key")).unwrap();
    fixture.write("restante.toml", &GOOD.replace("\"tls.crt\"", "3"));
    let report = fixture.report();
    assert_eq!(report.errors.len(), 2, "{report:?}");
    assert!(report.errors[1].starts_with("restante.toml:13:15: tls.private-key: tls.key: "));
}

#[test]
fn dates_of_certificates_are_checked() {
    let fixture = Fixture::new();
    let early = Circumstances { now: SystemTime::UNIX_EPOCH + DAY, ..circumstances() };
    let report = fixture.report_in(&early, Extent::Everything);
    let warned = report.warnings.iter().any(|line| line.contains("tls.certificate: "));
    assert!(warned, "{report:?}");
}

#[test]
fn the_default_certificate_need_not_have_the_name_of_a_host() {
    let fixture = Fixture::new();
    fixture.certificate("tls", &["other.example.org"]);
    fixture.certificate("own", &["*.example.org"]);
    let host = "[[tls.host]]\nnames = [\"pop.example.org\"]\ncertificate = \"own.crt\"\nprivate-key = \"own.key\"\n";
    fixture.write("restante.toml", &format!("{GOOD}\n{host}"));
    let report = fixture.report();
    assert!(!report.warnings.iter().any(|line| line.contains("not for")), "{report:?}");
}

#[test]
fn the_certificate_for_settings_has_the_names_that_clients_look_for() {
    let web = "[client-settings]\ndomains = [\"example.org\"]\nweb-host = \"web.example.org\"\n\
               [client-settings.smtp]\nhost = \"smtp.example.org\"\n[web]\nlisten = \"[::]:443\"\n";
    let local = web.replace("[::]", "[::1]");
    let without_tls = format!("{web}tls = false\n");
    let host = format!(
        "{web}[[tls.host]]\nnames = [\"*.example.org\"]\ncertificate = \"all.crt\"\nprivate-key = \"all.key\"\n"
    );
    let found = "connect to autoconfig.example.org and 2 other names, but the certificate that they get is for ";
    for (names, more, expected) in [
        (&["pop.example.org"][..], web, Some(format!("{found}pop.example.org;"))),
        (
            &["pop.example.org", "web.example.org", "autoconfig.example.org"],
            web,
            Some("connect to autodiscover.example.org, but".to_owned()),
        ),
        (&["pop.example.org", "*.example.org"], web, None),
        (&["pop.example.org"], &host, None),
        (&["pop.example.org"], &local, None),
        (&["pop.example.org"], &without_tls, None),
    ] {
        let fixture = Fixture::new();
        fixture.certificate("tls", names);
        fixture.certificate("all", &["*.example.org"]);
        fixture.write("restante.toml", &format!("{GOOD}\n{more}"));
        let report = fixture.report();
        let mut warnings = report.warnings.iter().filter(|line| line.contains("look for settings"));
        let warning = warnings.next();
        assert_eq!(warning.is_some(), expected.is_some(), "{more}: {report:?}");
        if let (Some(warning), Some(expected)) = (warning, &expected) {
            assert!(warning.contains(": web.listen: ") && warning.contains(expected), "{warning}");
        }
        assert_eq!(warnings.next(), None, "{more}");
    }
}

const DAY: Duration = Duration::from_secs(86_400);
