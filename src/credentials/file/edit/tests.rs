//! Changes to credential files: what changes, what stays, and what is refused.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::credentials::{AppPasswordName, Attributes};
use crate::password::{Verifier, WeakSchemes};

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
        if field.starts_with("{ARGON2ID}") || field.starts_with("{SSHA256}") {
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
    let before = "# ours\n\nmrose:{PLAIN}x:5000:5000::/home:: nologin\n  \nBob:{PLAIN}y\n#end\n";
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
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no other file is left");
    }
}

#[test]
fn each_app_password_is_a_line_after_the_others_of_its_user() {
    let before = "mrose:{PLAIN}x::::/home::\nBob:!\r\n#end\ncarol:!";
    let phone = "mrose:NEW::::::app_password=phone\n";
    let tablet = "mrose:NEW::::::app_password=tablet\n";
    let (_directory, path) = file(before);
    let app = |name: &str| AppPasswordName::try_from(name).unwrap();
    let add = |user, app_name| {
        add_app_password(&path, &name(user), &app(app_name), &password("new")).unwrap();
    };
    add("MRose", "phone");
    let [own, others] = before.split_once('\n').map(|(own, others)| [own, others]).unwrap();
    assert_eq!(shown(&path, "new"), format!("{own}\n{phone}{others}"));
    add("mrose", "tablet");
    assert_eq!(shown(&path, "new"), format!("{own}\n{phone}{tablet}{others}"));
    add("bob", "x");
    add("carol", "x");
    let bob = "Bob:!\r\nbob:NEW::::::app_password=x\r\n";
    let carol = "carol:!\ncarol:NEW::::::app_password=x\n";
    let rest = format!("{bob}#end\n{carol}");
    assert_eq!(shown(&path, "new"), format!("{own}\n{phone}{tablet}{rest}"));

    let listed = |user| list_app_passwords(&path, &name(user), WeakSchemes::Refused).unwrap();
    let names: Vec<_> = listed("mrose").into_iter().map(|app| app.name.to_string()).collect();
    assert_eq!(names, ["phone", "tablet"]);
    assert!(listed("bob").iter().all(|app| app.unusable.is_none()));

    // The own password of a user is another line.
    set_password(&path, &name("mrose"), &password("new")).unwrap();
    let own = own.replace("{PLAIN}x", "NEW");
    assert_eq!(shown(&path, "new"), format!("{own}\n{phone}{tablet}{rest}"));
    remove_app_password(&path, &name("mrose"), &app("phone")).unwrap();
    assert_eq!(shown(&path, "new"), format!("{own}\n{tablet}{rest}"));
    remove(&path, &name("mrose")).unwrap();
    remove(&path, &name("bob")).unwrap();
    assert_eq!(shown(&path, "new"), format!("#end\n{carol}"));
}

#[test]
fn an_app_password_that_cannot_be_added_or_removed() {
    let app_line = |n: usize| format!("full:{{SSHA256}}x::::::app_password=app{n}\n");
    let full = (0..25).map(app_line).collect::<String>();
    let text = format!("mrose:!\nmrose:{{SSHA256}}x::::::app_password=phone\nfull:!\n{full}");
    let add = |user: &'static str, app: &'static str| {
        move |path: &Path| {
            let app = AppPasswordName::try_from(app).unwrap();
            add_app_password(path, &name(user), &app, &password("new"))
        }
    };
    let remove = |path: &Path| {
        let app = AppPasswordName::try_from("tablet").unwrap();
        remove_app_password(path, &name("mrose"), &app)
    };
    type Change<'a> = &'a dyn Fn(&Path) -> Result<(), EditError>;
    let table: [(Change<'_>, &str); 4] = [
        (&add("mrose", "phone"), "mrose has an app password phone already"),
        (&add("bob", "phone"), "bob does not exist; restante user list"),
        (&add("full", "phone"), "full has 25 app passwords, and no more are used; remove one"),
        (&remove, "mrose has no app password tablet; restante user app-password list mrose"),
    ];
    for (change, hint) in table {
        let (_directory, path) = file(&text);
        let why = change(&path).unwrap_err().to_string();
        assert!(why.contains(hint), "{why}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn a_change_that_fails_says_why_and_leaves_the_file() {
    type Change<'a> = &'a dyn Fn(&Path) -> Result<(), EditError>;
    let add =
        |who: &'static str| move |path: &Path| add(path, &name(who), &password("new")).map(|_| ());
    let set_carol = |path: &Path| set_password(path, &name("carol"), &password("new"));
    let remove_carol = |path: &Path| remove(path, &name("carol"));
    let list = |path: &Path| list(path, WeakSchemes::Refused).map(|_| ());
    let table: [(Change<'_>, &str, &str); 8] = [
        (&add("bob"), "Bob:!\n", "bob exists already; use restante user set-password"),
        (&add("a:b"), "bob:!\n", "no colon"),
        (&add("#a"), "bob:!\n", "no colon"),
        (&set_carol, "bob:!\n", "carol does not exist; restante user list"),
        (&remove_carol, "bob:!\n", "carol does not exist; restante user list"),
        (&add("carol"), "bob:!\nnonsense\nb:\n", "repair it first: line 2: has no colon"),
        (&remove_carol, "carol:!\ncarol:!\n", "line 2: carol is in line 1 already"),
        (&list, "bob:!\nnonsense\n", "line 2"),
    ];
    for (change, text, hint) in table {
        let (directory, path) = file(text);
        let why = change(&path).unwrap_err().to_string();
        assert!(why.contains(hint), "{why}");
        assert_eq!(why.lines().count(), 1, "{why}");
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
        list(&path, WeakSchemes::Refused).map(|_| ()),
        add(&missing, &name("mrose"), &password("new")).map(|_| ()),
    ] {
        assert!(outcome.is_err());
    }
    assert!(!path.exists());
    expect_absent(&path, &name("mrose")).unwrap();
    assert_eq!(add(&path, &name("mrose"), &password("new")).unwrap(), Added::ToNewFile);
    assert_eq!(shown(&path, "new"), "mrose:NEW\n");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert!(expect_absent(&path, &name("mrose")).is_err());
    expect_present(&path, &name("mrose")).unwrap();
    assert_eq!(add(&path, &name("bob"), &password("new")).unwrap(), Added::ToFile);
    remove(&path, &name("mrose")).unwrap();
    remove(&path, &name("bob")).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"# one line per user\n");
}

#[test]
fn owner_and_links_stay() {
    let (directory, path) = file("bob:!\n");
    // As root the file gets another owner than the editor. Other users cannot do that.
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
    symlink("missing", &dangling).unwrap();
    let said = add(&dangling, &name("carol"), &password("new")).unwrap_err().to_string();
    assert!(said.contains("links to a file that does not exist"), "{said}");
}

#[test]
fn editors_at_the_same_time_lose_no_change() {
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
    assert_eq!(list(&path, WeakSchemes::Refused).unwrap().len(), 24);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn the_list_says_who_cannot_log_in() {
    let (_directory, path) = file("mrose:{PLAIN}x\n# b\nBob:{SHA}hunter2\n");
    let users = list(&path, WeakSchemes::Refused).unwrap();
    assert_eq!(
        users[0],
        User {
            name: name("mrose"),
            unusable: None,
            attributes: Some(Attributes::default()),
            app_passwords: Vec::new(),
        }
    );
    assert_eq!(users[1].name, name("bob"));
    let why = users[1].unusable.as_ref().unwrap().to_string();
    assert!(why.contains("the scheme SHA is weak"), "{why}");
    assert_eq!(users.len(), 2);
    let users = list(&path, WeakSchemes::Allowed).unwrap();
    // This is not a hash, whether weak ones are allowed or not.
    assert!(!users[1].unusable.as_ref().unwrap().to_string().contains("weak"));
}
