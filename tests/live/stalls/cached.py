"""A file system that caches attributes, while other programs change the files below it.

The server reads through mergerfs, whose attributes the system caches for ten seconds, and which has
another inode number for each name of a file. The other programs change the underlying directories,
so that the cache is not invalidated. Each listing must have all messages that were not changed or
were only renamed, under their unique-ids; a new message may be delayed by the time of the cache.
"""

import threading
import time
from pathlib import Path

from lib.pop3 import Lost
from lib.process import SERVER_USER
from lib.report import Failed, Report
from lib.server import CLEARTEXT, Server
from lib.site import Site
from stalls.mount import Mount, served

USERS, STILL, RENAMED, KEPT, LATE = 4, 40, 20, 10, 5


def run(report: Report, program: Path, seconds: float = 30) -> None:
    """Runs all users for this time."""
    site = Site(program)
    mount = Mount("mergerfs", site, "source", "cached", f"cache.attr={KEPT},cache.entry={KEPT}")
    server = served(site, "cached")
    try:
        mailboxes = [Mailbox(mount, number) for number in range(USERS)]
        server.start()
        end = time.monotonic() + seconds
        work = [part for mailbox in mailboxes for part in (mailbox.change, mailbox.deliver)]
        threads = [threading.Thread(target=part, args=(end,)) for part in work]
        threads += [threading.Thread(target=mailbox.poll, args=(server, end)) for mailbox in mailboxes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        tell(report, mailboxes)
        report.expect(server.end(60) == 0, "it stops cleanly")
    finally:
        server.kill()
        mount.remove()
        site.close()


def tell(report: Report, mailboxes: "list[Mailbox]") -> None:
    """Prints the results."""
    for wrong in [wrong for mailbox in mailboxes for wrong in mailbox.wrong][:10]:
        print(wrong)
    listings = sum(mailbox.listings for mailbox in mailboxes)
    changes = sum(mailbox.changes for mailbox in mailboxes)
    delivered = sum(len(mailbox.delivered) for mailbox in mailboxes)
    partial = sum(len(mailbox.wrong) for mailbox in mailboxes)
    report.expect(
        partial == 0 and listings > 0,
        f"cached attributes: {listings} listings, each with {STILL + RENAMED} messages that had to "
        f"be there, {changes} renames and {delivered} deliveries meanwhile; wrong: {partial}",
    )


class Mailbox:
    """A Maildir, programs that change it, and a client that polls."""

    def __init__(self, mount: Mount, number: int) -> None:
        self.site = mount.site
        self.account = mount.mailbox(f"c{number}", 0)
        for still in range(STILL):
            self.write(f"{('cur', 'new')[still % 2]}/{still}.still", "Subject: s\n\n")
        self.moving = {f"{moving}.moving": f"new/{moving}.moving" for moving in range(RENAMED)}
        for path in self.moving.values():
            self.write(path, "Subject: m\n\n")
        self.must = {f"{still}.still" for still in range(STILL)} | set(self.moving)
        self.delivered: dict[str, float] = {}
        self.changes = self.listings = 0
        self.wrong: list[str] = []

    def write(self, name: str, text: str) -> None:
        """A file of the Maildir."""
        path = self.account.maildir / name
        path.write_text(text)
        self.site.own(path, SERVER_USER)

    def rename(self, old: str, new: str) -> None:
        """Renames a file."""
        (self.account.maildir / old).rename(self.account.maildir / new)

    def change(self, end: float) -> None:
        """Renames files back and forth: flags, and between new and cur."""
        step = 0
        while time.monotonic() < end:
            for name, old in self.moving.items():
                step += 1
                new = f"new/{name}" if step % 7 == 0 else f"cur/{name}:2,{('', 'S', 'RS')[step % 3]}"
                self.rename(old, new)
                self.moving[name] = new
                self.changes += 1
                time.sleep(0.002)

    def deliver(self, end: float) -> None:
        """Delivers a message to new every 20 milliseconds."""
        number = 0
        while time.monotonic() < end:
            number += 1
            name = f"{number}.delivered"
            self.write(f"tmp/{name}", "Subject: d\n\n")
            self.rename(f"tmp/{name}", f"new/{name}")
            self.delivered[name] = time.monotonic()
            time.sleep(0.02)

    def poll(self, server: Server, end: float) -> None:
        """Checks listings, and removes delivered messages when there are many."""
        removed: set[str] = set()
        try:
            while time.monotonic() < end:
                self._poll(server, removed)
        except (Failed, Lost) as error:
            self.wrong.append(f"{self.account.user}: {error}")

    def _poll(self, server: Server, removed: set[str]) -> None:
        begun = time.monotonic()
        with server.connect(CLEARTEXT, timeout=90) as client:
            reply = client.log_in(self.account.user, self.account.password)
            lines = [line.decode() for line in client.lines("UIDL")]
            numbers = {uid: number for number, uid in map(str.split, lines)}
            self.listings += 1
            known = {name for name, since in list(self.delivered.items())
                     if since + KEPT + LATE < begun}
            if missing := (self.must | known) - removed - set(numbers):
                self.wrong.append(f"{self.account.user}: {reply}: without {sorted(missing)[:5]}")
            if len(numbers) > 300:
                gone = [uid for uid in numbers if uid.endswith(".delivered")]
                for uid in gone:
                    client.ask(f"DELE {numbers[uid]}")
                removed.update(gone)
            client.ok("QUIT")
