"""Dovecot's IMAP server on the same Maildirs, and a client that flags, moves and expunges.

A message that is moved gets a new file name from Dovecot, hence another unique-id when it comes
back. Dovecot gives a message that it only flags no other unique name.
"""

import imaplib
import os
import random
import signal
import socket
import subprocess
import time
from typing import Optional, Sequence

from lib.ledger import ARCHIVE, MAIL, STILL, Ledger, Message, token_of
from lib.process import SERVER_USER, free_port
from lib.report import Failed
from lib.site import Account, Site

QUESTION = "(BODY.PEEK[HEADER.FIELDS (X-TORTURE)])"


class Dovecot:
    """A separate Dovecot: IMAP on loopback, without TLS."""

    def __init__(self, site: Site, accounts: list[Account]) -> None:
        self.root = site.root / "dovecot"
        self.root.mkdir()
        self.port = free_port()
        users = self.root / "users"
        users.write_text("".join(f"{each.user}:{{PLAIN}}{each.password}\n" for each in accounts))
        users.chmod(0o644)
        self.config = self.root / "dovecot.conf"
        self.config.write_text(self._configuration(site))
        self.process: Optional[subprocess.Popen[bytes]] = None

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        # It has its own log, and its own session, so that Ctrl-C does not reach it.
        self.process = subprocess.Popen(
            ["dovecot", "-F", "-c", str(self.config)], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.05)
        raise Failed(f"Dovecot did not start: {self.log()[-1000:]}")

    def stop(self) -> None:
        """Ends it with all its processes."""
        process, self.process = self.process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def log(self) -> str:
        """Its log."""
        path = self.root / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def errors(self) -> list[str]:
        """Its errors."""
        marks = ("Error:", "Fatal:", "Panic:")
        return [line for line in self.log().split("\n") if any(mark in line for mark in marks)]

    def _configuration(self, site: Site) -> str:
        root = self.root
        return f"""\
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
passdb {{
  driver = passwd-file
  args = {root}/users
}}
userdb {{
  driver = static
  args = uid={SERVER_USER} gid={SERVER_USER} home={site.root}/mail/%u
}}
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:{site.root}/mail/%u/Maildir
mail_max_userip_connections = 0
namespace inbox {{
  inbox = yes
  mailbox {ARCHIVE} {{
    auto = create
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {self.port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
"""


class Imap:
    """The only IMAP client of a user."""

    def __init__(self, dovecot: Dovecot, ledger: Ledger, account: Account) -> None:
        self.ledger, self.account = ledger, account
        self.client = imaplib.IMAP4("127.0.0.1", dovecot.port, timeout=60)
        self.client.login(account.user, account.password)

    def close(self) -> None:
        """Ends the connection."""
        try:
            self.client.logout()
        except (OSError, imaplib.IMAP4.error):
            pass  # closed already

    def step(self, choice: random.Random) -> None:
        """One change, or several of a kind."""
        what = choice.choices(
            (self._flag, self._expunge, self._archive, self._bring_back), (12, 2, 2, 2)
        )[0]
        what(choice)

    def _flag(self, choice: random.Random) -> None:
        """Changes flags repeatedly; each change renames a file.

        Messages of the kind STILL are left alone.
        """
        found = [each for each in self._select("INBOX") if each[1].kind != STILL]
        chosen = choice.sample(found, min(len(found), 12))
        for change in (r"+\Flagged", r"-\Flagged", r"+\Answered", r"-\Seen", r"-\Answered"):
            if chosen:
                flag = f"({change[1:]})"
                self._do("STORE", numbers(chosen), f"{change[0]}FLAGS.SILENT", flag)
                self.ledger.count("renames", len(chosen))

    def _expunge(self, choice: random.Random) -> None:
        chosen = self._choose("INBOX", choice)
        if not chosen:
            return
        with self.ledger.lock:
            for _, message in chosen:
                message.is_expunging = True
                self.ledger.note(message, "EXPUNGE begins")
        self._do("STORE", numbers(chosen), "+FLAGS.SILENT", r"(\Deleted)")
        self._check(self.client.expunge())
        with self.ledger.lock:
            for _, message in chosen:
                message.told = message.told or "EXPUNGE"
                self.ledger.note(message, "EXPUNGE done")
            self.ledger.counts["expunged by IMAP"] += len(chosen)

    def _archive(self, choice: random.Random) -> None:
        self._move("INBOX", ARCHIVE, choice)

    def _bring_back(self, choice: random.Random) -> None:
        self._move(ARCHIVE, "INBOX", choice)

    def _move(self, source: str, target: str, choice: random.Random) -> None:
        chosen = self._choose(source, choice)
        if not chosen:
            return
        with self.ledger.lock:
            for _, message in chosen:
                message.is_away = True
                message.moves += 1
                self.ledger.note(message, f"MOVE to {target} begins")
        self._do("MOVE", numbers(chosen), target)
        with self.ledger.lock:
            for _, message in chosen:
                message.is_away = target != "INBOX"
                self.ledger.note(message, f"MOVE to {target} done")
            self.ledger.counts["moved by IMAP"] += len(chosen)

    def _choose(self, folder: str, choice: random.Random) -> list[tuple[str, Message]]:
        """A few messages that may be moved and removed."""
        found = [each for each in self._select(folder) if each[1].kind == MAIL]
        return choice.sample(found, min(len(found), choice.randint(1, 4)))

    def _select(self, folder: str) -> list[tuple[str, Message]]:
        """The messages of a folder, with their UIDs."""
        self._check(self.client.select(folder))
        found = []
        for item in self._do("FETCH", "1:*", QUESTION):
            if isinstance(item, tuple):
                uid = item[0].split(b"UID ")[1].split(b" ")[0].decode()
                message = self.ledger.messages.get(token_of(item[1]))
                # None: it was removed after the list was made.
                if message is not None:
                    found.append((uid, message))
        return found

    def _do(self, *command: str) -> Sequence[object]:
        return self._check(self.client.uid(*command))

    @staticmethod
    def _check(said: tuple[str, Sequence[object]]) -> Sequence[object]:
        kind, rest = said
        if kind != "OK":
            raise imaplib.IMAP4.error(f"{kind} {rest}")
        return rest


def numbers(chosen: list[tuple[str, Message]]) -> str:
    """A set of UIDs."""
    return ",".join(uid for uid, _ in chosen)
