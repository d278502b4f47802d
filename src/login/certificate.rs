//! Logins with the certificate of the client, which TLS has verified already. What remains is to
//! choose one of its names, and to look up that user.

use std::net::IpAddr;

use tracing::info;

use super::authenticator::admit;
use super::{Authenticator, Identity, Reason, Refusal};
use crate::credentials::CredentialStore;
use crate::protocol::{ClaimedName, Username};

impl<C: CredentialStore> Authenticator<C> {
    /// Lets a client with a certificate for `names` log in as one of them, if a store knows that user.
    ///
    /// - A client that does not name a user needs a certificate for exactly one name.
    ///
    /// # Errors
    /// The [`Refusal`]. The reason is logged here.
    pub async fn certify(
        &self,
        names: &[Username],
        wanted: Option<&ClaimedName>,
        peer: IpAddr,
    ) -> Result<Identity, Refusal> {
        let username = match (wanted, names) {
            (None, [only]) => only.clone(),
            (None, _) => {
                info!(names = names.len(), "refused: the certificate is not for one user");
                return Err(Refusal::BadCertificate);
            }
            (Some(wanted), names) => match Username::try_from(wanted) {
                Ok(username) if names.contains(&username) => username,
                Ok(_) | Err(_) => {
                    info!(user = %wanted, "refused: the certificate is not for this user");
                    return Err(Refusal::BadCertificate);
                }
            },
        };
        let claimed = ClaimedName::new(username.as_str().as_bytes());
        match self.known(&username, None).await {
            Ok(Some(account)) => match admit(username, account.attributes, Some(peer)) {
                Err(Reason::NotFromThere) => {
                    info!(user = %claimed, "refused: the user may not log in from this address");
                    Err(Refusal::BadCertificate)
                }
                admitted => admitted.map_err(|reason| Refusal::of(&claimed, reason)),
            },
            Ok(None) => {
                info!(user = %claimed, "refused: the certificate is for an unknown user");
                Err(Refusal::BadCertificate)
            }
            Err(reason) => Err(Refusal::of(&claimed, reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::credentials::Table;
    use crate::login::Rules;

    const USERS: &[u8] = b"mrose:{PLAIN}a::::/home/mrose::sessions=2\n\
        crocker:{UNHEARD-OF}b\n\
        away:{PLAIN}c::::::pop3=no\n\
        barred:{PLAIN}d::::::nologin\n\
        here:{PLAIN}e::::::allow_nets=192.0.2.0/24\n\
        there:{PLAIN}f::::::allow_nets=198.51.100.0/24 pop3=no\n";

    /// The outcome for a client with a certificate for these users that wants to be `wanted`.
    async fn certify(names: &[&str], wanted: Option<&str>) -> Result<Identity, Refusal> {
        let table = Table::try_from(USERS).unwrap();
        let authenticator =
            Authenticator::new(vec![table], Rules::default(), Arc::default()).unwrap();
        let names: Vec<_> = names.iter().map(|&name| Username::try_from(name).unwrap()).collect();
        let wanted = wanted.map(|wanted| ClaimedName::new(wanted.as_bytes()));
        authenticator.certify(&names, wanted.as_ref(), "192.0.2.1".parse().unwrap()).await
    }

    #[tokio::test]
    async fn the_user_of_the_certificate_logs_in_with_the_attributes_of_the_store() {
        for (names, wanted) in [
            (&["mrose"][..], None),
            (&["mrose"], Some("MRose")),
            (&["crocker", "mrose"], Some("mrose")),
        ] {
            let identity = certify(names, wanted).await.unwrap();
            assert_eq!(identity.username().as_str(), "mrose");
            assert_eq!(identity.home(), Some(std::path::Path::new("/home/mrose")));
            assert_eq!(identity.sessions().map(u32::from), Some(2));
        }
        let identity = certify(&["crocker"], None).await.unwrap();
        assert_eq!(identity.username().as_str(), "crocker", "a password is not needed");
        assert!(certify(&["here"], None).await.is_ok());
    }

    #[tokio::test]
    async fn no_other_user_logs_in() {
        for (names, wanted) in [
            (&[][..], None),
            (&[], Some("mrose")),
            (&["mrose", "crocker"], None),
            (&["mrose"], Some("crocker")),
            (&["mrose"], Some("mrose@example.org")),
            (&["mrose"], Some("../mrose")),
            (&["mrose"], Some("mrose\0")),
            (&["stranger"], None),
            (&["there"], None),
        ] {
            let refusal = certify(names, wanted).await.unwrap_err();
            assert_eq!(refusal, Refusal::BadCertificate, "{names:?} {wanted:?}");
        }
        assert_eq!(certify(&["away"], None).await.unwrap_err(), Refusal::NotAllowed);
        let barred = certify(&["barred"], None).await.unwrap_err();
        assert!(matches!(barred, Refusal::Unavailable(why) if why.contains("nologin")));
    }
}
