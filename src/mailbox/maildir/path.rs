//! The path of a user's Maildir: a template with the user's name filled in.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::super::Failure;
use crate::login::Identity;
use crate::protocol::{Placeholder, Username};

/// A user, and where a credential store says that their home directory and their mail are.
#[derive(Clone, Copy, Debug)]
pub struct MailOwner<'a> {
    /// The name.
    pub user: &'a Username,
    /// The home directory, if a store says so.
    pub home: Option<&'a Path>,
    /// The Maildir, if a store says so.
    pub mail: Option<&'a Path>,
}

impl<'a> From<&'a Identity> for MailOwner<'a> {
    fn from(identity: &'a Identity) -> Self {
        Self { user: identity.username(), home: identity.home(), mail: identity.mail() }
    }
}

/// A path in which `{user}`, `{local}` and `{domain}` stand for the name of a user and the parts
/// before and after its last `@`, and `{home}` for the home directory that a credential store says.
///
/// Of what a client sends, only a [`Username`] is filled in, so a name cannot lead out of the place
/// that the template gives it: it has no slash and no part of it begins with a dot. What is filled
/// in is not searched for placeholders again, and braces around other words are left as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate(PathBuf);

impl PathTemplate {
    /// Takes a template; any path will do.
    pub fn new(template: impl Into<PathBuf>) -> Self {
        Self(template.into())
    }

    /// The Maildir of a user. If a store says where that is, the template does not count.
    ///
    /// # Errors
    /// [`Failure`] when the template needs a domain and the name has none, or a
    /// home directory and no store says which.
    pub fn maildir(&self, owner: MailOwner<'_>) -> Result<PathBuf, Failure> {
        owner.mail.map_or_else(|| self.fill_in(owner), |mail| Ok(mail.to_owned()))
    }

    /// The path with the names of a user and the home directory filled in.
    ///
    /// # Errors
    /// As [`PathTemplate::maildir`].
    pub fn fill_in(&self, owner: MailOwner<'_>) -> Result<PathBuf, Failure> {
        let MailOwner { user, home, .. } = owner;
        let mut path = Vec::new();
        let mut rest = self.0.as_os_str().as_bytes();
        while let Some((&first, after)) = rest.split_first() {
            let placeholder = Placeholder::ALL
                .into_iter()
                .find(|placeholder| rest.starts_with(placeholder.word().as_bytes()));
            let Some(placeholder) = placeholder else {
                path.push(first);
                rest = after;
                continue;
            };
            let value = match placeholder {
                Placeholder::Home => home.map(Path::as_os_str).map(OsStr::as_bytes),
                Placeholder::User | Placeholder::Local | Placeholder::Domain => {
                    placeholder.value(user).map(str::as_bytes)
                }
            };
            path.extend_from_slice(value.ok_or_else(|| self.lacks(placeholder, user))?);
            rest = rest.get(placeholder.word().len()..).unwrap_or_default();
        }
        Ok(OsString::from_vec(path).into())
    }

    fn lacks(&self, placeholder: Placeholder, user: &Username) -> Failure {
        let (word, template) = (placeholder.word(), self.as_path().display());
        let why = match placeholder {
            Placeholder::Home => "no credential store says what the user's home directory is",
            Placeholder::User | Placeholder::Local | Placeholder::Domain => {
                "the user name has no @ and no domain after it"
            }
        };
        Failure::new(
            format!("fill {word} of {template} in for the user {user}"),
            io::Error::new(io::ErrorKind::InvalidInput, why),
        )
    }

    /// The directory above the first placeholder, the same for all users; none when it begins with
    /// their homes.
    pub fn root(&self) -> Option<&Path> {
        let has_placeholder = |path: &Path| path.as_os_str().as_bytes().contains(&b'{');
        let root = self.0.ancestors().find(|path| !has_placeholder(path));
        root.filter(|_| !self.0.starts_with("{home}"))
    }

    /// The template as it was written.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(user: &Username) -> MailOwner<'_> {
        MailOwner { user, home: None, mail: None }
    }

    fn path(template: &str, user: &str) -> Result<String, Failure> {
        let user = Username::try_from(user).unwrap();
        let home = Some(Path::new("/home/{user}"));
        let path = PathTemplate::new(template).maildir(MailOwner { home, ..owner(&user) })?;
        Ok(path.into_os_string().into_string().unwrap())
    }

    #[test]
    fn placeholders_are_filled_in() {
        for (template, user, expected) in [
            ("/m/{user}", "mrose", "/m/mrose"),
            ("/m/{user}", "mrose@example.org", "/m/mrose@example.org"),
            ("/m/{domain}/{local}/Maildir", "MRose@Example.org", "/m/example.org/mrose/Maildir"),
            ("/m/{local}{local}", "a@b", "/m/aa"),
            ("/m/{other}/{local}/{", "a@b", "/m/{other}/a/{"),
            ("mail", "mrose", "mail"),
            ("/m/{local}", "{domain}@b", "/m/{domain}"),
            ("{home}/Maildir", "mrose", "/home/{user}/Maildir"),
        ] {
            assert_eq!(path(template, user).unwrap(), expected);
        }
    }

    #[test]
    fn the_root_is_above_the_first_placeholder() {
        for (template, root) in [
            ("/var/vmail/{domain}/{local}/Maildir", Some("/var/vmail")),
            ("/var/vmail/x{user}", Some("/var/vmail")),
            ("/{user}/Maildir", Some("/")),
            ("mail/{user}", Some("mail")),
            ("{user}", Some("")),
            ("{home}/Maildir", None),
        ] {
            assert_eq!(PathTemplate::new(template).root(), root.map(Path::new), "{template}");
        }
    }

    #[test]
    fn a_template_need_not_be_utf8() {
        let template = PathTemplate::new(OsString::from_vec(b"/\xff/{local}".to_vec()));
        let path = template.maildir(owner(&Username::try_from("mrose").unwrap())).unwrap();
        assert_eq!(path.as_os_str().as_bytes(), b"/\xff/mrose");
    }

    #[test]
    fn a_missing_domain_is_an_error_that_names_it() {
        let text = path("/m/{domain}/{local}", "mrose").unwrap_err().to_string();
        assert!(text.contains("{domain}") && text.contains("mrose"), "{text}");
        let homeless = PathTemplate::new("{home}/Maildir");
        let failure = homeless.maildir(owner(&Username::try_from("mrose").unwrap())).unwrap_err();
        assert!(failure.to_string().contains("{home}"), "{failure}");
    }

    #[test]
    fn the_mail_attribute_of_a_store_overrides_the_template() {
        let user = Username::try_from("mrose").unwrap();
        let mail = Some(Path::new("/srv/m"));
        let path = PathTemplate::new("/m/{domain}").maildir(MailOwner { mail, ..owner(&user) });
        assert_eq!(path.unwrap(), Path::new("/srv/m"));
    }
}
