//! The user that the server runs as, and whether it can read the files of the configuration.

use super::Examination;
use super::access::ServerUser;
use super::unit::UNIT_NAME;
use crate::config::RunAs;

impl Examination<'_> {
    /// The user that the server runs as, if it is known.
    ///
    /// - That of `run-as`, otherwise that of the unit, otherwise the current user unless it is root.
    pub(super) fn server_user(&mut self) -> Option<ServerUser> {
        const KEY: &str = "run-as";
        let unit = self.circumstances.unit.as_ref();
        let of_unit = unit.and_then(|unit| unit.user());
        let run_as = match (&self.config.run_as, &of_unit) {
            (Some(run_as), _) => run_as,
            (None, Some(user)) => user,
            (None, None) => {
                if self.config.is_sound(KEY) {
                    self.report.does("runs as", "the user that starts it, except root");
                }
                return ServerUser::current();
            }
        };
        let RunAs { user, group } = run_as;
        let server_user = match ServerUser::look_up(run_as) {
            Ok(server_user) => server_user,
            Err(error) => {
                self.error(KEY, error);
                return None;
            }
        };
        let group: String = group.iter().map(|group| format!(":{group}")).collect();
        self.report.does("runs as", format!("{user}{group}"));
        let Some(unit) = unit else { return Some(server_user) };
        if let Some(RunAs { user: other, .. }) = of_unit.as_ref().filter(|it| it.user != *user) {
            self.error(
                KEY,
                format!(
                    "{UNIT_NAME} starts the server as {other}, and only root can become {user}; write \
                     User={user} and its group into the unit (systemctl edit {UNIT_NAME}), or remove run-as"
                ),
            );
        }
        Some(server_user.with_groups(&unit.groups))
    }

    /// Checks that this user can read the files of the configuration.
    pub(super) fn files(&mut self, server_user: &ServerUser) {
        for (key, path) in &self.config.files {
            if let Some(obstacle) = server_user.obstacle(path) {
                self.error(key, obstacle);
            }
        }
        if let Some(obstacle) = server_user.obstacle(self.config.file()) {
            self.warn("run-as", format!("{obstacle}; otherwise a reload will fail"));
        }
    }
}
