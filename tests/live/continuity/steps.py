"""The steps of a move as docs/MIGRATING.md has them: `restante migrate plan`, `audit` and `apply`."""

import shutil
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Iterable

from continuity.history import History
from continuity.listing import Listing, ask, ids, same
from continuity.moves import Keys, Taking, remove_lists, uidl
from continuity.old import Dovecot23
from continuity.tls import Stls, Tls
from lib.front import Front
from lib.process import run
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
    """The audit against Dovecot. Returns its last line."""
    old = [f"pop3://localhost:{dovecot.port}", "--cleartext"]
    return asked(server, old, [each.account for each in histories], code)


def audited(old: Front, account: Account, server: Taking, keys: Keys) -> str:
    """The exit codes of the audit against a server with TLS, with which `keys` agree."""
    listing = ask(old.port, account)
    wrong = replace(account, password="wrong")
    for kind, scheme in ((Tls, "pop3s"), (Stls, "pop3")):
        with kind(server.site, old.port) as front:
            url = f"{scheme}://localhost:{front.port}"
            server.use(keys)
            asked(server, [url, "--insecure"], [account], code=0)
            server.use(Keys((uidl("name"),)))
            asked(server, [url, "--insecure"], [account], code=1)
            asked(server, [url, "--insecure"], [wrong], code=2)
            # The certificate is of no known authority.
            asked(server, [url], [account], code=2)
    require(ask(old.port, account) == listing, "the audit has changed the mail")
    return f"{len(listing)} unique-ids, by TLS and STLS"


def asked(server: Taking, old: list[str], accounts: list[Account], code: int) -> str:
    """The audit of these users, which ends with this code. Returns its last line."""
    server.config().write_text(server.configuration())
    words = ["--old", *old, "--users", users_file(server, accounts)]
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
