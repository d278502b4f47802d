"""The POP3 client of the suites, which sends any command and returns each reply unchanged."""

import base64
import socket
import ssl
import struct
from typing import Optional, Union

from lib.process import LOOPBACK
from lib.report import Failed

# The replies if the password is wrong, a store is down, or another session has the maildrop.
WRONG = "-ERR [AUTH]"
DOWN = "-ERR [SYS/TEMP]"
IN_USE = "-ERR [IN-USE]"

Text = Union[str, bytes]


class Lost(ConnectionError):
    """The connection was closed."""


class Late(Failed, TimeoutError):
    """The server has not answered in time."""


class Pop3:
    """A connection: with TLS from the start, or after STLS, or without."""

    def __init__(
        self, port: int, *, tls: Optional[ssl.SSLContext] = None, stls: bool = False,
        host: str = LOOPBACK, source: Optional[str] = None, timeout: float = 60,
        receive_buffer: Optional[int] = None,
    ) -> None:
        self.timeout = timeout
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.replies = self.socket.makefile("rb")
        try:
            self.socket.settimeout(timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if receive_buffer is not None:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if source is not None:
                self.socket.bind((source, 0))
            self.socket.connect((host, port))
            if tls is not None and not stls:
                self._encrypt(tls)
            self.greeting = self.line()
            if tls is not None and stls:
                self.ok("STLS")
                self._encrypt(tls)
        except Failed:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise Lost(str(error)) from None

    def __enter__(self) -> "Pop3":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _encrypt(self, tls: ssl.SSLContext) -> None:
        self.replies.close()
        # A client sends the name only if it checks the certificate.
        name = "localhost" if tls.check_hostname else None
        self.socket = tls.wrap_socket(self.socket, server_hostname=name)
        self.replies = self.socket.makefile("rb")

    def write(self, text: bytes) -> None:
        """Sends octets."""
        try:
            self.socket.sendall(text)
        except OSError as error:
            raise Lost(str(error)) from None

    def send(self, *commands: Text) -> None:
        """Sends some commands in one write."""
        self.write(b"".join(octets(command) + b"\r\n" for command in commands))

    def line(self) -> str:
        """The next line, without its end."""
        return self._line().decode(errors="replace")

    def _line(self) -> bytes:
        try:
            line = self.replies.readline()
        except TimeoutError:
            raise Late(f"no reply within {self.timeout} s") from None
        except (OSError, ValueError) as error:
            raise Lost(str(error)) from None
        if not line.endswith(b"\n"):
            raise Lost(f"closed after {line!r}")
        if not line.endswith(b"\r\n"):
            raise Failed(f"a line that ends with LF alone: {line[-80:]!r}")
        return line[:-2]

    def some(self, number: int) -> None:
        """Reads this number of octets."""
        try:
            self.replies.read(number)
        except TimeoutError:
            raise Late(f"no {number} octets within {self.timeout} s") from None
        except OSError as error:
            raise Lost(str(error)) from None

    def body(self) -> list[bytes]:
        """The lines up to the final dot, with dots unstuffed."""
        lines = []
        while (line := self._line()) != b".":
            lines.append(line[1:] if line.startswith(b".") else line)
        return lines

    def until_closed(self) -> list[str]:
        """All lines until the server closes the connection."""
        lines = []
        try:
            while True:
                lines.append(self.line())
        except Lost:
            return lines

    def ask(self, command: Text) -> str:
        """Sends a command. Returns the first line of the reply."""
        self.send(command)
        return self.line()

    def ok(self, command: str) -> str:
        """The same; fails unless the reply is `+OK`."""
        said = self.ask(command)
        if not said.startswith("+OK"):
            raise Failed(f"{command.split()[0]}: {said}")
        return said

    def lines(self, command: str) -> list[bytes]:
        """Sends a command. Returns the lines of its reply; fails unless that is `+OK`."""
        self.ok(command)
        return self.body()

    def user(self, name: Text, password: Text) -> str:
        """USER and PASS. Returns the last reply."""
        said = self.ask(b"USER " + octets(name))
        return said if not said.startswith("+OK") else self.ask(b"PASS " + octets(password))

    def plain(self, name: Text, password: Text) -> str:
        """AUTH PLAIN. Returns the last reply."""
        said = self.ask("AUTH PLAIN")
        if not said.startswith("+ "):
            return said
        return self.ask(base64.b64encode(b"\0" + octets(name) + b"\0" + octets(password)))

    def external(self, name: str) -> str:
        """AUTH EXTERNAL as this user. Returns the last reply."""
        return self.ask(b"AUTH EXTERNAL " + (base64.b64encode(name.encode()) or b"="))

    def logs_in(self, name: str, password: str) -> bool:
        """USER and PASS. Returns false if the maildrop is in use; fails after any other refusal."""
        said = self.user(name, password)
        if said.startswith(IN_USE):
            return False
        if not said.startswith("+OK"):
            raise Failed(f"login of {name}: {said}")
        return True

    def log_in(self, name: str, password: str) -> str:
        """USER and PASS; fails after a refusal."""
        self.ok(f"USER {name}")
        return self.ok(f"PASS {password}")

    def certificate(self) -> bytes:
        """The server's certificate, with TLS."""
        assert isinstance(self.socket, ssl.SSLSocket)
        return self.socket.getpeercert(binary_form=True) or b""

    def reset(self) -> None:
        """Resets the connection."""
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass  # the server was faster
        self.close()

    def shut(self) -> None:
        """Closes the sending side, and waits until the server closes the connection."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
            while self.socket.recv(65536):
                pass
        except TimeoutError:
            raise Late(f"half closed, and still open after {self.timeout} s") from None
        except OSError:
            pass  # reset
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self.replies.close()
        self.socket.close()


def octets(text: Text) -> bytes:
    """The octets of a command."""
    return text if isinstance(text, bytes) else text.encode()
