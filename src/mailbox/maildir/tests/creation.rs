//! Maildirs that are missing at login.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::super::{MaildirMaildrop, MaildirStore, Missing, PathTemplate, examine, mark_root};
use super::support::unique_ids;
use crate::login::Identity;
use crate::mailbox::{Mailbox, Maildrop, OpenError};

fn store(root: &Path, missing: Missing) -> MaildirStore {
    let template = PathTemplate::new(root.join("{domain}/{local}/Maildir"));
    MaildirStore::new(template).with_missing(missing)
}

/// Opens it, once the index of an earlier session is written.
async fn open(store: &MaildirStore) -> Result<MaildirMaildrop, OpenError> {
    let user = Identity::for_test("mrose@example.org");
    store.open_within(&user, &CancellationToken::default(), Duration::from_secs(30), || {}).await
}

async fn refused(store: &MaildirStore) -> String {
    match open(store).await {
        Err(OpenError::Unavailable(failure)) => failure.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_missing_maildir_is_an_empty_maildrop_where_that_is_wanted() {
    let root = tempfile::tempdir().unwrap();
    mark_root(root.path()).unwrap();
    refused(&store(root.path(), Missing::Refuse)).await;
    assert!(!root.path().join("example.org").exists());
    let store = store(root.path(), Missing::Make);
    let maildrop = open(&store).await.unwrap();
    assert_eq!(maildrop.count(), 0);
    drop(maildrop);
    let maildir = root.path().join("example.org/mrose/Maildir");
    fs::write(maildir.join("new/1.a"), "a\n").unwrap();
    assert_eq!(unique_ids(&open(&store).await.unwrap()), ["1.a"]);
}

/// A root that is not mounted is never an empty maildrop, not even for users who have had mail.
#[tokio::test]
async fn an_unmounted_root_is_never_an_empty_maildrop() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("vmail");
    fs::create_dir(&root).unwrap();
    mark_root(&root).unwrap();
    let store = store(&root, Missing::Make);
    drop(open(&store).await.unwrap());
    fs::rename(&root, parent.path().join("elsewhere")).unwrap();
    refused(&store).await;
    fs::create_dir(&root).unwrap();
    let failure = refused(&store).await;
    assert!(failure.contains("restante.root"), "{failure}");
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0, "nothing is made");
    fs::remove_dir(&root).unwrap();
    fs::rename(parent.path().join("elsewhere"), &root).unwrap();
    open(&store).await.unwrap();
}

#[tokio::test]
async fn two_logins_at_once_make_it_once() {
    let root = tempfile::tempdir().unwrap();
    mark_root(root.path()).unwrap();
    let store = store(root.path(), Missing::Make);
    let login = || {
        let store = store.clone();
        async move { open(&store).await.map(drop) }
    };
    let logins = [(); 6].map(|()| tokio::spawn(login()));
    for login in logins {
        login.await.unwrap().unwrap();
    }
    examine(&root.path().join("example.org/mrose/Maildir")).unwrap();
    assert_eq!(fs::read_dir(root.path().join("example.org/mrose")).unwrap().count(), 1);
}

#[tokio::test]
async fn a_maildir_that_has_lost_a_folder_is_refused_unless_that_is_tmp() {
    let root = tempfile::tempdir().unwrap();
    mark_root(root.path()).unwrap();
    let store = store(root.path(), Missing::Make);
    drop(open(&store).await.unwrap());
    let maildir = root.path().join("example.org/mrose/Maildir");
    fs::remove_dir(maildir.join("tmp")).unwrap();
    drop(open(&store).await.unwrap());
    fs::remove_dir(maildir.join("cur")).unwrap();
    let failure = refused(&store).await;
    assert!(failure.contains("without the directory cur"), "{failure}");
    assert!(!maildir.join("cur").exists());
}
