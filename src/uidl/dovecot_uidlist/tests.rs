//! What Dovecot makes of damaged lists.

use super::*;

/// Six messages, `1.a` to `6.a`, whose UIDs are 1 to 6.
fn six_records() -> String {
    let records = (1..=6).map(|number| format!("{number} W432 :{number}.a\n"));
    format!("3 V1795743602 N7 Ga2abeb1772df086b3e78000083ecc375\n{}", records.collect::<String>())
}

fn read(list: &[u8]) -> DovecotList {
    DovecotList::read(list, |_| true).unwrap()
}

/// What Dovecot 2.3.19 and 2.4.1 make of damaged lists: how many messages have their UID again.
#[test]
fn damaged_lists_of_dovecot() {
    let whole = six_records();
    let appended = |line: &str| format!("{whole}{line}\n");
    for (what, list, same, damage) in [
        (
            "truncated in a line",
            whole.split_at(whole.find("5 W432").unwrap() - 4).0.to_owned(),
            3,
            None,
        ),
        ("no final newline", whole.trim_end().to_owned(), 5, None),
        ("header only", "3 V1795743602 N7\n".to_owned(), 0, None),
        ("N too low", whole.replace("N7", "N2"), 6, None),
        (
            "UIDs not ascending",
            whole.replace("1 W432 :1.a\n2 W432 :2.a", "2 W432 :2.a\n1 W432 :1.a"),
            1,
            Some((3, Problem::NotAscending { uid: 1, last: 2 })),
        ),
        (
            "UID twice",
            whole.replace("2 W432", "1 W432"),
            1,
            Some((3, Problem::NotAscending { uid: 1, last: 1 })),
        ),
        ("file twice", appended("7 :1.a"), 5, None),
        ("slash in name", whole.replace(":1.a", ":../1.a"), 0, Some((2, Problem::SlashInFileName))),
        ("NUL in a line", whole.replace(":1.a", ":\x001.a"), 0, Some((2, Problem::NoFileName))),
        ("CRLF ends", whole.replace('\n', "\r\n"), 6, None),
        ("garbage at end", appended("garbage"), 6, Some((8, Problem::NoUid))),
        ("UID 4294967295", appended("4294967295 :x"), 6, Some((8, Problem::TooHigh(u32::MAX)))),
        ("UID 99999999999", appended("99999999999 :x"), 6, None),
        ("no colon", whole.replace(":1.a", "1.a"), 0, Some((2, Problem::NoFileName))),
        (
            "long line",
            appended(&format!("7 :{}", "x".repeat(5000))),
            6,
            Some((8, Problem::TooLong)),
        ),
        ("UID 0", appended("0 :x"), 6, Some((8, Problem::NoUid))),
        ("no space", appended("7:x"), 6, Some((8, Problem::NoUid))),
        (
            "version 1, UID too high",
            "1 1795743602 2\n1 1.a\n2 2.a:2,S\n".to_owned(),
            1,
            Some((3, Problem::NotBelowNext { uid: 2, next: 2 })),
        ),
    ] {
        let list = read(list.as_bytes());
        let uid = |name: String| list.records.get(name.as_bytes()).map(|record| record.uid);
        let found = (1..=6).filter(|number| uid(format!("{number}.a")) == Some(*number)).count();
        assert_eq!(found, same, "{what}");
        let damage = damage.map(|(line, problem)| BadLine { line, problem });
        assert_eq!(list.damage, damage, "{what}");
    }
}

#[test]
fn headers_of_dovecot() {
    for (list, expected) in [
        ("", "line 1: there is no complete line"),
        ("3 V1 N2", "line 1: there is no complete line"),
        ("garbage\n", "line 1: it does not begin with a version number"),
        ("1 W432 :1.a\n", "line 1: the value of V is invalid: \"W432\""),
        ("1 5\n", "line 1: the value of N is invalid: \"\""),
        ("2 1795743602 7\n", "line 1: version 2 is not supported; versions 1 and 3 are"),
        ("9 V1 N7\n", "line 1: version 9 is not supported; versions 1 and 3 are"),
        ("3 V0 N7\n", "line 1: there is no UIDVALIDITY"),
        ("3 N7\n", "line 1: there is no UIDVALIDITY"),
        ("3 V1\n", "line 1: there is no next UID"),
        ("3 Vx\x01 N7\n", "line 1: the value of V is invalid: \"x\\x01\""),
        ("3 V1 N4294967296\n", "line 1: the value of N is invalid: \"4294967296\""),
        ("3 V1 N7 Gabc\n", "line 1: the value of G is invalid: \"abc\""),
    ] {
        let error = DovecotList::read(list.as_bytes(), |_| true).unwrap_err();
        assert_eq!(error.to_string(), expected, "{list}");
    }
    let list = read(six_records().replace("N7", "N3 Punused").as_bytes());
    assert_eq!((list.uid_validity, list.next_uid), (1_795_743_602, 7));
    assert_eq!(list.mailbox_guid.as_deref(), Some("a2abeb1772df086b3e78000083ecc375"));
    assert_eq!(read(six_records().replace("N7", "N99").as_bytes()).next_uid, 99);
}

#[test]
fn only_wanted_records_are_kept() {
    let list = DovecotList::read(six_records().as_bytes(), |name| name == b"3.a").unwrap();
    assert_eq!(list.records.keys().map(|name| &**name).collect::<Vec<_>>(), [b"3.a"]);
    assert_eq!(list.next_uid, 7);
}
