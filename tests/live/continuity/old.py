"""The old servers: the formats of Dovecot's unique-ids, and sessions of their users."""

import imaplib
import random
from dataclasses import dataclass
from typing import Protocol

from continuity.history import History, text
from lib.dovecot import Dovecot
from lib.pop3 import Pop3
from lib.process import LOOPBACK


class Old(Protocol):
    """An old server."""

    @property
    def port(self) -> int:
        """Its port for POP3."""

    def start(self) -> None:
        """Starts it."""

    def stop(self) -> None:
        """Ends it."""


@dataclass(frozen=True)
class Format:
    """A format of Dovecot's unique-ids: the settings of both servers."""

    name: str
    dovecot: tuple[str, ...] = ()
    restante: str = ""
    # Whether `CONTROL=` puts the lists elsewhere.
    is_elsewhere: bool = False
    # The settings of an earlier time.
    before: tuple[str, ...] = ()


# The setting of Dovecot, and the key of Restante.
RENAME = ("pop3_uidl_duplicates = rename", 'duplicates = "rename"\n')
XUIDL = ("pop3_reuse_xuidl = yes", "reuse-xuidl = true\n")
DELETED_FLAG = (('pop3_deleted_flag = "$POP3Deleted"',), 'deleted-flag = "$POP3Deleted"\n')


def of_template(template: str, name: str = "") -> Format:
    """A format with this template."""
    return Format(
        name or template, (f"pop3_uidl_format = {template}",), f'format = "{template}"\n'
    )


FORMATS = (
    Format("default"),
    *map(of_template, ("%f", "%g", "%v-%u", "%Mf", "UID%u-%v")),
    Format("%g, renamed", ("pop3_uidl_format = %g", RENAME[0]), f'format = "%g"\n{RENAME[1]}'),
    Format("X-UIDL", (XUIDL[0],), XUIDL[1]),
    Format("X-UIDL, renamed", (XUIDL[0], RENAME[0]), XUIDL[1] + RENAME[1]),
    Format("lists elsewhere", is_elsewhere=True),
    Format("deleted-flag", *DELETED_FLAG),
    # It serves stored unique-ids although the template is another one now.
    Format("saved", before=("pop3_save_uidl = yes", "pop3_uidl_format = %f")),
)


class Dovecot23(Dovecot):
    """Dovecot 2.3."""

    @property
    def port(self) -> int:
        """Its port for POP3."""
        return self.ports["pop3"]


def pop3_session(port: int, history: History) -> None:
    """A session of a client that leaves most mail: it lists, fetches three and removes two."""
    account, choice = history.account, history.choice
    with Pop3(port) as pop:
        pop.log_in(account.user, account.password)
        numbers = range(1, len(pop.lines("UIDL")) + 1)
        for number in choice.sample(numbers, min(3, len(numbers))):
            pop.lines(f"RETR {number}")
        for number in choice.sample(numbers, min(2, len(numbers))):
            pop.ok(f"DELE {number}")
        pop.ok("QUIT")
        pop.until_closed()  # Courier removes after its reply


def imap_session(port: int, history: History) -> None:
    """A session of an IMAP client: flags, two expunges, two copies and a new message."""
    account, choice = history.account, history.choice
    client = imaplib.IMAP4(LOOPBACK, port, timeout=60)
    client.login(account.user, account.password)
    _, counts = client.select("INBOX")
    numbers = range(1, int((counts[0] or b"0").decode()) + 1)
    for flag in (r"\Flagged", r"\Seen", r"\Answered"):
        client.store(_some(choice, numbers, 8), "+FLAGS.SILENT", f"({flag})")
    client.store(_some(choice, numbers, 8), "-FLAGS.SILENT", r"(\Flagged \Seen)")
    client.copy(_some(choice, numbers, 2), "INBOX")
    # Not that of a delivered message, whose header it would have: Dovecot takes two messages of an
    # mbox with one header for the same.
    number = 10_000 + choice.randrange(10_000)
    appended = text(f"{account.user}-appended-{number}", choice, number)
    client.append("INBOX", "", "", appended.wire)
    client.store(_some(choice, numbers, 2), "+FLAGS.SILENT", r"(\Deleted)")
    client.expunge()
    client.logout()


def _some(choice: random.Random, numbers: range, count: int) -> str:
    return ",".join(map(str, choice.sample(numbers, min(count, len(numbers)))))
