"""A server with the stores of our choice, and a POP3 connection that shows every reply."""

import base64
import socket
import ssl
from pathlib import Path
from typing import Optional

from lib.process import LOOPBACK
from lib.report import require
from lib.server import TLS, Server
from lib.world import Account

WRONG = "-ERR [AUTH]"
DOWN = "-ERR [SYS/TEMP]"


class Session:
    """A POP3 connection over TLS that shows every reply as it is."""

    def __init__(
        self, server: Server, timeout: float = 20, source: str = LOOPBACK,
        certificate: Optional[Path] = None,
    ) -> None:
        context = server.world.client_tls()
        if certificate is not None:
            context.load_cert_chain(certificate)
        raw = socket.create_connection(
            (LOOPBACK, server.endpoint(TLS).port), timeout=timeout, source_address=(source, 0)
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


def login(server: Server, name: str, password: str, how: str = "user") -> str:
    """One login on a connection of its own: the greeting when that refuses, else the reply."""
    with Session(server) as session:
        if not session.greeting.startswith("+OK"):
            require(session.line() == "", "the connection stays open after the greeting refused")
            return session.greeting
        return str(getattr(session, how)(name.encode(), password))


def admitted(server: Server, account: Account) -> None:
    """The right password is taken, by both ways."""
    for how in ("user", "plain"):
        said = login(server, account.user, account.password, how)
        require(said.startswith("+OK"), f"{how}: the right password got {said!r}")
