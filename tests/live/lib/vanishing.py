"""POP3 clients that check all replies, fetch, delete, and vanish at every point of a session."""

import random
import re
import time
from enum import Enum
from typing import Optional

from lib.interruptions import Interruptions
from lib.ledger import MAIL, Ledger, Listed, token_of
from lib.pop3 import Lost, Pop3
from lib.report import Failed
from lib.server import CLEARTEXT, STLS, TLS, Server
from lib.site import Account, Site


class End(Enum):
    """How a session ends."""

    QUIT = "QUIT"
    QUIT_AND_CLOSE = "QUIT sent, closed at once"
    QUIT_AND_RESET = "QUIT sent, reset at once"
    QUIT_AND_SHUT = "QUIT sent, half closed"
    QUIT_AND_KILL = "QUIT sent, server killed"
    PIPELINED = "DELE and QUIT in one write, closed"
    CLOSE = "closed without QUIT"
    RESET = "reset without QUIT"
    SHUT = "half closed without QUIT"
    IN_RETR = "closed in RETR"
    RESET_IN_RETR = "reset in RETR"

    @property
    def is_in_retr(self) -> bool:
        """Whether a message is read only in part."""
        return self in (End.IN_RETR, End.RESET_IN_RETR)

    @property
    def quits(self) -> bool:
        """Whether QUIT is sent."""
        return self in (
            End.QUIT, End.QUIT_AND_CLOSE, End.QUIT_AND_RESET, End.QUIT_AND_SHUT,
            End.QUIT_AND_KILL, End.PIPELINED,
        )


# The weight of each end.
ENDS: dict[End, int] = {end: 10 if end is End.QUIT else 2 for end in End}


class Vanishing:
    """A client that runs sessions one after the other, with random ends."""

    def __init__(
        self, site: Site, server: Server, ledger: Ledger, interruptions: Interruptions
    ) -> None:
        self.site, self.server, self.ledger = site, server, ledger
        self.interruptions = interruptions

    def session(self, choice: random.Random, account: Account, end: Optional[End] = None) -> None:
        """One session. It may be cut off only if the server was killed meanwhile."""
        end = end or choice.choices(list(ENDS), list(ENDS.values()))[0]
        life = self.interruptions.life()
        connection: Optional[Pop3] = None
        try:
            transport = choice.choice((TLS, STLS, CLEARTEXT))
            connection = self.server.connect(transport)
            self._session(choice, account, connection, end)
        except Lost as error:
            if self.interruptions.life() == life:
                self.ledger.violation(f"{account.user}: connection lost ({end.value}): {error}")
            self.ledger.count("sessions cut by a kill")
        except (Failed, ValueError, IndexError) as error:
            self.ledger.violation(f"{account.user}: {type(error).__name__}: {error}")
        finally:
            if connection is not None:
                connection.close()

    def _session(
        self, choice: random.Random, account: Account, connection: Pop3, end: End
    ) -> None:
        before, since = self.ledger.settled(account.user), time.monotonic()
        if not connection.logs_in(account.user, account.password):
            self.ledger.count("sessions told [IN-USE]")
            return
        self.ledger.count("sessions")
        listed = self._listing(account, connection)
        self.ledger.listing(account.user, since, before, listed)
        self._fetch(choice, connection, listed, before, end)
        if not end.is_in_retr:
            self._finish(choice, account, connection, listed, end)
        self.ledger.count(f"end: {end.value}")

    def _listing(self, account: Account, connection: Pop3) -> list[Listed]:
        """STAT, LIST and UIDL, which must agree. Finds the message of each unique-id."""
        count, total = map(int, connection.ok("STAT").split()[1:3])
        octets = {
            int(number): int(size)
            for number, size in map(bytes.split, connection.lines("LIST"))
        }
        ids = {
            int(number): unique_id.decode()
            for number, unique_id in map(bytes.split, connection.lines("UIDL"))
        }
        if not count == len(octets) == len(ids) or total != sum(octets.values()):
            raise Failed(f"STAT {count} {total}, LIST {len(octets)} {sum(octets.values())}, "
                         f"UIDL {len(ids)}")
        unknown = [n for n, each in ids.items() if self.ledger.token(account.user, each) is None]
        for number in unknown:
            if connection.ask(f"TOP {number} 0").startswith("+OK"):
                token = token_of(connection.body()[0])
                self.ledger.resolve(account.user, ids[number], token)
        return [
            Listed(n, each, octets[n], self.ledger.token(account.user, each))
            for n, each in ids.items()
        ]

    def _fetch(
        self, choice: random.Random, connection: Pop3, listed: list[Listed],
        before: dict[str, int], end: End,
    ) -> None:
        """Fetches some messages; if the session ends in RETR, the last one only in part."""
        chosen = choice.sample(listed, min(len(listed), choice.randint(1, 8)))
        for each in chosen:
            said = connection.ask(f"RETR {each.number}")
            if not said.startswith("+OK"):
                self.ledger.refused(each, before, said)
                continue
            if end.is_in_retr and each is chosen[-1]:
                connection.some(choice.randint(1, min(400, each.octets)))
                if end is End.RESET_IN_RETR:
                    connection.reset()
                return
            wire = b"".join(line + b"\r\n" for line in connection.body())
            announced = re.match(r"\+OK (\d+) octets", said)
            if announced is None or {int(announced[1]), len(wire)} != {each.octets}:
                raise Failed(f"LIST {each.octets}, {said!r}, sent {len(wire)}")
            self.ledger.fetched(each.token or token_of(wire), wire)

    def _finish(
        self, choice: random.Random, account: Account, connection: Pop3,
        listed: list[Listed], end: End,
    ) -> None:
        """Marks some messages, and ends the session."""
        found = [each for each in listed if self._kind(each) == MAIL and each.token]
        marked = choice.sample(found, min(len(found), choice.randint(0, 12)))
        tokens = [each.token for each in marked if each.token]
        deletes = [f"DELE {each.number}" for each in marked]
        if end is End.PIPELINED:
            self.ledger.leave(tokens, end.value)
            connection.send(*deletes, "QUIT")
            return
        for delete in deletes:
            connection.ok(delete)
        if end.quits:
            self.ledger.leave(tokens, end.value)
            connection.send("QUIT")
        if end is End.QUIT_AND_KILL:
            self.interruptions.kill_now()
        if end in (End.QUIT, End.QUIT_AND_KILL):
            said = connection.line()
            if said.startswith("+OK"):
                self.ledger.gone(account, tokens)
            else:
                self.ledger.violation(f"{account.user}: QUIT: {said}")
        elif end in (End.QUIT_AND_RESET, End.RESET):
            connection.reset()
        elif end in (End.QUIT_AND_SHUT, End.SHUT):
            connection.shut()

    def _kind(self, listed: Listed) -> Optional[str]:
        message = self.ledger.messages.get(listed.token or "")
        return message.kind if message else None
