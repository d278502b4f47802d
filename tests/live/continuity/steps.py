"""The steps of a move as docs/MIGRATING.md has them: `restante migrate plan`, `audit` and `apply`."""

import imaplib
import shutil
import tomllib
from collections import Counter
from pathlib import Path
from typing import Iterable

from continuity.history import History
from continuity.listing import Listing, ask, ids, same
from continuity.moves import Keys, Taking, remove_lists, uidl
from continuity.old import Dovecot23
from lib.process import LOOPBACK, SERVER_USER, run
from lib.report import require
from lib.server import CLEARTEXT
from lib.site import Account


def followed(dovecot: Dovecot23, histories: list[History], server: Taking) -> str:
    """The configuration is the one that the plan prints, and the old server is asked by the audit."""
    dovecot.start()
    try:
        old = [ask(dovecot.port, history.account) for history in histories]
        keys = planned(dovecot, server)
        server.use(Keys((uidl("name"),)))
        audit(dovecot, histories, server, code=1)
        server.use(keys)
        said = audit(dovecot, histories, server, code=0)
        captured(histories, old, server)
    finally:
        dovecot.stop()
    for history in histories:
        migrate(server, "apply", "--user", history.account.user)
        remove_lists(history.account.maildir)
    server.start()
    for history, listing in zip(histories, old):
        same(listing, ask(server.ports[CLEARTEXT], history.account))
        history.deliver(2)
        new = ask(server.ports[CLEARTEXT], history.account)[len(listing):]
        require(len(new) == 2, f"{len(new)} messages are new")
    server.stop()
    return said


def adopted(old: Dovecot23, new: Dovecot23, account: Account, server: Taking) -> str:
    """The mail was copied by IMAP, which gives it other names. The unique-ids are found again.

    Of messages that are there more than once, they may be ambiguous.
    """
    for dovecot in (old, new):
        dovecot.start()
    try:
        listing = ask(old.port, account)
        copy(old.ports["imap"], new.ports["imap"], account)
        new.stop()
        maps = server.site.root / "maps"
        maps.mkdir()
        server.site.own(maps, SERVER_USER)
        server.config().write_text(server.configuration())
        asking = ["--old", f"pop3://localhost:{old.port}", "--cleartext", "--users"]
        words = [*asking, users_file(server, [account]), "--output", maps]
        migrate(server, "adopt", *words, codes=(0, 1))
    finally:
        old.stop()
        new.stop()
    server.use(Keys((uidl("map", "name"),), f'[maildir.map]\npath = "{maps}/{{user}}"\n'))
    server.start()
    counts = Counter(each.token for each in listing)
    wanted = {(each.id, each.token) for each in listing if counts[each.token] == 1}
    now = {(each.id, each.token) for each in ask(server.ports[CLEARTEXT], account)}
    require(wanted <= now, f"not found: {sorted(wanted - now)[:3]} of {len(wanted)}")
    server.stop()
    return f"{len(wanted)} messages of {len(listing)} must be found"


def copy(source: int, target: int, account: Account) -> None:
    """Copies all mail of the inbox from one port to another."""
    clients = [imaplib.IMAP4(LOOPBACK, port, timeout=60) for port in (source, target)]
    for client in clients:
        client.login(account.user, account.password)
        client.select("INBOX")
    _, found = clients[0].fetch("1:*", "(BODY.PEEK[])")
    for item in found:
        if isinstance(item, tuple):
            clients[1].append("INBOX", "", "", item[1])
    for client in clients:
        client.logout()


def converted(maildir: Dovecot23, other: Dovecot23, account: Account, server: Taking) -> str:
    """The mail is in another format of Dovecot, which doveadm converts."""
    # 2: mbox has other UIDs for some messages.
    doveadm(maildir, account, other.location.replace("%u", account.user), codes=(0, 2))
    shutil.rmtree(account.maildir)
    other.start()
    try:
        old = ask(other.port, account)
    finally:
        other.stop()
    doveadm(other, account, f"maildir:{account.maildir}:LAYOUT=fs")
    server.start()
    said = same(old, ask(server.ports[CLEARTEXT], account))
    server.stop()
    return said


def doveadm(
    dovecot: Dovecot23, account: Account, location: str, codes: Iterable[int] = (0,)
) -> None:
    """Copies the mail of a user to another place and format."""
    dovecot.start()
    try:
        command = ["doveadm", "-c", dovecot.config, "backup", "-u", account.user, location]
        run([*command], who=None, codes=codes)
    finally:
        dovecot.stop()


def planned(dovecot: Dovecot23, server: Taking) -> Keys:
    """The keys that `plan` prints for what Dovecot's own `doveconf` prints."""
    settings = server.site.root / "doveconf"
    command = dovecot.command("doveconf", "-n", "-c", str(dovecot.config))
    settings.write_text(run([*command], who=None).stdout)
    plan = migrate(server, "plan", "--doveconf", settings)
    maildir = tomllib.loads(plan)["maildir"]
    path = f"{server.site.root}/mail/{{user}}/Maildir"
    require(maildir["path"] == path, f"the plan has the path {maildir['path']!r}")
    _, _, section = plan.partition("[maildir.dovecot]")
    return Keys((uidl(*maildir["uidl"]),), f"[maildir.dovecot]{section}")


def audit(dovecot: Dovecot23, histories: list[History], server: Taking, code: int) -> str:
    """The audit against the old server. Returns its last line."""
    server.config().write_text(server.configuration())
    users = users_file(server, [each.account for each in histories])
    words = ["--old", f"pop3://localhost:{dovecot.port}", "--cleartext", "--users", users]
    return migrate(server, "audit", *words, codes=(code,)).strip().split("\n")[-1]


def users_file(server: Taking, accounts: list[Account]) -> Path:
    """The names and passwords for the old server."""
    path = server.site.root / f"{server.name}.asked"
    path.write_text("".join(f"{each.user}\t{each.password}\n" for each in accounts))
    return path


def captured(histories: list[History], old: list[Listing], server: Taking) -> None:
    """The audit against what curl has printed."""
    directory = server.site.root / f"{server.name}.captured"
    directory.mkdir()
    for history, listing in zip(histories, old):
        lines = (f"{number} {id}\r\n" for number, id in enumerate(ids(listing), 1))
        (directory / f"{history.account.user}.uidl").write_text("".join(lines), newline="")
        migrate(server, "audit", "--capture", directory, "--user", history.account.user)


def migrate(server: Taking, what: str, *words: object, codes: Iterable[int] = (0,)) -> str:
    """`restante migrate`. Returns its output."""
    config = [] if what == "plan" else ["--config", server.config()]
    command: list[object] = [server.site.program, "migrate", what, *words, *config]
    return run(command, who=None, codes=codes).stdout
