"""Many names of one account: guessing by all of them is no faster than by one."""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Callable

from lib.pop3 import WRONG, Pop3
from lib.report import require
from lib.server import ByDefault
from lib.site import Site
from stores.ldap import Slapd

# The number of clients that guess at a time, all from one address, and for how long.
CLIENTS, SECONDS = 40, 15.0

# Each of the clients that begin at the same time may make a guess before the failures of the others
# are known.
MORE = 4


class Guessers:
    """Clients that guess, and the number of their guesses that the server has verified."""

    def __init__(self, server: ByDefault, name: Callable[[], str]) -> None:
        self.server = server
        self.name = name
        self.heard = 0
        self._lock = threading.Lock()
        self._ends = 0.0

    def guess(self) -> int:
        """Runs all clients to their end."""
        self._ends = time.monotonic() + SECONDS
        clients = [threading.Thread(target=self._keep_on) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        return self.heard

    def _keep_on(self) -> None:
        guesses = itertools.count()
        while (left := self._ends - time.monotonic()) > 0:
            try:
                with self.server.connect(timeout=left) as session:
                    while True:
                        if self._one(session, next(guesses)).startswith(WRONG):
                            with self._lock:
                                self.heard += 1
            except OSError:
                time.sleep(0.1)  # thrown out, or the time is over

    def _one(self, session: Pop3, number: int) -> str:
        with self._lock:
            name = self.name()
        return session.plain(name.encode(), f"{threading.get_ident()}-{number}")


def no_faster(site: Site, slapd: Slapd) -> str:
    """By one name, by many addresses of one entry, and by many domains that are ignored."""
    user = "guessed"
    addresses = [f"guessed@x{number}.example" for number in range(2000)]
    slapd.add(user, "not to be guessed", addresses=addresses)
    ways = {
        "one name": ("(mail={user})", itertools.repeat(addresses[0])),
        "addresses": ("(mail={user})", itertools.cycle(addresses)),
        "domains": ("(uid={local})", itertools.cycle(addresses)),
    }

    def heard_by(what: str) -> int:
        filter_, names = ways[what]
        server = ByDefault(
            site, f"{what.replace(' ', '-')}-guessed", lambda: found_by(site, slapd, filter_)
        )
        server.start()
        try:
            return Guessers(server, lambda: next(names)).guess()
        finally:
            server.kill()

    # They wait for most of their time.
    with ThreadPoolExecutor(len(ways)) as pool:
        heard = dict(zip(ways, pool.map(heard_by, ways)))
    text = ", ".join(f"{number} by {what}" for what, number in heard.items())
    require(0 < heard["one name"] and max(heard.values()) <= heard["one name"] + MORE, text)
    return f"{CLIENTS} clients in {SECONDS:.0f} s have guessed {text}"


def found_by(site: Site, slapd: Slapd, filter_: str) -> str:
    """The store, with another filter."""
    lines = slapd.settings(site.root).splitlines(keepends=True)
    return "".join(
        f'filter = "{filter_}"\n' if line.startswith("filter = ") else line for line in lines
    )
