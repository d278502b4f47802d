"""The guard: a login is refused before a client sees other unique-ids than before."""

from continuity.clients import Saved
from continuity.history import stored
from continuity.moves import FROM_DOVECOT, Taking
from lib.clients import Fetchmail
from lib.pop3 import DOWN, Pop3
from lib.report import require
from lib.server import CLEARTEXT, Endpoint

# fetchmail's exit codes for a login that is refused for now.
REFUSED = (3, 4, 5, 8, 9)


def unclaimed(fetchmail: Saved, server: Taking) -> str:
    """The old server's list is there, and `uidl` is not set.

    fetchmail has polled the old server. It is refused, and fetches nothing again afterwards.
    """
    account, port = fetchmail.account, server.ports[CLEARTEXT]
    state = fetchmail.home / "ids"
    known = set(state.read_text().splitlines())
    require(len(known) >= len(stored(account)), f"fetchmail knows {len(known)} messages")
    server.maildir = ()
    server.start()
    said = _login(server, fetchmail)
    require(said.startswith(DOWN), f"the login was answered with {said!r}")
    client = fetchmail.client
    assert isinstance(client, Fetchmail)
    refused = client.poll(account, Endpoint(port, CLEARTEXT), fetchmail.home, "keep", REFUSED)
    require(set(state.read_text().splitlines()) == known, "fetchmail has lost its state")
    errors = [line for line in server.errors() if account.user in line and "uidl" in line]
    require(bool(errors), f"no error names the user and the line to write: {server.errors()}")
    server.stop()
    server.maildir = FROM_DOVECOT
    server.start()
    fetchmail.none(port)
    fetchmail.new(port)
    server.stop()
    return (refused.stderr + refused.stdout).strip().split("\n")[0][:120]


def _login(server: Taking, fetchmail: Saved) -> str:
    with Pop3(server.ports[CLEARTEXT]) as pop:
        return pop.user(fetchmail.account.user, fetchmail.account.password)
