//! The users of a credential file, read whole: a table in memory, and what is to be said about the
//! file.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};

use super::parse::{Entry, lines};
use crate::credentials::decoy::Decoys;
use crate::credentials::{Account, Attributes, Decoy, Lookup, Offers};
use crate::password::{Verifier, WeakSchemes};
use crate::protocol::Username;
use crate::protocol::sasl::ScramHash;

/// Users and the verifiers of their passwords, in memory.
#[derive(Debug)]
pub struct Table {
    /// What is known of each, or why this user cannot log in.
    users: HashMap<Username, Listed<Result<Known, Box<str>>>>,
    decoys: Decoys,
    offers: Offers,
}

/// What is to be said about a credential file. Shows nothing secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many users the file has, those included who cannot log in.
    pub users: usize,
    /// Why the file cannot be used.
    pub errors: Vec<Finding>,
    /// What is wrong with single users or unwise in all; the file is used in spite of it.
    pub warnings: Vec<Finding>,
}

/// One thing to be said about a credential file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// From 1; `None` when it is about the whole file.
    pub line: Option<u32>,
    /// What is wrong, and what to write.
    pub what: String,
}

/// Why a credential file cannot be used: at least one [`Finding`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Finding>);

/// A user as listed in a line.
#[derive(Debug)]
pub(super) struct Listed<V> {
    known: V,
    line: u32,
}

#[derive(Debug)]
struct Known {
    verifier: Verifier,
    /// Most users have none, and there may be a million.
    attributes: Option<Box<Attributes>>,
}

impl Table {
    /// Reads the text of a credential file; a table comes of it when there are no errors.
    ///
    /// `key` is what decoys are chosen by: with the same one they are the same after a reload.
    pub fn read(text: &[u8], weak: WeakSchemes, key: &RandomState) -> (Option<Self>, Report) {
        // A line with a hash is a little longer: a million users take no growing.
        let expected = text.len() / 128;
        let mut users = HashMap::with_capacity_and_hasher(expected, key.clone());
        let mut warnings = Findings::default();
        let errors =
            collect(text, &mut users, |line, entry| known(line, entry, weak, &mut warnings));
        let report =
            Report { users: users.len(), errors: errors.into_vec(), warnings: warnings.into_vec() };
        let table = report.errors.is_empty().then(|| {
            let known = || users.values().filter_map(|listed| listed.known.as_ref().ok());
            let decoys = known().map(|known| &known.verifier).collect();
            let offers = offers(known().map(|known| &known.verifier));
            Self { users, decoys, offers }
        });
        (table, report)
    }

    /// How many users there are.
    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    pub(super) fn find(&self, name: &Username) -> Lookup {
        match self.users.get(name).map(|listed| &listed.known) {
            Some(Ok(Known { verifier, attributes })) => Lookup::Found(Account {
                verifier: verifier.clone(),
                attributes: attributes.as_deref().cloned().unwrap_or_default(),
            }),
            Some(Err(why)) => Lookup::Unavailable(why.to_string()),
            None => Lookup::Unknown,
        }
    }

    pub(super) fn offers(&self) -> Offers {
        self.offers
    }

    pub(super) fn decoy(&self, name: &Username) -> Option<Decoy> {
        self.decoys.choose(self.users.hasher().hash_one(name))
    }
}

impl Finding {
    pub(super) fn whole_file(what: impl Into<String>) -> Self {
        Self { line: None, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// What all users can log in with, those apart who cannot log in.
fn offers<'a>(verifiers: impl Iterator<Item = &'a Verifier>) -> Offers {
    let mut offers = Offers { scram_sha_1: true, scram_sha_256: true };
    for verifier in verifiers.filter(|verifier| verifier.cost().is_some()) {
        offers.scram_sha_1 &= verifier.has_keys(ScramHash::Sha1);
        offers.scram_sha_256 &= verifier.has_keys(ScramHash::Sha256);
    }
    offers
}

/// The names of the users of a credential file, which tells whether the file is sound and who is in
/// it.
///
/// # Errors
/// Those of [`Table::read`].
pub(super) fn names(text: &[u8]) -> Result<HashMap<Username, Listed<()>>, Faults> {
    let mut names = HashMap::new();
    let errors = collect(text, &mut names, |_, _| ()).into_vec();
    if errors.is_empty() { Ok(names) } else { Err(Faults(errors)) }
}

/// Puts each user of a file into `users`, with what `known` makes of the line and its number; yields
/// what is wrong with lines.
fn collect<V>(
    text: &[u8],
    users: &mut HashMap<Username, Listed<V>>,
    mut known: impl FnMut(u32, &Entry<'_>) -> V,
) -> Findings {
    let mut errors = Findings::default();
    for line in lines(text) {
        match line.entry() {
            Ok(None) => {}
            Ok(Some(entry)) => match users.get(&entry.name) {
                Some(Listed { line: first, .. }) => errors.add(line.number, || {
                    format!("{} is in line {first} already; remove one", entry.name)
                }),
                None => {
                    let known = known(line.number, &entry);
                    users.insert(entry.name, Listed { known, line: line.number });
                }
            },
            Err(fault) => errors.add(line.number, || fault),
        }
    }
    errors
}

/// What a line says of a user, and a warning when the user cannot log in.
fn known(
    line: u32,
    entry: &Entry<'_>,
    weak: WeakSchemes,
    warnings: &mut Findings,
) -> Result<Known, Box<str>> {
    let account = entry.account(weak);
    let flaw = match &account {
        Ok(account) => account.verifier.flaw(),
        Err(why) => Some(why.as_str()),
    };
    if let Some(why) = flaw {
        warnings.add(line, || format!("{} cannot log in: {why}", entry.name));
    }
    let Account { verifier, attributes } = account.map_err(String::into_boxed_str)?;
    let plain = attributes == Attributes::default();
    Ok(Known { verifier, attributes: (!plain).then(|| Box::new(attributes)) })
}

/// Findings, of which the first ones are kept: a million lines may be wrong in the same way.
#[derive(Default)]
struct Findings {
    kept: Vec<Finding>,
    others: usize,
}

impl Findings {
    const KEPT: usize = 50;

    fn add(&mut self, line: u32, what: impl FnOnce() -> String) {
        if self.kept.len() < Self::KEPT {
            self.kept.push(Finding { line: Some(line), what: what() });
        } else {
            self.others += 1;
        }
    }

    fn into_vec(mut self) -> Vec<Finding> {
        if self.others > 0 {
            self.kept.push(Finding::whole_file(format!("and {} more like these", self.others)));
        }
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::num::NonZeroU32;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::credentials::CredentialStore;
    use crate::password::Cost;

    // Tests of logins have their users in memory.

    impl TryFrom<&[u8]> for Table {
        type Error = Faults;

        fn try_from(text: &[u8]) -> Result<Self, Faults> {
            let (table, report) = Self::read(text, WeakSchemes::Refused, &RandomState::new());
            table.ok_or(Faults(report.errors))
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

        async fn probe(&self) -> Result<String, String> {
            Ok(format!("{} users", self.len()))
        }
    }

    fn read(text: &str) -> (Option<Table>, Report) {
        Table::read(text.as_bytes(), WeakSchemes::Refused, &RandomState::new())
    }

    fn shown(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(ToString::to_string).collect()
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
        assert!(matches!(barred, Lookup::Unavailable(why) if why.contains("nologin")));
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
        let (table, report) = read(include_str!("../../../config/users.example"));
        assert_eq!(report, Report { users: 2, ..Report::default() });
        let table = table.unwrap();
        for (user, password) in [("mrose@example.org", "tanstaaf"), ("fred@example.org", "secret")]
        {
            let verifier = find(&table, user).unwrap().verifier;
            assert_eq!(verifier.verify(password.as_bytes()), Ok(true), "{user}");
        }
    }

    #[test]
    fn all_faults_are_found_at_once() {
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
        let all = Faults(report.errors).to_string();
        assert!(all.lines().count() == 1 && all.contains("; line 7: "), "{all}");
    }

    #[test]
    fn a_million_faults_are_not_a_million_messages() {
        let (table, report) = read(&"nonsense\n".repeat(1000));
        assert!(table.is_none());
        assert_eq!(report.errors.len(), Findings::KEPT + 1);
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
        assert_eq!(report, Report { users: 50_000, ..Report::default() });
        let table = table.unwrap();
        assert!(find(&table, "user49999@example.org").is_some());
        assert_eq!(table.decoys.kinds(), 1);
    }

    /// Known users cost four different things, in known proportions; unknown ones must too.
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
            [(argon2(64, 1), 10), (argon2(128, 1), 25), (argon2(64, 3), 50), (Cost::Trifling, 15)]
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
        for text in ["", "# nobody\n", "mrose:!\n"] {
            assert!(read(text).0.unwrap().decoy(&name("mrose")).is_none(), "{text:?}");
        }
    }

    proptest! {
        /// Whatever the file holds, it is either taken whole or faulty, and what is said of it is
        /// said in lines without control characters.
        #[test]
        fn no_text_upsets_the_reader(
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
            for finding in report.errors.iter().chain(&report.warnings) {
                prop_assert!(!finding.to_string().contains(char::is_control), "{}", finding);
            }
        }
    }
}
