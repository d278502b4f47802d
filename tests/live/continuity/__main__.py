"""Moves Maildirs from real servers to Restante, in place, and compares what both list.

    cargo build --release --locked && python3 tests/live continuity target/release/restante

An old server serves a made history: deliveries in the manners of several programs, sessions by POP3
and IMAP. What it answers to UIDL and LIST is then expected of Restante on the same Maildir: the same
unique-ids of the same messages, in the same order. That holds after restarts, without the old lists
and the index, with new mail, removals and flags, and on the way back, after `restante migrate
export`. Clients with their saved state fetch no message again, in both directions. Dovecot's IMAP
server goes on beside Restante, the server is killed while it takes over, and the guard refuses
logins.

The old servers are Dovecot 2.3 with each of its formats, and Courier. `--debian-13` adds Dovecot 2.4
and the newer Courier, in a Debian 13 that is made once in target/continuity. `--qmail-pop3d PROGRAM`
adds that program. `--thunderbird` adds Thunderbird to the clients.

Prints a line for each check and a closing line; the exit code is 1 if one failed. Words after the
program restrict the run to the parts whose names begin with one of them, for example "Courier". Only
root can run Dovecot.
"""

import argparse
import os
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Callable, Optional, Sequence

from continuity import beside, copied, dovecot24, guard, kills, steps
from continuity.clients import CLIENTS, Polls, Saved
from continuity.history import Orderly
from continuity.listing import ask
from continuity.made import Made
from continuity.moves import (
    FROM_COURIER, FROM_DOVECOT, FROM_QMAIL, FROM_QMAIL_BY_NUMBER, Keys, Move, Taking, uidl,
)
from continuity.old import FORMATS, Dovecot23, Format, Old
from lib import uninstalled
from lib.clients import Client, Fetchmail, Getmail
from lib.front import Front
from lib.process import free_port
from lib.report import Report
from lib.site import Account, Site
from lib.thunderbird import Thunderbird

# The messages of the Maildir that is taken over while the server is killed.
LARGE = 1000
# Those of the Maildir that comes back from a copy.
ORDERLY = 40

# Makes a Dovecot with a format and settings.
DovecotOf = Callable[[list[Account], Format, tuple[str, ...]], Dovecot23]


def main() -> int:
    """Runs all parts."""
    arguments = parse()
    if os.geteuid() != 0:
        print("only root can run Dovecot", file=sys.stderr)
        return 2
    # If it is ended by a signal, it still ends its servers and removes its files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    site = Site(arguments.program)
    try:
        suite = Suite(arguments, site)
        suite.run()
    finally:
        site.close()
    return suite.report.close()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="continuity", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("program", type=lambda text: Path(text).resolve())
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--deliveries", type=int, default=160, metavar="N")
    parser.add_argument("--kills", type=int, default=10, metavar="N")
    parser.add_argument("--debian-13", action="store_true")
    parser.add_argument("--thunderbird", action="store_true")
    parser.add_argument("--qmail-pop3d", type=lambda text: Path(text).resolve(), metavar="PROGRAM")
    return parser.parse_intermixed_args()


class Suite:
    """All parts, each with its old server."""

    def __init__(self, arguments: argparse.Namespace, site: Site) -> None:
        self.arguments, self.site = arguments, site
        self.report = Report(only=[])
        self.made = Made(site, arguments.seed, arguments.deliveries)
        self.kinds: list[type[Client]] = [*CLIENTS]
        if arguments.thunderbird:
            self.kinds.append(Thunderbird)

    def run(self) -> None:
        """Runs the parts that are wanted."""
        served = self.made.by_dovecot()
        self._dovecot("Dovecot 2.3", served, FORMATS, self._dovecot_23)
        self._part("Dovecot 2.3, %f, by base names", lambda name: self._by_base_names(name, served))
        self._program("Courier", uninstalled.courier, FROM_COURIER)
        self._part("Courier, asked by the audit", self._audited)
        self._part("beside Dovecot's IMAP", lambda name: self._beside(name, served))
        self._part("steps from Dovecot 2.3", lambda name: self._steps(
            name, served, FORMATS, self._dovecot_23
        ))
        for program, copy in (("IMAP", copied.by_appends), ("mbsync", copied.by_mbsync)):
            self._part(f"copied by {program}", lambda name: self._copied(name, served, copy))
        for place in ("mdbox:~/mdbox", "sdbox:~/sdbox", "mbox:~/mail:INBOX=~/inbox"):
            name = f"converted from {place.partition(':')[0]}"
            self._part(name, lambda name: self._converted(name, served, place))
        self._part("guard", lambda name: self._guard(name, served))
        self._part("kills", self._kills)
        if self.arguments.debian_13:
            guest = uninstalled.Guest(self.site.root)
            server = partial(self._dovecot_24, guest)
            self._dovecot("Dovecot 2.4", served, dovecot24.FORMATS, server)
            self._part("steps from Dovecot 2.4", lambda name: self._steps(
                name, served, dovecot24.FORMATS, server
            ))
            self._program("Courier of Debian 13", guest.courier, FROM_COURIER)
        if self.arguments.qmail_pop3d:
            program = uninstalled.unprivileged(self.arguments.qmail_pop3d)
            self._program("qmail-pop3d", lambda: program, FROM_QMAIL)
            self._program("qmail-pop3d, by number", lambda: program, FROM_QMAIL_BY_NUMBER)

    def _part(self, name: str, body: Callable[[str], None]) -> None:
        words = self.arguments.words
        if words and not any(name.startswith(word) for word in words):
            return
        try:
            body(name)
        except Exception as error:  # the other parts go on
            self.report.expect(False, f"{name}: {type(error).__name__}: {error}")

    def _dovecot(
        self, server: str, served: Account, forms: Sequence[Format], of: DovecotOf
    ) -> None:
        """A Dovecot with all formats, and clients of the first two."""
        for form in forms:
            self._part(
                f"{server}, {form.name}", lambda name: self._from_dovecot(name, served, form, of)
            )
        for form in forms[:2]:
            self._part(f"clients of {server}, {form.name}", lambda name: self._clients(
                name, served, lambda accounts: of(accounts, form, form.dovecot), keys_of(form)
            ))

    def _program(
        self, server: str, program: Callable[[], list[str]], keys: Keys
    ) -> None:
        """A POP3 server behind `Front`, and its clients."""
        def front(accounts: list[Account]) -> Front:
            return Front(self.site, self.made.name(), accounts, program())

        def moved(name: str) -> None:
            account = self.made.user(self.made.by_program(program()))
            lists = account.maildir if keys.list_of else None
            self._move(name, front([account]), account, keys, lists)

        self._part(server, moved)
        self._part(f"clients of {server}", lambda name: self._clients(
            name, self.made.by_program(program()), front, keys
        ))

    def _dovecot_23(
        self, accounts: list[Account], form: Format, settings: tuple[str, ...]
    ) -> Dovecot23:
        maildir = f"maildir:{self.site.root}/mail/%u/Maildir"
        location = f"{maildir}:CONTROL={self._control()}/%u" if form.is_elsewhere else maildir
        return Dovecot23(self.site, self.made.name(), accounts, *settings, location=location)

    def _dovecot_24(
        self, guest: uninstalled.Guest, accounts: list[Account], form: Format,
        settings: tuple[str, ...],
    ) -> Dovecot23:
        control = str(self._control()) if form.is_elsewhere else ""
        name = self.made.name()
        return dovecot24.Dovecot24(guest, self.site, name, accounts, *settings, control=control)

    def _control(self) -> Path:
        """Where the lists are if they are elsewhere."""
        return self.site.root / "mail" / "control"

    def _from_dovecot(
        self, name: str, served: Account, form: Format, of: DovecotOf
    ) -> None:
        account = self.made.user(served)
        keys, lists = keys_of(form), account.maildir
        if form.is_elsewhere:
            for path in account.maildir.glob("dovecot*"):
                path.unlink()
            control = f'control = "{self._control()}/{{user}}/.INBOX"\n'
            keys = replace(keys, sections=keys.sections + control)
            lists = self._control() / account.user / ".INBOX"
        if form.before:
            earlier = of([account], form, form.before)
            earlier.start()
            ask(earlier.port, account)
            earlier.stop()
        old = of([account], form, form.dovecot)
        self._move(name, old, account, keys, lists)

    def _by_base_names(self, name: str, served: Account) -> None:
        """Without a list that tells the order."""
        account, form = self.made.user(served), FORMATS[1]
        keys = Keys((uidl("base-name"),), is_in_order=False, list_of="dovecot")
        old = self._dovecot_23([account], form, form.dovecot)
        server = Taking(self.site, self.made.name(), old.port, keys)
        history = self.made.history(account)
        Move(self.report, name, history, old, server, account.maildir).run()

    def _move(
        self, name: str, old: Old, account: Account, keys: Keys, lists: Optional[Path]
    ) -> None:
        server = Taking(self.site, self.made.name(), old.port, keys)
        Move(self.report, name, self.made.history(account), old, server, lists).run()

    def _clients(
        self, name: str, served: Account, front: Callable[[list[Account]], Old], keys: Keys
    ) -> None:
        saved = [self._saved(kind, served) for kind in self.kinds]
        polls = Polls(self.report, name, saved)
        old = front([each.account for each in saved])
        old.start()
        try:
            polls.old(old.port)
        finally:
            old.stop()
        server = Taking(self.site, self.made.name(), old.port, keys)
        try:
            server.start()
            polls.moved(old.port)
            server.stop()
            for each in saved:
                server.export(each.account)
            old.start()
            polls.back(old.port)
        finally:
            server.kill()
            old.stop()

    def _saved(self, kind: type[Client], served: Account) -> Saved:
        return Saved(kind(self.site), self.made.history(self.made.user(served)))

    def _beside(self, name: str, served: Account) -> None:
        account = self.made.user(served)
        dovecot = Dovecot23(self.site, self.made.name(), [account])
        server = Taking(self.site, self.made.name(), free_port(), FROM_DOVECOT)
        history = self.made.history(account)
        self.report.check(name, lambda: beside.goes_on(dovecot, history, server))

    def _steps(
        self, name: str, served: Account, forms: Sequence[Format], of: DovecotOf
    ) -> None:
        form = forms[3]
        histories = [self.made.history(self.made.user(served)) for _ in range(3)]
        accounts = [each.account for each in histories]
        dovecot = of(accounts, form, form.dovecot)
        server = Taking(self.site, self.made.name(), dovecot.port, Keys())
        try:
            self.report.check(name, lambda: steps.followed(dovecot, histories, server))
        finally:
            server.kill()

    def _audited(self, name: str) -> None:
        courier = uninstalled.courier()
        account = self.made.user(self.made.by_program(courier))
        front = Front(self.site, self.made.name(), [account], courier)
        server = Taking(self.site, self.made.name(), free_port(), FROM_COURIER)
        front.start()
        try:
            self.report.check(name, lambda: steps.audited(front, account, server, FROM_COURIER))
        finally:
            front.stop()

    def _copied(self, name: str, served: Account, copy: copied.Copy) -> None:
        account, home = self.made.user(served), f"maildir:{self.site.root}/mail/%u"
        account.maildir.rename(account.maildir.with_name("old"))
        old, new = (
            Dovecot23(self.site, self.made.name(), [account], location=f"{home}/{place}")
            for place in ("old", "Maildir")
        )
        saved = Saved(Getmail(self.site), self.made.history(account))
        server = Taking(self.site, self.made.name(), old.port, Keys())
        try:
            self.report.check(name, lambda: copied.adopted(old, new, saved, server, copy))
        finally:
            server.kill()

    def _converted(self, name: str, served: Account, place: str) -> None:
        account = self.made.user(served)
        home = f"{self.site.root}/mail/%u"
        # All formats need the same separator.
        maildir, other = (
            Dovecot23(self.site, self.made.name(), [account], location=location.replace("~", home))
            for location in ("maildir:~/Maildir:LAYOUT=fs", place)
        )
        server = Taking(self.site, self.made.name(), other.port, FROM_DOVECOT)
        try:
            self.report.check(name, lambda: steps.converted(maildir, other, account, server))
        finally:
            server.kill()

    def _guard(self, name: str, served: Account) -> None:
        self._guarded(f"{name}: unclaimed", guard.unclaimed, self.made.user(served))
        self._guarded(f"{name}: lost", guard.lost, self.made.user(served))
        account = self.made.user()
        Orderly(self.site, account, self.arguments.seed).deliver(ORDERLY)
        self._guarded(f"{name}: replaced", guard.replaced, account)

    def _guarded(
        self, name: str, check: Callable[[Dovecot23, Saved, Taking], str], account: Account
    ) -> None:
        """A check of a Maildir that fetchmail has polled on Dovecot."""
        saved = Saved(Fetchmail(self.site), self.made.history(account))
        dovecot = Dovecot23(self.site, self.made.name(), [account])
        server = Taking(self.site, self.made.name(), dovecot.port, FROM_DOVECOT)
        try:
            dovecot.start()
            saved.all(dovecot.port)
            dovecot.stop()
            self.report.check(name, lambda: check(dovecot, saved, server))
        finally:
            server.kill()
            dovecot.stop()

    def _kills(self, name: str) -> None:
        account = self.made.user()
        self.made.history(account).deliver(LARGE)
        dovecot = Dovecot23(self.site, self.made.name(), [account])
        dovecot.start()
        try:
            listing = ask(dovecot.port, account)
        finally:
            dovecot.stop()
        count = self.arguments.kills
        self.report.check(name, lambda: kills.rounds(self.made, account, listing, count))


def keys_of(form: Format) -> Keys:
    """The keys for a format of Dovecot."""
    return replace(FROM_DOVECOT, sections=f"[maildir.dovecot]\n{form.restante}")


if __name__ == "__main__":
    sys.exit(main())
