"""SIGKILL while unique-ids are taken over: the next server lists them as the old one did."""

import random
import shutil
import time
from contextlib import suppress
from threading import Thread

from continuity.listing import Listing, ask, ids, same
from continuity.made import Made
from continuity.moves import FROM_DOVECOT, Taking
from lib.pop3 import Lost, Pop3
from lib.process import free_port
from lib.report import require
from lib.server import CLEARTEXT
from lib.site import Account, Site


def rounds(made: Made, source: Account, old: Listing, count: int) -> str:
    """So many kills, each of a server that takes over a fresh copy of this mail."""
    choice = random.Random(f"{made.seed} kills")
    length = _undisturbed(made.site, made.user(source))
    shown = 0
    for _ in range(count):
        account = made.user(source)
        shown += _one(made.site, account, old, choice.uniform(0, length * 1.2))
        shutil.rmtree(account.maildir)
    return f"{count} kills within {length * 1000:.0f} ms, {shown} of them after the listing"


def _undisturbed(site: Site, account: Account) -> float:
    """How long the first login takes."""
    server = _server(site, account)
    try:
        server.start()
        begin = time.monotonic()
        _list(server, account)
        return time.monotonic() - begin
    finally:
        server.kill()


def _one(site: Site, account: Account, old: Listing, delay: float) -> bool:
    """One kill, at this time after the first login has begun. Whether the client had a listing."""
    server = _server(site, account)
    seen: list[str] = []

    def look() -> None:
        with suppress(Lost):
            seen.extend(_list(server, account))

    try:
        server.start()
        client = Thread(target=look)
        client.start()
        time.sleep(delay)
        server.kill()
        client.join(30)
        require(seen in ([], ids(old)), f"before the kill it listed {len(seen)} of {len(old)}")
        server.start()
        same(old, ask(server.ports[CLEARTEXT], account))
        server.stop()
        require(not server.errors(), f"{server.errors()[:3]}")
    finally:
        server.kill()
    return bool(seen)


def _server(site: Site, account: Account) -> Taking:
    return Taking(site, account.user, free_port(), FROM_DOVECOT)


def _list(server: Taking, account: Account) -> list[str]:
    with Pop3(server.ports[CLEARTEXT]) as pop:
        pop.log_in(account.user, account.password)
        return [line.decode().split(" ", 1)[1] for line in pop.lines("UIDL")]
