"""Deliveries: by Dovecot's and Courier's delivery agents, and by the rules of Maildir."""

import os
import random
import shutil
import socket
import time
from pathlib import Path
from typing import Callable

from lib import dovecot
from lib.corpus import LARGE
from lib.corpus import Message as Text
from lib.ledger import HEADER, MAIL, Ledger, Message
from lib.process import SERVER_USER, run
from lib.report import require
from lib.site import Account, Site

# The limit of messages in a Maildir: deliveries wait until some are removed.
FULL = 150

BODIES = (
    b"An ordinary line, of no interest to anybody.\n",
    b".\n",
    b"..a line that begins with dots\n",
    b"\n",
    b"CR before the end\r\n",
    "Grüße aus Liège\n".encode(),
)


def text(token: str, choice: random.Random, octets: int) -> Text:
    """A message of about this size, with difficult cases for counting and dot-stuffing."""
    lines = [
        HEADER + token.encode() + b"\n", b"From: Marshall Rose <mrose@example.org>\n",
        b"To: postmaster@example.org\n", f"Subject: {token}\n".encode(),
        b"Date: Fri, 26 Jul 2024 12:00:00 +0000\n",
        f"Message-ID: <{token}@example.org>\n\n".encode(),
    ]
    size = sum(map(len, lines))
    while size < octets:
        lines.append(choice.choice(BODIES))
        size += len(lines[-1])
    return Text(token, b"".join(lines) + token.encode() + choice.choice((b"\n", b"", b"\n\n")))


class Deliverer:
    """All deliveries to the Maildirs of some users."""

    def __init__(self, site: Site, ledger: Ledger, accounts: list[Account]) -> None:
        self.site, self.ledger, self.accounts = site, ledger, accounts
        self.configs = {account.user: self._config(account) for account in accounts}
        self._number = 0

    def stand(self, choice: random.Random, account: Account, kind: str, number: int) -> None:
        """Messages that stay: too large for the mail programs, and read already."""
        for _ in range(number):
            message, stored = self._message(account, choice, LARGE + 2000, kind)
            self._put(account, stored, "cur", ":2,S")
            self.ledger.delivered(message, "hand")

    def one(self, choice: random.Random, account: Account) -> None:
        """One delivery, by one of the agents."""
        names = os.listdir(account.maildir / "new") + os.listdir(account.maildir / "cur")
        if len(names) > FULL:
            self.ledger.count("deliveries put off")
            return
        octets = choice.choice((300, 1000, 3000, 9000, 40_000))
        message, stored = self._message(account, choice, octets, MAIL)
        ways: dict[str, Callable[[Account, bytes], object]] = {
            "dovecot-lda": self._dovecot, "maildrop": self._maildrop,
            "rename": lambda account, stored: self._put(account, stored, "new"),
        }
        how = choice.choice(sorted(ways))
        ways[how](account, stored)
        self.ledger.delivered(message, how)

    def read_one(self, choice: random.Random, account: Account) -> None:
        """Moves a message from `new` to `cur`, as a mail program does that reads it."""
        waiting = sorted((account.maildir / "new").iterdir())
        if not waiting:
            return
        path = choice.choice(waiting)
        try:
            path.rename(account.maildir / "cur" / f"{path.name}:2,")
            self.ledger.count("renames")
        except FileNotFoundError:
            pass  # removed, or moved by IMAP

    def _message(
        self, account: Account, choice: random.Random, octets: int, kind: str
    ) -> tuple[Message, bytes]:
        with self.ledger.lock:
            self._number += 1
            stored = text(f"{account.user}-{self._number}", choice, octets)
        return self.ledger.new(account.user, stored, kind), stored.stored

    def _put(self, account: Account, stored: bytes, folder: str, flags: str = "") -> None:
        with self.ledger.lock:
            self._number += 1
            number = self._number
        name = f"{int(time.time())}.M{number}P{os.getpid()}.{socket.gethostname()}"
        temporary = account.maildir / "tmp" / name
        temporary.write_bytes(stored)
        self.site.own(temporary, SERVER_USER)
        temporary.rename(account.maildir / folder / (name + flags))

    def _dovecot(self, account: Account, stored: bytes) -> None:
        dovecot.deliver(self.configs[account.user], stored)

    def _maildrop(self, account: Account, stored: bytes) -> None:
        home = self.configs[account.user].parent
        # It adds a missing line end, but does not count it in the size in the name.
        stored += b"" if stored.endswith(b"\n") else b"\n"
        run(["maildrop", home / "filter"], stdin=stored.decode(), who=SERVER_USER, home=home)

    def _config(self, account: Account) -> Path:
        """The configuration of dovecot-lda, and that of maildrop beside it."""
        config = dovecot.configure(self.site, account)
        instructions = config.with_name("filter")
        instructions.write_text(f'to "{account.maildir}"\n')
        instructions.chmod(0o600)
        self.site.own(instructions, SERVER_USER)
        return config


def deliverable() -> None:
    """Checks that the delivery agents are installed."""
    require(dovecot.LDA.exists(), f"there is no {dovecot.LDA}: apt-get install dovecot-imapd")
    require(shutil.which("maildrop") is not None, "there is no maildrop: apt-get install maildrop")
