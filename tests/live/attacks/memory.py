"""Remains of passwords in the memory of the server after the sessions.

Each way of logging in uses another password. The passwords, and the forms in which they were sent,
are searched in all mappings of the process. Without TLS none may be left. With TLS, decrypted text
may be left: rustls frees its buffers without clearing them (docs/THREATS.md).
"""

import hashlib
import hmac
import secrets
import time
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Iterator

from lib.pop3 import Pop3
from lib.report import require
from lib.server import CLEARTEXT, TLS, Restante
from lib.site import Account, Site

SCRAM = "scram-sha-256"
# The users of the server with a cache and of the one without, and the other keys of the section.
SERVERS = {"without a cache": "", "with a cache": 'cache = "5m"\n'}
# The time limit for a reply.
PATIENCE = 30.0
# Failed logins are delayed.
DELAY = "1s"


class Remembering(Restante):
    """A server that accepts passwords without TLS."""

    def __init__(self, site: Site, name: str, more: str, users: Path) -> None:
        offered = 'mechanisms = ["PLAIN", "LOGIN", "SCRAM-SHA-256"]\n'
        store = f'{offered}{more}[[credentials]]\nkind = "file"\npath = "{users}"'
        super().__init__(site, name, lambda: store, failure_delay=DELAY)
        self.allow_cleartext = True


def user(client: Pop3, name: bytes, password: bytes) -> str:
    """USER and PASS."""
    return client.user(name, password)


def user_in_pieces(client: Pop3, name: bytes, password: bytes) -> str:
    """The same with the password in two pieces."""
    client.ok(f"USER {name.decode()}")
    client.write(b"PASS " + password[:20])
    time.sleep(0.05)
    return client.ask(password[20:])


def pipelined(client: Pop3, name: bytes, password: bytes) -> str:
    """The same in one write with later commands."""
    client.send(b"USER " + name, b"PASS " + password, "CAPA", "CAPA")
    reply = client.line()
    require(reply.startswith("+OK"), reply)
    decides = client.line()
    for _ in range(2):
        client.body()
    return decides


def plain(client: Pop3, name: bytes, password: bytes) -> str:
    """AUTH PLAIN with an initial response."""
    return client.ask(b"AUTH PLAIN " + response(name, password))


def plain_later(client: Pop3, name: bytes, password: bytes) -> str:
    """AUTH PLAIN with the response in a separate line."""
    return client.plain(name, password)


def login(client: Pop3, name: bytes, password: bytes) -> str:
    """AUTH LOGIN."""
    client.ask("AUTH LOGIN")
    client.ask(b64encode(name))
    return client.ask(b64encode(password))


def scram(client: Pop3, name: bytes, password: bytes) -> str:
    """AUTH SCRAM-SHA-256 (RFC 5802 §3): the password itself is not sent."""
    first = b"n=" + name + b",r=" + secrets.token_hex(12).encode()
    challenge = client.ask(b"AUTH SCRAM-SHA-256 " + b64encode(b"n,," + first))
    server_first = b64decode(challenge[2:])
    fields = dict(field.split(b"=", 1) for field in server_first.split(b","))
    salted = hashlib.pbkdf2_hmac("sha256", password, b64decode(fields[b"s"]), int(fields[b"i"]))
    key = hmac.digest(salted, b"Client Key", "sha256")
    bare = b"c=biws,r=" + fields[b"r"]
    stored = hashlib.sha256(key).digest()
    signature = hmac.digest(stored, b",".join((first, server_first, bare)), "sha256")
    proof = bytes(one ^ other for one, other in zip(key, signature))
    reply = client.ask(b64encode(bare + b",p=" + b64encode(proof)))
    return client.ask("") if reply.startswith("+ ") else reply


def response(name: bytes, password: bytes) -> bytes:
    """The response of PLAIN."""
    return b64encode(b"\0" + name + b"\0" + password)


@dataclass(frozen=True)
class Way:
    """A way to log in, and the stored form of the password."""

    what: Callable[[Pop3, bytes, bytes], str]
    scheme: str = "argon2id"
    is_right: bool = True


WAYS = (
    Way(user), Way(user_in_pieces), Way(pipelined), Way(plain), Way(plain_later), Way(login),
    Way(user, SCRAM), Way(plain, SCRAM), Way(scram, SCRAM),
    Way(user, is_right=False), Way(plain, is_right=False), Way(scram, SCRAM, is_right=False),
)


def forms(name: bytes, password: bytes) -> dict[str, bytes]:
    """The octets to search for: parts that are long enough to be unambiguous."""
    return {
        "its beginning": password[:16], "its end": password[-16:],
        "in base64": b64encode(password)[-20:], "in PLAIN": response(name, password)[-20:],
    }


def mapped(process: int) -> Iterator[tuple[str, bytes]]:
    """All readable memory of a process, with the names of the mappings."""
    root = Path(f"/proc/{process}")
    with (root / "mem").open("rb", 0) as memory:
        for line in (root / "maps").read_text().splitlines():
            place, rights, *rest = line.split(None, 5)
            first, last = (int(end, 16) for end in place.split("-"))
            if not rights.startswith("r") or rest[-1] in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
                continue
            memory.seek(first)
            try:
                yield line, memory.read(last - first)
            except OSError:
                # A guard page, or unmapped meanwhile.
                continue


def left_of(process: int, wanted: dict[bytes, str]) -> list[str]:
    """The mappings in which each of these is found."""
    found = []
    for line, octets in mapped(process):
        for form, what in wanted.items():
            at = octets.find(form)
            if at >= 0:
                found.append(f"{what}: {at:#x} from the beginning of {line}")
    return found


def search(site: Site) -> str:
    """Logs in by all ways, with TLS and without, and searches the memory for the passwords."""
    said = []
    for title, more in SERVERS.items():
        accounts: list[tuple[Way, str, Account, str]] = []
        for number, way in enumerate(WAYS):
            for transport in (TLS, CLEARTEXT):
                kind = "cached" if more else "plain"
                account = site.mailbox(f"{kind}-{number}-{transport.lower().replace(' ', '-')}")
                account = replace(account, password=secrets.token_urlsafe(24))
                site.add_user(account, scheme=way.scheme)
                sent = account.password if way.is_right else secrets.token_urlsafe(24)
                accounts.append((way, transport, account, sent))
        server = Remembering(site, f"memory-{'cached' if more else 'plain'}", more, site.users)
        server.start()
        try:
            wanted: dict[bytes, str] = {}
            for way, transport, account, sent in accounts:
                client = server.connect(transport, timeout=PATIENCE)
                name, password = account.user.encode(), sent.encode()
                reply = way.what(client, name, password)
                right = reply.startswith("+OK" if way.is_right else "-ERR")
                require(right, f"{way.what.__name__}: {reply!r}")
                client.ask("QUIT")
                client.close()
                outcome = "right" if way.is_right else "wrong"
                what = f"{way.what.__name__}, {way.scheme}, {transport}, {outcome}"
                parts = forms(name, password).items()
                wanted |= {octets: f"{what}, {form}" for form, octets in parts}
            require(server.process is not None, "the server does not run")
            found = left_of(server.process.pid, wanted)
            clear = [what for what in found if f", {CLEARTEXT}, " in what]
            require(not clear, f"{title}: {len(clear)} left: {'; '.join(clear)}")
        finally:
            server.kill()
        said.append(f"{title}: {len(accounts)} passwords, {len(found)} left in buffers of TLS")
    return "; ".join(said)
