"""The guard: a login is refused before a client sees other unique-ids than before."""

import shutil

from continuity.clients import Saved
from continuity.listing import ask, same
from continuity.moves import FROM_DOVECOT, Keys, Taking, remove_lists
from continuity.old import Dovecot23
from lib.clients import Fetchmail
from lib.pop3 import DOWN, Pop3
from lib.process import SERVER_USER, run
from lib.report import require
from lib.server import CLEARTEXT, Endpoint

# fetchmail's exit codes for a login that is refused.
REFUSED = tuple(range(2, 12))


def unclaimed(dovecot: Dovecot23, fetchmail: Saved, server: Taking) -> str:
    """The old server's list is there, and `uidl` is not set.

    `check` warns, and the login is refused. With the line, fetchmail fetches nothing again.
    """
    require((fetchmail.account.maildir / "dovecot-uidlist").exists(), f"no list of {dovecot.root}")
    server.use(Keys())
    server.config().write_text(server.configuration())
    warnings = run([server.site.program, "check", "--config", server.config()], who=None).stderr
    require('uidl = ["dovecot"' in warnings, f"`check` names no line to write: {warnings!r}")
    server.start()
    said = refused(server, fetchmail)
    errors = [line for line in server.errors() if fetchmail.account.user in line]
    require(any("uidl" in line for line in errors), f"no error names the line to write: {errors}")
    server.stop()
    server.use(FROM_DOVECOT)
    poll_on(server, fetchmail)
    return said


def replaced(dovecot: Dovecot23, fetchmail: Saved, server: Taking) -> str:
    """The mail comes back from a copy that doveadm has made, which gives it other names.

    With the old names, fetchmail fetches nothing again.
    """
    poll_on(server, fetchmail)
    maildir = fetchmail.account.maildir
    kept, copy = maildir.parent / "kept", maildir.parent / "copy"
    dovecot.start()
    command = ["doveadm", "-c", dovecot.config, "backup", "-u", fetchmail.account.user]
    run([*command, f"maildir:{copy}"], who=None)
    dovecot.stop()
    fetchmail.client.site.own(copy, SERVER_USER)
    kept.mkdir()
    for part in ("cur", "new"):
        (maildir / part).rename(kept / part)
        (copy / part).rename(maildir / part)
    server.start()
    said = refused(server, fetchmail)
    for part in ("cur", "new"):
        shutil.rmtree(maildir / part)
        (kept / part).rename(maildir / part)
    fetchmail.none(server.ports[CLEARTEXT])
    server.stop()
    return said


def lost(dovecot: Dovecot23, fetchmail: Saved, server: Taking) -> str:
    """The state and the old list are lost, and Dovecot has made another list.

    Its operator accepts the new unique-ids.
    """
    poll_on(server, fetchmail)
    maildir = fetchmail.account.maildir
    (maildir / "restante.uids").unlink()
    remove_lists(maildir)
    dovecot.start()
    old = ask(dovecot.port, fetchmail.account)
    dovecot.stop()
    server.start()
    said = refused(server, fetchmail)
    status = restante_guard(server, fetchmail, "status", code=1)
    restante_guard(server, fetchmail, "accept")
    restante_guard(server, fetchmail, "status")
    same(old, ask(server.ports[CLEARTEXT], fetchmail.account))
    server.stop()
    return f"{said}; {status}"


def refused(server: Taking, fetchmail: Saved) -> str:
    """A login is refused for now, and fetchmail keeps its state. Returns its words."""
    account, port = fetchmail.account, server.ports[CLEARTEXT]
    with Pop3(port) as pop:
        said = pop.user(account.user, account.password)
    require(said.startswith(DOWN), f"the login was answered with {said!r}")
    state = fetchmail.home / "ids"
    known = set(state.read_text().splitlines())
    client = fetchmail.client
    assert isinstance(client, Fetchmail)
    words = client.poll(account, Endpoint(port, CLEARTEXT), fetchmail.home, "keep", REFUSED)
    require(set(state.read_text().splitlines()) == known, "fetchmail has lost its state")
    require(bool(known), "fetchmail had no state")
    return (words.stderr + words.stdout).strip().split("\n")[0][:120]


def poll_on(server: Taking, fetchmail: Saved) -> None:
    """fetchmail fetches nothing again, and then new mail."""
    server.start()
    fetchmail.none(server.ports[CLEARTEXT])
    fetchmail.new(server.ports[CLEARTEXT])
    server.stop()


def restante_guard(server: Taking, fetchmail: Saved, what: str, code: int = 0) -> str:
    """`restante guard`. Returns its output."""
    command = [server.site.program, "guard", what, fetchmail.account.user]
    done = run([*command, "--config", server.config()], who=None, codes=(code,))
    return " ".join((done.stdout + done.stderr).split())
