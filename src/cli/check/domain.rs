//! Users whom `default-domain` shuts out.

use super::Examination;
use super::report::counted;
use crate::credentials::Attributes;
use crate::protocol::Username;

impl Examination<'_> {
    /// With a default domain nobody has a name without one.
    pub(super) fn bare_names(&mut self, users: &[(Username, Attributes)]) {
        let Some(domain) = &self.draft.auth.default_domain else { return };
        let mut bare = users.iter().map(|(user, _)| user).filter(|user| user.domain().is_none());
        let Some(first) = bare.next() else { return };
        let count = counted(bare.count() + 1, "user");
        self.warn(
            "auth.default-domain",
            format!(
                "keeps out {count} without a domain (say {first}), for whoever logs in as {first} \
                 is {first}@{domain}: rename them in their credential file"
            ),
        );
    }
}
