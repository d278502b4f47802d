"""Restarts under load: with the service manager's sockets, and in the middle of a removal.

- With the sockets of a service manager no client is refused, however often the server is restarted.
  A client that is connected while the server stops may be disconnected before its login.
- SIGTERM in the middle of 5 000 removals: all are done and confirmed; or, with SIGTERM twice or
  without the client, all are done. The server always ends within its grace time.
"""

import os
import signal
import threading
import time
from functools import partial
from pathlib import Path
from typing import Callable

from lib.activated import Activated
from lib.corpus import ordinary
from lib.pop3 import Lost, Pop3
from lib.process import SERVER_USER
from lib.report import Failed, Report, require
from lib.server import CLEARTEXT, STLS, TLS, Clear
from lib.site import Account, Site

RESTARTS = 20
CLIENTS = 4
# The messages of a removal that is interrupted, and the time limit for the server's end: the
# default grace time, and the time of a removal on a slow disk.
REMOVED = 5_000
GRACE = 60.0


def checks(report: Report, program: Path) -> None:
    """All of them."""
    report.check(f"{RESTARTS} restarts under load, with a service manager's sockets",
                 lambda: activated(program))
    for name, after in AFTER.items():
        report.check(f"SIGTERM in the middle of {REMOVED} removals, {name}",
                     partial(interrupted, program, after))


def activated(program: Path) -> str:
    """Clients log in all the time while the server is restarted repeatedly."""
    site = Site(program)
    server = Activated(site)
    account = site.mailbox("ann", [ordinary(1)])
    site.enter(account, users=site.users)
    stop = threading.Event()
    clients = [Client(site, server, account, stop) for _ in range(CLIENTS)]
    try:
        server.start()
        server.told("READY=1")
        for client in clients:
            client.start()
        slowest = 0.0
        for _ in range(RESTARTS):
            time.sleep(0.5)
            begin = time.monotonic()
            os.kill(server.child, signal.SIGTERM)
            server.told("STOPPING=1")
            code = server.end()
            require(code == 0, f"ended with {code}: {server.last_words()}")
            server.start()
            server.told("READY=1")
            slowest = max(slowest, time.monotonic() - begin)
        time.sleep(0.5)
    finally:
        stop.set()
        for client in clients:
            if client.is_alive():
                client.join(70)
        server.kill()
        site.close()
    wrong = [text for client in clients for text in client.wrong]
    require(not wrong, f"{len(wrong)}: {wrong[:3]}")
    done, cut = (sum(getattr(client, what) for client in clients) for what in ("done", "cut"))
    require(done > RESTARTS, f"only {done} sessions")
    return f"{done} sessions, {cut} disconnected by a stop, none refused; slowest {slowest:.2f} s"


class Client(threading.Thread):
    """Logs in repeatedly."""

    def __init__(
        self, site: Site, server: Clear, account: Account, stop: threading.Event
    ) -> None:
        super().__init__(daemon=True)
        self.site, self.server, self.account, self.stop = site, server, account, stop
        self.done = self.cut = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        number = 0
        while not self.stop.wait(0.02):
            number += 1
            transport = TLS if number % 2 else STLS
            try:
                connection = self.server.connect(transport)
                connection.ok(f"USER {self.account.user}")
                said = connection.ask(f"PASS {self.account.password}")
                if said.startswith("+OK"):
                    connection.ok("STAT")
                    connection.ok("QUIT")
                    self.done += 1
                elif not said.startswith("-ERR [IN-USE]"):
                    self.wrong.append(said)
                connection.close()
            except Lost as error:
                self.cut += 1
                if "refused" in str(error).lower():
                    self.wrong.append(str(error))
            except Failed as error:
                self.wrong.append(str(error))


def interrupted(program: Path, after: Callable[[Clear, Pop3], str]) -> str:
    """A removal of many messages, with SIGTERM when some of them are gone."""
    site = Site(program)
    server = Clear(site, "interrupted", allow_cleartext=True)
    try:
        account = site.mailbox("ann")
        for number in range(REMOVED):
            name = f"{1_700_000_000 + number}.M{number}P1.post"
            (account.maildir / "new" / name).write_bytes(ordinary(number).stored)
        site.own(account.maildir, SERVER_USER)
        site.enter(account)
        server.start()
        connection = server.connect(CLEARTEXT)
        connection.log_in(account.user, account.password)
        for number in range(1, REMOVED + 1):
            connection.ok(f"DELE {number}")
        connection.send("QUIT")
        until(lambda: left(account) < REMOVED)
        process = server.process
        if process is None:
            raise Failed("there is no server")
        process.send_signal(signal.SIGTERM)
        at, begin = left(account), time.monotonic()
        said = after(server, connection)
        code = process.wait(GRACE)
        took = time.monotonic() - begin
        server.process = None
        require(code == 0, f"ended with {code}: {server.last_words()}")
        require(left(account) == 0, f"{left(account)} of {REMOVED} are there, the client: {said}")
        return f"{at} were left at SIGTERM, none at the end, {took:.1f} s later; the client: {said}"
    finally:
        server.kill()
        site.close()


def told(_: Clear, connection: Pop3) -> str:
    """The client waits for its reply."""
    said = connection.line()
    require(said.startswith("+OK"), f"QUIT: {said}")
    return said


def twice(server: Clear, connection: Pop3) -> str:
    """A second SIGTERM closes all connections; the removal is done nevertheless."""
    if server.process is not None:
        server.process.send_signal(signal.SIGTERM)
    try:
        return connection.line()
    except Lost:
        return "disconnected"


def gone(_: Clear, connection: Pop3) -> str:
    """The client does not wait for its reply."""
    connection.reset()
    return "has reset the connection"


AFTER: dict[str, Callable[[Clear, Pop3], str]] = {
    "the client waits": told, "sent twice": twice, "the client is gone": gone,
}


def until(condition: Callable[[], bool]) -> None:
    """Polls a condition at short intervals."""
    end = time.monotonic() + GRACE
    while not condition():
        require(time.monotonic() < end, f"not within {GRACE:.0f} s")


def left(account: Account) -> int:
    """The number of messages that are left."""
    return len(os.listdir(account.maildir / "new"))
