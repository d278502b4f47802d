"""Hostile clients, whose attacks must not affect the logins of others."""

import itertools
import secrets
import socket
import ssl
import threading
import time
from base64 import b64encode

from lib.abandoned import Abandoned, resident
from lib.process import LOOPBACK, until
from lib.report import Report, require
from lib.server import TLS, ByDefault, Restante
from lib.site import Account, Site

# Counted separately from `LOOPBACK`, which has all other clients.
ELSEWHERE = "127.0.0.2"

# The stores of these checks: a local one and two remote ones.
ATTACKED = ("file", "postgresql", "sqlite")

# Every login must be faster than this.
SLOWEST = 5.0

GROWTH_MIB = 2.0


class Garbage:
    """Clients that send garbage as fast as the server accepts it, one for each kind of garbage."""

    def __init__(self, server: Restante) -> None:
        self.server = server
        self.sent = {kind: 0 for kind in garbage(0)}
        self._over = threading.Event()
        self._clients = [
            threading.Thread(target=self._send, args=[kind]) for kind in self.sent
        ]

    def __enter__(self) -> "Garbage":
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for client in self._clients:
            client.join()

    def _send(self, kind: str) -> None:
        for number in itertools.count():
            if self._over.is_set():
                return
            try:
                with self.server.connect(timeout=3) as session:
                    session.write(garbage(number)[kind] + b"*\r\nQUIT\r\n")
                    self.sent[kind] += 1
                    session.until_closed()
            except OSError:
                pass  # thrown out, or tired of waiting for the throttle


def garbage(number: int) -> dict[str, bytes]:
    """Input that may break a server, each time a little different."""

    def lines(*texts: bytes) -> bytes:
        return b"".join(text + b"\r\n" for text in texts)

    def sasl(mechanism: bytes, *responses: bytes) -> bytes:
        return lines(b"AUTH " + mechanism, *map(b64encode, responses))

    nobody = b"nobody-%d" % number
    return {
        "bad base64": lines(b"AUTH PLAIN !!!!", b"AUTH LOGIN", b"a", b"AUTH PLAIN", b"====") * 4,
        "cancelled": lines(b"AUTH PLAIN", b"*", b"AUTH LOGIN", b"bm9ib2R5", b"*") * 5,
        "malformed SCRAM": b"".join(
            sasl(b"SCRAM-SHA-256", first, final)
            for final in (b"", b"c=biws,r=" + nobody, b"c=biws,r=,p=AAAA", b"\xff", b"," * 900)
            for first in (b"n,,n=mrose", b"y,,r=,n=", b"p=x,,n=m,r=a", b"n,,n==,r=a", b"\0" * 99)
        ),
        "NUL": lines(b"US\0ER mrose", b"\0" * 500, b"AUTH PLAIN\0") * 5
        + sasl(b"PLAIN", b"\0\0\0\0"),
        "invalid UTF-8": lines(b"USER \xff\xfe\xc0\x80", b"PASS \xff", b"\xf8\x88\x80\x80") * 3
        + sasl(b"PLAIN", b"\0\xff\xfe\0\xc3"),
        "long lines": lines(b"x" * 100_000, b"AUTH PLAIN " + b"A" * 100_000, b"USER " * 20_000),
        "huge fields": sasl(b"PLAIN", b"\0" + b"u" * 4000 + b"\0" + b"p" * 4000)
        + sasl(b"SCRAM-SHA-256", b"n,,n=" + b"u" * 4000 + b",r=" + b"r" * 4000),
        "unknown names": lines(b"USER " + nobody, b"PASS wrong")
        + sasl(b"PLAIN", b"\0" + nobody + b"\0wrong"),
    }


def undisturbed(server: ByDefault, account: Account, tries: int = 50) -> str:
    """Logins one after the other, from another address than the garbage."""
    taken: list[float] = []
    with Garbage(server) as garbage_clients:
        until(lambda: all(garbage_clients.sent.values()), 20)
        for _ in range(tries):
            started = time.monotonic()
            with server.connect(source=ELSEWHERE) as session:
                said = session.user(account.user, account.password)
                require(said.startswith("+OK"), f"login {len(taken) + 1} got {said!r}")
                taken.append(time.monotonic() - started)
                session.ask("QUIT")
    require(max(taken) < SLOWEST, f"a login took {max(taken):.1f} s")
    return (
        f"{tries} logins, the slowest {max(taken) * 1000:.0f} ms, "
        f"beside {sum(garbage_clients.sent.values())} connections full of garbage"
    )


def ask_for_anything(server: Restante, handshakes: int) -> None:
    """Handshakes, each with another unknown server name."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for _ in range(handshakes):
        with socket.create_connection((LOOPBACK, server.ports[TLS]), timeout=20) as raw:
            name = f"{secrets.token_hex(20)}.example.org"
            with context.wrap_socket(raw, server_hostname=name) as session:
                require(session.recv(3) == b"+OK", "a name kept the server from greeting")


def checks(report: Report, site: Site) -> None:
    """100 000 exchanges that are not finished, with thousands of names."""
    abandoned = Abandoned(site)

    def flat(exchanges: int = 100_000) -> str:
        abandoned.start()
        before, after = abandoned.measure(exchanges)
        text = f"{exchanges} exchanges, resident {before:.1f} MiB before and {after:.1f} after"
        require(after - before < GROWTH_MIB, text)
        return text

    def nameless(handshakes: int = 10_000) -> str:
        ask_for_anything(abandoned.server, 500)
        before = resident(abandoned.server)
        ask_for_anything(abandoned.server, handshakes)
        after = resident(abandoned.server)
        text = f"{handshakes} names, resident {before:.1f} MiB before and {after:.1f} after"
        require(after - before < GROWTH_MIB, text)
        return text

    try:
        report.check("memory does not grow by abandoned exchanges", flat)
        report.check("memory does not grow by names in TLS handshakes", nameless)
    finally:
        abandoned.server.kill()
