//! A system without further threads: sessions go on, and a removal that was refused is not done later.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use nix::unistd::User;

use crate::support::client::greeted;
use crate::support::{OFF, Place, Server, default_user, eventually};

/// Changes the server's limit of threads. Returns the limit before.
fn limit_threads(server: &Server, limit: &str) -> String {
    let pid = server.pid().to_string();
    let old = prlimit(&["--pid", &pid, "--nproc", "--raw", "--noheadings", "--output", "SOFT"]);
    prlimit(&["--pid", &pid, &format!("--nproc={limit}:")]);
    old.trim().to_owned()
}

/// Runs `prlimit` as the user of the server: in a container, root may not have the permission.
fn prlimit(arguments: &[&str]) -> String {
    let mut command = Command::new("prlimit");
    if let Some(user) = default_user() {
        let user = User::from_name(user).unwrap().unwrap();
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The number of the server's threads for mail.
fn mail_threads(server: &Server) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let name = |task: &Path| fs::read_to_string(task.join("comm")).unwrap_or_default();
    tasks.filter(|task| name(&task.as_ref().unwrap().path()) == "mail\n").count()
}

/// Two file systems: that of the template keeps one thread, the other has none.
#[test]
fn without_threads_what_cannot_be_done_is_refused() {
    let (place, elsewhere) = (Place::in_memory(), Place::new());
    let elsewhere_mail = |user: &str| elsewhere.path(&format!("{user}/Maildir"));
    elsewhere.user("bob");
    place.user("carol");
    place.write(
        "users",
        format!(
            "mrose:{{PLAIN}}tanstaaf::::::userdb_mail=maildir:{}\n\
             bob:{{PLAIN}}tanstaaf::::::userdb_mail=maildir:{}\n\
             carol:$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$\
             Waw5CMYpE0kO719XekarvkwAxsjcHKMv\n",
            elsewhere_mail("mrose").display(),
            elsewhere_mail("bob").display(),
        ),
    );
    for number in 1..=3 {
        elsewhere.deliver(number, b"Subject: one\n\n");
        place.deliver_to("carol", number, b"Subject: one\n\n");
    }
    place.configure(&[OFF], "allow-cleartext = true\n");
    let server = place.serve();
    let mut client = greeted(&server);
    assert_eq!(client.log_in(), "+OK 3 messages (48 octets)");
    for number in 1..=3 {
        client.ask(&format!("DELE {number}"));
    }
    // Threads without work end after a while.
    eventually("only one thread is left", || mail_threads(&server) == 1);
    let before = limit_threads(&server, "1");

    let reply = client.ask("QUIT");
    assert!(reply.starts_with("-ERR [SYS/TEMP] 3 of 3 messages"), "{reply}");
    server.logged(&["ERROR", "messages were not removed", "the system gives no thread"]);
    let mut bob = greeted(&server);
    bob.ask("USER bob");
    let reply = bob.ask("PASS tanstaaf");
    assert!(reply.starts_with("-ERR [SYS/TEMP] "), "{reply}");
    server.logged(&["ERROR", "the maildrop cannot be opened", "the system gives no thread"]);
    let mut carol = greeted(&server);
    carol.ask("USER carol");
    assert!(carol.ask("PASS pässwörd mit Leer ").starts_with("+OK 3 "));
    carol.ask("DELE 2");
    assert_eq!(carol.ask("QUIT"), "+OK 1 message removed, 2 left");

    limit_threads(&server, &before);
    let mut client = greeted(&server);
    assert_eq!(client.log_in(), "+OK 3 messages (48 octets)", "the lock is free");
    client.ask("DELE 2");
    assert_eq!(client.ask("QUIT"), "+OK 1 message removed, 2 left");
    assert_eq!(elsewhere.messages(), 2);
    assert_eq!(server.count("panicked"), 0);
    assert_eq!(server.count("fault-in-server"), 0);
}
