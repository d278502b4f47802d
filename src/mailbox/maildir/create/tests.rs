//! What is made, and what prevents it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::thread;

use super::super::examine;
use super::*;

/// A directory that is a mail root.
fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    assert!(mark_root(root.path()).unwrap());
    root
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>();
    names.sort();
    names
}

/// The error of [`create`], which [`could_create`] predicts.
fn refused(path: &Path, highest: Option<&Path>) -> String {
    let foreseen = could_create(path, highest).unwrap_err().to_string();
    let failure = create(path, highest).unwrap_err().to_string();
    assert_eq!(failure, foreseen);
    assert!(failure.starts_with(&format!("make the Maildir {}: ", path.display())), "{failure}");
    failure
}

#[test]
fn a_maildir_is_made_below_a_mail_root_for_the_server_only() {
    let root = root();
    let path = root.path().join("example.org/mrose/Maildir");
    could_create(&path, Some(root.path())).unwrap();
    assert_eq!(names(root.path()), [MARK], "nothing is made yet");
    assert_eq!(create(&path, Some(root.path())).unwrap(), Made::Maildir);
    examine(&path).unwrap();
    assert_eq!(names(&path), ["cur", "new", "tmp"]);
    assert_eq!(names(path.parent().unwrap()), ["Maildir"], "nothing is left");
    let up = path.ancestors().take(3).map(Path::to_owned);
    for made in up.chain(["cur", "new", "tmp"].map(|name| path.join(name))) {
        let mode = fs::metadata(&made).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode & 0o777, 0o700, "{}", made.display());
    }
    assert_eq!(create(&path, Some(root.path())).unwrap(), Made::Nothing);
    let flat = root.path().join("bob");
    assert_eq!(create(&flat, Some(root.path())).unwrap(), Made::Maildir);
    examine(&flat).unwrap();
}

/// Not mounted: the root is renamed, and an empty directory or none is in its place.
#[test]
fn without_the_mark_nothing_is_made() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("vmail");
    let path = root.join("mrose/Maildir");
    fs::create_dir(&root).unwrap();
    mark_root(&root).unwrap();
    fs::rename(&root, parent.path().join("unmounted")).unwrap();
    assert!(refused(&path, Some(&root)).contains("No such file"));
    fs::create_dir(&root).unwrap();
    for highest in [Some(root.as_path()), None] {
        let failure = refused(&path, highest);
        assert!(failure.contains("no restante.root in "), "{failure}");
        assert!(failure.contains("restante init-root "), "{failure}");
    }
    fs::create_dir(root.join("mrose")).unwrap();
    refused(&path, Some(&root));
    assert_eq!(names(&root), ["mrose"]);
    assert_eq!(names(&root.join("mrose")), [""; 0]);
    // Mounted again.
    fs::remove_dir_all(&root).unwrap();
    fs::rename(parent.path().join("unmounted"), &root).unwrap();
    assert_eq!(create(&path, Some(&root)).unwrap(), Made::Maildir);
}

/// Each domain is on its own file system.
#[test]
fn the_mark_may_be_below_the_highest_place_and_not_above_it() {
    let root = tempfile::tempdir().unwrap();
    for domain in ["mounted.example", "unmounted.example"] {
        fs::create_dir(root.path().join(domain)).unwrap();
    }
    mark_root(&root.path().join("mounted.example")).unwrap();
    let made = create(&root.path().join("mounted.example/mrose"), Some(root.path()));
    assert_eq!(made.unwrap(), Made::Maildir);
    refused(&root.path().join("unmounted.example/mrose"), Some(root.path()));
    mark_root(root.path()).unwrap();
    let above = root.path().join("unmounted.example");
    refused(&above.join("mrose/Maildir"), Some(&above));
}

#[test]
fn for_the_mail_attribute_of_a_store_the_nearest_mark_counts() {
    let root = root();
    let path = root.path().join("a/b/Maildir");
    assert_eq!(create(&path, None).unwrap(), Made::Maildir);
    examine(&path).unwrap();
    refused(&root.path().join("a/../b/Maildir"), Some(root.path()));
    refused(&root.path().join("../Maildir"), Some(root.path()));
    refused(root.path(), Some(root.path()));
    assert_eq!(names(root.path()), ["a", MARK]);
}

#[test]
fn no_symbolic_link_is_followed_below_the_root() {
    let (root, elsewhere) = (root(), tempfile::tempdir().unwrap());
    symlink(elsewhere.path(), root.path().join("domain")).unwrap();
    refused(&root.path().join("domain/mrose"), Some(root.path()));
    symlink(elsewhere.path().join("nothing"), root.path().join("mrose")).unwrap();
    refused(&root.path().join("mrose"), Some(root.path()));
    fs::write(root.path().join("bob"), "").unwrap();
    refused(&root.path().join("bob/Maildir"), Some(root.path()));
    assert_eq!(names(elsewhere.path()), [""; 0]);
    // A symbolic link is not a mark, and is not followed to write one.
    symlink(root.path().join(MARK), elsewhere.path().join(MARK)).unwrap();
    refused(&elsewhere.path().join("mrose"), Some(elsewhere.path()));
    mark_root(elsewhere.path()).unwrap_err();
}

#[test]
fn a_root_is_marked_once() {
    let root = root();
    assert!(!mark_root(root.path()).unwrap());
    assert!(is_mail_root(root.path()).unwrap());
    assert!(!is_mail_root(root.path().parent().unwrap()).unwrap());
    mark_root(&root.path().join("nothing")).unwrap_err();
    let link = root.path().join("link");
    symlink(root.path(), &link).unwrap();
    assert!(is_mail_root(&link).unwrap());
}

#[test]
fn many_at_once_make_it_once() {
    let root = root();
    for round in 0..20 {
        let parent = root.path().join(format!("domain-{round}"));
        let path = parent.join("mrose");
        let made = thread::scope(|scope| {
            let make = || create(&path, Some(root.path())).unwrap();
            let threads = [(); 8].map(|()| scope.spawn(make));
            threads.map(|thread| thread.join().unwrap())
        });
        assert_eq!(made.iter().filter(|made| **made == Made::Maildir).count(), 1, "{made:?}");
        examine(&path).unwrap();
        assert_eq!(names(&parent), ["mrose"]);
    }
}

/// A crash after any of the steps.
#[test]
fn a_half_made_maildir_is_finished() {
    for left in 0..=FOLDERS.len() {
        let root = root();
        let unfinished = root.path().join(unfinished_name(OsStr::new("mrose")));
        fs::create_dir(&unfinished).unwrap();
        for folder in &FOLDERS[..left] {
            fs::create_dir(unfinished.join(folder)).unwrap();
        }
        assert_eq!(create(&root.path().join("mrose"), None).unwrap(), Made::Maildir);
        assert_eq!(names(root.path()), ["mrose", MARK]);
        examine(&root.path().join("mrose")).unwrap();
    }
}

#[test]
fn in_an_existing_maildir_only_tmp_is_made() {
    let root = root();
    let path = root.path().join("mrose");
    create(&path, None).unwrap();
    fs::remove_dir(path.join("tmp")).unwrap();
    assert_eq!(create(&path, None).unwrap(), Made::Tmp);
    examine(&path).unwrap();
    for lost in ["cur", "new"] {
        fs::remove_dir(path.join(lost)).unwrap();
        let failure = refused(&path, None);
        assert!(failure.contains(&format!("without the directory {lost}")), "{failure}");
        assert!(!path.join(lost).exists());
        fs::create_dir(path.join(lost)).unwrap();
    }
    // It may be the mount point of another file system.
    let empty = root.path().join("empty");
    fs::create_dir(&empty).unwrap();
    refused(&empty, None);
    assert_eq!(names(&empty), [""; 0]);
}

/// Permissions do not restrict the superuser.
#[test]
fn a_directory_that_cannot_be_written_to_is_named() {
    let root = root();
    let domain = root.path().join("example.org");
    fs::create_dir(&domain).unwrap();
    fs::set_permissions(&domain, Permissions::from_mode(0o500)).unwrap();
    let made = create(&domain.join("mrose/Maildir"), None);
    fs::set_permissions(&domain, Permissions::from_mode(0o700)).unwrap();
    if let Err(failure) = made {
        let place = format!("{}: ", domain.join("mrose").display());
        assert!(failure.to_string().contains(&place), "{failure}");
    }
}
