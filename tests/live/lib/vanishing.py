"""POP3 clients that look closely, fetch, delete, and vanish at every point of a session."""

import random
import re
import socket
import struct
import time
from enum import Enum
from typing import Optional

from lib.interruptions import Interruptions
from lib.ledger import MAIL, Ledger, Listed, token_of
from lib.report import Failed
from lib.server import CLEARTEXT, STLS, TLS, Server
from lib.world import Account, World

# What the server may take for a reply, under all the load there is.
PATIENCE = 60


class Lost(Exception):
    """The connection is gone."""


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
        """Whether a message is cut."""
        return self in (End.IN_RETR, End.RESET_IN_RETR)

    @property
    def quits(self) -> bool:
        """Whether QUIT is sent."""
        return self in (
            End.QUIT, End.QUIT_AND_CLOSE, End.QUIT_AND_RESET, End.QUIT_AND_SHUT,
            End.QUIT_AND_KILL, End.PIPELINED,
        )


# How often each is chosen.
ENDS: dict[End, int] = {end: 10 if end is End.QUIT else 2 for end in End}


class Connection:
    """Octets to and from the server."""

    def __init__(self, world: World, server: Server, transport: str) -> None:
        endpoint = server.endpoint(transport)
        try:
            raw = socket.create_connection(("127.0.0.1", endpoint.port), timeout=PATIENCE)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise Lost(str(error)) from None
        self.socket = raw
        self.replies = raw.makefile("rb")
        try:
            if transport == TLS:
                self._encrypt(world)
            self.greeting = self.line()
            if transport == STLS:
                self.ok("STLS")
                self._encrypt(world)
        except (OSError, Lost) as error:
            self.close()
            raise Lost(str(error)) from None

    def _encrypt(self, world: World) -> None:
        self.replies.close()
        self.socket = world.client_tls().wrap_socket(self.socket, server_hostname="localhost")
        self.replies = self.socket.makefile("rb")

    def send(self, *commands: str) -> None:
        """Some commands in one write."""
        try:
            self.socket.sendall("".join(f"{command}\r\n" for command in commands).encode())
        except OSError as error:
            raise Lost(str(error)) from None

    def line(self) -> bytes:
        """A line without its end."""
        try:
            line = self.replies.readline()
        except TimeoutError:
            raise Failed(f"no reply within {PATIENCE} s") from None
        except (OSError, ValueError) as error:
            raise Lost(str(error)) from None
        if not line.endswith(b"\n"):
            raise Lost(f"closed after {line!r}")
        if not line.endswith(b"\r\n"):
            raise Failed(f"a line that ends with LF alone: {line[-80:]!r}")
        return line[:-2]

    def some(self, octets: int) -> None:
        """So many octets of a reply."""
        try:
            self.replies.read(octets)
        except TimeoutError:
            raise Failed(f"no {octets} octets within {PATIENCE} s") from None
        except OSError as error:
            raise Lost(str(error)) from None

    def ask(self, command: str) -> str:
        """A command and the line that answers it."""
        self.send(command)
        return self.line().decode(errors="replace")

    def ok(self, command: str) -> str:
        """The same; anything but `+OK` fails."""
        said = self.ask(command)
        if not said.startswith("+OK"):
            raise Failed(f"{command.split()[0]}: {said}")
        return said

    def logs_in(self, account: Account) -> bool:
        """USER and PASS; false when another session has the maildrop, any other refusal fails."""
        self.ok(f"USER {account.user}")
        said = self.ask(f"PASS {account.password}")
        if said.startswith("-ERR [IN-USE]"):
            return False
        if not said.startswith("+OK"):
            raise Failed(f"PASS: {said}")
        return True

    def body(self) -> list[bytes]:
        """The lines up to the final dot, without their stuffing."""
        lines = []
        while (line := self.line()) != b".":
            lines.append(line[1:] if line.startswith(b".") else line)
        return lines

    def reset(self) -> None:
        """Ends it by RST."""
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass  # the server was faster
        self.close()

    def shut(self) -> None:
        """Closes our side only, and waits until the server closes its own."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
            while self.socket.recv(65536):
                pass
        except TimeoutError:
            raise Failed(f"half closed, and still open after {PATIENCE} s") from None
        except OSError:
            pass  # reset
        self.close()

    def close(self) -> None:
        """Ends it."""
        self.replies.close()
        self.socket.close()


class Vanishing:
    """A client: one session after the other, each with another end."""

    def __init__(
        self, world: World, server: Server, ledger: Ledger, interruptions: Interruptions
    ) -> None:
        self.world, self.server, self.ledger = world, server, ledger
        self.interruptions = interruptions

    def session(self, choice: random.Random, account: Account, end: Optional[End] = None) -> None:
        """One session. That it is lost is right only when the server was killed meanwhile."""
        end = end or choice.choices(list(ENDS), list(ENDS.values()))[0]
        life = self.interruptions.life()
        connection: Optional[Connection] = None
        try:
            transport = choice.choice((TLS, STLS, CLEARTEXT))
            connection = Connection(self.world, self.server, transport)
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
        self, choice: random.Random, account: Account, connection: Connection, end: End
    ) -> None:
        before, since = self.ledger.settled(account.user), time.monotonic()
        if not connection.logs_in(account):
            self.ledger.count("sessions told [IN-USE]")
            return
        self.ledger.count("sessions")
        listed = self._listing(account, connection)
        self.ledger.listing(account.user, since, before, listed)
        self._fetch(choice, connection, listed, before, end)
        if not end.is_in_retr:
            self._finish(choice, account, connection, listed, end)
        self.ledger.count(f"end: {end.value}")

    def _listing(self, account: Account, connection: Connection) -> list[Listed]:
        """STAT, LIST and UIDL, which have to agree; and which message has which unique-id."""
        count, total = map(int, connection.ok("STAT").split()[1:3])
        connection.ok("LIST")
        octets = {int(line.split()[0]): int(line.split()[1]) for line in connection.body()}
        connection.ok("UIDL")
        ids = {int(line.split()[0]): line.split()[1].decode() for line in connection.body()}
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
        self, choice: random.Random, connection: Connection, listed: list[Listed],
        before: dict[str, int], end: End,
    ) -> None:
        """Some messages; the last of them not to its end, where that is how it ends."""
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
        self, choice: random.Random, account: Account, connection: Connection,
        listed: list[Listed], end: End,
    ) -> None:
        """Marks some, and ends."""
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
            said = connection.line().decode()
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
