"""The mail root, its accounts, and the other files of a server and its clients."""

import hashlib
import itertools
import os
import pwd
import shutil
import ssl
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Optional

from lib.corpus import Message
from lib.process import CLIENT_USER, SERVER_USER, run


@dataclass(frozen=True)
class Account:
    """A user with a Maildir."""

    user: str
    password: str
    maildir: Path

    def files(self) -> dict[str, "Stored"]:
        """All message files, with the properties that must not change."""
        return {
            str(path.relative_to(self.maildir)): Stored.read(path)
            for part in ("new", "cur")
            for path in (self.maildir / part).iterdir()
        }


@dataclass(frozen=True)
class Stored:
    """The properties of a message file that must not change, and its octets as sent."""

    digest: str
    modified: int
    octets: int

    @classmethod
    def read(cls, path: Path) -> "Stored":
        """The properties of a file."""
        text = path.read_bytes()
        return cls(
            hashlib.sha256(text).hexdigest(),
            path.stat().st_mtime_ns,
            len(Message(path.name, text).wire),
        )


class Site:
    """A temporary directory with a certificate, users, mail, and homes of clients."""

    def __init__(self, program: Path) -> None:
        self.program = program
        self.root = Path(tempfile.mkdtemp(prefix="restante-live-"))
        self.root.chmod(0o755)
        self.certificate = self.root / "certificate.pem"
        self.key = self.root / "key.pem"
        # The credential file of most servers, and one with passwords in clear.
        self.users = self.root / "users"
        self.clear_users = self.root / "clear-users"
        self.accounts: dict[str, Account] = {}
        self._homes = itertools.count(1)
        self._lock = threading.Lock()
        for directory in ("mail", "homes"):
            (self.root / directory).mkdir()
        certify("localhost", self.certificate, self.key)
        self.own(self.key, SERVER_USER)
        self.own(self.root / "mail", SERVER_USER)
        # A server needs a credential file to start; it notices users who are added later.
        self.account("first")

    def close(self) -> None:
        """Removes everything."""
        shutil.rmtree(self.root, ignore_errors=True)

    def own(self, path: Path, user: str) -> None:
        """Changes the owner of a path and all below it, if permitted."""
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
        """A new user with mail, in the credential file."""
        account = self.mailbox(user, messages)
        self.add_user(account)
        return account

    def mailbox(
        self, user: str, messages: Iterable[Message] = (), maildir: Optional[Path] = None
    ) -> Account:
        """The same without a credential file. The password has a space: that is allowed."""
        home = self.root / "mail" / user
        maildir = maildir or home / "Maildir"
        for part in ("new", "cur", "tmp"):
            (maildir / part).mkdir(parents=True)
        account = Account(user, f"pass word {user}", maildir)
        self.accounts[user] = account
        for number, message in enumerate(messages):
            self.deliver(account, message, number, seen=number % 3 == 1)
        self.own(home if home in maildir.parents else maildir, SERVER_USER)
        return account

    def enter(self, account: Account, fields: str = "", users: Optional[Path] = None) -> None:
        """Adds the user with the password in clear, and further fields."""
        path = users or self.clear_users
        with self._lock:
            with path.open("a") as lines:
                lines.write(f"{account.user}:{{PLAIN}}{account.password}{fields}\n")
            path.chmod(0o600)
            self.own(path, SERVER_USER)

    def add_user(
        self, account: Account, users: Optional[Path] = None, scheme: str = "argon2id"
    ) -> None:
        """Adds the user to a credential file with `restante user add`.

        The first call creates the file and sets its owner.
        """
        path = users or self.users
        new = not path.exists()
        run(
            [
                self.program, "user", "add", "--file", path, "--stdin", "--scheme", scheme,
                account.user,
            ],
            stdin=account.password + "\n",
            who=None,
        )
        if new:
            self.own(path, SERVER_USER)

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
        """A context that trusts only the certificate of this site, and checks the name."""
        return ssl.create_default_context(cafile=str(self.certificate))


def certify(name: str, certificate: Path, key: Path) -> None:
    """Makes a key and a self-signed certificate for this name and the loopback address."""
    run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
            "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1",
            "-keyout", key, "-out", certificate,
        ],
        who=None,
    )
    key.chmod(0o600)
