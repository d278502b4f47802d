"""One attack as a separate program: `attacker.py NAME CLEARTEXT-PORT TLS-PORT HTTP-PORT SECONDS`.

It runs at the lowest priority, so that the measured clients get a processor when they need one, and
prints its counts. It connects to the loopback only. The exit code is 1 if an answer was wrong.
"""

import asyncio
import os
import resource
import secrets
import socket
import ssl
import struct
import sys
import time
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Awaitable, Callable, ClassVar

ATTACKER, PASSWORD, MESSAGES = "mallory", "mallory", 20_000


@dataclass(frozen=True)
class Connection:
    """The addresses of an attacker and its target, and the end of the attack."""

    source: str
    cleartext: int
    tls: int
    http: int
    ends: float

    #: The number of connections so far.
    opened: ClassVar[int] = 0
    #: The first wrong answer.
    wrong: ClassVar[str] = ""

    async def open(self, receive: int = 0) -> socket.socket:
        """A connection to the port without TLS; with a small receive buffer, if one is given."""
        raw = socket.socket()
        raw.setblocking(False)
        try:
            if receive:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
            raw.bind((self.source, 0))
            await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", self.cleartext))
        except BaseException:
            raw.close()
            raise
        Connection.opened += 1
        return raw

    async def open_http(self, receive: int = 0) -> socket.socket:
        """A connection to the port of `[web]`, which is without TLS here."""
        return await replace(self, cleartext=self.http).open(receive)

    async def open_tls(self, minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2) -> ssl.SSLSocket:
        """A connection with a full handshake."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = minimum

        def connect() -> ssl.SSLSocket:
            raw = socket.create_connection(
                ("127.0.0.1", self.tls), timeout=20, source_address=(self.source, 0)
            )
            Connection.opened += 1
            return context.wrap_socket(raw)

        return await asyncio.to_thread(connect)

    def over(self) -> bool:
        """Whether it is time to stop."""
        return time.monotonic() >= self.ends

    async def wait(self, seconds: float) -> None:
        """Waits, at most until the end of the attack."""
        await asyncio.sleep(max(0.0, min(seconds, self.ends - time.monotonic())))


async def send(raw: socket.socket, octets: bytes) -> None:
    """Sends octets."""
    await asyncio.get_running_loop().sock_sendall(raw, octets)


async def try_to_send(raw: socket.socket, octets: bytes) -> None:
    """Sends octets for 2 s at most, to a server that may not read them."""
    try:
        await asyncio.wait_for(send(raw, octets), 2)
    except TimeoutError:
        pass


async def receive(raw: socket.socket, most: int = 65_536) -> bytes:
    """Reads available octets; fails if the server has closed the connection."""
    octets = await asyncio.get_running_loop().sock_recv(raw, most)
    if not octets:
        raise ConnectionResetError
    return octets


def reset(raw: socket.socket) -> None:
    """Makes the connection end with an RST."""
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def silent(at: Connection) -> int:
    """Connects and sends no octet."""
    with await at.open():
        await at.wait(3600)
    return 1


async def silent_and_back(at: Connection) -> int:
    """Connects, sends no octet, and connects again as soon as the server closes the connection."""
    with await at.open() as raw:
        try:
            while True:
                await asyncio.wait_for(receive(raw), max(0.01, at.ends - time.monotonic()))
        except TimeoutError:
            pass
    return 1


async def one_octet_at_a_time(at: Connection) -> int:
    """A command without an end, an octet a second."""
    with await at.open() as raw:
        for octet in b"USER " + b"x" * 3600:
            await send(raw, bytes([octet]))
            await at.wait(1)
            if at.over():
                break
    return 1


async def floods_and_leaves(at: Connection) -> int:
    """Sends 20 000 commands and disconnects, without reading."""
    with await at.open(receive=2048) as raw:
        await try_to_send(raw, b"CAPA\r\n" * 20_000)
        reset(raw)
    return 1


async def floods_and_reads(at: Connection) -> int:
    """Sends commands in pipelines and reads every reply."""
    with await at.open() as raw:
        while not at.over():
            await send(raw, b"CAPA\r\n" * 1000)
            await receive(raw, 1 << 20)
    return 1


async def does_not_read(at: Connection) -> int:
    """Requests more output than the buffers hold, and does not read it."""
    with await at.open(receive=2048) as raw:
        await try_to_send(raw, b"CAPA\r\n" * 150)
        await at.wait(3600)
    return 1


async def half_a_line(at: Connection) -> int:
    """The longest line that is accepted, without an end."""
    with await at.open() as raw:
        await send(raw, b"AUTH " + b"x" * 16_000)
        await at.wait(3600)
    return 1


async def half_a_hello(at: Connection) -> int:
    """64 KiB of a ClientHello without an end."""
    with await replace(at, cleartext=at.tls).open() as raw:
        record = b"\x16\x03\x01" + struct.pack(">H", 16_000)
        hello = b"\x01" + (65_000).to_bytes(3, "big") + bytes(65_000)
        for part in range(0, 64_000, 16_000):
            await send(raw, record + hello[part : part + 16_000])
        await at.wait(3600)
    return 1


async def handshakes(at: Connection) -> int:
    """Full handshakes, each of which the server must sign."""
    (await at.open_tls()).close()
    return 1


async def hellos(at: Connection) -> int:
    """The first half of a handshake, which is cheap for the client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context.wrap_bio(incoming, outgoing).do_handshake()
    except ssl.SSLWantReadError:
        pass
    with await replace(at, cleartext=at.tls).open() as raw:
        await send(raw, outgoing.read())
        await asyncio.wait_for(receive(raw), 20)
        reset(raw)
    return 1


async def guesses(at: Connection) -> int:
    """Wrong passwords for one user."""
    with await at.open_tls() as raw:
        await asyncio.to_thread(raw.sendall, b"USER argon2\r\nPASS " + word() + b"\r\n")
        return await asyncio.to_thread(heard, raw)


async def new_names(at: Connection) -> int:
    """Passwords for unknown names, each of which costs a hash."""
    with await at.open_tls() as raw:
        await asyncio.to_thread(raw.sendall, b"USER " + word() + b"\r\nPASS x\r\n")
        return await asyncio.to_thread(heard, raw)


def heard(raw: ssl.SSLSocket) -> int:
    """Whether a password was verified before the server closed the connection."""
    replies = b""
    while replies.count(b"\r\n") < 3:
        part = raw.recv(4096)
        if not part:
            break
        replies += part
    return int(b"-ERR [AUTH]" in replies)


async def first_halves(at: Connection) -> int:
    """SCRAM exchanges that are abandoned after the first message."""
    first = b64encode(b"n,,n=argon2,r=" + word())
    with await at.open_tls() as raw:
        begun = b"AUTH SCRAM-SHA-256 " + first + b"\r\n*\r\n"
        await asyncio.to_thread(raw.sendall, (begun * 8 + b"CAPA\r\n") * 5)
        while await asyncio.to_thread(raw.recv, 65_536):
            if at.over():
                break
    return 1


async def garbage(at: Connection) -> int:
    """Garbage of ten kinds."""
    kinds = (
        secrets.token_bytes(4096), b"\0" * 4096, b"\xff\r\n" * 1000, b"\n" * 4096,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"SSH-2.0-x\r\n", b"A" * 65_536,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + secrets.token_bytes(512),
        b"AUTH PLAIN " + b"=" * 4096 + b"\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n",
    )
    for kind in kinds:
        with await at.open() as raw:
            await send(raw, kind)
            try:
                await asyncio.wait_for(receive(raw), 1)
            except TimeoutError:
                pass
    return len(kinds)


async def resets_marks(at: Connection) -> int:
    """A user with a large maildrop who repeats RSET."""
    with await at.open_tls() as raw:
        login = f"USER {ATTACKER}\r\nPASS {PASSWORD}\r\n".encode()
        await asyncio.to_thread(raw.sendall, login)
        while not at.over():
            await asyncio.to_thread(raw.sendall, b"RSET\r\n" * 1000)
            for _ in range(4):
                await asyncio.to_thread(raw.recv, 65_536)
    return 1


async def silent_http(at: Connection) -> int:
    """Connects to the port for HTTP and sends no octet, until the server closes the connection."""
    with await at.open_http() as raw:
        await asyncio.wait_for(receive(raw), max(0.01, at.ends - time.monotonic()))
    return 1


async def slow_http(at: Connection) -> int:
    """A head, then a body, an octet a second."""
    with await at.open_http() as raw:
        for start in (b"GET / HTTP/1.1\r\nHost: ", post("/", 3600)):
            await send(raw, start)
            for _ in range(8):
                await send(raw, b"x")
                await at.wait(1)
            if at.over():
                break
            await send(raw, b"\r\n\r\n")
    return 1


async def unread_http(at: Connection) -> int:
    """Requests pages in a pipeline, and does not read them."""
    with await at.open_http(receive=2048) as raw:
        await try_to_send(raw, b"GET /style.css HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)
        await at.wait(3600)
    return 1


async def hostile_http(at: Connection) -> int:
    """Requests that are refused, each of which must have the right answer."""
    for request, expected in HOSTILE:
        with await at.open_http() as raw:
            # The server may close the connection before it has read all of it.
            with suppress(ConnectionError):
                await try_to_send(raw, request)
            said = b""
            with suppress(ConnectionError):
                while not said or expected == REFUSED and b"</Autodiscover>" not in said:
                    said += await asyncio.wait_for(receive(raw), 20)
        # The reset of a connection that is closed with octets unread may overtake the answer.
        if said and expected not in said and not Connection.wrong:
            Connection.wrong = f"{said[:200]!r} to {request[:200]!r}"
    return len(HOSTILE)


def post(path: str, length: int) -> bytes:
    """The head of a request with a body of this length."""
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


def autodiscover(body: bytes) -> bytes:
    """A request of autodiscover."""
    return post("/autodiscover/autodiscover.xml", len(body)) + body


def get(path: bytes, fields: bytes = b"Host: x\r\n", method: bytes = b"GET") -> bytes:
    """A request without a body."""
    return method + b" " + path + b" HTTP/1.1\r\n" + fields + b"\r\n"


def bomb() -> bytes:
    """Entities that would expand to a thousand million letters."""
    levels = range(1, 10)
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in levels)
    return f'<!DOCTYPE a [<!ENTITY a0 "x">{entities}]><EMailAddress>&a9;@a</EMailAddress>'.encode()


REFUSED = b"<ErrorCode>600</ErrorCode>"
# Requests, and what their answers have in them.
HOSTILE = (
    (autodiscover(bomb()), REFUSED),
    (autodiscover(b'<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><a>&a;</a>'), REFUSED),
    (autodiscover(b"<a>" * 2700), REFUSED),
    (autodiscover(b"<a " + b"".join(b"b%d='' " % n for n in range(900)) + b"/>"), REFUSED),
    (autodiscover(b"\xff" * 8000), REFUSED),
    (autodiscover(b"<a>" * 20_000), b" 413 "),
    (post("/", 1 << 40), b" 413 "),
    (post("/", -1), b" 400 "),
    (get(b"/", method=b"DELETE"), b" 405 "),
    (get(b"/", method=b"CONNECT"), b"HTTP/1.1 4"),
    (get(b"/../../etc/passwd"), b" 404 "),
    (get(b"/%2e%2e/%2e%2e/etc/passwd"), b" 404 "),
    (get(b"//etc/passwd"), b" 404 "),
    (get(b"/" + b"x" * 60_000), b" 431 "),
    (get(b"/", b""), b" 400 "),
    (get(b"/", b"Host: a\r\nHost: b\r\n"), b" 400 "),
    (get(b"/", b"Host: u@a\r\n"), b" 400 "),
    (get(b"/", b"Host: x\r\n" + b"A: b\r\n" * 1000), b" 431 "),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", b" 400 "),
)


def word() -> bytes:
    """A new name or password."""
    return secrets.token_hex(8).encode()


@dataclass(frozen=True)
class Attack:
    """The number of connections at a time, the number of addresses, and the action to repeat."""

    what: Callable[[Connection], Awaitable[int]]
    connections: int
    addresses: int = 1


# The attacks by name; each function describes its own.
ATTACKS = {
    "silent, one address": Attack(silent, 400),
    "silent, 200 addresses": Attack(silent, 9000, 200),
    "silent, more than there is room for": Attack(silent_and_back, 11_000, 250),
    "an octet a second": Attack(one_octet_at_a_time, 1000, 25),
    "half a line": Attack(half_a_line, 3000, 100),
    "half a hello": Attack(half_a_hello, 3000, 100),
    "does not read": Attack(does_not_read, 2000, 50),
    "floods and leaves, one address": Attack(floods_and_leaves, 50),
    "floods and leaves, 40 addresses": Attack(floods_and_leaves, 2000, 40),
    "floods and reads": Attack(floods_and_reads, 20),
    "handshakes, one address": Attack(handshakes, 20),
    "hellos, one address": Attack(hellos, 20),
    "hellos, 40 addresses": Attack(hellos, 40, 40),
    "guesses, one address": Attack(guesses, 40),
    "guesses, 1000 addresses": Attack(guesses, 40, 1000),
    "new names, 40 addresses": Attack(new_names, 80, 40),
    "first halves of SCRAM": Attack(first_halves, 20),
    "garbage": Attack(garbage, 20, 4),
    "RSET, a large maildrop": Attack(resets_marks, 2, 2),
    "HTTP, silent": Attack(silent_http, 2000, 100),
    "HTTP, slow": Attack(slow_http, 200, 20),
    "HTTP, does not read": Attack(unread_http, 200, 20),
    "HTTP, hostile requests": Attack(hostile_http, 20, 4),
}


async def run(attack: Attack, ports: list[int], seconds: float) -> tuple[int, int]:
    """Keeps the connections busy. Returns how often the action succeeded and was cut off."""
    ends = time.monotonic() + seconds
    done = failed = 0

    async def keep_on(first: int) -> None:
        nonlocal done, failed
        turn = first
        while time.monotonic() < ends:
            at = Connection(address(turn % attack.addresses), *ports, ends)
            turn += attack.connections
            try:
                done += await attack.what(at)
            except (OSError, TimeoutError):
                failed += 1
                await at.wait(0.05)

    tasks = [asyncio.create_task(keep_on(number)) for number in range(attack.connections)]
    await asyncio.wait(tasks, timeout=seconds + 2)
    for task in tasks:
        task.cancel()
    return done, failed


def address(number: int) -> str:
    """The addresses of attackers, each in another network."""
    return f"127.{8 + number // 250}.{1 + number % 250}.1"


def main(name: str, *ports: str, seconds: str) -> None:
    """Prints the number of connections, and how often an action was completed and was cut off."""
    os.nice(19)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    done, failed = asyncio.run(run(ATTACKS[name], [int(port) for port in ports], float(seconds)))
    print(f"{Connection.opened} connections, {done} times done, {failed} times cut off", flush=True)
    if Connection.wrong:
        print(f"wrong: {Connection.wrong}", flush=True)
    # Threads may still wait for the server.
    os._exit(1 if Connection.wrong else 0)


if __name__ == "__main__":
    main(*sys.argv[1:-1], seconds=sys.argv[-1])
