//! Well-formed commands, and the errors for other lines.

use super::*;

fn shown(line: &str) -> String {
    match Command::parse(line.as_bytes()) {
        Ok(Command::Pass(password)) => {
            format!("Pass({})", String::from_utf8_lossy(password.expose()))
        }
        Ok(Command::Auth(mechanism, InitialResponse::Present(response))) => {
            format!("Auth({mechanism:?}, {})", String::from_utf8_lossy(response.expose()))
        }
        Ok(command) => format!("{command:?}"),
        Err(error) => format!("{error:?}"),
    }
}

#[test]
fn well_formed_commands() {
    for (line, command) in [
        ("USER mrose", "User(ClaimedName(mrose))"),
        ("user  mrose ", "User(ClaimedName(mrose))"),
        ("PASS tanstaaf", "Pass(tanstaaf)"),
        ("PASS secret with blanks ", "Pass(secret with blanks )"),
        ("PASS  two", "Pass( two)"),
        ("PASS ", "Pass()"),
        ("QUIT", "Quit"),
        ("quit  ", "Quit"),
        ("STAT", "Stat"),
        ("LIST", "List(None)"),
        ("LIST ", "List(None)"),
        ("LIST 2", "List(Some(MessageNumber(2)))"),
        ("UIDL", "Uidl(None)"),
        ("UIDL 2", "Uidl(Some(MessageNumber(2)))"),
        ("RETR 1", "Retr(MessageNumber(1))"),
        ("DELE 1", "Dele(MessageNumber(1))"),
        ("TOP 1 10", "Top(MessageNumber(1), BodyLines(10))"),
        ("TOP  1  0 ", "Top(MessageNumber(1), BodyLines(0))"),
        ("Top 1 99999999999999999999999", "Top(MessageNumber(1), BodyLines(18446744073709551615))"),
        ("NOOP", "Noop"),
        ("RSET", "Rset"),
        ("CAPA", "Capa"),
        ("stls  ", "Stls"),
        ("UTF8", "Utf8"),
        ("utf8 ", "Utf8"),
        ("LANG", "Lang(None)"),
        ("lang ", "Lang(None)"),
        ("LANG *", "Lang(Some(Any))"),
        ("LANG MUL", "Lang(Some(Tag(\"mul\")))"),
        ("LANG en-GB ", "Lang(Some(Tag(\"en-gb\")))"),
        ("AUTH", "AuthMechanisms"),
        ("AUTH ", "AuthMechanisms"),
        ("AUTH PLAIN", "Auth(Plain, Absent)"),
        ("auth plain =", "Auth(Plain, =)"),
        ("AUTH LOGIN bXJvc2U=", "Auth(Login, bXJvc2U=)"),
        ("auth scram-sha-256-plus", "Auth(ScramSha256Plus, Absent)"),
    ] {
        assert_eq!(shown(line), command, "{line:?}");
    }
}

#[test]
fn lines_that_are_not_commands() {
    use CommandError::*;
    for (takes, lines) in [
        (Takes::Name, &["USER", "USER ", "USER a PASS b"][..]),
        (Takes::Password, &["PASS"]),
        (Takes::Nothing, &["QUIT now", "STAT 1", "NOOP 1", "RSET 1", "CAPA x", "STLS x", "UTF8 x"]),
        (Takes::Language, &["LANG en de", "LANG e\u{f6}", "LANG -", "LANG en-*"]),
        (
            Takes::Number,
            &["RETR", "RETR 0", "RETR -1", "RETR +1", "RETR 01", "RETR 1x", "RETR 1 2"],
        ),
        (Takes::Number, &["DELE", "DELE 1,2"]),
        (Takes::NumberOrNothing, &["LIST 0", "LIST 1 2", "UIDL 0", "UIDL x"]),
        (Takes::NumberAndLines, &["TOP", "TOP 1", "TOP 1 -1", "TOP 1 x", "TOP 0 1", "TOP 1 1 1"]),
        (Takes::Mechanism, &["AUTH PLAIN a b"]),
    ] {
        for line in lines {
            let keyword = line.split(' ').next().unwrap();
            let error = Command::parse(line.as_bytes()).unwrap_err();
            assert!(
                matches!(error, Arguments(named, wanted) if (named, wanted) == (keyword, takes)),
                "{line:?}: {error:?}"
            );
        }
    }
    for (line, error) in [
        ("", Unknown),
        (" ", Unknown),
        (" NOOP", Unknown),
        ("NOOPE", Unknown),
        ("NO", Unknown),
        ("APOP mrose c4c9334bac560ecc979e58001b3e22fb", Unknown),
        ("LAST", Unknown),
        ("UTF-8", Unknown),
        ("RETR\t1", Unknown),
        ("GET / HTTP/1.1", Unknown),
        ("RETR 4294967297", NoSuchMessage),
        ("LIST 18446744073709551617", NoSuchMessage),
        ("AUTH CRAM-MD5", UnknownMechanism),
        ("AUTH PLAINX", UnknownMechanism),
    ] {
        assert_eq!(Command::parse(line.as_bytes()).unwrap_err(), error, "{line:?}");
    }
}

#[test]
fn a_command_never_shows_its_secret() {
    for line in ["PASS tanstaaf", "AUTH PLAIN AG1yb3NlAHRhbnN0YWFm"] {
        let shown = format!("{:?}", Command::parse(line.as_bytes()));
        assert!(!shown.contains("tanstaaf") && !shown.contains("AG1y"), "{shown}");
    }
}
