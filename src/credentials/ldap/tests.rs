//! The store without a directory, and with servers that answer in various ways.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::{Asking, LdapBind};
use crate::protocol::{Placeholder, Template};

const BASE: &str = "ou=people,dc=example,dc=org";

fn section(url: String, way: LdapWay) -> LdapSection {
    let asking =
        Asking { deadline: Duration::from_millis(200), at_once: NonZeroU32::new(2).unwrap() };
    LdapSection {
        url,
        starttls: false,
        ca: None,
        way,
        attributes: LdapAttributes::default(),
        asking,
    }
}

fn store(url: String, way: LdapWay) -> LdapStore {
    LdapStore::open(&section(url, way)).unwrap()
}

fn template(text: &str) -> Template {
    Template::parse(text, &Placeholder::OF_A_NAME).unwrap()
}

fn by_search() -> LdapWay {
    by("(uid={user})")
}

fn by(filter: &str) -> LdapWay {
    LdapWay::Search { bind: None, base: BASE.into(), filter: template(filter) }
}

fn by_name() -> LdapWay {
    LdapWay::Direct { dn: template(&format!("uid={{user}},{BASE}")) }
}

fn mrose() -> Username {
    Username::try_from("mrose").unwrap()
}

async fn unavailable(store: &LdapStore) -> String {
    let Lookup::Unavailable(why) = store.look_up(&mrose()).await else { panic!() };
    why.to_string()
}

/// A server that answers everything with the octets of `answer`.
async fn answering(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                while connection.read(&mut [0; 1024]).await.is_ok_and(|octets| octets > 0) {
                    connection.write_all(answer).await.unwrap();
                }
            });
        }
    });
    address
}

async fn check(store: &LdapStore, password: &[u8]) -> Check {
    let account = Account::new(Verifier::AtStore(format!("uid=mrose,{BASE}").into()));
    store.check(&mrose(), &account, &Secret::new(password.to_vec())).await
}

#[tokio::test]
async fn a_closed_port_is_no_wrong_password() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let store = store(format!("ldap://{address}"), by_search());
    assert!(unavailable(&store).await.contains("cannot be reached"));
    assert!(matches!(check(&store, b"tanstaaf").await, Check::Unavailable(_)));
    assert!(store.probe().await.unwrap_err().to_string().contains("cannot be reached"));
}

#[tokio::test]
async fn no_answer_is_no_wrong_password() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = store(format!("ldap://{}", listener.local_addr().unwrap()), by_search());
    assert!(unavailable(&store).await.contains("no answer within"));
    assert!(matches!(check(&store, b"tanstaaf").await, Check::Unavailable(_)));
}

#[tokio::test]
async fn an_invalid_answer_is_no_wrong_password() {
    for answer in [&b"+OK\r\n"[..], b"\x30\x00", b"\x30\x03\x02\x01\x01", b"\xff\xff\xff\xff"] {
        let address = answering(answer).await;
        let store = store(format!("ldap://{address}"), by_search());
        assert!(!unavailable(&store).await.is_empty());
        assert!(matches!(check(&store, b"tanstaaf").await, Check::Unavailable(_)), "{answer:?}");
    }
}

#[tokio::test]
async fn a_search_that_wants_no_attributes_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = store(format!("ldap://{}", listener.local_addr().unwrap()), by_search());
    let name = mrose();
    let (lookup, asked) = tokio::join!(store.look_up(&name), async {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; 1024];
        let octets = connection.read(&mut asked).await.unwrap();
        asked.truncate(octets);
        asked
    });
    assert!(matches!(lookup, Lookup::Unavailable(_)));
    // The list of attributes comes last, in a SEQUENCE.
    assert!(asked.ends_with(b"\x30\x05\x04\x031.1"), "{asked:x?}");
}

/// The answer to the first message, a bind, with a result code.
macro_rules! bind_response {
    ($code:expr) => {
        &[0x30, 0x0c, 2, 1, 1, 0x61, 7, 10, 1, $code, 4, 0, 4, 0]
    };
}

#[tokio::test]
async fn what_becomes_of_a_bind() {
    for (answer, right) in [
        (bind_response!(0), Some(true)),
        (bind_response!(49), Some(false)),
        (bind_response!(48), Some(false)),
        (bind_response!(32), Some(false)),
        (bind_response!(34), Some(false)),
        (bind_response!(8), None),
        (bind_response!(10), None),
        (bind_response!(51), None),
        (bind_response!(52), None),
        (bind_response!(53), None),
        (bind_response!(80), None),
    ] {
        let store = store(format!("ldap://{}", answering(answer).await), by_name());
        // Not through the breaker, whose probe gets the same answer.
        let said = store.users.bind("uid=mrose", "tanstaaf", &Attributes::default()).await;
        let said = said.ok().map(|attributes| attributes.is_some());
        assert_eq!(said, right, "{answer:?}");
    }
}

#[tokio::test]
async fn a_bind_without_a_password_is_not_made() {
    // This server accepts any password.
    let store = store(format!("ldap://{}", answering(bind_response!(0)).await), by_name());
    assert!(matches!(check(&store, b"").await, Check::Wrong));
    assert!(matches!(check(&store, b"\xff").await, Check::Wrong));
    assert!(matches!(check(&store, b"tanstaaf").await, Check::Right(_)));
}

#[tokio::test]
async fn without_a_search_the_store_cannot_tell_before_the_password() {
    let store = store("ldap://127.0.0.1:1".into(), by_name());
    let Lookup::Perhaps(account) = store.look_up(&mrose()).await else { panic!() };
    let Verifier::AtStore(dn) = account.verifier else { panic!() };
    assert_eq!(&*dn, format!("uid=mrose,{BASE}"));
    assert!(store.decoy(&mrose()).is_none());
}

#[tokio::test]
async fn another_spelling_of_a_name_is_unknown() {
    let store = store("ldap://127.0.0.1:1".into(), by_name());
    for spelling in ["m  rose", "\u{ff4d}rose", "jo\u{308}rg", "jÖrg", "Мария"] {
        let name = Username::try_from(spelling).unwrap();
        assert!(matches!(store.look_up(&name).await, Lookup::Unknown), "{spelling:?}");
    }
    for name in ["mrose", "m rose", "jörg", "großmann", "мария", "γιώργος"] {
        let name = Username::try_from(name).unwrap();
        assert!(matches!(store.look_up(&name).await, Lookup::Perhaps(_)), "{name}");
    }
}

#[tokio::test]
async fn a_decoy_is_an_entry_below_the_base() {
    let store = store("ldap://127.0.0.1:1".into(), by_search());
    let Verifier::AtStore(dn) = store.decoy(&mrose()).unwrap().verifier else { panic!() };
    assert_eq!(&*dn, format!(r"cn=nobody\2c for Restante,{BASE}"));
}

/// A directory in which every search finds the same entry, `times` times, except a search for
/// `nobody`. Also returns how often it has been probed.
async fn with_one_entry(times: usize) -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let probes = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&probes);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut asked = [0; 1024];
                while let Ok(octets @ 1..) = connection.read(&mut asked).await {
                    let asked = &asked[..octets];
                    // The message ID comes after tag and length.
                    let long = if asked[1] < 0x80 { 0 } else { usize::from(asked[1] - 0x80) };
                    let number = asked[2 + long + 2];
                    let mut answer = Vec::new();
                    let names = |name: &[u8]| asked.windows(name.len()).any(|part| part == name);
                    if names(PROBE.as_bytes()) {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                    for _ in 0..if names(b"nobody") { 0 } else { times } {
                        answer.extend([0x30, 18, 2, 1, number, 0x64, 13, 4, 9]);
                        answer.extend(b"uid=mrose\x30\x00");
                    }
                    answer.extend([0x30, 12, 2, 1, number, 0x65, 7, 10, 1, 0, 4, 0, 4, 0]);
                    connection.write_all(&answer).await.unwrap();
                }
            });
        }
    });
    (address, probes)
}

#[tokio::test]
async fn several_entries_are_an_error_of_the_filter_and_start_no_probe() {
    let (directory, probes) = with_one_entry(2).await;
    let store = store(format!("ldap://{directory}"), by_search());
    assert!(unavailable(&store).await.contains("several entries"));
    // The store is probed when it is opened. A second probe would come a second later.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(probes.load(Ordering::Relaxed), 1);
    assert!(store.down().is_none());
}

#[tokio::test]
async fn names_that_lead_to_one_entry_are_one_account() {
    let (directory, _) = with_one_entry(1).await;
    let key = async |way: LdapWay, name: &str| {
        let store = store(format!("ldap://{directory}"), way);
        let name = Username::try_from(name).unwrap();
        let account = match store.look_up(&name).await {
            Lookup::Found(account) | Lookup::Perhaps(account) => Some(account),
            Lookup::Unknown => None,
            Lookup::Unavailable(why) => panic!("{why}"),
        };
        store.account_key(&name, account.as_ref())
    };
    for name in ["mrose", "mrose@x1.example", "marshall@x2.example"] {
        assert_eq!(key(by("(mail={user})"), name).await, Some(b"uid=mrose".to_vec()));
    }
    assert_eq!(key(by("(mail={user})"), "nobody").await, None);
    // A filter on the local part alone makes it the key, whether the user exists or not.
    for name in ["nobody", "nobody@x1.example", "nobody@x2.example"] {
        assert_eq!(key(by("(uid={local})"), name).await, Some(b"nobody".to_vec()));
    }
    let by_local = || LdapWay::Direct { dn: template(&format!("uid={{local}},{BASE}")) };
    for name in ["mrose", "mrose@x1.example", "mrose@x2.example"] {
        let entry = format!("uid=mrose,{BASE}").into_bytes();
        assert_eq!(key(by_local(), name).await, Some(entry));
    }
}

#[test]
fn a_file_of_certificates_that_cannot_be_read_is_refused() {
    let ca = Some("/no/such.pem".into());
    let section = LdapSection { ca, ..section("ldaps://localhost".into(), by_search()) };
    let error = LdapStore::open(&section).unwrap_err();
    assert!(error.to_string().contains("/no/such.pem") && error.key == "ca", "{error}");
}

#[test]
fn a_reader_without_a_password_is_refused() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    let password_file = empty.path().to_owned();
    let bind = Some(LdapBind { dn: "cn=reader".into(), password_file });
    let way = LdapWay::Search { bind, base: BASE.into(), filter: template("(uid={user})") };
    let error = LdapStore::open(&section("ldap://localhost".into(), way)).unwrap_err();
    assert_eq!(error.key, "bind-password-file", "{error}");
}
