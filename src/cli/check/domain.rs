//! Users that cannot log in because of `default-domain`.

use super::Examination;
use super::report::counted_users;
use crate::credentials::Attributes;
use crate::protocol::Username;

impl Examination<'_> {
    /// Warns about users without a domain: with a default domain, their names cannot occur.
    pub(super) fn bare_names(&mut self, users: &[(Username, Attributes)]) {
        let Some(domain) = &self.config.auth.default_domain else { return };
        let mut bare = users.iter().map(|(user, _)| user).filter(|user| user.domain().is_none());
        let Some(first) = bare.next() else { return };
        let users = counted_users(bare.count() + 1, first);
        self.warn(
            "auth.default-domain",
            format!(
                "{users} without a domain cannot log in, since a client that logs in as {first} is \
                 {first}@{domain}; rename them in the credential file"
            ),
        );
    }
}
