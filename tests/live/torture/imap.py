"""A client of Dovecot's IMAP server on the same Maildirs, which flags, moves and expunges.

A message that is moved gets a new file name from Dovecot, hence another unique-id when it comes
back. Dovecot gives a message that it only flags no other unique name.
"""

import imaplib
import random
from typing import Sequence

from lib.dovecot import Dovecot
from lib.ledger import ARCHIVE, MAIL, STILL, Ledger, Message, token_of
from lib.site import Account

QUESTION = "(BODY.PEEK[HEADER.FIELDS (X-TORTURE)])"
# The settings of Dovecot for the folder that the client uses.
FOLDER = f"""\
namespace inbox {{
  inbox = yes
  mailbox {ARCHIVE} {{
    auto = create
  }}
}}
"""


class Imap:
    """The only IMAP client of a user."""

    def __init__(self, dovecot: Dovecot, ledger: Ledger, account: Account) -> None:
        self.ledger, self.account = ledger, account
        self.client = imaplib.IMAP4("127.0.0.1", dovecot.ports["imap"], timeout=60)
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
