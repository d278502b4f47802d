//! Right and wrong names and passwords against tables of users: their outcome and their cost.

use std::collections::{BTreeSet, HashMap};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::rc::Rc;

use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use super::*;
use crate::config::{Asking, FileSection};
use crate::credentials::{CheckpasswordProgram, FileStore, ServiceStore, Store, Table};
use crate::login::turns::Standing;
use crate::password::WeakSchemes;
use crate::password::{Cost, MAX_PASSWORD_OCTETS, Verifier};
use crate::threads::paused_runtime;

const USERS: &str = "\
    mrose:{PLAIN}tanstaaf\n\
    light:$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$Waw5CMYpE0kO719XekarvkwAxsjcHKMv\n\
    crypt:{SHA512-CRYPT}$6$salt$hash\n\
    absurd:$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$Waw5CMYpE0kO719XekarvkwAxsjcHKMv\n\
    barred:{PLAIN}tanstaaf::::::nologin\n";

/// A user with a hash: a password in plain text would be compared without a turn.
const HASHED: &str =
    "light:$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$Waw5CMYpE0kO719XekarvkwAxsjcHKMv\n";
const LIGHT: &str = "pässwörd mit Leer ";

/// In a network without other callers.
const LAST_PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

const CALLER: Caller = Caller { peer: IpAddr::V4(Ipv4Addr::LOCALHOST), standing: Standing::New };

fn rules(hashes_at_once: u32, seconds: u64) -> Rules {
    Rules {
        turns: Arc::new(Turns::new(NonZeroU32::new(hashes_at_once).unwrap())),
        hash_wait: Duration::from_secs(seconds),
        ..Rules::default()
    }
}

fn new<C: CredentialStore>(stores: Vec<C>, rules: Rules) -> Authenticator<C> {
    Authenticator::new(stores, rules, Arc::default()).unwrap()
}

fn authenticator(users: &str) -> Authenticator<Table> {
    let table = Table::try_from(users.as_bytes()).unwrap();
    new(vec![table], rules(2, 60))
}

async fn login<C: CredentialStore>(
    authenticator: &Authenticator<C>,
    name: &str,
    password: impl Into<Vec<u8>>,
) -> Result<String, Refusal> {
    login_from("192.0.2.1", authenticator, name, password).await
}

async fn login_from<C: CredentialStore>(
    peer: &str,
    authenticator: &Authenticator<C>,
    name: &str,
    password: impl Into<Vec<u8>>,
) -> Result<String, Refusal> {
    let claim = ClaimedName::new(name.as_bytes());
    let password = Secret::new(password.into());
    let identity = authenticator.authenticate(&claim, password, peer.parse().unwrap()).await?;
    Ok(identity.username().to_string())
}

#[tokio::test]
async fn the_right_password_and_no_other() {
    let authenticator = authenticator(USERS);
    for (name, password, outcome) in [
        ("mrose", "tanstaaf", Ok("mrose".to_owned())),
        ("MRose", "tanstaaf", Ok("mrose".to_owned())),
        ("light", "pässwörd mit Leer ", Ok("light".to_owned())),
        ("light", "pässwörd mit Leer", Err(Refusal::BadCredentials)),
        ("mrose", "Tanstaaf", Err(Refusal::BadCredentials)),
        ("mrose", "tanstaaf\0", Err(Refusal::BadCredentials)),
        ("mrose", "{PLAIN}tanstaaf", Err(Refusal::BadCredentials)),
        ("mrose", "", Err(Refusal::BadCredentials)),
        ("nobody", "tanstaaf", Err(Refusal::BadCredentials)),
        ("mrose\0", "tanstaaf", Err(Refusal::BadCredentials)),
        ("mrose\r\n", "tanstaaf", Err(Refusal::BadCredentials)),
        ("mrose:", "tanstaaf", Err(Refusal::BadCredentials)),
    ] {
        assert_eq!(login(&authenticator, name, password).await, outcome, "{name:?}");
    }
    let octets = login(&authenticator, "mrose", b"\xff\x80".to_vec()).await;
    assert_eq!(octets, Err(Refusal::BadCredentials));
}

/// Hashes of `IX` and `tan staaf`, and of passwords that SASLprep turns into these. Made by `mkpasswd`,
/// by Dovecot's `doveadm pw` and, the keys, by `PostgreSQL`.
const PREPARED: &str = "\
    ix:$6$rounds=1000$DG8DiWfCev0Q8otm$NIxew44M6JTmbT4DrF5RiM14E2yfRd14HIu3A72Ukr6VNCWuUjA7scRvQFtFKOr34ydK4rwlDLMmegEf01K861\n\
    hyphen:$6$rounds=1000$FRTkKAGJ7mScvT4q$B1Vn81IVLddHkv9VqAqe0Mq0zKQVZtJ0sLvk5UA1aKfpDhZj36RA6fr6E.5L8gWN1F9u8BwzYgA943Hj1y8Ec.\n\
    keys:{SCRAM-SHA-256}4096,lM3TOSIUFchasAiAMXLJog==,dkxLqgv7gR1Ti4eYesgCq4vfY03kRCTlo1JausQB+sQ=,EVrZeovszWWC08KpabtyQLPxZLbTZPagxwpT9FF/WWc=\n\
    blank:{SSHA256}bdIRvX7n7fXCx2yhLdvglOXJnr78ZBvPGpAIH3wKQVGEMgn6\n\
    no-break:{SSHA256}+Bh3LqSIUekH1WhTY76irNI710SIhlPU6lSyDOPVUpqW+Yiv\n\
    plain:{PLAIN}IX\n";

#[tokio::test]
async fn a_password_fits_as_it_came_or_as_saslprep_makes_it() {
    let authenticator = authenticator(PREPARED);
    for (name, fits, does_not) in [
        ("ix", &["IX", "I\u{ad}X", "\u{2168}"][..], &["ix", "I X", "\u{2168}\u{7}"][..]),
        ("plain", &["IX", "I\u{ad}X", "\u{2168}"], &["ix", "I X", "\u{2168}\u{7}"]),
        ("keys", &["IX", "I\u{ad}X", "\u{2168}"], &["ix", "I X", "\u{2168}\u{7}"]),
        ("blank", &["tan staaf", "tan\u{a0}staaf", "tan\u{2003}staaf"], &["tanstaaf"]),
        // A hash of an unprepared password fits that password alone.
        ("hyphen", &["I\u{ad}X"], &["IX", "\u{2168}"]),
        ("no-break", &["tan\u{a0}staaf"], &["tan staaf", "tan\u{2003}staaf"]),
    ] {
        for password in fits {
            let outcome = login(&authenticator, name, *password).await;
            assert_eq!(outcome, Ok(name.to_owned()), "{name} {password:?}");
        }
        for password in does_not {
            let outcome = login(&authenticator, name, *password).await;
            assert_eq!(outcome, Err(Refusal::BadCredentials), "{name} {password:?}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_checked_is_never_a_wrong_password() {
    let authenticator = authenticator(USERS);
    for (name, reason) in
        [("crypt", "SHA512-CRYPT"), ("absurd", "m=4194304"), ("barred", "nologin")]
    {
        match login(&authenticator, name, "tanstaaf").await {
            Err(Refusal::Unavailable(why)) => {
                assert!(why.starts_with(&format!("{name}: ")) && why.contains(reason), "{why}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    // No verification was needed to find that out.
    assert_eq!(authenticator.verifications(), 0);
}

#[tokio::test]
async fn every_refused_login_costs_one_verification() {
    let authenticator = authenticator(USERS);
    let long = "x".repeat(MAX_PASSWORD_OCTETS + 1);
    for (done, (name, password)) in (1..).zip([
        ("mrose", "wrong"),
        ("mrose", ""),
        ("mrose", long.as_str()),
        ("nobody", "wrong"),
        ("nobody", ""),
        ("nobody", long.as_str()),
        ("../mrose", "wrong"),
        ("", "wrong"),
        ("' OR 1=1 --", "wrong"),
        ("*)(uid=*", "wrong"),
        ("%u", "wrong"),
        ("%{user}", "wrong"),
        ("\u{202e}mrose", "wrong"),
        ("mrose@example.org@", "wrong"),
    ]) {
        let outcome = login(&authenticator, name, password).await;
        assert_eq!(outcome, Err(Refusal::BadCredentials), "{name:?}");
        assert_eq!(authenticator.verifications(), done, "{name:?}");
    }
}

#[tokio::test]
async fn a_password_of_4096_octets_is_taken_and_one_more_is_not() {
    let longest = "x".repeat(MAX_PASSWORD_OCTETS);
    let stored = authenticator(&format!("mrose:{{PLAIN}}{longest}\nlong:{{PLAIN}}{longest}x"));
    assert_eq!(login(&stored, "mrose", longest.as_str()).await, Ok("mrose".into()));
    let refused = login(&stored, "long", longest + "x").await;
    assert_eq!(refused, Err(Refusal::BadCredentials));
}

#[tokio::test]
async fn a_decoy_that_matches_is_no_login() {
    // The only user's verifier is the decoy of every other name.
    let authenticator = authenticator("mrose:{PLAIN}tanstaaf");
    for name in ["nobody", "../mrose", "mrose@example.org"] {
        let outcome = login(&authenticator, name, "tanstaaf").await;
        assert_eq!(outcome, Err(Refusal::BadCredentials), "{name}");
    }
}

#[test]
fn unknown_names_cost_what_users_of_all_stores_cost_in_the_same_proportions() {
    paused_runtime().block_on(async {
        let users = |count, field: &str| {
            let lines: String = (0..count).map(|n| format!("{n}{field}")).collect();
            Table::try_from(lines.as_bytes()).unwrap()
        };
        let stores =
            vec![users(100, ":{PLAIN}x\n"), users(300, HASHED.trim_start_matches("light"))];
        let authenticator = new(stores, rules(1, 1));
        // A hash does not get its turn; a password that is only compared needs none.
        let _busy = authenticator.turns.take(CALLER).await;
        let password = Arc::new(Secret::new(b"wrong".to_vec()));
        let mut hashes = 0_u32;
        for n in 0..1000 {
            let name = ClaimedName::new(format!("guess{n}").into_bytes());
            let outcome = authenticator.judge(&name, &password, None).await.outcome;
            let again = authenticator.judge(&name, &password, None).await.outcome;
            assert_eq!(outcome, again);
            hashes += u32::from(outcome == Err(Reason::Overloaded));
        }
        // Six standard deviations are 82.
        assert!(hashes.abs_diff(750) < 82, "{hashes}");
    });
}

#[tokio::test]
async fn without_users_a_login_costs_what_a_new_user_would() {
    let authenticator = authenticator("# no user yet\n");
    let outcome = login(&authenticator, "mrose", "tanstaaf").await;
    assert_eq!(outcome, Err(Refusal::BadCredentials));
    assert_eq!(authenticator.verifications(), 1);
    let cost = Cost::Argon2 { memory: 19_456, passes: 2, lanes: 1 };
    assert_eq!(Verifier::costly().cost(), Some(cost));
}

#[test]
fn too_many_at_once_are_told_to_come_back() {
    paused_runtime().block_on(async {
        let table = Table::try_from(HASHED.as_bytes()).unwrap();
        let wait = Duration::from_secs(5);
        let authenticator = new(vec![table], rules(1, 5));
        let busy = authenticator.turns.take(CALLER).await;
        let asked = tokio::time::Instant::now();
        // An overload does not reveal whether the user is known or the password right.
        for (name, password) in [("light", LIGHT), ("light", "wrong"), ("nobody", "wrong")] {
            let outcome = login(&authenticator, name, password).await;
            assert_eq!(outcome, Err(Refusal::Overloaded));
        }
        assert_eq!(asked.elapsed(), 3 * wait);
        assert_eq!(authenticator.verifications(), 0);
        drop(busy);
        assert_eq!(login(&authenticator, "light", LIGHT).await, Ok("light".into()));
    });
}

/// An authenticator for one user with a hash, whose throttle waits for a second first.
fn throttled(most: u64) -> Authenticator<Table> {
    let settings = crate::config::ThrottleSection {
        first_delay: Duration::from_secs(1),
        longest_delay: Duration::from_secs(most),
        forget_after: Duration::from_secs(600),
        trusted: Vec::new(),
    };
    let throttle = Arc::new(Throttle::new(settings, 1000));
    let table = Table::try_from(HASHED.as_bytes()).unwrap();
    Authenticator::new(vec![table], rules(1, 60), throttle).unwrap()
}

/// The names of `callers`, which wait for a turn at the same time, in the order of their answers.
///
/// - A caller of the test waits behind them as `last`. Its turn ends when there are `ahead` answers:
///   no later turn begins before them.
async fn answers(
    authenticator: &Rc<Authenticator<Table>>,
    callers: Vec<(String, &'static str, &'static str)>,
    last: Standing,
    ahead: usize,
) -> Vec<&'static str> {
    let (answer, mut answers) = mpsc::unbounded_channel();
    let tasks = LocalSet::new();
    let busy = authenticator.turns.take(CALLER).await;
    for (peer, name, password) in callers {
        let (authenticator, answer) = (Rc::clone(authenticator), answer.clone());
        tasks.spawn_local(async move {
            let outcome = login_from(&peer, &authenticator, name, password).await;
            let name = if outcome == Err(Refusal::Overloaded) { "overloaded" } else { name };
            answer.send(name).unwrap();
        });
    }
    drop(answer);
    let answered = async {
        // Longer than the throttle makes any of them wait.
        sleep(Duration::from_secs(2)).await;
        let mut turn =
            Box::pin(authenticator.turns.take(Caller { peer: LAST_PEER, standing: last }));
        assert!(timeout(Duration::ZERO, &mut turn).await.is_err());
        drop(busy);
        let turn = turn.await;
        let mut answered = Vec::new();
        while answered.len() < ahead {
            answered.push(answers.recv().await.unwrap());
        }
        drop(turn);
        while let Some(name) = answers.recv().await {
            answered.push(name);
        }
        answered
    };
    tasks.run_until(answered).await
}

#[test]
fn who_is_known_from_there_does_not_wait_for_those_who_are_not() {
    paused_runtime().block_on(async {
        let authenticator = Rc::new(throttled(15));
        assert!(login(&authenticator, "light", LIGHT).await.is_ok());
        let home = || "192.0.2.1".to_owned();
        let new = |name| (0..20).map(move |n| (format!("203.0.{n}.1"), name, "x"));
        let mut callers: Vec<_> = new("unknown").collect();
        callers.push((home(), "light", LIGHT));
        let answered = answers(&authenticator, callers, Standing::Known, 1).await;
        assert_eq!(answered, [vec!["light"], vec!["unknown"; 20]].concat());
        // With a wrong password a known pair is answered as a new one would be.
        let mut callers = vec![(home(), "light", "wrong")];
        callers.extend(new("other"));
        let answered = answers(&authenticator, callers, Standing::New, 20).await;
        assert_eq!(answered, [vec!["other"; 20], vec!["light"]].concat());
    });
}

#[test]
fn a_login_that_is_given_up_while_it_is_verified_has_failed() {
    paused_runtime().block_on(async {
        let authenticator = throttled(30);
        let busy = authenticator.turns.take(CALLER).await;
        let begun = tokio::time::Instant::now();
        for password in ["one", "two"] {
            let login = login(&authenticator, "light", password);
            assert!(timeout(Duration::from_secs(2), login).await.is_err());
        }
        drop(busy);
        assert_eq!(login(&authenticator, "light", LIGHT).await, Ok("light".into()));
        assert_eq!(begun.elapsed().as_secs(), 2 + 2 + 2);
    });
}

#[tokio::test]
async fn a_client_that_hangs_up_keeps_its_turn_to_the_end() {
    let table = Table::try_from(HASHED.as_bytes()).unwrap();
    let authenticator = new(vec![table], rules(1, 60));
    let (release, released) = std::sync::mpsc::channel::<()>();
    let mut hung_up = Box::pin(authenticator.in_turn(CALLER, move || released.recv().is_ok()));
    assert!(timeout(Duration::ZERO, &mut hung_up).await.is_err());
    drop(hung_up);
    assert_eq!(authenticator.turns.free(), 0);
    release.send(()).unwrap();
    assert_eq!(login(&authenticator, "light", LIGHT).await, Ok("light".into()));
    assert_eq!(authenticator.verifications(), 1);
}

/// As in CVE-2025-30189, where a cache returned one user for another.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_password_logs_in_its_own_user_and_no_other() {
    let users: HashMap<String, String> =
        (0..200).map(|n| (format!("user{n}"), format!("secret{n}"))).collect();
    let text: String =
        users.iter().map(|(name, word)| format!("{name}:{{PLAIN}}{word}\n")).collect();
    let table = Table::try_from(text.as_bytes()).unwrap();
    let stores = vec![Store::Table(table)];
    let authenticator = Arc::new(new(stores, rules(4, 60)));
    let mut logins = tokio::task::JoinSet::new();
    for round in 0..5 {
        for (name, word) in &users {
            let authenticator = Arc::clone(&authenticator);
            let (name, word) = (name.clone(), word.clone());
            logins.spawn(async move {
                if round % 2 == 0 {
                    let found = login(&*authenticator, &name, word.as_str()).await;
                    assert_eq!(found.as_ref(), Ok(&name));
                    found.ok()
                } else {
                    // Another user's password.
                    let found = login(&*authenticator, &name, word + "0").await;
                    assert_eq!(found, Err(Refusal::BadCredentials));
                    None
                }
            });
        }
    }
    let mut seen = BTreeSet::new();
    while let Some(done) = logins.join_next().await {
        seen.extend(done.unwrap());
    }
    assert_eq!(seen.len(), users.len());
}

#[tokio::test]
async fn new_attributes_apply_to_a_cached_password() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users");
    let says = |attributes: &str| {
        let line = format!("{}::::{attributes}\n", HASHED.trim_end());
        let mut next = tempfile::NamedTempFile::new_in(directory.path()).unwrap();
        next.write_all(line.as_bytes()).unwrap();
        next.persist(&path).unwrap();
    };
    says("/home/light::");
    let store = FileStore::open(&FileSection::from(&*path), WeakSchemes::Refused).unwrap();
    let remembering = Rules { cache: Duration::from_secs(300), ..rules(2, 60) };
    let authenticator = new(vec![store], remembering);
    let name = ClaimedName::new(*b"light");
    let password = Arc::new(Secret::new(LIGHT.into()));
    let judge = async || authenticator.judge(&name, &password, None).await.outcome;
    assert_eq!(judge().await.unwrap().home(), Some(Path::new("/home/light")));
    says("/srv/light::sessions=3");
    let identity = judge().await.unwrap();
    assert_eq!(identity.home(), Some(Path::new("/srv/light")));
    assert_eq!(identity.sessions(), NonZeroU32::new(3));
    says("/srv/light::pop3=no");
    assert_eq!(judge().await, Err(Reason::NotAllowed));
    assert_eq!(authenticator.verifications(), 1, "the password is remembered");
}

/// The outcomes of the same password from 192.0.2.1, and from an address that is not allowed.
async fn from_two_places<C: CredentialStore>(
    authenticator: &Authenticator<C>,
    password: &str,
) -> [Result<Identity, Reason>; 2] {
    let (name, password) = (ClaimedName::new(*b"light"), Arc::new(Secret::new(password.into())));
    let from = async |peer: &str| {
        authenticator.judge(&name, &password, Some(peer.parse().unwrap())).await.outcome
    };
    [from("192.0.2.1").await, from("198.51.100.1").await]
}

#[tokio::test]
async fn a_right_password_from_another_network_costs_and_gives_what_a_wrong_one_does() {
    let users = format!("{}::::::allow_nets=192.0.2.0/24\n", HASHED.trim_end());
    let table = || Table::try_from(users.as_bytes()).unwrap();
    for cache in [Duration::ZERO, Duration::from_secs(300)] {
        let authenticator = new(vec![table()], Rules { cache, ..rules(2, 60) });
        // The first one is cached, but only for that address.
        for round in 1..3 {
            let [here, there] = from_two_places(&authenticator, LIGHT).await;
            assert!(here.is_ok());
            assert_eq!(there, Err(Reason::NotFromThere));
            let verified = if cache.is_zero() { 2 * round } else { 1 + round };
            assert_eq!(authenticator.verifications(), verified, "{cache:?}");
        }
        let before = authenticator.verifications();
        let [here, there] = from_two_places(&authenticator, "wrong").await;
        assert_eq!((here, there), (Err(Reason::WrongPassword), Err(Reason::WrongPassword)));
        assert_eq!(authenticator.verifications(), before + 2);
        for (password, outcome) in [(LIGHT, Ok("light".to_owned())), ("x", Err(()))] {
            let outcome = outcome.map_err(|()| Refusal::BadCredentials);
            assert_eq!(login(&authenticator, "light", password).await, outcome);
        }
    }
    // A user who may not use POP3 at all gets the same answer.
    let users = users.replace("allow_nets=192.0.2.0/24", "allow_nets=local pop3=no");
    let authenticator = authenticator(&users);
    assert_eq!(login(&authenticator, "light", LIGHT).await, Err(Refusal::BadCredentials));
}

#[tokio::test]
async fn networks_of_a_store_that_cannot_tell_before_the_password_apply_and_other_stores_are_asked()
{
    let script = "n=$(tr '\\0' '\\n' <&3 | sed -n 2p); [ \"$n\" = right ] || exit 1\n\
                  RESTANTE_ALLOW_NETS=192.0.2.0/24 exec \"$@\"";
    let command = ["/bin/sh", "-c", script, "sh"].map(str::to_owned).to_vec();
    let program = CheckpasswordProgram::new(&command).unwrap();
    let at_once = NonZeroU32::new(2).unwrap();
    let first = ServiceStore::new(program, Asking { deadline: Duration::from_secs(20), at_once });
    // The next store accepts the same password from any address.
    let next = Table::try_from(&b"light:{PLAIN}right\n"[..]).unwrap();
    let stores = vec![Store::Checkpassword(Box::new(first)), Store::Table(next)];
    let authenticator = new(stores, Rules { cache: Duration::from_secs(300), ..rules(2, 60) });
    for _ in 0..2 {
        let [here, there] = from_two_places(&authenticator, "right").await;
        assert!(here.is_ok());
        assert_eq!(there, Err(Reason::NotFromThere));
    }
    let asked = async |password| {
        let before = authenticator.verifications();
        let outcomes = from_two_places(&authenticator, password).await;
        (outcomes, authenticator.verifications() - before)
    };
    // From the first address the cache; from the other the program, then the table. A wrong password
    // is checked by both, from both addresses.
    assert_eq!(asked("right").await.1, 2);
    let (outcomes, verified) = asked("wrong").await;
    assert_eq!(outcomes, [Err(Reason::WrongPassword), Err(Reason::WrongPassword)]);
    assert_eq!(verified, 4);
}

#[tokio::test]
async fn a_repeated_wrong_password_is_recognised() {
    let settings = crate::config::ThrottleSection {
        first_delay: Duration::from_nanos(1),
        longest_delay: Duration::from_nanos(1),
        forget_after: Duration::from_secs(60),
        trusted: Vec::new(),
    };
    let throttle = Arc::new(Throttle::new(settings, 100));
    let table = Table::try_from(USERS.as_bytes()).unwrap();
    let authenticator = Authenticator::new(vec![table], rules(2, 60), throttle).unwrap();
    for (name, password, refusal) in [
        ("mrose", "old", Refusal::BadCredentials),
        ("mrose", "old", Refusal::RepeatedPassword),
        ("MRose", "old", Refusal::RepeatedPassword),
        ("mrose", "older", Refusal::BadCredentials),
        ("nobody", "old", Refusal::BadCredentials),
        ("nobody", "old", Refusal::RepeatedPassword),
        ("../mrose", "old", Refusal::BadCredentials),
        ("../mrose", "old", Refusal::RepeatedPassword),
    ] {
        assert_eq!(login(&authenticator, name, password).await, Err(refusal), "{name} {password}");
    }
    assert!(login(&authenticator, "mrose", "tanstaaf").await.is_ok());
}
