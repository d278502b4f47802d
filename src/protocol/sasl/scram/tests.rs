//! SCRAM with a client that is written from the RFC.

use proptest::prelude::*;

use super::*;
use crate::protocol::sasl::Mechanism;

/// RFC 5802 §5 and RFC 7677 §3: every octet of both exchanges.
#[test]
fn the_exchanges_of_the_rfcs() {
    struct Example {
        mechanism: Mechanism,
        hash: ScramHash,
        salt: &'static str,
        server_nonce: &'static str,
        client_first: &'static str,
        server_first: &'static str,
        client_final: &'static str,
        server_final: &'static str,
    }
    for example in [
        Example {
            mechanism: Mechanism::ScramSha1,
            hash: ScramHash::Sha1,
            salt: "QSXCR+Q6sek8bf92",
            server_nonce: "3rfcNHYJY1ZVvWVs7j",
            client_first: "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
            server_first: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            client_final: "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,\
                           p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            server_final: "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        },
        Example {
            mechanism: Mechanism::ScramSha256,
            hash: ScramHash::Sha256,
            salt: "W22ZaJ0SNY7soEsUEjb6gQ==",
            server_nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
            client_first: "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            server_first: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                           s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            client_final: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                           p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            server_final: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        },
    ] {
        let salt = STANDARD.decode(example.salt).unwrap();
        let keys = ScramKeys::derive(b"pencil", &salt, 4096, example.hash);
        let exchange = example.mechanism.begin(Channel::default());
        assert_eq!(exchange.challenge(), b"");
        let awaiting = named(exchange.step(secret(example.client_first))).unwrap();
        assert_eq!((awaiting.name().as_bytes(), awaiting.hash()), (&b"user"[..], example.hash));
        // Another name of the account does not change the signed messages.
        let awaiting = awaiting.about(ClaimedName::new(*b"user@example.org"));
        let exchange = awaiting.supply(&keys, &Nonce(example.server_nonce.to_owned()));
        assert_eq!(exchange.challenge(), example.server_first.as_bytes());
        let proof = exchange.step(&secret(example.client_final)).unwrap();
        assert_eq!(proof.name().as_bytes(), b"user@example.org");
        let server_final = proof.verify(&keys).expect("the proof is right");
        assert_eq!(server_final.challenge(), example.server_final.as_bytes());
        assert_eq!(server_final.close(b""), Ok(()));
    }
}

#[test]
fn a_client_with_the_password_succeeds_with_every_mechanism() {
    for (mechanism, header, data) in [
        (Mechanism::ScramSha1, "n,,", &b""[..]),
        (Mechanism::ScramSha256, "n,a=mrose,", b""),
        (Mechanism::ScramSha1Plus, "p=tls-exporter,,", &EXPORTER),
        (Mechanism::ScramSha256Plus, "p=tls-exporter,,", &EXPORTER),
        (Mechanism::ScramSha1Plus, "p=tls-server-end-point,,", END_POINT),
        (Mechanism::ScramSha256Plus, "p=tls-server-end-point,a=MRose,", END_POINT),
    ] {
        let client = Client { header, data, ..Client::new("tanstaaf") };
        assert_eq!(client.log_in(mechanism, bound()), Outcome::In, "{mechanism} {header}");
        let client = Client { header, data, ..Client::new("tanstaafl") };
        assert_eq!(client.log_in(mechanism, bound()), Outcome::WrongPassword);
    }
    let mechanism = Mechanism::ScramSha256;
    let client = Client { header: "y,,", ..Client::new("tanstaaf") };
    assert_eq!(client.log_in(mechanism, Channel::default()), Outcome::In, "there is no binding");
}

/// RFC 5802 §6.
#[test]
fn a_downgrade_is_detected() {
    use Mechanism::{ScramSha256, ScramSha256Plus};
    use ResponseError::{Downgraded, Unbound};
    let only_end_point = || Channel { exporter: None, ..bound() };
    for (mechanism, channel, header, data, error) in [
        // An attacker has removed mechanisms from the list for a client that can bind.
        (ScramSha256, bound(), "y,,", &b""[..], Downgraded),
        (ScramSha256, only_end_point(), "y,,", b"", Downgraded),
        (ScramSha256Plus, bound(), "y,,", b"", Downgraded),
        // An attacker has changed the flag, so that the header is not the one in `c=`.
        (ScramSha256Plus, bound(), "n,,", b"", Unbound),
        (ScramSha256, bound(), "p=tls-exporter,,", &EXPORTER, Unbound),
        // The connection does not have these bindings.
        (ScramSha256Plus, bound(), "p=tls-unique,,", &EXPORTER, Unbound),
        (ScramSha256Plus, only_end_point(), "p=tls-exporter,,", &EXPORTER, Unbound),
        (ScramSha256Plus, Channel::default(), "p=tls-exporter,,", &EXPORTER, Unbound),
        // With an attacker in the middle, client and server have different connections.
        (ScramSha256Plus, bound(), "p=tls-exporter,,", &[8; 32], Unbound),
        (ScramSha256Plus, bound(), "p=tls-exporter,,", END_POINT, Unbound),
        (ScramSha256Plus, bound(), "p=tls-exporter,,", b"", Unbound),
        (ScramSha256, bound(), "n,,", &EXPORTER, Unbound),
    ] {
        let client = Client { header, data, ..Client::new("tanstaaf") };
        let outcome = client.log_in(mechanism, channel);
        assert_eq!(outcome, Outcome::Refused(error), "{mechanism} {header}");
    }
    // An attacker has changed the header, so that it is not the one that the client signs.
    for (sent, arrived) in [("y,,", "n,,"), ("n,,", "n,a=mrose,"), ("p=tls-exporter,,", "n,,")] {
        let client = Client { header: sent, arrives_as: Some(arrived), ..Client::new("tanstaaf") };
        let outcome = client.log_in(ScramSha256, bound());
        assert_eq!(outcome, Outcome::Refused(Unbound), "{sent} became {arrived}");
    }
}

#[test]
fn first_messages() {
    use ResponseError::{ForAnother, Malformed};
    for (message, name) in [
        ("n,,n=user,r=x", Ok("user")),
        ("n,a=user,n=user,r=x", Ok("user")),
        ("n,a=USER,n=user,r=x", Ok("user")),
        ("n,a=a=2Cb,n=a=2Cb,r=x", Ok("a,b")),
        ("n,,n=a=3Db,r=!#%=", Ok("a=b")),
        ("n,,n=user,r=x,x=1,Y==", Ok("user")),
        ("n,,n=jo\u{308}rg,r=x", Ok("j\u{f6}rg")),
        ("n,a=Ursel,n=Kurt,r=x", Err(ForAnother)),
        ("n,a=,n=Kurt,r=x", Err(Malformed)),
        ("n,,n=user,r=", Err(Malformed)),
        ("n,,n=user,r=a b", Err(Malformed)),
        ("n,,n=user,r=\u{f6}", Err(Malformed)),
        ("n,,n=user,r=a\x7f", Err(Malformed)),
        ("n,,n=user", Err(Malformed)),
        ("n,,n=,r=x", Err(Malformed)),
        ("n,,n=a=b,r=x", Err(Malformed)),
        ("n,,n=a=2cb,r=x", Err(Malformed)),
        ("n,,n=\u{7},r=x", Err(Malformed)),
        ("n,,n=a\r\nb,r=x", Err(Malformed)),
        ("n,,n=a\0b,r=x", Err(Malformed)),
        ("n,,n=\u{ad},r=x", Err(Malformed)),
        ("n,,n=\u{1f600},r=x", Err(Malformed)),
        ("n,,r=x,n=user", Err(Malformed)),
        ("n,,x=1,n=user,r=x", Err(Malformed)),
        ("n,,m=1,n=user,r=x", Err(Malformed)),
        ("n,,n=user,r=x,m=1", Err(Malformed)),
        ("n,,n=user,r=x,", Err(Malformed)),
        ("n,,n=user,r=x,x", Err(Malformed)),
        ("n,,n=user,r=x,x=", Err(Malformed)),
        ("n,,n=user,r=x,1=x", Err(Malformed)),
        ("n,,N=user,r=x", Err(Malformed)),
        ("n,,,n=user,r=x", Err(Malformed)),
        ("n,n=user,r=x", Err(Malformed)),
        ("n=user,r=x", Err(Malformed)),
        ("F,n,,n=user,r=x", Err(Malformed)),
        ("", Err(Malformed)),
    ] {
        let step = Mechanism::ScramSha256.begin(Channel::default()).step(secret(message));
        let outcome = named(step);
        let outcome = outcome.as_ref().map(|awaiting| awaiting.name().as_bytes());
        assert_eq!(outcome, name.as_ref().map(|name: &&str| name.as_bytes()), "{message:?}");
    }
    for message in [b"n,,n=\xff,r=x".to_vec(), [b"n,,n=u,r=", vec![b'x'; 4096].as_slice()].concat()]
    {
        let step = Mechanism::ScramSha256.begin(Channel::default()).step(Secret::new(message));
        assert_eq!(refused(&step), Malformed);
    }
}

#[test]
fn final_messages() {
    let proof = STANDARD.encode([0; 32]);
    let short = STANDARD.encode([0; 20]);
    for (message, well_formed) in [
        (format!("c=biws,r=xsrv,p={proof}"), true),
        (format!("c=biws,r=xsrv,x=1,y=p=,p={proof}"), true),
        (format!("c=biws,r=xsrv,x=1,p={proof},p={proof}"), true),
        (format!("c=biws,r=xsrv,m=1,p={proof}"), false),
        (format!("c=biws,r=xsrv,,p={proof}"), false),
        (format!("c=biws,r=x,p={proof}"), false),
        (format!("c=biws,r=xsrvx,p={proof}"), false),
        (format!("c=biws,r=XSRV,p={proof}"), false),
        (format!("c=biws,r=,p={proof}"), false),
        (format!("r=xsrv,c=biws,p={proof}"), false),
        (format!("c=biws,x=1,r=xsrv,p={proof}"), false),
        (format!("c=biws,p={proof}"), false),
        (format!("r=xsrv,p={proof}"), false),
        (format!("p={proof}"), false),
        (format!("c=biws,r=xsrv,p={proof},x=1"), false),
        (format!("c=biws,r=xsrv,p={short}"), false),
        ("c=biws,r=xsrv,p=".to_owned(), false),
        ("c=biws,r=xsrv,p=*".to_owned(), false),
        ("c=biws,r=xsrv".to_owned(), false),
        (String::new(), false),
    ] {
        let error = after("n,,n=mrose,r=x").step(&secret(&message)).err();
        let expected = if well_formed { None } else { Some(ResponseError::Malformed) };
        assert_eq!(error, expected, "{message:?}");
    }
    for binding in ["biw", "biws=", "eSws", "", "bixhPW1yb3NlLA=="] {
        let message = secret(&format!("c={binding},r=xsrv,p={proof}"));
        let error = after("n,,n=mrose,r=x").step(&message).unwrap_err();
        assert_eq!(error, ResponseError::Unbound, "{binding}");
    }
}

#[test]
fn a_nonce_is_printable_and_has_no_comma() {
    for octet in 0..=255 {
        let nonce = Nonce::new([octet; 18]);
        assert!(nonce.0.bytes().all(|c| c.is_ascii_graphic() && c != b','));
        assert_eq!(nonce.0.len(), 24);
    }
}

/// No proof matches keys of another user or another hash, or decoys.
#[test]
fn only_the_keys_of_the_password_match_the_proof() {
    let hash = ScramHash::Sha256;
    let right = || ScramKeys::derive(b"tanstaaf", b"salt", 1, hash);
    let empty = || Secret::new(Vec::new());
    let proof = || Client::new("tanstaaf").prove(Mechanism::ScramSha256, Channel::default());
    assert!(proof().verify(&right()).is_some());
    for wrong in [
        ScramKeys::decoy(&[7; 32], 1, hash),
        ScramKeys::derive(b"tanstaaf", b"another", 1, hash),
        ScramKeys::derive(b"tanstaaf", b"salt", 1, ScramHash::Sha1),
        ScramKeys { stored_key: empty(), ..right() },
    ] {
        assert!(proof().verify(&wrong).is_none());
    }
}

#[test]
fn the_response_to_the_last_challenge_is_empty() {
    for (response, closed) in [(&b""[..], Ok(())), (b"v=x", Err(ResponseError::Malformed))] {
        assert_eq!(
            ServerFinal("v=rmF9pqV8S7suAoZWja4dJRkFsKQ=".to_owned()).close(response),
            closed
        );
    }
}

proptest! {
    #[test]
    fn any_name_and_password_succeed(name in "[a-zA-Z0-9,=@. \u{e4}\u{f6}\u{df}\u{e9}\u{65e5}\u{672c}-]{1,40}", password in "\\PC{1,40}") {
        let client = Client { name: &name, ..Client::new(&password) };
        prop_assert_eq!(client.log_in_with(&password), Outcome::In);
        let other = format!("{password}x");
        prop_assert_eq!(client.log_in_with(&other), Outcome::WrongPassword);
    }

    /// Both sides sign all messages, so a changed octet fails the exchange.
    #[test]
    fn a_changed_final_message_fails(at in any::<prop::sample::Index>(), bit in 0..8) {
        let client = Client::new("tanstaaf");
        let exchange = after(&client.first());
        let keys = ScramKeys::derive(b"tanstaaf", b"salt", 1, ScramHash::Sha256);
        let mut message = client.last(ScramHash::Sha256, exchange.challenge());
        let at = at.index(message.len());
        message[at] ^= 1_u8 << bit;
        let proof = exchange.step(&Secret::new(message));
        let entered = proof.is_ok_and(|proof| proof.verify(&keys).is_some());
        prop_assert!(!entered);
    }
}

const EXPORTER: [u8; 32] = [9; 32];
const END_POINT: &[u8] = &[7; 48];

fn bound() -> Channel {
    Channel { exporter: Some(EXPORTER), end_point: Some(END_POINT.to_vec()) }
}

fn secret(text: &str) -> Secret<Vec<u8>> {
    Secret::new(text.as_bytes().to_vec())
}

fn named(step: Step) -> Result<Awaiting, ResponseError> {
    if let Step::NeedKeys(awaiting) = step { Ok(awaiting) } else { Err(refused(&step)) }
}

fn refused(step: &Step) -> ResponseError {
    if let Step::Refused(error) = step { *error } else { panic!("{step:?}") }
}

/// An exchange after its first message, in which the server has added `srv` to the nonce.
fn after(first: &str) -> ScramExchange {
    let keys = ScramKeys::derive(b"tanstaaf", b"salt", 1, ScramHash::Sha256);
    let step = Mechanism::ScramSha256.begin(Channel::default()).step(secret(first));
    named(step).unwrap().supply(&keys, &Nonce("srv".to_owned()))
}

#[derive(Debug, PartialEq)]
enum Outcome {
    In,
    WrongPassword,
    Refused(ResponseError),
}

/// The client's side of RFC 5802 §3.
struct Client<'a> {
    name: &'a str,
    password: &'a str,
    header: &'a str,
    /// The header as changed by an attacker in the middle.
    arrives_as: Option<&'a str>,
    data: &'a [u8],
}

impl<'a> Client<'a> {
    fn new(password: &'a str) -> Self {
        Self { name: "mrose", password, header: "n,,", arrives_as: None, data: b"" }
    }

    fn bare(&self) -> String {
        format!("n={},r=x", self.name.replace('=', "=3D").replace(',', "=2C"))
    }

    fn first(&self) -> String {
        format!("{}{}", self.arrives_as.unwrap_or(self.header), self.bare())
    }

    fn last(&self, hash: ScramHash, challenge: &[u8]) -> Vec<u8> {
        let challenge = std::str::from_utf8(challenge).unwrap();
        let mut attributes = challenge.split(',').map(|attribute| attribute.split_at(2).1);
        let (nonce, salt, iterations) =
            (attributes.next().unwrap(), attributes.next().unwrap(), attributes.next().unwrap());
        assert!(nonce.len() > 1 && nonce.starts_with('x'));
        let salt = STANDARD.decode(salt).unwrap();
        let prepared = saslprep(self.password.as_bytes());
        let password =
            prepared.as_ref().map_or(self.password.as_bytes(), |prepared| prepared.expose());
        let mut salted = vec![0; hash.octets()];
        let rounds = iterations.parse().unwrap();
        match hash {
            ScramHash::Sha1 => {
                pbkdf2::pbkdf2_hmac::<sha1::Sha1>(password, &salt, rounds, &mut salted);
            }
            ScramHash::Sha256 => {
                pbkdf2::pbkdf2_hmac::<sha2::Sha256>(password, &salt, rounds, &mut salted);
            }
        }
        let client_key = hash.hmac(&salted, b"Client Key");
        let stored_key = hash.digest(client_key.expose());
        let binding = STANDARD.encode([self.header.as_bytes(), self.data].concat());
        let without_proof = format!("c={binding},r={nonce}");
        let messages = format!("{},{challenge},{without_proof}", self.bare());
        let signature = hash.hmac(stored_key.expose(), messages.as_bytes());
        let proof: Vec<u8> =
            client_key.expose().iter().zip(signature.expose()).map(|(a, b)| a ^ b).collect();
        format!("{without_proof},p={}", STANDARD.encode(proof)).into_bytes()
    }

    fn prove(&self, mechanism: Mechanism, channel: Channel) -> ScramProof {
        self.answer(mechanism, channel).expect("a proof")
    }

    fn answer(&self, mechanism: Mechanism, channel: Channel) -> Result<ScramProof, ResponseError> {
        let awaiting = named(mechanism.begin(channel).step(secret(&self.first())))?;
        let hash = awaiting.hash();
        let keys = ScramKeys::derive(b"tanstaaf", b"salt", 1, hash);
        let exchange = awaiting.supply(&keys, &Nonce::new([1; 18]));
        let last = self.last(hash, exchange.challenge());
        exchange.step(&Secret::new(last))
    }

    fn log_in(&self, mechanism: Mechanism, channel: Channel) -> Outcome {
        let proof = match self.answer(mechanism, channel) {
            Ok(proof) => proof,
            Err(error) => return Outcome::Refused(error),
        };
        let keys = ScramKeys::derive(b"tanstaaf", b"salt", 1, proof.hash);
        if proof.verify(&keys).is_some() { Outcome::In } else { Outcome::WrongPassword }
    }

    /// Against a server that knows `password`.
    fn log_in_with(&self, password: &str) -> Outcome {
        let proof = self.prove(Mechanism::ScramSha256, Channel::default());
        let keys = ScramKeys::derive(password.as_bytes(), b"salt", 1, ScramHash::Sha256);
        if proof.verify(&keys).is_some() { Outcome::In } else { Outcome::WrongPassword }
    }
}
