"""A relay between a client and the server, which records the input and the response times."""

import base64
import socket
import threading
import time

from lib.server import CLEARTEXT, Endpoint


class Relay:
    """Listens on a separate port while the `with` block runs."""

    def __init__(self, port: int) -> None:
        self.sent = b""
        # The waits for octets of the server, in seconds, each since the last octets of either
        # side.
        self.waited = 0.0
        self._last = time.monotonic()
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listener]

    def endpoint(self, transport: str = CLEARTEXT) -> Endpoint:
        """The address for the client."""
        return Endpoint(self._listener.getsockname()[1], transport)

    def told(self, secret: str) -> bool:
        """Whether the client has sent this, plainly or in base64."""
        said = [self.sent]
        for word in self.sent.split():
            try:
                said.append(base64.b64decode(word, validate=True))
            except ValueError:
                pass  # not base64
        return any(secret.encode() in text for text in said)

    def __enter__(self) -> "Relay":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other side was faster
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed by __exit__
            server = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [client, server]
            self._last = time.monotonic()
            threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, from_client: bool) -> None:
        try:
            while data := source.recv(65_536):
                now = time.monotonic()
                if from_client:
                    self.sent += data
                else:
                    self.waited += now - self._last
                self._last = now
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one of the two has closed the connection
