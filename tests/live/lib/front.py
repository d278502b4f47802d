"""A login in front of a POP3 server that runs for a single user on a connection.

Courier's pop3d and qmail-pop3d are started by login programs, which need system-wide databases of
users. This one has its own.
"""

import base64
import socket
import subprocess
import threading
from contextlib import suppress
from typing import Iterable, Optional, Sequence

from lib.process import LOOPBACK, free_port
from lib.site import Account, Site

CAPABILITIES = b"+OK\r\nUSER\r\nSASL PLAIN\r\nTOP\r\nUIDL\r\n.\r\n"


class Front:
    """A listener that runs a program for each session of a user who has logged in."""

    def __init__(
        self, site: Site, name: str, accounts: Iterable[Account], program: Sequence[str]
    ) -> None:
        """The Maildir is the last argument of the program, which is started as root."""
        self.accounts = {account.user: account for account in accounts}
        self.program = program
        self.log = site.root / f"{name}.log"
        self.port = free_port()
        self._listener = socket.socket()

    def start(self) -> None:
        """Starts to accept connections."""
        self._listener = socket.socket()
        # Its connections must not keep the port from the next server.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((LOOPBACK, self.port))
        self._listener.listen()
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        """Stops that, which leaves the port to another server."""
        with suppress(OSError):  # stopped before
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # stopped
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(60)
            connection.sendall(b"+OK\r\n")
            account = self._login(connection)
            if account is not None:
                connection.settimeout(None)
                self._run(connection, account)

    def _login(self, connection: socket.socket) -> Optional[Account]:
        user = ""
        while line := read_line(connection):
            command, _, argument = line.partition(" ")
            if command.upper() == "CAPA":
                connection.sendall(CAPABILITIES)
            elif command.upper() == "USER":
                user = argument
                connection.sendall(b"+OK\r\n")
            elif command.upper() == "PASS" and self._knows(user, argument):
                return self.accounts[user]
            elif line.upper().startswith("AUTH PLAIN"):
                user, password = self._plain(connection, line)
                if self._knows(user, password):
                    return self.accounts[user]
                connection.sendall(b"-ERR wrong password\r\n")
            else:
                connection.sendall(b"-ERR\r\n")
        return None

    def _plain(self, connection: socket.socket, line: str) -> tuple[str, str]:
        response = line[len("AUTH PLAIN"):].strip()
        if not response:
            connection.sendall(b"+ \r\n")
            response = read_line(connection)
        with suppress(ValueError):  # no response of PLAIN
            _, user, password = base64.b64decode(response).decode().split("\0")
            return user, password
        return "", ""

    def _knows(self, user: str, password: str) -> bool:
        account = self.accounts.get(user)
        return account is not None and account.password == password

    def _run(self, connection: socket.socket, account: Account) -> None:
        with self.log.open("ab") as log:
            subprocess.run(
                [*self.program, str(account.maildir)], check=False, cwd=account.maildir.parent,
                stdin=connection.fileno(), stdout=connection.fileno(), stderr=log,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "AUTHENTICATED": account.user},
            )


def read_line(connection: socket.socket) -> str:
    """A line, without a byte of what follows it: that is for the server."""
    line = b""
    while not line.endswith(b"\n"):
        octet = connection.recv(1)
        if not octet:
            return ""
        line += octet
    return line.decode().rstrip("\r\n")
