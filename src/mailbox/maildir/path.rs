//! Where the Maildir of a user is: a template with the user's name filled in.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::super::{Failure, OpenError};
use crate::protocol::Username;

/// A path in which `{user}`, `{local}` and `{domain}` stand for the name of a user and the parts
/// before and after its last `@`.
///
/// Filled in is only what a [`Username`] holds, so a name cannot lead out of the place that the
/// template gives it: it has no slash and no part of it begins with a dot. What is filled in is
/// not searched for placeholders again, and braces around other words are left as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate(PathBuf);

impl PathTemplate {
    /// Takes a template; any path will do.
    pub fn new(template: impl Into<PathBuf>) -> Self {
        Self(template.into())
    }

    /// The Maildir of a user.
    ///
    /// # Errors
    /// [`OpenError::Unavailable`] when the template needs a domain and the name has none.
    pub fn path(&self, user: &Username) -> Result<PathBuf, OpenError> {
        let mut path = Vec::new();
        let mut rest = self.0.as_os_str().as_bytes();
        while let Some((&first, after)) = rest.split_first() {
            let filled_in = [
                (&b"{user}"[..], Some(user.as_str())),
                (b"{local}", Some(user.local())),
                (b"{domain}", user.domain()),
            ]
            .into_iter()
            .find_map(|(placeholder, value)| Some((rest.strip_prefix(placeholder)?, value)));
            match filled_in {
                Some((after, Some(value))) => {
                    path.extend_from_slice(value.as_bytes());
                    rest = after;
                }
                Some((_, None)) => return Err(self.no_domain(user)),
                None => {
                    path.push(first);
                    rest = after;
                }
            }
        }
        Ok(OsString::from_vec(path).into())
    }

    fn no_domain(&self, user: &Username) -> OpenError {
        let why = "the user name has no @ and no domain after it";
        OpenError::Unavailable(Failure::new(
            format!("fill {{domain}} of {} in for the user {user}", self.as_path().display()),
            io::Error::new(io::ErrorKind::InvalidInput, why),
        ))
    }

    /// The template as it was written.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(template: &str, user: &str) -> Result<String, OpenError> {
        let user = Username::try_from(user).unwrap();
        let path = PathTemplate::new(template).path(&user)?;
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
        ] {
            assert_eq!(path(template, user).unwrap(), expected);
        }
    }

    #[test]
    fn a_template_need_not_be_utf8() {
        let template = PathTemplate::new(OsString::from_vec(b"/\xff/{local}".to_vec()));
        let path = template.path(&Username::try_from("mrose").unwrap()).unwrap();
        assert_eq!(path.as_os_str().as_bytes(), b"/\xff/mrose");
    }

    #[test]
    fn a_missing_domain_is_an_error_that_names_it() {
        let Err(OpenError::Unavailable(failure)) = path("/m/{domain}/{local}", "mrose") else {
            panic!("a path without its domain");
        };
        let text = failure.to_string();
        assert!(text.contains("{domain}") && text.contains("mrose"), "{text}");
    }
}
