//! Whom the server runs as, and whether that user gets at the files that are named.

use super::Examination;
use super::access::Account;
use crate::config::RunAs;

impl Examination<'_> {
    /// The user whom the server becomes, as far as that is known.
    ///
    /// - The one of `run-as`; without it, the one of the unit; without both, whoever asks, unless
    ///   that is root.
    pub(super) fn account(&mut self) -> Option<Account> {
        const KEY: &str = "run-as";
        let unit = self.unit;
        let of_unit = unit.and_then(|unit| unit.user());
        let run_as = match (&self.draft.run_as, &of_unit) {
            (Some(run_as), _) => run_as,
            (None, Some(user)) => user,
            (None, None) => {
                if self.draft.is_sound(KEY) {
                    self.report.does("runs as", "whoever starts it, root excepted");
                }
                return Account::present();
            }
        };
        let RunAs { user, group } = run_as;
        let account = match Account::look_up(run_as) {
            Ok(account) => account,
            Err(what) => {
                self.error(KEY, what);
                return None;
            }
        };
        let group: String = group.iter().map(|group| format!(":{group}")).collect();
        self.report.does("runs as", format!("{user}{group}"));
        let Some(unit) = unit else { return Some(account) };
        if let Some(RunAs { user: other, .. }) = of_unit.as_ref().filter(|it| it.user != *user) {
            let name = unit.name();
            self.error(
                KEY,
                format!(
                    "{name} starts the server as {other}, and only root can become {user}: write \
                     User={user} and its group into it (systemctl edit {name}), or leave this out"
                ),
            );
        }
        Some(account.with_groups(unit.groups()))
    }

    /// Looks at whether this user gets at the files that the server needs.
    pub(super) fn files(&mut self, account: &Account) {
        for (key, path) in &self.draft.files {
            if let Some(obstacle) = account.obstacle(path) {
                self.error(key, obstacle);
            }
        }
        if let Some(obstacle) = account.obstacle(self.draft.file()) {
            self.warn("run-as", format!("{obstacle}, or a reload will fail"));
        }
    }
}
