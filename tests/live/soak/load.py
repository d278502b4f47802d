"""The load of the soak: an ordinary day of a server, with a few sessions a second."""

import random
import threading
import time
from collections import deque
from typing import Callable

from lib.delivery import Deliverer
from lib.interruptions import Interruptions
from lib.ledger import Ledger
from lib.pop3 import Lost
from lib.programs import programs
from lib.report import Failed
from lib.server import CLEARTEXT, STLS, TLS, Server
from lib.site import Account, Site
from lib.vanishing import Vanishing

# The seconds for which latencies are kept: 5 polls a second make 150 of them.
WINDOW = 30.0


class Latencies:
    """The times of the polls of the last half minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: deque[tuple[float, float]] = deque()

    def add(self, seconds: float) -> None:
        """Adds a poll that has just ended."""
        now = time.monotonic()
        with self._lock:
            self._found.append((now, seconds))
            while self._found[0][0] < now - WINDOW:
                self._found.popleft()

    def at(self, part: float) -> float:
        """The percentile in seconds; 0 without polls."""
        with self._lock:
            values = sorted(seconds for _, seconds in self._found)
        return values[min(int(len(values) * part), len(values) - 1)] if values else 0.0


class Load:
    """All clients and deliveries, each in a thread, until `stop`."""

    def __init__(
        self, site: Site, server: Server, ledger: Ledger, accounts: list[Account], seed: int
    ) -> None:
        self.site, self.server, self.ledger, self.accounts = site, server, ledger, accounts
        self.seed = seed
        self.stop = threading.Event()
        self.latencies = Latencies()
        self._threads: list[threading.Thread] = []
        self._deliverer = Deliverer(site, ledger, accounts)

    def begin(self) -> None:
        """Starts everything."""
        vanishing = Vanishing(
            self.site, self.server, self.ledger, Interruptions(self.server, self.ledger, "")
        )
        accounts, one = self.accounts, self._repeat
        one("polls", 0.2, lambda choice: self._poll(choice, choice.choice(accounts)))
        one("sessions", 0.6, lambda choice: vanishing.session(choice, choice.choice(accounts)))
        one("wrong passwords", 20, lambda choice: self._guess(choice.choice(accounts)))
        one("deliveries", 0.7, lambda choice: self._deliverer.one(choice, choice.choice(accounts)))
        one("reading", 2, lambda choice: self._deliverer.read_one(choice, choice.choice(accounts)))
        for program in programs(self.site, self.server, self.ledger, accounts):
            one(program.client.name, 30, program.poll)

    def end(self) -> None:
        """Ends everything, and waits for it."""
        self.stop.set()
        for thread in self._threads:
            thread.join(90)

    def _repeat(self, name: str, pause: float, step: Callable[[random.Random], None]) -> None:
        choice = random.Random(f"{self.seed} {name}")

        def body() -> None:
            while not self.stop.wait(choice.expovariate(1 / pause)):
                try:
                    step(choice)
                except Exception as error:  # the hour goes on; the run has failed
                    if self.stop.wait(1):
                        return  # Ctrl-C reaches what it has started, too
                    self.ledger.violation(f"{name}: {type(error).__name__}: {error}")

        thread = threading.Thread(target=body, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _poll(self, choice: random.Random, account: Account) -> None:
        """Checks for mail, and measures the time with the connection."""
        begin = time.monotonic()
        try:
            connection = self.server.connect(choice.choice((TLS, STLS, CLEARTEXT)))
            if not connection.logs_in(account.user, account.password):
                self.ledger.count("polls told [IN-USE]")
                return
            connection.ok("STAT")
            connection.lines("UIDL")
            connection.ok("QUIT")
            connection.close()
        except (Failed, Lost) as error:
            self.ledger.violation(f"poll of {account.user}: {error}")
            return
        self.latencies.add(time.monotonic() - begin)
        self.ledger.count("polls")

    def _guess(self, account: Account) -> None:
        """A login with a wrong password."""
        connection = self.server.connect(TLS)
        connection.ok(f"USER {account.user}")
        said = connection.ask("PASS wrong")
        if not said.startswith("-ERR [AUTH]"):
            self.ledger.violation(f"a wrong password was answered with {said!r}")
        self.ledger.count("wrong passwords")
        connection.close()


