"""TLS in front of an old server that has none of its own here: by STLS, or from the first octet."""

import select
import socket
import ssl
import threading
from contextlib import suppress
from types import TracebackType
from typing import Optional

from lib.front import read_line
from lib.process import LOOPBACK, free_port
from lib.site import Site


class Tls:
    """A listener with the certificate of the site, which passes everything on to another port."""

    def __init__(self, site: Site, behind: int) -> None:
        self.behind = behind
        self.port = free_port()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(site.certificate, site.key)
        self._listener = socket.socket()

    def __enter__(self) -> "Tls":
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((LOOPBACK, self.port))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, _: Optional[type[BaseException]], __: Optional[BaseException],
        ___: Optional[TracebackType],
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # stopped
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        inner = socket.create_connection((LOOPBACK, self.behind))
        # A client that refuses the certificate ends the handshake.
        with inner, connection, suppress(OSError):
            self._before(connection, inner)
            with self.context.wrap_socket(connection, server_side=True) as secure:
                relay(secure, inner)

    def _before(self, connection: socket.socket, inner: socket.socket) -> None:
        """What is said without TLS: nothing."""


class Stls(Tls):
    """The same for clients that begin without TLS."""

    def _before(self, connection: socket.socket, inner: socket.socket) -> None:
        connection.sendall(f"{read_line(inner)}\r\n".encode())
        while line := read_line(connection).upper():
            if line == "STLS":
                connection.sendall(b"+OK\r\n")
                return
            connection.sendall(b"+OK\r\nSTLS\r\n.\r\n" if line == "CAPA" else b"-ERR\r\n")


def relay(secure: ssl.SSLSocket, inner: socket.socket) -> None:
    """Passes on what either side sends, until one of them ends."""
    while True:
        ready = [secure] if secure.pending() else select.select([secure, inner], [], [])[0]
        for source in ready:
            octets = source.recv(65536)
            if not octets:
                return
            (inner if source is secure else secure).sendall(octets)
