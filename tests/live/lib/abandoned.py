"""Exchanges that are begun and given up, and what memory a server keeps of them."""

import itertools
from base64 import b64encode
from collections import Counter
from pathlib import Path
from typing import Iterable, Iterator

from lib.process import LOOPBACK, free_port
from lib.report import require
from lib.server import ByDefault, Server
from lib.site import Account, Site

# How many exchanges a client begins on a connection, and after how many it says something right:
# `bad-commands` are counted in a row.
EXCHANGES, IN_A_ROW = 50, 15


class InAHurry(ByDefault):
    """The same, for more connections a second than an address may make by default."""

    more = "[limits]\nconnections-per-address = 5000\n"


class Abandoned:
    """A server, and clients that begin exchanges with it and give them up."""

    def __init__(self, site: Site) -> None:
        self.users = site.root / "scram-users"
        self.server = InAHurry(site, "abandoned", self._sections)
        self.site = site

    def start(self) -> None:
        """Starts the server, with a user who can use all mechanisms."""
        account = Account("mrose", "tanstaaf", self.site.root / "mail/mrose/Maildir")
        self.site.add_user(account, self.users, scheme="scram-sha-256")
        self.server.start()

    def measure(self, exchanges: int) -> tuple[float, float]:
        """Resident memory before and after, in MiB; before, a few thousand warm it up."""
        self.give_up(5_000)
        before = resident(self.server)
        self.give_up(exchanges)
        return before, resident(self.server)

    def give_up(self, exchanges: int) -> None:
        """Begins that many; each connection is dropped in the middle of its last one."""
        begun = itertools.count()
        for _ in range(exchanges // EXCHANGES):
            with self.server.connect() as session:
                session.write(b"".join(conversation(begun)))
                wanted = {"+ ": EXCHANGES, "-E": EXCHANGES - 1, "+O": EXCHANGES // IN_A_ROW}
                said = Counter(session.line()[:2] for _ in range(sum(wanted.values())))
                require(said == wanted, f"the replies were {said}, not {wanted}")

    def _sections(self) -> str:
        # No token is ever looked at, so that no provider has to be there.
        provider = f"http://{LOOPBACK}:{free_port()}"
        return (
            f'[[credentials]]\nkind = "file"\npath = "{self.users}"\n'
            f'[[credentials]]\nkind = "oauth2"\nissuer = "{provider}"\naudience = "restante"\n'
        )


def conversation(begun: Iterator[int]) -> Iterable[bytes]:
    """What is sent on one connection; the last exchange ends in the middle of a response."""
    for nth in range(1, EXCHANGES + 1):
        number = next(begun)
        name = b"mrose" if number % 8 < 4 else b"nobody-%d" % number
        # Not SCRAM, where giving up is a failed login.
        login = b"AUTH LOGIN " + b64encode(name) + b"\r\n"
        yield (b"AUTH PLAIN\r\n", login, b"AUTH OAUTHBEARER\r\n")[number % 3]
        if nth == EXCHANGES:
            yield b"bm9i"
            return
        yield b"*\r\n"
        if nth % IN_A_ROW == 0:
            yield b"USER " + name + b"\r\n"


def resident(server: Server) -> float:
    """The resident memory of the server, in MiB."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
