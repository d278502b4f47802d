"""Interruptions of the server: SIGKILL at any time and just after QUIT, and SIGHUP."""

import random
import signal
import threading
import time

from lib.ledger import Ledger
from lib.report import Failed
from lib.server import Server

# How long a kill that is due waits for a client to send QUIT, in seconds.
AIM = 1.0


class Interruptions:
    """Kills and starts the server, and lets clients know when it may be down."""

    def __init__(self, server: Server, ledger: Ledger, seed: str) -> None:
        self.server, self.ledger = server, ledger
        self._choice = random.Random(seed)
        # Incremented when the server is killed and when it is ready: even while it runs.
        self._changes = 0
        self._lock = threading.Lock()
        self._armed = threading.Event()
        self._quit = threading.Event()
        self._up = threading.Event()
        self._up.set()
        self.slowest_start = 0.0

    def life(self) -> float:
        """The number of the current server process. It differs at each call while there is none."""
        with self._lock:
            return self._changes if self._changes % 2 == 0 else float("nan")

    def wait_up(self) -> None:
        """Waits until there is a server."""
        self._up.wait(60)

    def kill_now(self) -> None:
        """A client has just sent QUIT: a kill that is due happens now."""
        if self._armed.is_set():
            self._quit.set()

    def kills(self, stop: threading.Event, per_minute: float, until: float) -> None:
        """Kills the server at this rate, up to the time `until`."""
        due = time.monotonic()
        while per_minute > 0:
            due += self._choice.expovariate(per_minute / 60)
            if due > until or stop.wait(max(due - time.monotonic(), 0)):
                return
            self._quit.clear()
            self._armed.set()
            # Half of the kills happen at a QUIT, if there is one, the others at any time.
            if self._choice.random() < 0.5 and self._quit.wait(AIM):
                self.ledger.count("kills right after QUIT")
                stop.wait(self._choice.choice((0, 0.0005, 0.002, 0.01)))
            self._armed.clear()
            self._kill()

    def _kill(self) -> None:
        self._up.clear()
        with self._lock:
            self._changes += 1
            self.server.kill()
        begin = time.monotonic()
        try:
            self.server.start()
        except Failed as error:
            self.ledger.violation(f"after a kill: {error}")
            raise
        self.ledger.count("kills")
        self.slowest_start = max(self.slowest_start, time.monotonic() - begin)
        with self._lock:
            self._changes += 1
        self._up.set()

    def reloads(self, stop: threading.Event) -> None:
        """Sends SIGHUP from time to time."""
        while not stop.wait(self._choice.uniform(5, 25)):
            with self._lock:
                process = self.server.process
                if process is not None and self._changes % 2 == 0:
                    process.send_signal(signal.SIGHUP)
                    self.ledger.count("reloads")
