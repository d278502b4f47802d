"""Mail that a program has copied over IMAP, which gives each message another file name."""

import imaplib
from typing import Callable

from continuity.clients import Saved
from continuity.listing import Listing, ask, ids
from continuity.moves import Keys, Taking, uidl
from continuity.old import Dovecot23
from continuity.steps import migrate, users_file
from lib.process import CLIENT_USER, LOOPBACK, SERVER_USER, run
from lib.report import require
from lib.server import CLEARTEXT
from lib.site import Account, Site

# Copies all mail of the inbox of a user from one port to another.
Copy = Callable[[Site, int, int, Account], None]


def adopted(old: Dovecot23, new: Dovecot23, saved: Saved, server: Taking, copy: Copy) -> str:
    """The unique-ids are found again, and the client fetches nothing twice."""
    account = saved.account
    for dovecot in (old, new):
        dovecot.start()
    try:
        listing = ask(old.port, account)
        got = saved.poll(old.port)
        require(got.total() == len(listing), f"fetched {got.total()} of {len(listing)}")
        copy(server.site, old.ports["imap"], new.ports["imap"], account)
        new.stop()
        adopt(server, old.port, account)
    finally:
        old.stop()
        new.stop()
    server.start()
    said = same(listing, ask(server.ports[CLEARTEXT], account))
    saved.none(server.ports[CLEARTEXT])
    server.stop()
    return said


def adopt(server: Taking, port: int, account: Account) -> None:
    """Has the unique-ids that the old server lists at this port."""
    maps = server.site.root / f"{server.name}.maps"
    maps.mkdir()
    server.site.own(maps, SERVER_USER)
    server.config().write_text(server.configuration())
    asking = ["--old", f"pop3://localhost:{port}", "--cleartext", "--users"]
    migrate(server, "adopt", *asking, users_file(server, [account]), "--output", maps)
    server.use(Keys((uidl("map", "name"),), f'[maildir.map]\npath = "{maps}/{{user}}"\n'))


def same(old: Listing, new: Listing) -> str:
    """The same unique-ids of the same messages, in any order."""
    wanted, now = ({(each.id, each.token) for each in listing} for listing in (old, new))
    require(wanted == now, f"not found: {sorted(wanted - now)[:3]} of {len(wanted)}")
    return f"{len(set(ids(new)))} unique-ids"


def by_appends(_: Site, source: int, target: int, account: Account) -> None:
    """Without a program, each message as it is."""
    clients = [imaplib.IMAP4(LOOPBACK, port, timeout=60) for port in (source, target)]
    for client in clients:
        client.login(account.user, account.password)
        client.select("INBOX")
    _, found = clients[0].fetch("1:*", "(BODY.PEEK[])")
    for item in found:
        if isinstance(item, tuple):
            clients[1].append("INBOX", "", "", item[1])
    for client in clients:
        client.logout()


def by_mbsync(site: Site, source: int, target: int, account: Account) -> None:
    """mbsync, which adds a field `X-TUID` to each header."""
    home = site.home()
    config = home / "mbsyncrc"
    stores = "".join(
        f'IMAPStore {name}\nHost {LOOPBACK}\nPort {port}\nUser {account.user}\n'
        f'Pass "{account.password}"\nSSLType None\nAuthMechs LOGIN\n\n'
        for name, port in (("old", source), ("new", target))
    )
    channel = f"Channel copy\nFar :old:INBOX\nNear :new:INBOX\nSync Pull\nSyncState {home}/state\n"
    config.write_text(stores + channel)
    config.chmod(0o600)
    site.own(home, CLIENT_USER)
    run(["mbsync", "--config", config, "copy"], home=home)
