"""The mail root, the accounts in it, and a real `restante serve` in front of them."""

import hashlib
import itertools
import os
import pwd
import random
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Iterable, Mapping, Optional

from corpus import Message
from report import Failed, require

# Started as root, the server becomes the one and the clients run as the other, as they would
# on a real machine; started by anybody else, all run as that user.
SERVER_USER = "mail"
CLIENT_USER = "nobody"

CLEARTEXT, STLS, TLS = "cleartext", "STLS", "TLS"


@dataclass(frozen=True)
class Account:
    """A user and the Maildir that belongs to it."""

    user: str
    password: str
    maildir: Path

    def files(self) -> dict[str, "Stored"]:
        """Every message file, to see which are there and that none was touched."""
        return {
            str(path.relative_to(self.maildir)): Stored.read(path)
            for part in ("new", "cur")
            for path in (self.maildir / part).iterdir()
        }


@dataclass(frozen=True)
class Stored:
    """What must not change about a message file, and what it comes to on the wire."""

    digest: str
    modified: int
    octets: int

    @classmethod
    def read(cls, path: Path) -> "Stored":
        """Looks at one file."""
        text = path.read_bytes()
        return cls(
            hashlib.sha256(text).hexdigest(),
            path.stat().st_mtime_ns,
            len(Message(path.name, text).wire),
        )


@dataclass(frozen=True)
class Endpoint:
    """Where a client connects, and how it gets TLS there."""

    port: int
    transport: str
    host: str = "localhost"


class World:
    """A temporary directory with certificate, users, mail, and homes for the clients."""

    def __init__(self, program: Path) -> None:
        self.program = program
        self.root = Path(tempfile.mkdtemp(prefix="restante-interop-"))
        self.root.chmod(0o755)
        self.certificate = self.root / "certificate.pem"
        self.key = self.root / "key.pem"
        self.users = self.root / "users"
        self.accounts: dict[str, Account] = {}
        self._homes = itertools.count(1)
        for directory in ("mail", "homes"):
            (self.root / directory).mkdir()
        self._make_certificate()
        self.own(self.root / "mail", SERVER_USER)
        # A server starts with a credential file or not at all; later users are noticed.
        self.account("first")

    def close(self) -> None:
        """Removes everything."""
        shutil.rmtree(self.root, ignore_errors=True)

    def own(self, path: Path, user: str) -> None:
        """Gives a path, with all below it, to a user, where we may."""
        if os.geteuid() != 0:
            return
        entry = pwd.getpwnam(user)
        for each in (path, *path.rglob("*")):
            os.chown(each, entry.pw_uid, entry.pw_gid)

    def home(self) -> Path:
        """A fresh home directory for a client."""
        home = self.root / "homes" / str(next(self._homes))
        home.mkdir(mode=0o700)
        self.own(home, CLIENT_USER)
        return home

    def account(self, user: str, messages: Iterable[Message] = ()) -> Account:
        """A new user with its mail, entered in the credential file."""
        account = self.mailbox(user, messages)
        self.add_user(account)
        return account

    def mailbox(self, user: str, messages: Iterable[Message] = ()) -> Account:
        """The same, entered nowhere. The password has a space in it: that is allowed."""
        maildir = self.root / "mail" / user / "Maildir"
        for part in ("new", "cur", "tmp"):
            (maildir / part).mkdir(parents=True)
        account = Account(user, f"pass word {user}", maildir)
        self.accounts[user] = account
        for number, message in enumerate(messages):
            self.deliver(account, message, number, seen=number % 3 == 1)
        self.own(maildir.parent, SERVER_USER)
        return account

    def add_user(self, account: Account) -> None:
        """Enters the user in the credential file with the program's own command.

        The first user makes the file, which then gets its owner; it keeps it from then on.
        """
        new = not self.users.exists()
        run(
            [self.program, "user", "add", "--file", self.users, "--stdin", account.user],
            stdin=account.password + "\n",
            who=None,
        )
        if new:
            self.own(self.users, SERVER_USER)

    def deliver(
        self, account: Account, message: Message, number: int, seen: bool = False
    ) -> None:
        """Puts a message into the Maildir, in the order of its number."""
        name = f"{1_700_000_000 + number}.M{number}P1.post"
        if seen:
            name = f"cur/{name},S={len(message.stored)}:2,S"
        else:
            name = f"new/{name}"
        path = account.maildir / name
        path.write_bytes(message.stored)
        self.own(path, SERVER_USER)

    def client_tls(self) -> ssl.SSLContext:
        """A context that trusts our certificate and nothing else, and checks the name."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def _make_certificate(self) -> None:
        run(
            [
                "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
                "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                "-keyout", self.key, "-out", self.certificate,
            ],
            who=None,
        )
        self.key.chmod(0o600)
        self.own(self.key, SERVER_USER)


class Server:
    """One `restante serve`: a port for each way of connecting, its log in a file."""

    # Whether Ctrl-C at the terminal does not reach it.
    is_apart = False

    def __init__(self, world: World, name: str, allow_cleartext: bool = False) -> None:
        self.world = world
        self.name = name
        self.allow_cleartext = allow_cleartext
        self.ports = {transport: free_port() for transport in (CLEARTEXT, STLS, TLS)}
        self.log = world.root / f"{name}.log"
        self.process: Optional[subprocess.Popen[bytes]] = None

    def endpoint(self, transport: str) -> Endpoint:
        """Where a client finds this server."""
        return Endpoint(self.ports[transport], transport)

    def start(self) -> None:
        """Starts the server and returns when it says that it is ready."""
        config = self.world.root / f"{self.name}.toml"
        config.write_text(self.configuration())
        notify = self.world.root / f"{self.name}.notify"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(notify))
            notify.chmod(0o666)
            ready.settimeout(0.2)
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [self.world.program, "serve", "--config", config],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    env={**os.environ, "NOTIFY_SOCKET": str(notify)},
                    start_new_session=self.is_apart,
                )
            for _ in range(100):
                try:
                    if b"READY=1" in ready.recv(4096):
                        return
                except TimeoutError:
                    if self.process.poll() is not None:
                        break
        self.kill()
        raise Failed(f"the server did not become ready: {self.last_words()}")

    def stop(self) -> None:
        """Ends the server as a service manager does, and wants a clean exit."""
        process, self.process = self.process, None
        if process is None:
            return
        process.terminate()
        try:
            code = process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failed("the server did not end within 30 s of SIGTERM") from None
        require(code == 0, f"the server ended with {code}: {self.last_words()}")

    def kill(self) -> None:
        """Ends the server without warning, as a power cut would."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def last_words(self) -> str:
        """The end of the log."""
        return self.log.read_text(errors="replace")[-2000:]

    def addresses(self) -> list[str]:
        """Loopback, in IPv6 too where the machine has it: "localhost" may mean either."""
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", 0))
        except OSError:
            return ["127.0.0.1"]
        return ["127.0.0.1", "[::1]"]

    def configuration(self) -> str:
        """The configuration file."""
        listeners = [
            (CLEARTEXT, "off"),
            (STLS, "starttls"),
            (TLS, "implicit"),
        ]
        lines = ['hostname = "localhost"']
        if os.geteuid() == 0:
            lines.append(f'run-as = "{SERVER_USER}:{SERVER_USER}"')
        for transport, tls in listeners:
            # No listener without TLS where no password would be taken on it.
            if transport == CLEARTEXT and not self.allow_cleartext:
                continue
            for address in self.addresses():
                lines += [
                    "[[listen]]",
                    f'address = "{address}:{self.ports[transport]}"',
                    f'tls = "{tls}"',
                ]
        lines += [
            "[tls]",
            f'certificate = "{self.world.certificate}"',
            f'private-key = "{self.world.key}"',
            "[maildir]",
            f'path = "{self.world.root}/mail/{{user}}/Maildir"',
            "[auth]",
            f"allow-cleartext = {str(self.allow_cleartext).lower()}",
            *self.credentials(),
            "[throttle]",
            'trusted = ["127.0.0.1", "::1"]',
            "[log]",
            'format = "text"',
        ]
        return "\n".join(lines) + "\n"

    def credentials(self) -> list[str]:
        """The rest of `[auth]`, and the stores."""
        return ["[[credentials]]", 'kind = "file"', f'path = "{self.world.users}"']


@dataclass(frozen=True)
class Finished:
    """What a program has said."""

    stdout: str
    stderr: str


def run(
    command: list[object],
    *,
    stdin: str = "",
    who: Optional[str] = CLIENT_USER,
    home: Optional[Path] = None,
    codes: Iterable[int] = (0,),
    timeout: float = 120,
    variables: Mapping[str, object] = MappingProxyType({}),
) -> "Finished":
    """Runs a program to its end, as a plain user; any exit code but those of `codes` fails."""
    words = [str(word) for word in command]
    result = subprocess.run(
        words, input=stdin.encode(), capture_output=True, cwd=home, timeout=timeout,
        env=environment(home, variables), check=False, **identity(who),
    )
    # Decoded here, since text mode would turn CRLF into LF.
    finished = Finished(
        result.stdout.decode(errors="replace"), result.stderr.decode(errors="replace")
    )
    if result.returncode not in codes:
        said = (finished.stderr + finished.stdout).strip()[-1500:]
        raise Failed(f"{words[0]} ended with {result.returncode}: {said}")
    return finished


def identity(who: Optional[str] = CLIENT_USER) -> dict[str, Any]:
    """What `subprocess` is told to run a program as this user, where we may."""
    if who is None or os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(who)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def environment(
    home: Optional[Path], variables: Mapping[str, object] = MappingProxyType({})
) -> dict[str, str]:
    """The environment of a client: nothing of ours but where programs are."""
    return {
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
        **({} if home is None else {"HOME": str(home)}),
        **{name: str(value) for name, value in variables.items()},
    }


def free_port() -> int:
    """A port that nobody listens on, each time another."""
    for port in PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue  # somebody else's
        return port
    raise Failed("no port is left")


# Below those that the system gives to clients, which would take one before its server starts.
PORTS = iter(random.sample(range(15_000, 32_000), 17_000))
