"""The checks that every store must pass."""

import json
import re
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Callable

from lib.corpus import ordinary
from lib.pop3 import DOWN, WRONG
from lib.process import SERVER_USER, run, until
from lib.report import Failed, Report, require
from lib.server import ByDefault, Homes, Restante
from lib.site import Account, Site
from stores import app_passwords
from stores.backend import Backend
from stores.guessing import no_faster
from stores.hostile import ATTACKED, undisturbed
from stores.ldap import Slapd
from stores.sql import Sql

# An answer comes within the store's deadline and this time.
DEADLINE = 2.0
GRACE = 1.5
# The time until a store that answers again is used.
RECOVERY = 10.0
# The number of wrong passwords for a known and for an unknown user, the largest difference of their
# times, and the number of rounds, for a machine that is busy.
TRIES, APART, ROUNDS = 60, 0.1, 4

# Names that are part of the language of some store.
INJECTIONS: tuple[bytes, ...] = (
    b"' OR 1=1 --", b"' OR '1'='1", b'" OR ""="', b"mrose'; DROP TABLE users; --", b"mrose' --",
    b"*", b"mr*", b"*)(uid=*", b"mrose)(|(uid=*))", b"x,ou=admins", b"mrose+cn=x", b"mrose\\",
    b"%u", b"%{user}", b"{user}", b"{local}", b"$1", b":mrose", b"../mrose", b"./mrose",
    b"$(touch restante-was-here)", b"`touch restante-was-here`", b"mrose; id", b"mrose|id",
    b"\xff\xfe", b"mr\xc3", b"mrose\xc0\x80", "mrose\u202e".encode(), b"x" * 200,
)


class Scenarios:
    """The checks of one backend. They depend on each other, in this order."""

    def __init__(self, report: Report, site: Site, backend: Backend) -> None:
        self.report = report
        self.site = site
        self.backend = backend
        self.accounts: dict[str, Account] = {}
        self.server = Restante(site, f"with-{backend.name}", self._alone)
        self.homes = Homes(site, f"homes-{backend.name}", self._alone)
        self.patient = Restante(site, f"patient-{backend.name}", self._alone, "100ms")
        self.attacked = ByDefault(site, f"attacked-{backend.name}", self._alone)
        self.followed = Restante(site, f"before-file-{backend.name}", self._before_file)

    def run(self) -> None:
        """Runs all of them, or none if the backend is not selected."""
        backend, name = self.backend, self.backend.name
        faults: list[tuple[str, Callable[[], str]]] = [
            ("itself: held, released, stopped, back", self.control_faults),
            ("hanging", self.hanging),
            ("back from hanging", self.released),
            ("stopped", self.stopped),
            ("check: down", self.check_down),
            ("user test: down", self.user_test_down),
            ("greeting refuses while it is down", self.greeting),
            ("back from stopping", self.back),
        ]
        steps: list[tuple[str, Callable[[], str]]] = [
            ("itself: starts, right, wrong, unknown", self.control),
            ("check: up", self.check_up),
            ("right password", self.right),
            ("wrong password", self.wrong),
            ("unknown user says the same", self.unknown),
            ("names that mean something elsewhere", self.injections),
            *[(f"attribute {each}", getattr(self, each)) for each in sorted(backend.attributes)],
            ("a file store after it", self.followed_by_file),
            ("user test", self.user_test),
            *([("last logins", self.last_logins)] if isinstance(backend, Sql) else []),
            *([("app passwords", self.app_passwords)] if backend.has_app_passwords else []),
            *([("known and unknown are the same work", self.work)] if backend.is_even else []),
            ("known and unknown take the same time", self.timing),
            *([("garbage of others", self.garbage)] if backend.name in ATTACKED else []),
            *([("many names, one account", self.guessing)] if backend.name == "slapd" else []),
            *(faults if backend.can_fail else []),
            ("log", self.log),
        ]
        try:
            for step, body in steps:
                self.report.check(f"{name} {step}", body)
        finally:
            self.server.kill()
            self.homes.kill()
            self.patient.kill()
            self.attacked.kill()
            self.followed.kill()
            backend.close()

    def account(self, user: str, **attributes: object) -> Account:
        """A user with one message, who is known to the backend only."""
        if user not in self.accounts:
            name = f"{user}-{self.backend.name}"
            account = self.site.mailbox(name, [ordinary(1)])
            self.backend.add(name, account.password, **attributes)
            self.accounts[user] = account
        return self.accounts[user]

    def control(self) -> str:
        """A foreign client can use the backend."""
        self.backend.start()
        account = self.account("mrose")
        require(self.backend.admits(account.user, account.password), "the right password is refused")
        require(not self.backend.admits(account.user, "wrong"), "a wrong password is accepted")
        require(not self.backend.admits("nobody-at-all", "wrong"), "an unknown user is accepted")
        return "right, wrong, unknown"

    def control_faults(self) -> str:
        """Its simulated faults are real and temporary."""
        account = self.account("mrose")
        for break_it, mend_it in (
            (self.backend.hang, self.backend.resume), (self.backend.stop, self.backend.start),
        ):
            break_it()
            try:
                self.backend.admits(account.user, account.password)
            except Exception:
                pass  # no answer, in whatever words
            else:
                raise Failed(f"it still answers after {break_it.__name__}")
            mend_it()
            require(self.backend.admits(account.user, account.password), "it did not come back")
        return "no answer while held, none while stopped"

    def check_up(self) -> str:
        """`restante check` reports no error."""
        self.server.config().write_text(self.server.configuration())
        return self._restante("check", codes=(0,)).strip().replace("\n", "; ")

    def right(self) -> str:
        self.server.start()
        self.server.must_admit(self.account("mrose"))
        return "USER and PASS, AUTH PLAIN"

    def wrong(self) -> str:
        account = self.account("mrose")
        said = {self.server.login(account.user, "wrong", how) for how in ("user", "plain")}
        require(len(said) == 1 and said.pop().startswith(WRONG), f"got {said}")
        self.server.must_admit(account)
        return WRONG

    def unknown(self) -> str:
        for how in ("user", "plain"):
            wrong = self.server.login(self.account("mrose").user, "wrong", how)
            said = self.server.login("nobody-at-all", "wrong", how)
            require(said == wrong, f"{how}: {said!r} differs from {wrong!r}")
        return wrong

    def injections(self) -> str:
        account = self.account("mrose")
        wrong = self.server.login(account.user, "wrong")
        for name in INJECTIONS:
            for password in ("wrong", account.password, "*", "' OR '1'='1"):
                with self.server.connect() as session:
                    said = session.plain(name, password)
                require(said == wrong, f"{name!r} with {password!r} got {said!r}")
        for name in (b"mr\0ose", account.user.encode() + b"\0", b"\0", b""):
            with self.server.connect() as session:
                said = session.plain(name, account.password)
            require(said.startswith("-ERR") and DOWN not in said, f"{name!r} got {said!r}")
        self.server.must_admit(account)
        left = list(self.site.root.rglob("restante-was-here"))
        require(not left, f"a shell ran: {left}")
        return f"{len(INJECTIONS)} names"

    def home(self) -> str:
        """The Maildir below the user's home is opened where `[maildir]` says `{home}`."""
        self.homes.start()
        return self._elsewhere(self.homes, "home", "Maildir")

    def mail(self) -> str:
        """The Maildir that the store names is opened."""
        return self._elsewhere(self.server, "mail", "")

    def pop3(self) -> str:
        """A user without the permission for POP3 is refused with the right password."""
        account = self.account("barred", pop3=False)
        said = self.server.login(account.user, account.password)
        require(said.startswith("-ERR"), f"got {said!r}")
        require(not said.startswith(DOWN), f"got {said!r}")
        return said

    def sessions(self) -> str:
        """The store's limit of sessions is enforced."""
        account = self.account("single", sessions=1)
        with self.server.connect() as session:
            said = session.user(account.user, account.password)
            require(said.startswith("+OK"), f"the first session got {said!r}")
            second = self.server.login(account.user, account.password)
            require(second.startswith("-ERR"), f"the second session got {second!r}")
            session.ask("QUIT")
        said = self.server.login(account.user, account.password)
        require(said.startswith("+OK"), f"after the first had ended: {said!r}")
        return second

    def followed_by_file(self) -> str:
        """A user of the file only is found there; for a user of the store, the file is not used."""
        both = self.account("mrose")
        only_in_file = self.site.account(f"in-file-{self.backend.name}", [ordinary(1)])
        self.followed.start()
        self.followed.must_admit(both)
        self.followed.must_admit(only_in_file)
        said = self.followed.login(only_in_file.user, "wrong")
        require(said.startswith(WRONG), f"got {said!r}")
        return "both found"

    def user_test(self) -> str:
        """`restante user test` names the store that decided."""
        account = self.account("mrose")
        said = []
        for name, password, codes in (
            (account.user, account.password, (0,)),
            (account.user, "tanstaafl", (3,)),
            # Some stores do not distinguish these.
            ("nobody-at-all", "tanstaafl", (3, 4)),
        ):
            text = self._restante("user", "test", "--stdin", name, stdin=password, codes=codes)
            require(password not in text, f"the password is shown: {text}")
            require(self._kind() in text, f"the store is not named: {text}")
            said.append(text.split("\n")[0])
        require(len(set(said)) == 3, f"right, wrong and unknown look alike: {said}")
        return said[0]

    def app_passwords(self) -> str:
        """From here on, the user has as many as are possible."""
        return app_passwords.work(self.site, self.server, self.backend, self.account("mrose"))

    def last_logins(self) -> str:
        """A login is in the table after the stop, and all users of the table are listed."""
        backend, seen, unseen = self.backend, self.account("mrose").user, self.account("absent").user
        assert isinstance(backend, Sql)
        directory = self.site.root / f"last-{backend.name}"
        directory.mkdir()
        self.site.own(directory, SERVER_USER)
        self.server.stop()
        self.server.more = f'[last-logins]\npath = "{directory}/last-logins"\n'
        backend.execute("UPDATE users SET last_login = NULL")
        self.server.start()
        self.server.must_admit(self.account("mrose"))
        self.server.stop()
        require(backend.seen(seen), "the login is not in the table")
        require(not backend.seen(unseen), "a login that was none is in the table")
        listed = self._restante("last", "--json", codes=(0,)).splitlines()
        logins = {each["user"]: each["logins"] for each in map(json.loads, listed)}
        require(logins[seen] == 2 and logins[unseen] == 0, f"{logins}")
        self.server.start()
        return f"{len(logins)} users"

    def work(self) -> str:
        """Without a failure delay, in turns, so that the load of the machine affects both equally."""

        def measure() -> tuple[list[float], list[float]]:
            known, unknown = self._names()
            taken: dict[str, list[float]] = {known: [], unknown: []}
            for number in range(TRIES):
                for name in (known, unknown) if number % 2 else (unknown, known):
                    taken[name].append(self._refusal(self.server, name))
            return taken[known], taken[unknown]

        return alike(measure)

    def timing(self) -> str:
        """With a failure delay, which hides the time of the store; both at the same time."""

        def measure() -> tuple[list[float], list[float]]:
            with ThreadPoolExecutor(2) as clients:
                known, unknown = clients.map(self._delayed, self._names())
            return known, unknown

        self.patient.start()
        return alike(measure)

    def _names(self) -> tuple[str, str]:
        """A known and an unknown user."""
        return self.account("mrose").user, "nobody-at-all"

    def _delayed(self, name: str) -> list[float]:
        return [self._refusal(self.patient, name) for _ in range(TRIES)]

    def _refusal(self, server: Restante, name: str) -> float:
        """The time until a wrong password is refused."""
        with server.connect() as session:
            session.ask(b"USER " + name.encode())
            started = time.perf_counter()
            said = session.ask("PASS wrong")
            taken = time.perf_counter() - started
        require(said.startswith(WRONG), f"{name} got {said!r}")
        return taken

    def garbage(self) -> str:
        """Garbage from another address does not keep others from logging in, with default limits."""
        self.attacked.start()
        return undisturbed(self.attacked, self.account("mrose"))

    def guessing(self) -> str:
        """A directory may find an account by many names."""
        assert isinstance(self.backend, Slapd)
        return no_faster(self.site, self.backend)

    def hanging(self) -> str:
        """A refusal in time, without a delay for other users."""
        in_file = self.site.account(f"meanwhile-{self.backend.name}", [ordinary(1)])
        other = Restante(self.site, f"other-{self.backend.name}", self._file)
        other.start()
        try:
            self.backend.hang()
            with self.server.connect() as waiting:
                started = time.monotonic()
                waiting.ask(b"USER " + self.account("mrose").user.encode())
                waiting.send(f"PASS {self.account('mrose').password}")
                other.must_admit(in_file)
                said = waiting.line()
            taken = time.monotonic() - started
        finally:
            other.kill()
        require(said.startswith(DOWN), f"got {said!r}")
        require(taken < DEADLINE + GRACE, f"it took {taken:.1f} s")
        return f"{said} after {taken:.1f} s"

    def released(self) -> str:
        self.backend.resume()
        return self._recovered()

    def stopped(self) -> str:
        """A store that is down never makes a password wrong."""
        self.backend.stop()
        for password in (self.account("mrose").password, "wrong"):
            for how in ("user", "plain"):
                said = self.server.login(self.account("mrose").user, password, how)
                require(said.startswith(DOWN), f"got {said!r}")
        return said

    def check_down(self) -> str:
        """`restante check` names the store, with exit code 1."""
        text = self._restante("check", codes=(1,))
        require(self._kind() in text, f"the store is not named: {text}")
        return text.strip().split("\n")[-1]

    def user_test_down(self) -> str:
        account = self.account("mrose")
        text = self._restante(
            "user", "test", "--stdin", account.user, stdin=account.password, codes=(6,)
        )
        require(self._kind() in text, f"the store is not named: {text}")
        return text.strip().split("\n")[-1]

    def greeting(self) -> str:
        """Once it is known to be down, the greeting is an error."""
        greeting = ""

        def refused() -> bool:
            nonlocal greeting
            with self.server.connect() as session:
                greeting = session.greeting
                if greeting.startswith("+OK"):
                    session.user(self.account("mrose").user, "wrong")
                    return False
                return not session.until_closed()

        until(refused, RECOVERY)
        require(greeting.startswith(DOWN), f"got {greeting!r}")
        return greeting

    def back(self) -> str:
        self.backend.start()
        return self._recovered()

    def log(self) -> str:
        """No password is in the log."""
        self.server.stop()
        text = self.server.log.read_text(errors="replace")
        require("panicked" not in text, "the server panicked")
        for account in self.accounts.values():
            require(account.password not in text, f"{account.user}'s password is in the log")
        return f"{len(text.splitlines())} lines"

    def _recovered(self) -> str:
        """It is used again without a reload."""
        started = time.monotonic()
        account = self.account("mrose")
        until(
            lambda: self.server.login(account.user, account.password).startswith("+OK"), RECOVERY
        )
        taken = time.monotonic() - started
        self.server.must_admit(account)
        return f"after {taken:.1f} s"

    def _elsewhere(self, server: Restante, attribute: str, below: str) -> str:
        place = self.site.root / "mail" / f"elsewhere-{attribute}-{self.backend.name}"
        account = self.account(f"by-{attribute}", **{attribute: place})
        maildir = place / below
        maildir.parent.mkdir(exist_ok=True)
        account.maildir.rename(maildir)
        self.site.own(maildir.parent, SERVER_USER)
        with server.connect() as session:
            said = session.user(account.user, account.password)
            require(said.startswith("+OK"), f"got {said!r}")
            count = session.ask("STAT")
            require(count.startswith("+OK 1 "), f"STAT got {count!r}")
        return str(maildir)

    def _restante(self, *words: str, codes: tuple[int, ...], stdin: str = "") -> str:
        said = run(
            [self.site.program, *words, "--config", self.server.config()],
            stdin=stdin + "\n", who=None, codes=codes, timeout=30,
        )
        return said.stdout + said.stderr

    def _kind(self) -> str:
        """The kind of the store in the configuration."""
        return str(re.findall('kind = "(.*?)"', self._alone())[0])

    def _alone(self) -> str:
        return self.backend.settings(self.site.root)

    def _file(self) -> str:
        return f'[[credentials]]\nkind = "file"\npath = "{self.site.users}"'

    def _before_file(self) -> str:
        return self._alone() + self._file()


def alike(measure: Callable[[], tuple[list[float], list[float]]]) -> str:
    """Compares times by the median of the differences of each turn; one good round is enough.

    Other load of the machine affects both.
    """
    for left in reversed(range(ROUNDS)):
        known, unknown = measure()
        ratio = statistics.median(second / first for first, second in zip(known, unknown))
        text = (
            f"known {statistics.median(known) * 1000:.2f} ms, "
            f"unknown {statistics.median(unknown) * 1000:.2f} ms, ratio of both {ratio:.3f}"
        )
        if abs(ratio - 1) <= APART:
            return text
        require(left > 0, text)
    return text
