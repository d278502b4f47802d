"""Exchanges that are begun and abandoned, and the memory that a server keeps of them."""

import itertools
from base64 import b64encode
from collections import Counter
from pathlib import Path
from typing import Iterable, Iterator

from lib.process import LOOPBACK, free_port
from lib.report import require
from lib.server import ByDefault, Server
from lib.site import Account, Site

# The number of exchanges that a client begins on a connection, and after how many of them it sends
# a valid command: `bad-commands` are counted in a row.
EXCHANGES, IN_A_ROW = 50, 15


class InAHurry(ByDefault):
    """A server that accepts more connections a second from an address than by default."""

    more = "[limits]\nconnections-per-address = 5000\n"


class Abandoned:
    """A server, and clients that begin exchanges and abandon them."""

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
        """Resident memory before and after, in MiB, after a few thousand exchanges to warm up."""
        self.give_up(5_000)
        before = resident(self.server)
        self.give_up(exchanges)
        return before, resident(self.server)

    def give_up(self, exchanges: int) -> None:
        """Begins this number of exchanges. Connections are closed in the middle of the last one."""
        begun = itertools.count()
        for _ in range(exchanges // EXCHANGES):
            with self.server.connect() as session:
                session.write(b"".join(conversation(begun)))
                wanted = {"+ ": EXCHANGES, "-E": EXCHANGES - 1, "+O": EXCHANGES // IN_A_ROW}
                said = Counter(session.line()[:2] for _ in range(sum(wanted.values())))
                require(said == wanted, f"the replies were {said}, not {wanted}")

    def _sections(self) -> str:
        # No token is verified, so the provider need not exist.
        provider = f"http://{LOOPBACK}:{free_port()}"
        return (
            f'[[credentials]]\nkind = "file"\npath = "{self.users}"\n'
            f'[[credentials]]\nkind = "oauth2"\nissuer = "{provider}"\naudience = "restante"\n'
        )


def conversation(begun: Iterator[int]) -> Iterable[bytes]:
    """The input of one connection. The last exchange ends in the middle of a response."""
    for nth in range(1, EXCHANGES + 1):
        number = next(begun)
        name = b"mrose" if number % 8 < 4 else b"nobody-%d" % number
        # Not SCRAM, where an abandoned exchange is a failed login.
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
