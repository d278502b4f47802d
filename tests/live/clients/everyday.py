"""The everyday use of a mail program, the same checks for each of them.

The program fetches all mail, fetches no message twice if it remembers them, and removes fetched mail
if so configured. It reports a wrong password and a maildrop in use soon, in its own words. The
passwords are stored in clear, so that SCRAM is offered, too.
"""

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Callable, Iterable

from clients.fetchers import Poplib
from clients.relay import Relay
from lib.clients import Client
from lib.corpus import Message, small_maildrop
from lib.report import Failed, Report, require, same_messages
from lib.server import CLEARTEXT, TLS, Clear, Server
from lib.site import Account, Site

# The number of programs at the same time: they mostly wait.
AT_ONCE = 4
# Seconds until a login to a maildrop in use is answered: lock-wait, and one more.
IN_USE = 6.0

# The checks over each transport.
WHAT = ("fetch-all", "fetch-again", "remove")


class Everyday(Client):
    """A client for these checks."""

    # Whether it remembers fetched messages; otherwise it fetches all each time.
    remembers = True
    # Its messages (regular expressions) about a wrong password, and about a maildrop in use.
    wrong = ""
    busy = ""
    # The time limit of a run, in seconds.
    limit = 30.0

    def more(self) -> Iterable[tuple[str, Callable[["Servers"], str]]]:
        """Further checks of this client, by name."""
        return ()


class Servers:
    """The servers for the clients, with the same users."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.usual = Clear(site, "everyday")
        self.lenient = Clear(site, "everyday-lenient", allow_cleartext=True)
        # Offers the -PLUS mechanisms before all others.
        self.binding = Clear(
            site, "everyday-binding",
            'mechanisms = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"]',
        )
        self.all = (self.usual, self.lenient, self.binding)

    def start(self) -> None:
        """Starts all of them."""
        self.account("everyday", [])
        for server in self.all:
            server.start()

    def taking(self, transport: str) -> Server:
        """The server that accepts passwords over this transport."""
        return self.lenient if transport == CLEARTEXT else self.usual

    def account(self, name: str, messages: list[Message]) -> Account:
        """A new user with this mail."""
        user = re.sub(r"[^a-z0-9]+", "-", name.lower())
        account = self.site.mailbox(user, messages)
        self.site.enter(account)
        return account


def checks(report: Report, site: Site, kinds: Iterable[type[Everyday]]) -> None:
    """Checks all clients, some of them at the same time."""
    clients = [kind(site) for kind in kinds]
    clients = [client for client in clients if any(map(report.wants, names(client)))]
    if not clients:
        return
    servers = Servers(site)
    try:
        servers.start()
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            # Any other exception in a thread ends the run.
            list(pool.map(lambda client: one(report, client, servers), clients))
        finally:
            pool.shutdown(cancel_futures=True)
        report.check("everyday servers end cleanly on SIGTERM", lambda: ended(servers))
    finally:
        for server in servers.all:
            server.kill()


def names(client: Everyday) -> Iterable[str]:
    """The names of all checks of a client."""
    yield f"{client.name} runs"
    for transport in client.transports:
        for what in WHAT:
            yield f"{client.name} {transport} {what}"
    yield f"{client.name} wrong-password"
    yield f"{client.name} in-use"
    for name, _ in client.more():
        yield f"{client.name} {name}"


def one(report: Report, client: Everyday, servers: Servers) -> None:
    """Runs all checks of one client, one after the other."""
    report.check(f"{client.name} runs", client.version)
    for transport in client.transports:
        over(report, client, servers, transport)
    report.check(f"{client.name} wrong-password", lambda: wrong_password(client, servers))
    report.check(f"{client.name} in-use", lambda: in_use(client, servers))
    for name, check in client.more():
        report.check(f"{client.name} {name}", lambda: check(servers))


def over(report: Report, client: Everyday, servers: Servers, transport: str) -> None:
    """A client over one transport: fetch, fetch again, remove."""
    name = f"{client.name} {transport}"
    if not any(report.wants(f"{name} {what}") for what in WHAT):
        return
    messages = [message for message in small_maildrop() if client.can_carry(message)]
    account = servers.account(f"everyday {name}", messages)
    endpoint = servers.taking(transport).endpoint(transport)
    home = client.site.home()

    def fetch() -> list[bytes]:
        return client.fetch(account, endpoint, home)

    def fetch_again() -> str:
        if client.remembers:
            return fetch_none(fetch)
        return f"it has no memory: {same_messages(fetch(), messages, client.shape)} again"

    def remove() -> str:
        received = client.remove(account, endpoint, client.site.home())
        said = same_messages(received, messages, client.shape)
        require(not account.files(), f"left in the Maildir: {sorted(account.files())}")
        return f"{said} removed"

    report.check(
        f"{name} fetch-all", lambda: fetch_all(fetch, account, messages, client.shape)
    )
    report.check(f"{name} fetch-again", fetch_again)
    report.check(f"{name} remove", remove)
    shutil.rmtree(account.maildir)


def fetch_all(
    fetch: Callable[[], list[bytes]], account: Account, messages: list[Message],
    shape: Callable[[bytes], bytes],
) -> str:
    """The client fetches all messages and does not change the Maildir."""
    before = account.files()
    said = same_messages(fetch(), messages, shape)
    require(account.files() == before, "fetching changed the Maildir")
    return said


def fetch_none(fetch: Callable[[], list[bytes]]) -> str:
    """The client fetches no message a second time."""
    received = fetch()
    require(not received, f"{len(received)} messages came a second time")
    return "no new mail"


def wrong_password(client: Everyday, servers: Servers) -> str:
    """The client reports the failed login in its own words."""
    account, transport = account_and_transport(client, servers, "wrong password")
    before = account.files()
    impostor = replace(account, password="not " + account.password)
    endpoint = servers.taking(transport).endpoint(transport)
    said = client.refusal(impostor, endpoint, client.site.home())
    require(account.files() == before, "the Maildir changed")
    return found(client.wrong, said)


def in_use(client: Everyday, servers: Servers) -> str:
    """A maildrop in use: the client reports it soon, and succeeds once the maildrop is free."""
    account, transport = account_and_transport(client, servers, "in use")
    endpoint = servers.taking(transport).endpoint(transport)
    before = account.files()
    other = Poplib(client.site).open(account, servers.usual.endpoint(TLS))
    # Only the time of the server counts, in all attempts together.
    with Relay(endpoint.port) as relay:
        said = client.refusal(account, relay.endpoint(transport), client.site.home())
        waited = relay.waited
    other.quit()
    received = client.fetch(account, endpoint, client.site.home())
    same_messages(received, small_maildrop()[:1], client.shape)
    require(account.files() == before, "the Maildir changed")
    words = found(client.busy, said)
    require(waited < IN_USE, f"answered after {waited:.1f} s")
    return f"{words}, after {waited:.1f} s"


def account_and_transport(
    client: Everyday, servers: Servers, what: str
) -> tuple[Account, str]:
    """A user with one message for a refusal, over TLS if the client supports it."""
    account = servers.account(f"everyday {client.name} {what}", small_maildrop()[:1])
    return account, TLS if TLS in client.transports else client.transports[0]


def found(pattern: str, said: str) -> str:
    """The client's message about the error; fails without one."""
    match = re.search(pattern, said)
    if match is None:
        raise Failed(f"not in the client's words: {pattern!r}: {said[-1500:]}")
    return match.group().strip()


def ended(servers: Servers) -> str:
    """All servers stop with exit code 0, and their logs have no error and no password."""
    for server in servers.all:
        server.stop()
        text = server.log.read_text(errors="replace")
        errors = [line for line in text.split("\n") if " ERROR " in line or "panicked" in line]
        require(not errors, f"{errors[:3]}")
        for account in servers.site.accounts.values():
            require(account.password not in text, f"{account.user}'s password is in the log")
    return f"{len(servers.all)} servers"
