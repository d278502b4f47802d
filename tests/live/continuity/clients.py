"""Mail clients with their saved state: they leave mail on the server, and fetch none of it twice."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Optional

from continuity.history import History, Orderly, stored, tokens
from lib.clients import Client, Fetchmail, Getmail, Mpop
from lib.report import Report, require
from lib.server import CLEARTEXT, Endpoint
from lib.site import Account


class FastFetchmail(Fetchmail):
    """fetchmail, which looks for the first new message by a binary search."""

    name = "fetchmail with fastuidl"

    def fetch(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self._run(account, endpoint, home, "keep fastuidl 1")


CLIENTS: tuple[type[Client], ...] = (Getmail, Mpop, Fetchmail, FastFetchmail)


class Saved:
    """A client, its user, and its saved state."""

    def __init__(self, client: Client, history: History) -> None:
        self.client, self.history = client, history
        self.account = history.account
        self.home = client.site.home()

    def poll(self, port: int) -> Counter[str]:
        """Fetches new messages. Returns their tokens."""
        endpoint = Endpoint(port, CLEARTEXT)
        return tokens(self.client.fetch(self.account, endpoint, self.home))

    def later(self) -> History:
        """Deliveries whose names come last."""
        return Orderly(self.client.site, self.account, "later")

    def all(self, port: int) -> str:
        """The first poll."""
        got, wanted = self.poll(port), stored(self.account)
        require(got == wanted, f"fetched {got.total()} of {wanted.total()}")
        return f"{got.total()} messages"

    def none(self, port: int) -> str:
        """A poll when there is no new mail."""
        got = self.poll(port)
        require(not got, f"fetched {got.total()} of {stored(self.account).total()} again")
        return "none"

    def new(self, port: int, later: Optional[History] = None) -> str:
        """Two polls after new mail."""
        wanted = Counter((later or self.history).deliver(2))
        got = self.poll(port)
        require(got == wanted, f"fetched {sorted(got)}, not {sorted(wanted)}")
        require(not self.poll(port), "fetched again")
        return f"{got.total()} messages, once"


class Polls:
    """The polls of several clients, all at once."""

    def __init__(self, report: Report, name: str, clients: list[Saved]) -> None:
        self.report, self.name, self.clients = report, name, clients

    def old(self, port: int) -> None:
        """The polls of the old server."""
        self._each("from the old server", lambda saved: saved.all(port))
        self._each("again from the old server", lambda saved: saved.none(port))

    def moved(self, port: int) -> None:
        """The polls of Restante on the same Maildirs."""
        self._each("again from Restante", lambda saved: saved.none(port))
        self._each("new mail", lambda saved: saved.new(port))

    def back(self, port: int) -> None:
        """The polls of the old server, to which the mail was handed back."""
        self._each("again from the old server, on the way back", lambda saved: saved.none(port))
        # Courier lists other names between older ones, where a binary search does not find them.
        self._each("new mail from the old server", lambda saved: saved.new(port, saved.later()))

    def _each(self, what: str, check: Callable[[Saved], str]) -> None:
        def one(saved: Saved) -> None:
            name = f"{self.name}: {saved.client.name}: {what}"
            self.report.check(name, lambda: check(saved))

        with ThreadPoolExecutor(len(self.clients)) as pool:
            list(pool.map(one, self.clients))
