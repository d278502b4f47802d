"""hydra guesses passwords while the owner of the account logs in."""

import os
import re
import signal
import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from figures.target import Target
from lib.process import CLIENT_USER, LOOPBACK, identity
from lib.report import Failed, require
from lib.server import CLEARTEXT
from lib.site import Account, Site

CONNECTIONS = 16

HOME = "127.0.0.2"
# The seconds between two logins of the owner, and the number of other addresses of the owner.
EVERY, PLACES = 1.0, 3

# The lines of the log about a guess that was verified (debug), and about one that was refused
# unverified (info). The latter are limited: in a long attack some are left out.
HEARD = re.compile("refused: (?:wrong password|unknown user)")
UNHEARD = re.compile("too many logins have failed: the password was not checked")


@dataclass(frozen=True)
class Attack:
    """The numbers of verified and of refused guesses in the log, and the times of the logins, in
    seconds.
    """

    heard: int
    unheard: int
    known: list[float]
    new: list[float]


def attack(site: Site, kind: str, seconds: float, throttle: str = "") -> Attack:
    """Runs hydra for this time, with one name unless the kind is "many".

    Fails if the owner is refused, even once, and if the log does not have the guesses.
    """
    target = Target(site, f"guessed-{kind}", throttle=throttle, level="debug")
    owner = site.account(f"owner-{kind}")
    names = 1_000 if kind == "many" else 0
    target.start()
    try:
        visit(target, owner, HOME)
        with ThreadPoolExecutor(PLACES) as others, Hydra(target, owner, names) as hydra:
            began = time.monotonic()
            known: list[float] = []
            new: list[Future[float]] = []
            while (past := time.monotonic() - began) < seconds:
                hydra.require_running()
                known.append(visit(target, owner, HOME))
                if past > seconds * (len(new) + 1) / (PLACES + 1):
                    place = f"127.0.1.{len(new) + 1}"
                    new.append(others.submit(visit, target, owner, place))
                time.sleep(EVERY)
            text = target.log.read_text(errors="replace")
            elsewhere = [each.result() for each in new]
    finally:
        target.kill()
    heard, unheard = len(HEARD.findall(text)), len(UNHEARD.findall(text))
    require(heard > 0, "the log has no guess that was verified")
    # Guesses at many names may all be waiting until the end.
    require(unheard > 0 or kind != "one", "the log has no guess that was refused unverified")
    return Attack(heard, unheard, known, elsewhere)


class Hydra:
    """hydra with a list of passwords, for the owner's name or for many others."""

    def __init__(self, target: Target, owner: Account, names: int) -> None:
        home = target.site.home()
        lists = {"words": ("guess", 100_000), "names": ("name", names)}
        for name, (stem, count) in lists.items():
            (home / name).write_text("".join(f"{stem}-{number}\n" for number in range(count)))
        whom = ["-L", home / "names", "-u"] if names else ["-l", owner.user]
        port = target.endpoint(CLEARTEXT).port
        self.process = subprocess.Popen(
            [
                "hydra", "-I", *whom, "-P", home / "words", "-t", str(CONNECTIONS),
                "-s", str(port), LOOPBACK, "pop3",
            ],
            cwd=home, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True, **identity(CLIENT_USER),
        )

    def __enter__(self) -> "Hydra":
        return self

    def __exit__(self, *_: object) -> None:
        # With its child processes for connections.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def require_running(self) -> None:
        """Fails if hydra has given up, because its figures are meaningless then."""
        code = self.process.poll()
        require(code is None, f"hydra ended with {code}")


def visit(target: Target, owner: Account, source: str) -> float:
    """The time of the owner's login from this address."""
    began = time.monotonic()
    with target.connect(timeout=60, source=source) as session:
        said = session.user(owner.user, owner.password)
        if not said.startswith("+OK"):
            raise Failed(f"the owner at {source} got {said!r}")
        taken = time.monotonic() - began
        session.ask("QUIT")
    return taken
