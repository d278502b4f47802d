"""A made history of a Maildir: deliveries in the manners of several programs, flags, removals.

It is the same for the same seed, except for what a server adds: UIDVALIDITY, and the names of copies.
"""

import os
import random
import re
from collections import Counter
from pathlib import Path
from typing import Callable, Iterable

from lib.corpus import Message, header
from lib.process import SERVER_USER
from lib.site import Account, Site

TOKEN = re.compile(rb"^X-History: (\S+)\r?$", re.MULTILINE)
KEYWORD = re.compile(r":2,.*[a-z]")

Namer = Callable[[random.Random, int, Message], str]


def _postfix(choice: random.Random, time: int, _: Message) -> str:
    return f"{time}.V801I{choice.getrandbits(28):x}M{micro(choice)}.mx1.example.org"


def _maildrop(choice: random.Random, time: int, message: Message) -> str:
    inode = f"V0000000000000801I{choice.getrandbits(32):016X}_0"
    return f"{time}.M{micro(choice)}P{pid(choice)}{inode}.mx1,S={len(message.stored)}"


def _exim(choice: random.Random, time: int, message: Message) -> str:
    return f"{time}.H{micro(choice)}P{pid(choice)}.mx1.example.org,S={len(message.stored)}"


def _procmail(choice: random.Random, time: int, _: Message) -> str:
    return f"{time}.{pid(choice)}_1.mx1"


def _procmail_without_number(choice: random.Random, _: int, __: Message) -> str:
    return f"msg.{choice.getrandbits(40):x}"


def _getmail(choice: random.Random, time: int, _: Message) -> str:
    sequence = f"Q{choice.randrange(100)}R{choice.getrandbits(64):016x}"
    return f"{time}.M{micro(choice)}P{pid(choice)}{sequence}.mx1"


def _dovecot(choice: random.Random, time: int, message: Message) -> str:
    # Dovecot counts no line end that it adds.
    octets = len(message.wire) - (0 if message.stored.endswith(b"\n") else 2)
    sizes = f"S={len(message.stored)},W={octets}"
    return f"{time}.M{micro(choice)}P{pid(choice)}.mx1,{sizes}"


def _qmail(choice: random.Random, time: int, _: Message) -> str:
    return f"{time}.{pid(choice)}.mx1.example.org"


def _long(choice: random.Random, time: int, message: Message) -> str:
    # Over 70 characters, and below the 129 at which fetchmail gives up.
    return _maildrop(choice, time, message).replace(".mx1,", ".mx1.of.the.hosting.example.org,")


def _very_long(choice: random.Random, time: int, message: Message) -> str:
    # Over the 128 characters that fetchmail takes, and up to the 255 of a file name with its flags.
    name = _maildrop(choice, time, message)
    return name.replace(".mx1,", f".mx1{'.a-long-host-name' * 9},")


NAMERS: tuple[Namer, ...] = (
    _postfix, _maildrop, _exim, _procmail, _procmail_without_number, _getmail, _dovecot, _qmail,
    _long,
)


def micro(choice: random.Random) -> int:
    """Microseconds."""
    return choice.randrange(1_000_000)


def pid(choice: random.Random) -> int:
    """A process id."""
    return choice.randrange(2, 32_768)


class History:
    """The deliveries to one Maildir."""

    # Which programs deliver, how many of a hundred clocks are behind, and when it begins.
    namers, behind, begin = NAMERS, 5, 1_700_000_000

    def __init__(self, site: Site, account: Account, seed: object) -> None:
        self.site, self.account = site, account
        self.choice = random.Random(f"{seed}")
        self._time = self.begin
        self._number = 0

    def deliver(self, count: int) -> list[str]:
        """Delivers so many messages to `new`. Returns their tokens."""
        return [self._deliver_one(self.choice.choice(self.namers)) for _ in range(count)]

    def deliver_with_long_name(self) -> None:
        """Delivers a message whose name is too long for fetchmail."""
        self._deliver_one(_very_long)

    def move_and_flag(self, count: int) -> None:
        """Moves messages from `new` to `cur` and changes flags, as a mail program does."""
        new, cur = (sorted((self.account.maildir / part).iterdir()) for part in ("new", "cur"))
        for path in self._sample(new, count):
            path.rename(path.parent.with_name("cur") / f"{path.name}:2,")
        for path in self._sample(cur, count):
            name, _, flags = path.name.partition(":2,")
            flags = "".join(sorted(set(flags) ^ set(self.choice.choice(("S", "F", "RS")))))
            path.rename(path.with_name(f"{name}:2,{flags}"))

    def remove(self, count: int) -> None:
        """Removes files, as another program does."""
        for path in self.sample(count):
            path.unlink()

    def sample(self, count: int) -> list[Path]:
        """Some messages in `cur`.

        One with a keyword is not among them: Dovecot's `pop3_deleted_flag` may have hidden it.
        """
        files = sorted((self.account.maildir / "cur").iterdir())
        return self._sample([path for path in files if not KEYWORD.search(path.name)], count)

    def _sample(self, paths: list[Path], count: int) -> list[Path]:
        return self.choice.sample(paths, min(count, len(paths)))

    def _deliver_one(self, namer: Namer) -> str:
        choice = self.choice
        self._number += 1
        self._time += choice.randrange(6000)
        time = self._time - (1_000_000 if choice.randrange(100) < self.behind else 0)
        token = f"{self.account.user}-{self.begin}-{self._number}"
        message = text(token, choice, self._number)
        name = namer(choice, time, message)
        temporary = self.account.maildir / "tmp" / name
        temporary.write_bytes(message.stored)
        os.utime(temporary, (time, time))
        self.site.own(temporary, SERVER_USER)
        temporary.rename(self.account.maildir / "new" / name)
        return token


class Orderly(History):
    """Later deliveries by Postfix, one after the other."""

    namers, behind, begin = (_postfix,), 0, 1_790_000_000


def text(token: str, choice: random.Random, number: int) -> Message:
    """A message with its token. Some have an `X-UIDL`, and a few of these the same."""
    fields = f"X-History: {token}\n"
    if number % 6 == 0:
        fields += f"X-UIDL: xuidl-{number if number % 24 else 0}\n"
    body = f"Line of {token}, of no interest to anybody.\n".encode() * choice.randrange(1, 12)
    end = choice.choice((b"The end\n", b"The end\n", b"The end", b"The end\r\n"))
    return Message(token, fields.encode() + header(f"history {number}") + body + end)


def token_of(message: bytes) -> str:
    """The token of a message of a history."""
    match = TOKEN.search(message)
    return match.group(1).decode() if match else f"no message of it: {message[:80]!r}"


def tokens(messages: Iterable[bytes]) -> Counter[str]:
    """How often each message is among these."""
    return Counter(map(token_of, messages))


def stored(account: Account) -> Counter[str]:
    """How often each message is in a Maildir."""
    folders = (account.maildir / part for part in ("new", "cur"))
    return tokens(path.read_bytes() for folder in folders for path in folder.iterdir())
