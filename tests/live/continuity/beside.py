"""Dovecot's IMAP server goes on beside Restante, on the same Maildir: no unique-id changes."""

from continuity.history import History
from continuity.listing import Listing, ask, followed, same
from continuity.moves import Taking
from continuity.old import Dovecot23, imap_session
from lib.report import require
from lib.server import CLEARTEXT

ROUNDS = 6


def goes_on(dovecot: Dovecot23, history: History, server: Taking) -> str:
    """Deliveries and IMAP sessions while both run. Each new message is seen first by either."""
    account, port = history.account, server.ports[CLEARTEXT]
    try:
        dovecot.start()
        old = ask(dovecot.port, account)
        server.start()
        shown = ask(port, account)
        same(old, shown)
        added = 0
        for number in range(ROUNDS):
            history.deliver(4)
            if number % 2:
                shown, new = _ask_again(port, history, shown)
                added += new
            imap_session(dovecot.ports["imap"], history)
            shown, new = _ask_again(port, history, shown)
            added += new
        server.restart()
        same(shown, ask(port, account))
        server.stop()
        require(not server.errors(), f"{server.errors()[:3]}")
    finally:
        server.kill()
        dovecot.stop()
    return f"{ROUNDS} IMAP sessions, {added} new messages"


def _ask_again(port: int, history: History, shown: Listing) -> tuple[Listing, int]:
    now = ask(port, history.account)
    new = followed(shown, now)
    files = history.account.files()
    require(len(now) == len(files), f"{len(now)} are listed of {len(files)}")
    return now, len(new)
