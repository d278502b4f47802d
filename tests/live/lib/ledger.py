"""The history of every message: its delivery, the listings with it, and its removal.

Each program that acts on a message records it here, before or after as the rules below need it. A
contradiction to the records is a violation:

- A message is *settled* from the end of its delivery until its removal or move begins. If it is
  settled before a login and after the listing, it must be in the listing.
- Before QUIT is sent, the marked messages are *leaving*: from then on they may exist or not. After a
  `+OK` to QUIT no file with their unique-ids may be left.
- A later listing that shows a message which was leaving settles it again: a login waits for the
  lock, and under the lock the removal was done or not done.
"""

import hashlib
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterable, Optional

from lib.corpus import LARGE
from lib.corpus import Message as Text
from lib.site import Account

HEADER = b"X-Torture: "
# The folder that IMAP clients move messages to, and back from.
ARCHIVE = "Archive"

# What may be done to a message: no change, changes of its flags, or any change.
STILL, FLAGGED, MAIL = "still", "flagged", "mail"


@dataclass
class Message:
    """A message, identified by the token in its first line."""

    token: str
    user: str
    digest: str
    # The digest with LF for CRLF, as mail programs store it.
    stored_digest: str
    octets: int
    kind: str
    is_delivered: bool = False
    # When its removal by POP3 began; whether it ever did.
    leaving: Optional[float] = None
    was_leaving: bool = False
    # IMAP: whether it is being moved to another folder or is in one; how often it came back.
    is_away: bool = False
    is_expunging: bool = False
    moves: int = 0
    # The client that was told that it is removed; whether a mail program has a copy of it.
    told: str = ""
    is_copied: bool = False
    unique_id: Optional[str] = None
    history: list[str] = field(default_factory=list)

    @property
    def is_settled(self) -> bool:
        """Whether it is in INBOX, and is not being removed or moved."""
        return (
            self.is_delivered and self.leaving is None
            and not self.is_away and not self.is_expunging
        )


@dataclass(frozen=True)
class Listed:
    """A message in the listing of a client."""

    number: int
    unique_id: str
    octets: int
    token: Optional[str]


class Ledger:
    """All messages of all users, the counters of the summary, and the violations. Thread-safe."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.begin = time.monotonic()
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self.messages: dict[str, Message] = {}
        self._tokens: dict[tuple[str, str], str] = {}
        # Users whose small messages a mail program is fetching and removing.
        self._polled: Counter[str] = Counter()

    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.begin

    def count(self, what: str, number: int = 1) -> None:
        """Adds to a counter of the summary."""
        with self.lock:
            self.counts[what] += number

    def violation(self, text: str, message: Optional[Message] = None) -> None:
        """Prints a violation with the history of the message. The run has failed."""
        with self.lock:
            self.violations.append(text)
            print(f"VIOLATION at {self.seconds():.3f} s: {text}", flush=True)
            if message is not None:
                done = "; ".join(message.history)
                print(f"    {message.kind}, {message.unique_id}: {done}", flush=True)

    def note(self, message: Message, text: str) -> None:
        """Adds a line to the history of a message."""
        message.history.append(f"{self.seconds():.3f} {text}")

    def new(self, user: str, text: Text, kind: str) -> Message:
        """A message that is about to be delivered. Its name is the token."""
        wire = text.wire
        stored = digest(wire.replace(b"\r\n", b"\n"))
        message = Message(text.name, user, digest(wire), stored, len(wire), kind)
        with self.lock:
            self.messages[message.token] = message
        return message

    def delivered(self, message: Message, how: str) -> None:
        """Its delivery is done."""
        with self.lock:
            message.is_delivered = True
            self.note(message, f"delivered by {how}")
            self.counts["delivered"] += 1
            self.counts[f"delivered by {how}"] += 1

    def of(self, user: str) -> list[Message]:
        """The messages of a user."""
        with self.lock:
            return [each for each in self.messages.values() if each.user == user]

    def settled(self, user: str) -> dict[str, int]:
        """The messages that must be in a listing, and how often each has been moved."""
        with self.lock:
            return {
                each.token: each.moves
                for each in self.messages.values()
                if each.user == user and each.is_settled
                and not (self._polled[user] and each.kind == MAIL and each.octets <= LARGE)
            }

    def token(self, user: str, unique_id: str) -> Optional[str]:
        """The message with this unique-id."""
        with self.lock:
            return self._tokens.get((user, unique_id))

    def listing(self, user: str, since: float, before: dict[str, int], seen: list[Listed]) -> None:
        """Checks the listing of a session whose login began at `since`, with `before` settled."""
        with self.lock:
            self.counts["listings"] += 1
            self._twice(user, "unique-id", [each.unique_id for each in seen])
            self._twice(user, "message", [each.token for each in seen if each.token])
            for each in seen:
                message = self.messages.get(each.token or "")
                if message is not None:
                    self._seen(user, message, each, since)
            after = self.settled(user)
            present = {each.token for each in seen}
            for token, moves in before.items():
                if after.get(token) == moves:
                    self.counts["listed, as they had to be"] += 1
                    if token not in present:
                        self.violation(
                            f"{user}: a listing of {len(seen)}, login at {since - self.begin:.3f}, "
                            f"lacks {token}, which was there all the time", self.messages[token],
                        )

    def _twice(self, user: str, what: str, values: list[str]) -> None:
        for value, number in Counter(values).items():
            if number > 1:
                self.violation(
                    f"{user}: {what} {value} is {number} times in a listing",
                    self.messages.get(value),
                )

    def _seen(self, user: str, message: Message, listed: Listed, since: float) -> None:
        """Checks a message in a listing: its octets, its unique-id, and that it was not removed."""
        if message.user != user:
            self.violation(f"{message.token} is in the maildrop of another user", message)
        if listed.octets != message.octets:
            self.violation(
                f"{message.token}: LIST says {listed.octets} octets, it has {message.octets}",
                message,
            )
        if message.unique_id not in (None, listed.unique_id) and not message.moves:
            self.violation(
                f"{message.token} had the unique-id {message.unique_id}, "
                f"now it is {listed.unique_id}", message,
            )
        message.unique_id = listed.unique_id
        if message.told == "QUIT" and not message.moves and not message.is_away:
            self.violation(f"{message.token} is listed, although QUIT removed it", message)
        if message.leaving is not None and message.leaving < since:
            message.leaving = None
            self.note(message, "listed again")

    def resolve(self, user: str, unique_id: str, token: str) -> None:
        """A client has found out which message has this unique-id."""
        with self.lock:
            known = self._tokens.setdefault((user, unique_id), token)
            if known != token:
                self.violation(
                    f"{user}: unique-id {unique_id} was {known}, now it is {token}",
                    self.messages.get(token),
                )

    def fetched(self, token: str, wire: bytes) -> None:
        """A client has received a complete message: it must be the delivered one."""
        with self.lock:
            self.counts["fetched"] += 1
            message = self.messages.get(token)
            if message is None or digest(wire) != message.digest:
                self.violation(
                    f"{token}: fetched {len(wire)} octets that are not the message: "
                    f"{wire[:80]!r}…", message,
                )

    def refused(self, listed: Listed, before: dict[str, int], said: str) -> None:
        """RETR was refused: correct only if another program has removed or moved the message."""
        with self.lock:
            self.counts["RETR of a message that is gone"] += 1
            message = self.messages.get(listed.token or "")
            if message is not None and message.is_settled:
                if before.get(message.token) == message.moves:
                    self.violation(f"RETR of {message.token}, which is there: {said}", message)

    def leave(self, tokens: Iterable[str], who: str) -> None:
        """QUIT is about to be sent with these marked."""
        with self.lock:
            for token in tokens:
                message = self.messages[token]
                message.leaving, message.was_leaving = time.monotonic(), True
                self.note(message, f"QUIT by {who}")

    def gone(self, account: Account, tokens: Iterable[str]) -> None:
        """QUIT was answered with `+OK`: the files must be gone."""
        with self.lock:
            for token in tokens:
                message = self.messages[token]
                message.told = "QUIT"
                self.note(message, "+OK to QUIT")
                self.counts["removed"] += 1
        names = {unique_name(path) for path in files(account.maildir)}
        with self.lock:
            for token in tokens:
                message = self.messages[token]
                if message.unique_id in names and not message.moves:
                    self.violation(f"{token}: +OK to QUIT, and the file is there", message)

    def polled(self, user: str, change: int) -> None:
        """A mail program begins (1) or ends (-1) to fetch and remove."""
        with self.lock:
            self._polled[user] += change

    def copied(self, token: str, who: str) -> None:
        """A mail program has a complete copy of a message, and may have removed it."""
        with self.lock:
            message = self.messages[token]
            message.is_copied = True
            message.leaving, message.was_leaving = time.monotonic(), True
            self.note(message, f"fetched by {who}")


def digest(text: bytes) -> str:
    """The digest of a text."""
    return hashlib.sha256(text).hexdigest()


def files(maildir: Path) -> list[Path]:
    """The message files of a folder. A file that is renamed meanwhile may be listed twice."""
    return [path for part in ("new", "cur") for path in (maildir / part).iterdir()]


def unique_name(path: Path) -> str:
    """The unique name: the file name without flags and sizes."""
    return path.name.split(":")[0].split(",S=")[0].split(",W=")[0]


def token_of(text: bytes) -> str:
    """The token in the first line of a message."""
    first = text.split(b"\n", 1)[0].strip()
    return first.removeprefix(HEADER).decode() if first.startswith(HEADER) else ""
