//! Changes to a credential file, for `restante user`.
//!
//! - A change is a new file in the place of the old one: the server sees either, whole.
//! - Comments, order, line ends, mode and owner stay as they are.
//! - A faulty file is not touched, and no change makes a sound one faulty.
//! - Two changes at a time wait for each other.

use std::fs::{self, File, Permissions};
use std::hash::RandomState;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, str};

use tempfile::{Builder, NamedTempFile};
use zeroize::Zeroizing;

use super::parse::{Line, lines};
use super::source::{self, Source, Stamp};
use super::table::{Faults, Table};
use super::{NewPassword, NewScheme, Verifier, WeakSchemes};
use crate::protocol::{Secret, Username};

/// Where a new user went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// To the end of a file.
    ToFile,
    /// Into a file that was not there before, with mode 0600 and the owner of the process.
    ToNewFile,
}

/// A user in a credential file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The canonical name.
    pub name: Username,
    /// Why this user cannot log in, if that is so.
    pub unusable: Option<Arc<str>>,
}

/// Why a credential file was not changed: names the file, what is wrong and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditError(String);

/// Adds a user with `password`, kept as `scheme` says; creates the file if there is none.
///
/// # Errors
/// [`EditError`] when the user is there already, or the file cannot be changed.
pub fn add(
    path: &Path,
    name: &Username,
    password: &NewPassword,
    scheme: NewScheme,
) -> Result<Added, EditError> {
    let mut line = Zeroizing::new(format!("{name}:").into_bytes());
    line.extend_from_slice(field(path, password, scheme)?.expose().as_bytes());
    let parsed = Line { number: 1, raw: &line }.entry();
    if !parsed.is_ok_and(|entry| entry.is_some_and(|entry| entry.name == *name)) {
        return Err(EditError(format!(
            "{name}: a name in a credential file has no colon, no blank at either end and no # \
             at its start; take another name"
        )));
    }
    loop {
        let Some(held) = Held::lock(path)? else {
            line.push(b'\n');
            if create(path, &line)? {
                return Ok(Added::ToNewFile);
            }
            // Somebody else has created it meanwhile.
            line.pop();
            continue;
        };
        if held.find(name).is_some() {
            return Err(
                held.error(format_args!("{name} is there already; use restante user set-password"))
            );
        }
        let old = held.text();
        let end = lines(old).last().map(Line::end);
        let mut new = Zeroizing::new(Vec::with_capacity(old.len() + line.len() + 4));
        new.extend_from_slice(old);
        if end == Some(b"") {
            new.push(b'\n');
        }
        new.extend_from_slice(&line);
        new.extend_from_slice(end.filter(|end| !end.is_empty()).unwrap_or(b"\n"));
        return held.replace(&new).map(|()| Added::ToFile);
    }
}

/// Gives a user another password; the other fields of the line stay.
///
/// # Errors
/// [`EditError`] when there is no such user, or the file cannot be changed.
pub fn set_password(
    path: &Path,
    name: &Username,
    password: &NewPassword,
    scheme: NewScheme,
) -> Result<(), EditError> {
    let field = field(path, password, scheme)?;
    Held::existing(path)?.set_field(name, &field)
}

/// Puts an argon2id hash in the place of a weaker one that `password` is right for; whether it did.
///
/// - Verified again while nobody else can change the file: a password that has been set meanwhile
///   stays, and so does a user who has been removed.
///
/// # Errors
/// [`EditError`] when the file cannot be changed.
pub(super) fn rehash(
    path: &Path,
    name: &Username,
    password: &NewPassword,
    weak: WeakSchemes,
) -> Result<bool, EditError> {
    let held = Held::existing(path)?;
    let entry = held.find(name).and_then(|line| line.entry().ok().flatten());
    let outdated = entry.map(|entry| entry.verifier(weak)).is_some_and(|verifier| {
        verifier.outdated_by(password.expose()) && verifier.verify(password.expose()) == Ok(true)
    });
    if outdated {
        held.set_field(name, &field(path, password, NewScheme::Argon2id)?)?;
    }
    Ok(outdated)
}

/// Whether [`add`] would find the user there already: to know before a password is asked for.
///
/// # Errors
/// [`EditError`] as from [`add`].
pub fn expect_absent(path: &Path, name: &Username) -> Result<(), EditError> {
    if path.exists() && list(path)?.iter().any(|user| user.name == *name) {
        return Err(present(path, name));
    }
    Ok(())
}

/// Whether [`set_password`] would find no such user: to know before a password is asked for.
///
/// # Errors
/// [`EditError`] as from [`set_password`].
pub fn expect_present(path: &Path, name: &Username) -> Result<(), EditError> {
    if !list(path)?.iter().any(|user| user.name == *name) {
        return Err(absent(path, name));
    }
    Ok(())
}

/// Removes a user, line and all; mail is not touched.
///
/// # Errors
/// [`EditError`] when there is no such user, or the file cannot be changed.
pub fn remove(path: &Path, name: &Username) -> Result<(), EditError> {
    Held::existing(path)?.rewrite(name, |_, _| {})
}

/// The users of a file, in its order; those with weak schemes as ones who cannot log in.
///
/// # Errors
/// [`EditError`] when the file cannot be read or is faulty.
pub fn list(path: &Path) -> Result<Vec<User>, EditError> {
    let source = Source::read(path).map_err(|what| error(path, what))?;
    sound(path, &source.text)?;
    let entries = lines(&source.text).filter_map(|line| line.entry().ok().flatten());
    Ok(entries
        .map(|entry| {
            let unusable = match entry.verifier(WeakSchemes::Refused) {
                Verifier::Unusable(why) => Some(why),
                Verifier::Plain(_)
                | Verifier::Hash(..)
                | Verifier::Scram(_)
                | Verifier::AtStore(_) => None,
            };
            User { name: entry.name, unusable }
        })
        .collect())
}

/// A sound credential file, locked against other editors.
struct Held {
    /// Without symbolic links: the file is replaced, not a link to it.
    path: PathBuf,
    /// Its lock ends when it is closed.
    file: File,
    source: Source,
}

impl Held {
    /// Locks a file; none when it is not there.
    fn lock(path: &Path) -> Result<Option<Self>, EditError> {
        let real = match fs::canonicalize(path) {
            Ok(real) => real,
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                if path.symlink_metadata().is_ok() {
                    return Err(error(path, "links to a file that is not there; remove the link"));
                }
                return Ok(None);
            }
            Err(why) => return Err(error(path, format!("cannot be opened: {why}"))),
        };
        let cannot = |why: io::Error| error(&real, format!("cannot be opened: {why}"));
        loop {
            let file = match source::open(&real) {
                Ok(file) => file,
                Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(why) => return Err(cannot(why)),
            };
            file.lock().map_err(|why| error(&real, format!("cannot be locked: {why}")))?;
            let locked = Stamp::of(&file.metadata().map_err(cannot)?);
            // The one who had the lock has put another file in the place of this one.
            if !Stamp::at(&real).is_ok_and(|present| present.same_file(locked)) {
                continue;
            }
            let source = Source::read_open(&file).map_err(|what| error(&real, what))?;
            sound(&real, &source.text)?;
            return Ok(Some(Self { path: real, file, source }));
        }
    }

    fn existing(path: &Path) -> Result<Self, EditError> {
        Self::lock(path)?.ok_or_else(|| {
            error(
                path,
                "is not there; create it with restante user add, or name another with --file",
            )
        })
    }

    fn text(&self) -> &[u8] {
        &self.source.text
    }

    fn find(&self, name: &Username) -> Option<Line<'_>> {
        lines(self.text()).find(|line| is_about(*line, name))
    }

    /// Writes the file anew, with another password field for `name`.
    fn set_field(&self, name: &Username, field: &Secret<String>) -> Result<(), EditError> {
        self.rewrite(name, |line, new| {
            let colon = line.raw.iter().position(|&octet| octet == b':').unwrap_or(line.raw.len());
            let (name, rest) = line.raw.split_at(colon);
            let rest = rest.get(1..).unwrap_or_default();
            // What follows the password, or else the line end.
            let others = rest.iter().position(|&octet| octet == b':');
            let others = others.map_or(line.end(), |colon| rest.get(colon..).unwrap_or_default());
            for part in [name, b":", field.expose().as_bytes(), others] {
                new.extend_from_slice(part);
            }
        })
    }

    /// Writes the file anew, with something else in place of the line of `name`.
    fn rewrite(
        &self,
        name: &Username,
        mut change: impl FnMut(Line<'_>, &mut Vec<u8>),
    ) -> Result<(), EditError> {
        if self.find(name).is_none() {
            return Err(
                self.error(format_args!("{name} is not there; restante user list shows who is"))
            );
        }
        let mut new = Zeroizing::new(Vec::with_capacity(self.text().len() + ROOM));
        for line in lines(self.text()) {
            if is_about(line, name) {
                change(line, &mut new);
            } else {
                new.extend_from_slice(line.raw);
            }
        }
        self.replace(&new)
    }

    /// Puts a file with this text in the place of the present one.
    fn replace(&self, text: &[u8]) -> Result<(), EditError> {
        let cannot = |what, why: io::Error| self.error(format_args!("{what}: {why}"));
        sound(&self.path, text)?;
        let new = write(&self.path, text)?;
        let old = self.file.metadata().map_err(|why| cannot("cannot be looked at", why))?;
        let given = new.as_file().metadata().map_err(|why| cannot("cannot be looked at", why))?;
        if (given.uid(), given.gid()) != (old.uid(), old.gid()) {
            // Another owner might not be able to read it: the server, say.
            fchown(new.as_file(), Some(old.uid()), Some(old.gid())).map_err(|why| {
                cannot("cannot keep its owner and group; change it as root, or as its owner", why)
            })?;
        }
        new.as_file()
            .set_permissions(Permissions::from_mode(old.mode() & 0o7777))
            .and_then(|()| new.as_file().sync_all())
            .map_err(|why| cannot("cannot be written", why))?;
        new.persist(&self.path).map_err(|why| cannot("cannot be replaced", why.error))?;
        sync_directory(&self.path)
    }

    fn error(&self, what: fmt::Arguments<'_>) -> EditError {
        error(&self.path, what)
    }
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EditError {}

/// Creates a file that only its owner can read; whether it was not there before.
fn create(path: &Path, text: &[u8]) -> Result<bool, EditError> {
    let new = write(path, text)?;
    new.as_file().sync_all().map_err(|why| error(path, format!("cannot be written: {why}")))?;
    match new.persist_noclobber(path) {
        Ok(_) => sync_directory(path).map(|()| true),
        Err(why) if why.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(why) => Err(error(path, format!("cannot be created: {}", why.error))),
    }
}

/// Writes a file beside `path`, with mode 0600, that goes away again unless it is made to stay.
fn write(path: &Path, text: &[u8]) -> Result<NamedTempFile, EditError> {
    let directory = directory(path);
    let mut new = Builder::new()
        .prefix(".users-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(directory)
        .map_err(|why| {
            error(path, format!("no file can be made in {}: {why}", directory.display()))
        })?;
    new.write_all(text).map_err(|why| error(path, format!("cannot be written: {why}")))?;
    Ok(new)
}

fn sync_directory(path: &Path) -> Result<(), EditError> {
    File::open(directory(path))
        .and_then(|directory| directory.sync_all())
        .map_err(|why| error(path, format!("is changed, but perhaps not for good: {why}")))
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn is_about(line: Line<'_>, name: &Username) -> bool {
    line.entry().is_ok_and(|entry| entry.is_some_and(|entry| entry.name == *name))
}

fn field(
    path: &Path,
    password: &NewPassword,
    scheme: NewScheme,
) -> Result<Secret<String>, EditError> {
    scheme.field(password).map_err(|why| error(path, why))
}

fn sound(path: &Path, text: &[u8]) -> Result<(), EditError> {
    let (table, report) = Table::read(text, WeakSchemes::Refused, &RandomState::new());
    match table {
        Some(_) => Ok(()),
        None => Err(error(path, format!("is faulty, repair it first: {}", Faults(report.errors)))),
    }
}

fn present(path: &Path, name: &Username) -> EditError {
    error(path, format!("{name} is there already; use restante user set-password"))
}

fn absent(path: &Path, name: &Username) -> EditError {
    error(path, format!("{name} is not there; restante user list shows who is"))
}

fn error(path: &Path, what: impl fmt::Display) -> EditError {
    EditError(format!("{}: {what}", path.display()))
}

/// More octets than a line for a new password has.
const ROOM: usize = 512;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use tempfile::TempDir;

    use super::*;

    fn name(name: &str) -> Username {
        Username::try_from(name).unwrap()
    }

    fn password(password: &str) -> NewPassword {
        NewPassword::try_from(Secret::new(password.as_bytes().to_vec())).unwrap()
    }

    fn add(path: &Path, name: &Username, password: &NewPassword) -> Result<Added, EditError> {
        super::add(path, name, password, NewScheme::Argon2id)
    }

    fn set_password(path: &Path, name: &Username, new: &NewPassword) -> Result<(), EditError> {
        super::set_password(path, name, new, NewScheme::Argon2id)
    }

    fn file(text: &str) -> (TempDir, PathBuf) {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("users");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        (directory, path)
    }

    /// The text of a file with every new hash checked and replaced by `NEW`.
    fn shown(path: &Path, password: &str) -> String {
        let text = fs::read_to_string(path).unwrap();
        let mut shown = String::new();
        for piece in text.split_inclusive([':', '\n', '\r']) {
            let end = piece.trim_start_matches(|c| !":\r\n".contains(c));
            let field = piece.strip_suffix(end).unwrap();
            if field.starts_with("{ARGON2ID}") {
                assert_eq!(
                    Verifier::parse(field, WeakSchemes::Refused).verify(password.as_bytes()),
                    Ok(true)
                );
                shown.push_str("NEW");
            } else {
                shown.push_str(field);
            }
            shown.push_str(end);
        }
        shown
    }

    #[test]
    fn everything_but_the_change_stays() {
        let before =
            "# ours\n\nmrose:{PLAIN}x:5000:5000::/home:: nologin\n  \nBob:{PLAIN}y\n#end\n";
        let add = |path: &Path| add(path, &name("carol"), &password("new")).map(|_| ());
        let set_mrose = |path: &Path| set_password(path, &name("MROSE"), &password("new"));
        let set_bob = |path: &Path| set_password(path, &name("bob"), &password("new"));
        let remove_bob = |path: &Path| remove(path, &name("bob"));
        type Change<'a> = &'a dyn Fn(&Path) -> Result<(), EditError>;
        let table: [(Change<'_>, &str, String); 11] = [
            (&add, before, format!("{before}carol:NEW\n")),
            (&set_mrose, before, before.replace("{PLAIN}x", "NEW")),
            (&set_bob, before, before.replace("{PLAIN}y", "NEW")),
            (&remove_bob, before, before.replace("Bob:{PLAIN}y\n", "")),
            (&add, "", "carol:NEW\n".into()),
            (&add, "bob:{PLAIN}y", "bob:{PLAIN}y\ncarol:NEW\n".into()),
            (&add, "bob:{PLAIN}y\r\n", "bob:{PLAIN}y\r\ncarol:NEW\r\n".into()),
            (&set_bob, "bob:{PLAIN}y\r\n#\r\n", "bob:NEW\r\n#\r\n".into()),
            (&set_bob, "bob:{PLAIN}y", "bob:NEW".into()),
            (&set_bob, "bob:!:\r\n", "bob:NEW:\r\n".into()),
            (&remove_bob, "a:!\nbob:{PLAIN}y", "a:!\n".into()),
        ];
        for (change, before, after) in table {
            let (directory, path) = file(before);
            change(&path).unwrap();
            assert_eq!(shown(&path, "new"), after, "{before:?}");
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
        }
    }

    #[test]
    fn a_change_that_cannot_be_made_says_why_and_makes_none() {
        type Change<'a> = &'a dyn Fn(&Path) -> Result<(), EditError>;
        let add = |who: &'static str| {
            move |path: &Path| add(path, &name(who), &password("new")).map(|_| ())
        };
        let set_carol = |path: &Path| set_password(path, &name("carol"), &password("new"));
        let remove_carol = |path: &Path| remove(path, &name("carol"));
        let list = |path: &Path| list(path).map(|_| ());
        let table: [(Change<'_>, &str, &str); 9] = [
            (&add("bob"), "Bob:!\n", "bob is there already; use restante user set-password"),
            (&add("a:b"), "bob:!\n", "no colon"),
            (&add("#a"), "bob:!\n", "no colon"),
            (&add(" a"), "bob:!\n", "no colon"),
            (&set_carol, "bob:!\n", "carol is not there; restante user list"),
            (&remove_carol, "bob:!\n", "carol is not there; restante user list"),
            (&add("carol"), "bob:!\nnonsense\nb:\n", "repair it first: line 2: has no colon"),
            (&remove_carol, "carol:!\ncarol:!\n", "line 2: carol is in line 1 already"),
            (&list, "bob:!\nnonsense\n", "line 2"),
        ];
        for (change, text, fault) in table {
            let (directory, path) = file(text);
            let said = change(&path).unwrap_err().to_string();
            assert!(said.contains(fault), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_new_file_is_for_its_owner_alone() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("users");
        let missing = directory.path().join("missing/users");
        for outcome in [
            set_password(&path, &name("mrose"), &password("new")),
            remove(&path, &name("mrose")),
            list(&path).map(|_| ()),
            add(&missing, &name("mrose"), &password("new")).map(|_| ()),
        ] {
            assert!(outcome.is_err());
        }
        assert!(!path.exists());
        assert_eq!(expect_absent(&path, &name("mrose")), Ok(()));
        assert_eq!(add(&path, &name("mrose"), &password("new")), Ok(Added::ToNewFile));
        assert_eq!(shown(&path, "new"), "mrose:NEW\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert!(expect_absent(&path, &name("mrose")).is_err());
        assert_eq!(expect_present(&path, &name("mrose")), Ok(()));
        assert_eq!(add(&path, &name("bob"), &password("new")), Ok(Added::ToFile));
        remove(&path, &name("mrose")).unwrap();
        remove(&path, &name("bob")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn owner_and_links_stay() {
        let (directory, path) = file("bob:!\n");
        // As root: another owner than the one who edits. As anybody else: the same.
        let may_give_away = chown(&path, Some(54_321), Some(54_322)).is_ok();
        let link = directory.path().join("link");
        symlink("users", &link).unwrap();
        let before = fs::metadata(&path).unwrap();
        add(&link, &name("carol"), &password("new")).unwrap();
        let after = fs::metadata(&path).unwrap();
        assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
        assert_eq!(after.uid() == 54_321, may_give_away);
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_ne!(before.ino(), after.ino(), "replaced, not written over");
        let dangling = directory.path().join("dangling");
        symlink("nothing", &dangling).unwrap();
        let said = add(&dangling, &name("carol"), &password("new")).unwrap_err().to_string();
        assert!(said.contains("links to a file that is not there"), "{said}");
    }

    #[test]
    fn editors_at_the_same_time_lose_nothing() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("users");
        std::thread::scope(|scope| {
            for editor in 0..6 {
                let path = &path;
                scope.spawn(move || {
                    for n in 0..4 {
                        add(path, &name(&format!("user{editor}.{n}")), &password("new")).unwrap();
                    }
                });
            }
        });
        assert_eq!(list(&path).unwrap().len(), 24);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_list_says_who_cannot_log_in() {
        let (_directory, path) = file("mrose:{PLAIN}x\n# b\nBob:{SHA}hunter2\n");
        let users = list(&path).unwrap();
        assert_eq!(users[0], User { name: name("mrose"), unusable: None });
        assert_eq!(users[1].name, name("bob"));
        assert!(users[1].unusable.as_deref().unwrap().contains("the scheme SHA is weak"));
        assert_eq!(users.len(), 2);
    }
}
