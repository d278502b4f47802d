"""What every store must do, and how it is told from what it must not: one table for all."""

import base64
import re
import socket
import ssl
import statistics
import time
from pathlib import Path
from typing import Callable, Optional

from backend import LOOPBACK, Backend, until
from corpus import ordinary
from report import Failed, Report, require
from server import SERVER_USER, TLS, Account, Server, World, run

# Right or wrong, an answer comes within the store's deadline and a little more.
DEADLINE = 2.0
GRACE = 1.5
# How soon a store that is back is used again.
RECOVERY = 10.0

WRONG = "-ERR [AUTH]"
DOWN = "-ERR [SYS/TEMP]"

# Names that some store would have taken for part of its own language.
INJECTIONS: tuple[bytes, ...] = (
    b"' OR 1=1 --", b"' OR '1'='1", b'" OR ""="', b"mrose'; DROP TABLE users; --", b"mrose' --",
    b"*", b"mr*", b"*)(uid=*", b"mrose)(|(uid=*))", b"x,ou=admins", b"mrose+cn=x", b"mrose\\",
    b"%u", b"%{user}", b"{user}", b"{local}", b"$1", b":mrose", b"../mrose", b"./mrose",
    b"$(touch restante-was-here)", b"`touch restante-was-here`", b"mrose; id", b"mrose|id",
    b"\xff\xfe", b"mr\xc3", b"mrose\xc0\x80", "mrose\u202e".encode(), b"x" * 200,
)


class Restante(Server):
    """A server with the stores of our choice, and no delay that would hide how long they take."""

    def __init__(
        self, world: World, name: str, sections: Callable[[], str], failure_delay: str = "0s"
    ) -> None:
        super().__init__(world, name)
        self.sections = sections
        self.failure_delay = failure_delay

    def credentials(self) -> list[str]:
        return [f'failure-delay = "{self.failure_delay}"', self.sections()]

    def port(self) -> int:
        """Where TLS begins at once."""
        return self.endpoint(TLS).port

    def config(self) -> Path:
        """Its configuration file."""
        return self.world.root / f"{self.name}.toml"


class Homes(Restante):
    """One that looks for mail below the home directories that the stores name."""

    def configuration(self) -> str:
        return re.sub(r'(?m)^path = ".*/mail/.*"$', 'path = "{home}/Maildir"', super().configuration())


class Session:
    """A POP3 connection over TLS that shows every reply as it is."""

    def __init__(
        self, server: Restante, timeout: float = 20, source: str = LOOPBACK,
        certificate: Optional[Path] = None,
    ) -> None:
        context = server.world.client_tls()
        if certificate is not None:
            context.load_cert_chain(certificate)
        raw = socket.create_connection(
            (LOOPBACK, server.port()), timeout=timeout, source_address=(source, 0)
        )
        self.socket = context.wrap_socket(raw, server_hostname="localhost")
        self.replies = self.socket.makefile("rb")
        self.greeting = self.line()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.replies.close()
        self.socket.close()

    def line(self) -> str:
        """The next line from the server; nothing when it has closed the connection."""
        try:
            return self.replies.readline().decode().rstrip("\r\n")
        except (ConnectionError, ssl.SSLEOFError):
            return ""

    def ask(self, command: bytes) -> str:
        """A command and the line that answers it."""
        self.socket.sendall(command + b"\r\n")
        return self.line()

    def user(self, name: bytes, password: str) -> str:
        """USER and PASS; the reply that decides."""
        said = self.ask(b"USER " + name)
        return said if not said.startswith("+OK") else self.ask(b"PASS " + password.encode())

    def plain(self, name: bytes, password: str) -> str:
        """AUTH PLAIN; the reply that decides."""
        said = self.ask(b"AUTH PLAIN")
        if not said.startswith("+ "):
            return said
        return self.ask(base64.b64encode(b"\0" + name + b"\0" + password.encode()))

    def external(self, name: str) -> str:
        """AUTH EXTERNAL, as that user; the reply that decides."""
        return self.ask(b"AUTH EXTERNAL " + (base64.b64encode(name.encode()) or b"="))


def login(server: Restante, name: str, password: str, how: str = "user") -> str:
    """One login on a connection of its own: the greeting when that refuses, else the reply."""
    with Session(server) as session:
        if not session.greeting.startswith("+OK"):
            require(session.line() == "", "the connection stays open after the greeting refused")
            return session.greeting
        return str(getattr(session, how)(name.encode(), password))


def admitted(server: Restante, account: Account) -> None:
    """The right password is taken, by both ways."""
    for how in ("user", "plain"):
        said = login(server, account.user, account.password, how)
        require(said.startswith("+OK"), f"{how}: the right password got {said!r}")


class Scenarios:
    """The checks of one backend; they build on each other, in this order."""

    def __init__(self, report: Report, world: World, backend: Backend) -> None:
        self.report = report
        self.world = world
        self.backend = backend
        self.accounts: dict[str, Account] = {}
        self.server = Restante(world, f"with-{backend.name}", self._alone)
        self.homes = Homes(world, f"homes-{backend.name}", self._alone)
        self.patient = Restante(world, f"patient-{backend.name}", self._alone, "100ms")
        self.followed = Restante(world, f"before-file-{backend.name}", self._before_file)

    def run(self) -> None:
        """All of them, or none when no name is asked for."""
        backend, name = self.backend, self.backend.name
        steps: list[tuple[str, Callable[[], str]]] = [
            ("itself: starts, right, wrong, unknown", self.control),
            ("itself: held, released, stopped, back", self.control_faults),
            ("check: up", self.check_up),
            ("right password", self.right),
            ("wrong password", self.wrong),
            ("unknown user says the same", self.unknown),
            ("names that mean something elsewhere", self.injections),
            *[(f"attribute {each}", getattr(self, each)) for each in sorted(backend.attributes)],
            ("a file store after it", self.followed_by_file),
            ("user test", self.user_test),
            ("known and unknown take the same time", self.timing),
            ("hanging", self.hanging),
            ("back from hanging", self.released),
            ("stopped", self.stopped),
            ("check: down", self.check_down),
            ("user test: down", self.user_test_down),
            ("greeting refuses while it is down", self.greeting),
            ("back from stopping", self.back),
        ]
        try:
            for step, body in steps:
                self.report.check(f"{name} {step}", body)
        finally:
            self.server.kill()
            self.homes.kill()
            self.patient.kill()
            self.followed.kill()
            backend.close()

    def account(self, user: str, **attributes: object) -> Account:
        """A user with one message, known to the backend and to nobody else."""
        if user not in self.accounts:
            name = f"{user}-{self.backend.name}"
            account = self.world.mailbox(name, [ordinary(1)])
            self.backend.add(name, account.password, **attributes)
            self.accounts[user] = account
        return self.accounts[user]

    def control(self) -> str:
        """The backend works, by the word of a client that is not ours."""
        self.backend.start()
        account = self.account("mrose")
        require(self.backend.admits(account.user, account.password), "right, and refused")
        require(not self.backend.admits(account.user, "wrong"), "wrong, and admitted")
        require(not self.backend.admits("nobody-at-all", "wrong"), "unknown, and admitted")
        return "right, wrong, unknown"

    def control_faults(self) -> str:
        """Its faults are real ones, and pass."""
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
        """`restante check` has nothing to say."""
        self.server.config().write_text(self.server.configuration())
        return self._restante("check", codes=(0,)).strip().replace("\n", "; ")

    def right(self) -> str:
        self.server.start()
        admitted(self.server, self.account("mrose"))
        return "USER and PASS, AUTH PLAIN"

    def wrong(self) -> str:
        account = self.account("mrose")
        said = {login(self.server, account.user, "wrong", how) for how in ("user", "plain")}
        require(len(said) == 1 and said.pop().startswith(WRONG), f"got {said}")
        admitted(self.server, account)
        return WRONG

    def unknown(self) -> str:
        for how in ("user", "plain"):
            wrong = login(self.server, self.account("mrose").user, "wrong", how)
            said = login(self.server, "nobody-at-all", "wrong", how)
            require(said == wrong, f"{how}: {said!r} differs from {wrong!r}")
        return wrong

    def injections(self) -> str:
        account = self.account("mrose")
        wrong = login(self.server, account.user, "wrong")
        for name in INJECTIONS:
            for password in ("wrong", account.password, "*", "' OR '1'='1"):
                with Session(self.server) as session:
                    said = session.plain(name, password)
                require(said == wrong, f"{name!r} with {password!r} got {said!r}")
        for name in (b"mr\0ose", account.user.encode() + b"\0", b"\0", b""):
            with Session(self.server) as session:
                said = session.plain(name, account.password)
            require(said.startswith("-ERR") and DOWN not in said, f"{name!r} got {said!r}")
        admitted(self.server, account)
        left = list(self.world.root.rglob("restante-was-here"))
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
        """Without the right to POP3 the right password does not help."""
        account = self.account("barred", pop3=False)
        said = login(self.server, account.user, account.password)
        require(said.startswith("-ERR"), f"got {said!r}")
        require(not said.startswith(DOWN), f"got {said!r}")
        return said

    def sessions(self) -> str:
        """No more sessions at once than the store allows."""
        account = self.account("single", sessions=1)
        with Session(self.server) as session:
            said = session.user(account.user.encode(), account.password)
            require(said.startswith("+OK"), f"the first session got {said!r}")
            second = login(self.server, account.user, account.password)
            require(second.startswith("-ERR"), f"the second session got {second!r}")
            session.ask(b"QUIT")
        said = login(self.server, account.user, account.password)
        require(said.startswith("+OK"), f"after the first had ended: {said!r}")
        return second

    def followed_by_file(self) -> str:
        """Who is only in the file is found there; who is in the store is not asked of the file."""
        both = self.account("mrose")
        only_in_file = self.world.account(f"in-file-{self.backend.name}", [ordinary(1)])
        self.followed.start()
        admitted(self.followed, both)
        admitted(self.followed, only_in_file)
        said = login(self.followed, only_in_file.user, "wrong")
        require(said.startswith(WRONG), f"got {said!r}")
        return "both found"

    def user_test(self) -> str:
        """The command names the store that decided."""
        account = self.account("mrose")
        said = []
        for name, password, codes in (
            (account.user, account.password, (0,)),
            (account.user, "tanstaafl", (1,)),
            ("nobody-at-all", "tanstaafl", (1,)),
        ):
            text = self._restante("user", "test", "--stdin", name, stdin=password, codes=codes)
            require(password not in text, f"the password is shown: {text}")
            require(self._kind() in text, f"no word about the store: {text}")
            said.append(text.strip().split("\n")[-1])
        require(len(set(said)) == 3, f"right, wrong and unknown look alike: {said}")
        return said[0]

    def timing(self, rounds: int = 3) -> str:
        """Medians within 10 %. A machine that is busy with something else gets another round."""
        server = self.server
        # PAM modules and programs take the time that they take: there, the delay has to hide it.
        if self.backend.name in ("pam", "checkpassword"):
            server = self.patient
            server.start()
        for left in reversed(range(rounds)):
            known, unknown = self._medians(server)
            text = f"known {known * 1000:.1f} ms, unknown {unknown * 1000:.1f} ms"
            # Where no hash is computed here, a program's own scatter is all there is.
            if abs(known - unknown) <= max(0.1 * known, 0.001):
                return text
            require(left > 0, text)
        return text

    def _medians(self, server: Restante, tries: int = 20) -> tuple[float, float]:
        """How long a wrong password takes, in turns so that the machine's moods fall on both."""
        names = (self.account("mrose").user, "nobody-at-all")
        taken: tuple[list[float], list[float]] = ([], [])
        for _ in range(tries):
            for name, times in zip(names, taken):
                with Session(server) as session:
                    session.ask(b"USER " + name.encode())
                    started = time.perf_counter()
                    session.ask(b"PASS wrong")
                    times.append(time.perf_counter() - started)
        return statistics.median(taken[0]), statistics.median(taken[1])

    def hanging(self) -> str:
        """An answer in time, and nobody else is held up."""
        in_file = self.world.account(f"meanwhile-{self.backend.name}", [ordinary(1)])
        other = Restante(self.world, f"other-{self.backend.name}", self._file)
        other.start()
        try:
            self.backend.hang()
            with Session(self.server) as waiting:
                started = time.monotonic()
                waiting.ask(b"USER " + self.account("mrose").user.encode())
                waiting.socket.sendall(f"PASS {self.account('mrose').password}\r\n".encode())
                admitted(other, in_file)
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
        """Never a wrong password, whatever was said."""
        self.backend.stop()
        for password in (self.account("mrose").password, "wrong"):
            for how in ("user", "plain"):
                said = login(self.server, self.account("mrose").user, password, how)
                require(said.startswith(DOWN), f"got {said!r}")
        return said

    def check_down(self) -> str:
        """`restante check` names the store, and ends with 1."""
        text = self._restante("check", codes=(1,))
        require(self._kind() in text, f"no word about the store: {text}")
        return text.strip().split("\n")[-1]

    def user_test_down(self) -> str:
        account = self.account("mrose")
        text = self._restante(
            "user", "test", "--stdin", account.user, stdin=account.password, codes=(1,)
        )
        require(self._kind() in text, f"no word about the store: {text}")
        return text.strip().split("\n")[-1]

    def greeting(self) -> str:
        """Once it is known to be down, nobody is asked for a password any more."""
        greeting = ""

        def refused() -> bool:
            nonlocal greeting
            with Session(self.server) as session:
                greeting = session.greeting
                if greeting.startswith("+OK"):
                    session.user(self.account("mrose").user.encode(), "wrong")
                    return False
                return session.line() == ""

        until(refused, RECOVERY)
        require(greeting.startswith(DOWN), f"got {greeting!r}")
        return greeting

    def back(self) -> str:
        self.backend.start()
        said = self._recovered()
        self.server.stop()
        text = self.server.log.read_text(errors="replace")
        require("panicked" not in text, "something panicked")
        for account in self.accounts.values():
            require(account.password not in text, f"{account.user}'s password is in the log")
        return said

    def _recovered(self) -> str:
        """It is used again, by itself."""
        started = time.monotonic()
        account = self.account("mrose")
        until(
            lambda: login(self.server, account.user, account.password).startswith("+OK"), RECOVERY
        )
        taken = time.monotonic() - started
        admitted(self.server, account)
        return f"after {taken:.1f} s"

    def _elsewhere(self, server: Restante, attribute: str, below: str) -> str:
        place = self.world.root / "mail" / f"elsewhere-{attribute}-{self.backend.name}"
        account = self.account(f"by-{attribute}", **{attribute: place})
        maildir = place / below
        maildir.parent.mkdir(exist_ok=True)
        account.maildir.rename(maildir)
        self.world.own(maildir.parent, SERVER_USER)
        with Session(server) as session:
            said = session.user(account.user.encode(), account.password)
            require(said.startswith("+OK"), f"got {said!r}")
            count = session.ask(b"STAT")
            require(count.startswith("+OK 1 "), f"STAT got {count!r}")
        return str(maildir)

    def _restante(self, *words: str, codes: tuple[int, ...], stdin: str = "") -> str:
        said = run(
            [self.world.program, *words, "--config", self.server.config()],
            stdin=stdin + "\n", who=None, codes=codes, timeout=30,
        )
        return said.stdout + said.stderr

    def _kind(self) -> str:
        """The kind of store, as the configuration says it."""
        return str(re.findall('kind = "(.*?)"', self._alone())[0])

    def _alone(self) -> str:
        return self.backend.settings(self.world.root)

    def _file(self) -> str:
        return f'[[credentials]]\nkind = "file"\npath = "{self.world.users}"'

    def _before_file(self) -> str:
        return self._alone() + self._file()
