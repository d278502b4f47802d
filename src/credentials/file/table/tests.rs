//! The meaning of lines of a credential file.

use std::fmt::Write as _;
use std::num::NonZeroU32;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::credentials::file::Diagnostic;
use crate::credentials::{CredentialStore, StoreError};
use crate::password::Cost;
use crate::protocol::Secret;

// Tests of logins keep their users in memory.

impl TryFrom<&[u8]> for Table {
    type Error = Diagnostics;

    fn try_from(text: &[u8]) -> Result<Self, Diagnostics> {
        let (table, report) = Self::read(text, WeakSchemes::Refused, &RandomState::new());
        table.ok_or(Diagnostics(report.errors))
    }
}

impl CredentialStore for Table {
    fn label(&self) -> String {
        "a table in memory".to_owned()
    }

    async fn look_up(&self, name: &Username) -> Lookup {
        self.find(name)
    }

    fn decoy(&self, name: &Username) -> Option<Decoy> {
        self.decoy(name)
    }

    fn offers(&self) -> Offers {
        self.offers
    }

    async fn probe(&self) -> Result<String, StoreError> {
        Ok(format!("{} users", self.len()))
    }
}

fn read(text: &str) -> (Option<Table>, Report) {
    Table::read(text.as_bytes(), WeakSchemes::Refused, &RandomState::new())
}

fn shown(diagnostics: &[Diagnostic]) -> Vec<String> {
    diagnostics.iter().map(ToString::to_string).collect()
}

fn name(name: &str) -> Username {
    Username::try_from(name).unwrap()
}

fn find(table: &Table, user: &str) -> Option<Account> {
    if let Lookup::Found(account) = table.find(&name(user)) { Some(account) } else { None }
}

#[test]
fn a_file_taken_over_from_dovecot() {
    let (table, report) = read(
        "# users\r\n\r\n\
         mrose:{PLAIN}tanstaaf:5000:5000::/var/vmail/mrose::\r\n\
         Alice@Example.org:{SHA512-CRYPT}$6$s$h:5000:5000::/var/vmail/alice::\r\n\
         bob:{PLAIN}x:5000:5000:Bob, Esq.:/home/bob:/bin/sh:userdb_mail=mbox:~/mail nologin\r\n\
         carol:{PLAIN}x::::/home/carol::userdb_mail=maildir:~/Maildir pop3=no\n\
         dave:{PLAIN}x::::::userdb_mail=maildir:/srv/%u\n\
         erin:{PLAIN}x:::::/bin/sh:userdb_home=/srv/erin userdb_uid=8 sessions=2",
    );
    let table = table.unwrap();
    assert_eq!(report.users, 6);
    assert!(report.errors.is_empty());
    let warnings = shown(&report.warnings);
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    for (warning, (line, user, what)) in warnings.iter().zip([
        (4, "alice@example.org", "SHA512-CRYPT hash is damaged"),
        (5, "bob", "nologin"),
        (7, "dave", "userdb_mail has a variable"),
    ]) {
        assert!(warning.starts_with(&format!("line {line}: {user}")), "{warning}");
        assert!(warning.contains(what), "{warning}");
    }
    let verifier = |user| find(&table, user).unwrap().verifier;
    assert!(matches!(verifier("mrose"), Verifier::Plain(_)));
    assert!(matches!(verifier("alice@example.org"), Verifier::Unusable(_)));
    let barred = table.find(&name("bob"));
    assert!(matches!(barred, Lookup::Unavailable(why) if why.to_string().contains("nologin")));
    let attributes = |user| find(&table, user).unwrap().attributes;
    let home = |path: &str| Some(path.into());
    let known = Attributes { home: home("/var/vmail/mrose"), ..Attributes::default() };
    assert_eq!(attributes("mrose"), known);
    let mail = home("/home/carol/Maildir");
    let known =
        Attributes { home: home("/home/carol"), mail, pop3: false, ..Attributes::default() };
    assert_eq!(attributes("carol"), known);
    let sessions = NonZeroU32::new(2);
    let known = Attributes { home: home("/srv/erin"), sessions, ..Attributes::default() };
    assert_eq!(attributes("erin"), known);
    assert!(find(&table, "alice").is_none());
}

#[test]
fn the_example_works_as_it_says() {
    let (table, report) = read(include_str!("../../../../config/users.example"));
    assert_eq!((report.users, report.errors.len(), report.warnings.len()), (2, 0, 0));
    let table = table.unwrap();
    for (user, password) in [("mrose@example.org", "tanstaaf"), ("fred@example.org", "secret")] {
        let verifier = find(&table, user).unwrap().verifier;
        assert_eq!(verifier.verify(password.as_bytes()), Ok(true), "{user}");
    }
}

#[test]
fn all_errors_are_found_at_once() {
    let (table, report) = read(
        "mrose:{PLAIN}a\nnonsense\n# fine\nMROSE:{PLAIN}b\n../x:{PLAIN}c\nmrose:{PLAIN}d\nbob\n",
    );
    assert!(table.is_none());
    let errors = shown(&report.errors);
    assert_eq!(errors.len(), 5, "{errors:?}");
    for (error, start) in errors.iter().zip([
        "line 2: has no colon",
        "line 4: mrose is in line 1 already",
        "line 5: the user name has a slash",
        "line 6: mrose is in line 1 already",
        "line 7: has no colon",
    ]) {
        assert!(error.starts_with(start), "{error}");
    }
    let all = Diagnostics(report.errors).to_string();
    assert!(all.lines().count() == 1 && all.contains("; line 7: "), "{all}");
}

const APP: &str = "{SSHA256}7ioXXfxlhBz+JrAsDtjyPnLeKlRV/6B4pXs1GJEN/tZzb21lc2FsdHNvbWVzYWx0";
const APP_PASSWORD: &str = "abcd-efgh-ijkm-npqr-stuv-wxyz";

/// The name of the app password of a user that is [`APP_PASSWORD`].
fn app_password(table: &Table, user: &str) -> Option<String> {
    let account = find(table, user).unwrap();
    let found = account.app_passwords.find(&Secret::new(APP_PASSWORD.into()));
    found.map(ToString::to_string)
}

#[test]
fn app_passwords_of_users() {
    let (table, report) = read(&format!(
        "mrose:{{PLAIN}}tanstaaf::::/home/mrose::sessions=2\n\
         bob:!\n\
         MRose:{APP}::::::app_password=phone\n\
         bob:{APP}:5000:5000::/home::userdb_quota=1 app_password=tablet\n\
         carol:{{PLAIN}}x\n\
         mrose:{{PLAIN}}x::::::app_password=plain\n\
         mrose:{APP}::::::app_password=here allow_nets=192.0.2.0/24\n\
         mrose:{APP}::::::app_password=never nologin\n\
         dave:{{PLAIN}}x::::::nologin\n\
         dave:{APP}::::::app_password=phone\n",
    ));
    let table = table.unwrap();
    assert_eq!(report.users, 4);
    let warnings = shown(&report.warnings);
    assert_eq!(warnings.len(), 5, "{warnings:?}");
    for (warning, (line, what)) in warnings.iter().zip([
        (9, "dave cannot log in: its extra field nologin"),
        (4, "the app password tablet of bob cannot be used: it has attributes"),
        (6, "the app password plain of mrose cannot be used: its password is not a salted digest"),
        (7, "the app password here of mrose cannot be used: it has attributes"),
        (8, "the app password never of mrose cannot be used: its extra field nologin"),
    ]) {
        assert!(warning.starts_with(&format!("line {line}: {what}")), "{warning}");
    }
    assert_eq!(app_password(&table, "mrose").as_deref(), Some("phone"));
    assert_eq!(find(&table, "mrose").unwrap().attributes.sessions, NonZeroU32::new(2));
    assert_eq!(app_password(&table, "bob"), None);
    assert_eq!(app_password(&table, "carol"), None);
    assert!(matches!(table.find(&name("dave")), Lookup::Unavailable(_)));
}

#[test]
fn app_passwords_that_make_a_file_faulty() {
    let (table, report) = read(
        "mrose:{PLAIN}a::::::app_password=phone\nmrose:{PLAIN}a\n\
         mrose:{PLAIN}a::::::app_password=my:phone\nmrose:{PLAIN}a::::::app_password=\n\
         mrose:{PLAIN}b::::::app_password=tablet\nMRose:{PLAIN}c::::::app_password=tablet\n\
         bob:{PLAIN}c::::::app_password=tablet\nmrose:{PLAIN}c\n",
    );
    assert!(table.is_none());
    let errors = shown(&report.errors);
    assert_eq!(errors.len(), 6, "{errors:?}");
    for error in [
        "line 1: is an app password of mrose, who has no line before it; ",
        "line 3: the name of an app password has 1 to 64 printable ASCII characters, ",
        "line 4: the name of an app password has 1 to 64 printable ASCII characters, ",
        "line 6: mrose has an app password tablet in line 5 already; remove one",
        "line 7: is an app password of bob, who has no line before it; ",
        "line 8: mrose is in line 2 already; remove one",
    ] {
        assert!(errors.iter().any(|found| found.starts_with(error)), "{error}: {errors:?}");
    }
}

/// A client that has an app password would fail with SCRAM.
#[test]
fn scram_is_not_offered_while_a_user_has_app_passwords() {
    for own in ["{PLAIN}x", "!"] {
        let users = format!("mrose:{{PLAIN}}x\nbob:{own}\n");
        let offers = |text: &str| read(text).0.unwrap().offers();
        assert!(offers(&users).scram_sha_256);
        let with_app = format!("{users}bob:{APP}::::::app_password=phone\n");
        assert_eq!(offers(&with_app), Offers::default());
    }
}

#[test]
fn the_number_of_diagnostics_is_bounded() {
    let (table, report) = read(&"nonsense\n".repeat(1000));
    assert!(table.is_none());
    assert_eq!(report.errors.len(), LineDiagnostics::KEPT + 1);
    assert_eq!(report.errors.last().unwrap().to_string(), "and 950 more like these");
}

#[test]
fn many_users() {
    let mut text = String::new();
    for n in 0..50_000 {
        writeln!(
            text,
            "user{n}@example.org:$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ\
             $Waw5CMYpE0kO719XekarvkwAxsjcHKMv:5000:5000::::"
        )
        .unwrap();
    }
    let (table, report) = read(&text);
    assert_eq!((report.users, report.errors.len(), report.warnings.len()), (50_000, 0, 0));
    let table = table.unwrap();
    assert!(find(&table, "user49999@example.org").is_some());
    assert_eq!(table.decoys.kinds(), 1);
}

/// Known users have four costs in known proportions. Unknown ones must have the same.
#[test]
fn decoys_cost_what_users_cost_in_the_same_proportions() {
    let mut text = String::from("locked:!\nbcrypt:{BLF-CRYPT}$2y$x\n");
    let shares = [("m=64,t=1,p=1", 10), ("m=128,t=1,p=1", 25), ("m=64,t=3,p=1", 50)];
    for (parameters, users) in shares {
        for n in 0..users {
            writeln!(
                text,
                "{parameters}{n}:$argon2id$v=19${parameters}$c29tZXNhbHQ\
                 $Waw5CMYpE0kO719XekarvkwAxsjcHKMv"
            )
            .unwrap();
        }
    }
    for n in 0..15 {
        writeln!(text, "plain{n}:{{PLAIN}}x").unwrap();
    }
    let (table, _) = read(&text);
    let table = table.unwrap();
    let tries = 20_000;
    let mut costs: HashMap<Cost, u32> = HashMap::new();
    for n in 0..tries {
        let unknown = name(&format!("guess{n}@example.org"));
        let decoy = table.decoy(&unknown).unwrap();
        *costs.entry(decoy.verifier.cost().unwrap()).or_default() += 1;
    }
    let argon2 = |memory, passes| Cost::Argon2 { memory, passes, lanes: 1 };
    for (cost, percent) in
        [(argon2(64, 1), 10), (argon2(128, 1), 25), (argon2(64, 3), 50), (Cost::Negligible, 15)]
    {
        let got = costs.remove(&cost).unwrap_or_default();
        let wanted = tries * percent / 100;
        // Six standard deviations of the largest share are 424.
        assert!(got.abs_diff(wanted) < 430, "{cost:?}: {got} instead of {wanted}");
    }
    assert!(costs.is_empty(), "{costs:?}");
}

#[test]
fn a_name_keeps_its_decoy_when_the_file_is_read_again() {
    let text = "a:{PLAIN}x\n\
        b:$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$Waw5CMYpE0kO719XekarvkwAxsjcHKMv\n\
        c:$argon2id$v=19$m=128,t=1,p=1$c29tZXNhbHQ$Waw5CMYpE0kO719XekarvkwAxsjcHKMv\n";
    let key = RandomState::new();
    let table = || Table::read(text.as_bytes(), WeakSchemes::Refused, &key).0.unwrap();
    let (first, second) = (table(), table());
    for n in 0..200 {
        let unknown = name(&format!("guess{n}"));
        let cost = |table: &Table| table.decoy(&unknown).unwrap().verifier.cost();
        assert_eq!(cost(&first), cost(&first));
        assert_eq!(cost(&first), cost(&second));
    }
}

#[test]
fn without_a_user_who_can_log_in_there_is_no_decoy() {
    for text in ["", "# no users\n", "mrose:!\n"] {
        assert!(read(text).0.unwrap().decoy(&name("mrose")).is_none(), "{text:?}");
    }
}

proptest! {
    /// Any text is either used as a whole or has errors, and no diagnostic has control characters.
    #[test]
    fn any_text_can_be_read(
        text in vec(
            prop_oneof![
                select(vec!["mrose", ":", "\n", "\r\n", "#", " ", "{PLAIN}", "{", "}", "$argon2id",
                    "$v=19", "$m=64,t=1,p=1", "$c29tZXNhbHQ", "nologin", "@", "\u{1b}", "\0", "é"])
                    .prop_map(|piece| piece.as_bytes().to_vec()),
                vec(any::<u8>(), 0..4),
            ],
            0..40,
        )
    ) {
        let (table, report) = Table::read(&text.concat(), WeakSchemes::Refused, &RandomState::new());
        prop_assert_eq!(table.is_some(), report.errors.is_empty());
        for problem in report.errors.iter().chain(&report.warnings) {
            prop_assert!(!problem.to_string().contains(char::is_control), "{}", problem);
        }
    }
}
