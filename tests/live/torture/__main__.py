"""Tortures a real `restante serve`, and then accounts for every message.

    cargo build --release --locked && python3 tests/live torture target/release/restante --minutes 10

Delivery agents deliver, Dovecot's IMAP server changes flags, moves and expunges, POP3 clients
fetch, delete and vanish, mpop and fetchmail fetch and remove, all on the same Maildirs, and the
server is killed repeatedly. `ledger.py` has the rules. Each violation is a line, and the exit code
is then 1. Ctrl-C ends the run early, with the final check. Only root can run Dovecot.

    python3 tests/live torture target/release/restante --power-cuts 50

copies a file system at the instant of `+OK` to QUIT instead, as a power cut would leave it; see
`power.py`.
"""

import argparse
import imaplib
import os
import random
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Callable, Optional

from lib.delivery import Deliverer, deliverable
from lib.dovecot import Dovecot
from lib.interruptions import Interruptions
from lib.ledger import FLAGGED, STILL, Ledger
from lib.programs import programs
from lib.report import Failed
from lib.resources import Usage, at_rest, usual
from lib.server import Clear
from lib.settle import settle
from lib.site import Account, Site
from lib.vanishing import End, Vanishing
from torture import power
from torture.imap import FOLDER, Imap
from torture.sabotage import KINDS, sabotage

# Seconds between two progress lines.
PROGRESS = 5.0
# The number of messages of each kind that always stay in each Maildir.
STANDING = 8
# How much memory at rest may exceed the median under load.
GROWTH = 24_000_000


def main() -> int:
    """Runs the torture, or the power cuts."""
    arguments = parse()
    if os.geteuid() != 0:
        print("only root can run Dovecot and mount file systems", file=sys.stderr)
        return 2
    if arguments.power_cuts:
        return power.cuts(arguments.program, arguments.power_cuts, arguments.seed)
    deliverable()
    torture = Torture(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: torture.stop.set())
    try:
        torture.run()
    finally:
        torture.close()
    return torture.summary()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="torture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("program", type=lambda text: Path(text).resolve())
    parser.add_argument("--minutes", type=float, default=1, metavar="N")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--clients", type=int, default=6, metavar="N", help="POP3 clients")
    parser.add_argument("--pause", type=float, default=0.15, metavar="SECONDS",
                        help="the mean time that each client and deliverer waits between two steps")
    parser.add_argument("--kills-per-minute", type=float, default=6, metavar="N")
    parser.add_argument("--power-cuts", type=int, default=0, metavar="N")
    parser.add_argument("--sabotage", choices=KINDS,
                        help="does something wrong, to see that it is found: the exit code is 1")
    return parser.parse_args()


class Apart(Clear):
    """A server that only this program ends."""

    is_apart = True
    # Dovecot has a list of UIDs, but its POP3 server has never served the mail.
    maildir = ('uidl = ["name"]',)


class Torture:
    """All processes and threads, and their end."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.stop = threading.Event()
        self.ledger = Ledger()
        self.site = Site(arguments.program)
        self.server = Apart(self.site, "torture", allow_cleartext=True)
        self.accounts = [self._account(user) for user in ("ann", "bob", "cid", "dot")]
        self.dovecot = Dovecot(
            self.site, "dovecot", self.accounts, FOLDER, protocols=("imap",)
        )
        self.deliverer = Deliverer(self.site, self.ledger, self.accounts)
        self.interruptions = Interruptions(self.server, self.ledger, f"{arguments.seed} kill")
        self.usage: Optional[tuple[Usage, Usage]] = None
        self.threads: list[threading.Thread] = []

    def _account(self, user: str) -> Account:
        account = self.site.mailbox(user)
        self.site.enter(account)
        return account

    def run(self) -> None:
        """Starts all, waits, ends all, and accounts for the messages."""
        length = self.arguments.minutes * 60
        # The last server process runs long enough to measure the memory that it keeps.
        calm = min(60.0, length / 3)
        print(f"seed {self.arguments.seed}, {length:.0f} s", flush=True)
        for account in self.accounts:
            for kind in (STILL, FLAGGED):
                self.deliverer.stand(random.Random(account.user), account, kind, STANDING)
        self.server.start()
        self.dovecot.start()
        begin = time.monotonic()
        self._begin(begin + length - calm)
        self._watch(begin, length, calm)
        self.stop.set()
        for thread in self.threads:
            thread.join(90)
            if thread.is_alive():
                self.ledger.violation(f"{thread.name} does not end")
        self._account_for_all()

    def _begin(self, until: float) -> None:
        """Starts all threads, each with its own random numbers."""
        pause = self.arguments.pause
        vanishing = Vanishing(self.site, self.server, self.ledger, self.interruptions)
        for number in range(self.arguments.clients):
            self._repeat(f"client {number}", pause, self._with_a_server(
                lambda choice: vanishing.session(choice, choice.choice(self.accounts))
            ))
        for account in self.accounts:
            deliver = partial(self.deliverer.one, account=account)
            read = partial(self.deliverer.read_one, account=account)
            self._repeat(f"delivery {account.user}", pause * 4, deliver)
            self._repeat(f"reading {account.user}", pause * 6, read)
        # The last user has no IMAP client: mail stays longer in `new`.
        for account in self.accounts[:-1]:
            self._thread(f"imap {account.user}", partial(self._imap, account))
        for program in programs(self.site, self.server, self.ledger, self.accounts):
            self._repeat(program.client.name, pause * 20, self._with_a_server(program.poll))
        self._thread("kills", lambda: self.interruptions.kills(
            self.stop, self.arguments.kills_per_minute, until
        ))
        self._thread("reloads", lambda: self.interruptions.reloads(self.stop))
        if self.arguments.sabotage:
            self._thread("sabotage", lambda: sabotage(
                self.arguments.sabotage, self.site, self.ledger, self.accounts[0],
                random.Random(self.arguments.seed), self.stop,
            ))

    def _with_a_server(
        self, step: Callable[[random.Random], None]
    ) -> Callable[[random.Random], None]:
        """The step, after waiting for a server that is being started."""

        def waiting(choice: random.Random) -> None:
            self.interruptions.wait_up()
            step(choice)

        return waiting

    def _repeat(self, name: str, pause: float, step: Callable[[random.Random], None]) -> None:
        """Starts a thread that repeats a step."""
        choice = random.Random(f"{self.arguments.seed} {name}")

        def body() -> None:
            while not self.stop.wait(choice.expovariate(1 / pause)):
                step(choice)

        self._thread(name, body)

    def _thread(self, name: str, body: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                body()
            except Exception as error:  # any error is a violation; the step is not repeated
                # Ctrl-C also reaches the programs that it has started.
                if self.stop.wait(1):
                    self.ledger.count("steps cut by the end")
                    return
                self.ledger.violation(f"{name} ended: {type(error).__name__}: {error}")
                self.stop.set()

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _imap(self, account: Account) -> None:
        """A client that connects again after Dovecot has closed the connection."""
        choice = random.Random(f"{self.arguments.seed} imap {account.user}")
        while not self.stop.is_set():
            client = Imap(self.dovecot, self.ledger, account)
            try:
                while not self.stop.wait(choice.expovariate(1 / (self.arguments.pause * 2))):
                    client.step(choice)
            except (OSError, imaplib.IMAP4.error) as error:
                self.ledger.count("IMAP connections lost")
                print(f"imap {account.user}: {error}", flush=True)
            finally:
                client.close()

    def _watch(self, begin: float, length: float, calm: float) -> None:
        """Prints progress lines, and measures the last server process under load."""
        warm = length - calm + min(calm / 3, 10)
        samples: list[Usage] = []
        while not self.stop.wait(min(PROGRESS, max(begin + length - time.monotonic(), 0.01))):
            passed = time.monotonic() - begin
            if passed >= warm and self.server.process is not None:
                samples.append(Usage.of(self.server.process.pid))
                self.usage = (usual(samples), samples[-1])
            counts = self.ledger.counts
            print(
                f"{passed:6.0f} s: " + ", ".join(f"{counts[what]} {what}" for what in (
                    "delivered", "sessions", "fetched", "removed", "expunged by IMAP",
                    "renames", "kills",
                )) + f", {len(self.ledger.violations)} violations", flush=True,
            )
            if passed >= length:
                return

    def _account_for_all(self) -> None:
        """After all clients have ended: checks locks, resources, and each message."""
        # Dovecot ends first, because its processes may still write.
        self.dovecot.stop()
        calm = Interruptions(self.server, self.ledger, "")
        last = Vanishing(self.site, self.server, self.ledger, calm)
        for account in self.accounts:
            for _ in range(2):
                told = self.ledger.counts["sessions"]
                last.session(random.Random(account.user), account, End.QUIT)
                if self.ledger.counts["sessions"] == told:
                    self.ledger.violation(f"{account.user}: the maildrop is not to be had")
        self._rest()
        for account in self.accounts:
            settle(self.ledger, account)
        self._log()

    def _rest(self) -> None:
        """Descriptors, threads and memory, compared with the time under load."""
        process = self.server.process
        if process is None or self.usage is None:
            return
        before = self.usage[0]
        after = at_rest(process.pid, before)
        self.usage = (before, after)
        if after.descriptors > before.descriptors or after.threads > before.threads:
            self.ledger.violation(f"at rest it holds {after}, under load {before}")
        if after.memory > before.memory + GROWTH:
            self.ledger.violation(f"memory has grown: {before} under load, {after} at rest")
        try:
            self.server.stop()
        except Failed as error:
            self.ledger.violation(str(error))

    def _log(self) -> None:
        """Checks that the server's log has no errors, except for those of other programs."""
        text = self.server.log.read_text(errors="replace")
        errors = [line for line in text.split("\n") if " ERROR " in line or "panicked" in line]
        for line in errors[:10]:
            self.ledger.violation(f"in the log: {line}")
        if self.ledger.violations:
            kept = Path(f"torture-{self.arguments.seed}.log").resolve()
            kept.write_text(text)
            print(f"the server's log is in {kept}", flush=True)

    def summary(self) -> int:
        """Prints the figures. Returns the exit code."""
        for what, number in sorted(self.ledger.counts.items()):
            print(f"{number:9} {what}")
        if self.usage is not None:
            print(f"under load {self.usage[0]}; at rest {self.usage[1]}")
        print(f"slowest start after a kill: {self.interruptions.slowest_start:.2f} s")
        errors = self.dovecot_errors
        print(f"{len(errors)} errors in Dovecot's log", *errors[:3], sep="\n    ")
        print(
            f"{self.ledger.counts['accounted for']} messages accounted for, "
            f"{len(self.ledger.violations)} violations, seed {self.arguments.seed}", flush=True,
        )
        return 1 if self.ledger.violations or not self.ledger.counts["accounted for"] else 0

    def close(self) -> None:
        """Ends all processes and removes all files."""
        self.stop.set()
        self.server.kill()
        self.dovecot.stop()
        self.dovecot_errors = self.dovecot.errors()
        self.site.close()


if __name__ == "__main__":
    sys.exit(main())
