//! Log-ins by the certificate of the client, which has been verified when it comes here: what is left
//! to find out is which of its names the client wants to be, and whether a store knows that user.

use tracing::debug;

use super::authenticator::admit;
use super::{Authenticator, CredentialStore, Identity, Lookup, Reason, Refusal};
use crate::protocol::{ClaimedName, Username};

impl<C: CredentialStore> Authenticator<C> {
    /// Lets in whoever has a certificate for `names`, if the client wants to be one of them and a
    /// store knows that user.
    ///
    /// - A client that does not say who it wants to be has to have a certificate for one name.
    ///
    /// # Errors
    /// The [`Refusal`]; what is wrong is logged at debug level here.
    pub async fn certify(
        &self,
        names: &[Username],
        wanted: Option<&ClaimedName>,
    ) -> Result<Identity, Refusal> {
        let username = match (wanted, names) {
            (None, [only]) => only.clone(),
            (None, _) => {
                debug!(names = names.len(), "refused: the certificate is not for one user");
                return Err(Refusal::BadCertificate);
            }
            (Some(wanted), names) => match Username::try_from(wanted) {
                Ok(username) if names.contains(&username) => username,
                Ok(_) | Err(_) => {
                    debug!(user = %wanted, "refused: the certificate is for somebody else");
                    return Err(Refusal::BadCertificate);
                }
            },
        };
        let claimed = ClaimedName::new(username.as_str().as_bytes());
        for store in self.stores() {
            match store.look_up(&username).await {
                Lookup::Found(account) => {
                    return admit(username, account.attributes)
                        .map_err(|reason| Refusal::of(&claimed, reason));
                }
                // It cannot tell without a password.
                Lookup::Perhaps(_) | Lookup::Unknown => {}
                Lookup::Unavailable(why) => {
                    return Err(Refusal::of(&claimed, Reason::Unavailable(why)));
                }
            }
        }
        debug!(user = %claimed, "refused: the certificate is for nobody who is known");
        Err(Refusal::BadCertificate)
    }
}
