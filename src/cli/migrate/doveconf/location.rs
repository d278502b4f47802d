//! Where Dovecot keeps a user's mail: `mail_location` of 2.3, `mail_path` and others of 2.4.

use super::settings::Settings;

/// The location of the inbox.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Location {
    /// The setting with the path, for messages.
    pub(super) setting: &'static str,
    /// The format of mailboxes, such as `maildir`. `None`: Dovecot detects it.
    driver: Option<String>,
    path: Option<String>,
    /// The inbox, if it is not at `path`.
    inbox: Option<String>,
    /// The directory of control files, if it is not `path`.
    control: Option<String>,
    /// `maildir++`, `fs` or `index`. `None`: not set, so `maildir++`.
    layout: Option<String>,
    /// A directory in each mailbox that has its mail.
    directory: Option<String>,
}

/// Why the inbox is not a Maildir.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what}, but only Maildirs can be served; copy the mail of each user to a Maildir first: doveadm backup -u USER maildir:DIRECTORY"
)]
pub(in crate::cli::migrate) struct NotAMaildir {
    what: String,
}

impl Location {
    /// The location of the inbox as POP3 sees it.
    pub(super) fn of(settings: &Settings<'_>) -> Self {
        let of_namespace = settings.of_inbox("location");
        if let Some(value) = of_namespace.or_else(|| settings.setting("mail_location")) {
            return Self::parse(value);
        }
        let owned = |name| {
            let value = settings.of_inbox(name).or_else(|| settings.setting(name));
            value.map(str::to_owned)
        };
        let is_2_4 = settings.setting("dovecot_config_version").is_some();
        Self {
            setting: if is_2_4 { "mail_path" } else { "mail_location" },
            driver: owned("mail_driver"),
            path: owned("mail_path"),
            inbox: owned("mail_inbox_path"),
            control: owned("mail_control_path"),
            layout: owned("mailbox_list_layout"),
            directory: owned("mailbox_directory_name"),
        }
    }

    /// Reads `driver:path:KEY=value:…`, in which `::` is a colon.
    fn parse(value: &str) -> Self {
        let escaped = value.replace("::", "\0");
        let mut parts = escaped.split(':').map(|part| part.replace('\0', ":")).peekable();
        let has_driver = parts.peek().is_some_and(|first| !first.starts_with(['/', '~', '%']));
        let driver = parts.next_if(|_| has_driver);
        let path = parts.next().filter(|path| !path.is_empty());
        let mut location = Self { setting: "mail_location", driver, path, ..Self::default() };
        for part in parts {
            let Some((key, value)) = part.split_once('=') else { continue };
            let field = match key {
                "INBOX" => &mut location.inbox,
                "CONTROL" => &mut location.control,
                "LAYOUT" => &mut location.layout,
                "DIRNAME" => &mut location.directory,
                _ => continue,
            };
            *field = Some(value.to_owned());
        }
        location
    }

    /// The path of the Maildir. `None`: Dovecot looks for it.
    ///
    /// # Errors
    /// [`NotAMaildir`] when the inbox is not a Maildir.
    pub(super) fn maildir(&self) -> Result<Option<&str>, NotAMaildir> {
        let setting = self.setting;
        let refused = |what| Err(NotAMaildir { what });
        match (self.driver.as_deref(), self.layout.as_deref(), self.directory.as_deref()) {
            (Some(driver), ..) if !driver.eq_ignore_ascii_case("maildir") => {
                refused(format!("the mail is in the format {driver:?} ({setting})"))
            }
            (_, Some("index"), _) => {
                refused(format!("the mailboxes have the layout \"index\" ({setting})"))
            }
            (_, _, Some(directory)) if self.inbox.is_none() => refused(format!(
                "the mail of a mailbox is in a directory {directory:?} in it ({setting})"
            )),
            _ => Ok(self.inbox.as_deref().or(self.path.as_deref())),
        }
    }

    /// The directory of the inbox's `dovecot-uidlist`, if it is not the Maildir.
    pub(super) fn control(&self) -> Option<String> {
        let inbox = if self.layout.as_deref() == Some("fs") { "INBOX" } else { ".INBOX" };
        self.control.as_ref().map(|control| format!("{}/{inbox}", control.trim_end_matches('/')))
    }

    /// Whether the layout may be `fs` without the output showing it: in 2.4, that is the default for
    /// formats other than Maildir, and `doveconf -n` omits it.
    pub(super) fn hides_layout(&self) -> bool {
        self.setting == "mail_path" && self.layout.is_none()
    }
}
