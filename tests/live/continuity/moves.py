"""A move in place: an old server has served a Maildir, and Restante serves it afterwards."""

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

from continuity.history import History
from continuity.listing import Listing, ask, followed, ids, same
from continuity.old import Old, pop3_session
from lib.pop3 import Pop3
from lib.process import SERVER_USER, run
from lib.report import Report, require
from lib.server import CLEARTEXT, Clear
from lib.site import Account, Site

# The files of the old servers.
LISTS = ("dovecot-uidlist*", "dovecot-uidvalidity*", "dovecot.index*", "courierpop3dsizelist*")


def uidl(*sources: str) -> str:
    """The key of these sources."""
    return "uidl = [" + ", ".join(f'"{source}"' for source in sources) + "]"


@dataclass(frozen=True)
class Keys:
    """The configuration for mail of an old server."""

    # Lines of `[maildir]`, and other sections.
    maildir: tuple[str, ...] = ()
    sections: str = ""
    # Whether mail that has never been listed is in the order of the old server.
    is_in_order: bool = True
    # The old server for which a list can be written, and whether that tells it the order.
    list_of: Optional[str] = None
    has_order: bool = True


FROM_DOVECOT = Keys((uidl("dovecot", "base-name"),), list_of="dovecot")
FROM_COURIER = Keys((uidl("courier", "base-name"),), list_of="courier", has_order=False)
# It has no list: it sorts by the time of the last modification, wherever Restante lists new mail.
FROM_QMAIL = Keys((uidl("base-name"), 'order = "modified"'), has_order=False)
FROM_QMAIL_BY_NUMBER = Keys((uidl("base-name"),), is_in_order=False, has_order=False)


class Taking(Clear):
    """A server that takes unique-ids over, on the port of the old server."""

    def __init__(self, site: Site, name: str, port: int, keys: Keys) -> None:
        super().__init__(site, name, allow_cleartext=True)
        self.ports[CLEARTEXT] = port
        self.use(keys)

    def use(self, keys: Keys) -> None:
        """Has these keys from the next start on."""
        self.keys, self.maildir, self.more = keys, keys.maildir, keys.sections

    def restart(self) -> None:
        """Stops and starts it."""
        self.stop()
        self.start()

    def export(self, account: Account) -> None:
        """Writes the list of the old server, if that has any."""
        if self.keys.list_of is not None:
            run([
                self.site.program, "migrate", "export", "--config", self.config(),
                "--format", self.keys.list_of, "--user", account.user,
            ], who=None)

    def errors(self) -> list[str]:
        """The errors in its log."""
        text = self.log.read_text(errors="replace")
        return [line for line in text.split("\n") if " ERROR " in line or "panicked" in line]


def remove_lists(directory: Path) -> int:
    """Removes the lists of the old server. Returns the number of its files."""
    gone = [path for pattern in LISTS for path in directory.glob(pattern)]
    require(bool(gone), f"no lists in {directory}")
    for path in gone:
        path.unlink()
    return len(gone)


class Move:
    """The checks of one move, which depend on the first."""

    def __init__(
        self, report: Report, name: str, history: History, old: Old, server: Taking,
        lists: Optional[Path],
    ) -> None:
        """`lists` is the directory of the old server's lists."""
        self.report, self.name, self.history = report, name, history
        self.account = history.account
        self.old, self.server, self.lists = old, server, lists
        self.listed: Listing = []
        self.shown: Listing = []
        # The messages that have come back under their names.
        self.returned: set[str] = set()

    def run(self) -> None:
        """Runs all of them, after a last visit to the old server."""
        self.old.start()
        try:
            self.history.deliver(4)
            self.history.deliver_with_long_name()
            pop3_session(self.old.port, self.history)
            self.listed = ask(self.old.port, self.account)
        finally:
            self.old.stop()
        try:
            self._check("taken over", self._taken_over)
            if not self.shown:
                return
            self._check("after a restart", self._restarted)
            lists = self.lists
            if lists is not None:
                self._check("without the old lists", lambda: self._without(lists))
            self._check("without the index", self._without_index)
            self._check("new mail, flags and removals", self._goes_on)
            self._check("a removed message comes back", self._comes_back)
            self._check("after another restart", self._restarted)
            self._check("log without errors", self._log)
            self._check("handed back", self._handed_back)
        finally:
            self.server.kill()

    def _check(self, what: str, body: Callable[[], str]) -> None:
        self.report.check(f"{self.name}: {what}", body)

    def _taken_over(self) -> str:
        self.server.start()
        listing = self._ask()
        said = same(self.listed, listing, self.server.keys.is_in_order)
        self.shown = listing
        files = Counter(file.octets for file in self.account.files().values())
        require(not Counter(each.octets for each in listing) - files, "LIST is not what RETR sends")
        counted = {each.id: each.octets for each in self.listed}
        other = sum(counted.get(each.id) != each.octets for each in listing)
        return f"{said}; {other} messages have other octets"

    def _restarted(self) -> str:
        self.server.restart()
        return self._as_shown()

    def _without(self, lists: Path) -> str:
        self.server.stop()
        count = remove_lists(lists)
        self.server.start()
        return f"{self._as_shown()}; {count} files removed"

    def _without_index(self) -> str:
        self.server.stop()
        (self.account.maildir / "restante.index").unlink()
        self.server.start()
        return self._as_shown()

    def _goes_on(self) -> str:
        with Pop3(self.server.ports[CLEARTEXT]) as pop:
            pop.log_in(self.account.user, self.account.password)
            for number in (2, len(self.shown) // 2, len(self.shown)):
                pop.ok(f"DELE {number}")
            pop.ok("QUIT")
        self.history.move_and_flag(12)
        self.history.remove(2)
        self.history.deliver(6)
        now = self._ask()
        new = followed(self.shown, now)
        require(len(new) == 6 and len(now) == len(self.shown) + 1, f"{len(now)} are listed")
        used = set(ids(self.listed)) & set(ids(new))
        require(not used, f"a unique-id was used again: {used}")
        self.shown = now
        return f"{len(now)} unique-ids, {len(new)} of them new"

    def _comes_back(self) -> str:
        """It has its old name, and another unique-id, because a client forgets none."""
        path, = self.history.sample(1)
        kept = shutil.copy2(path, self.account.maildir.parent / path.name)
        path.unlink()
        require(not followed(self.shown, self._ask()), "there is new mail")
        shutil.move(kept, path)
        self.history.site.own(path, SERVER_USER)
        now = self._ask()
        new = followed(self.shown, now)
        require(ids(new) == ids(now[-1:]), f"{len(new)} are new")
        self.shown = now
        self.returned = {new[0].token}
        return f"with the unique-id {new[0].id}"

    def _log(self) -> str:
        self.server.stop()
        require(not self.server.errors(), f"{self.server.errors()[:3]}")
        return "none"

    def _handed_back(self) -> str:
        keys = self.server.keys
        self.server.export(self.account)
        self.old.start()
        try:
            old = ask(self.old.port, self.account)
        finally:
            self.old.stop()
        # Without a list, the old server cannot know that their unique-ids have changed.
        besides = self.returned if keys.list_of is None else set()
        shown, listed = (
            [each for each in listing if each.token not in besides] for listing in (self.shown, old)
        )
        require(len(listed) == len(shown), f"{len(old)} are listed, not {len(self.shown)}")
        return same(shown, listed, keys.has_order)

    def _as_shown(self) -> str:
        return same(self.shown, self._ask())

    def _ask(self) -> Listing:
        return ask(self.server.ports[CLEARTEXT], self.account)
