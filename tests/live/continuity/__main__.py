"""Moves Maildirs from real servers to Restante, in place, and compares what both list.

    cargo build --release --locked && python3 tests/live continuity target/release/restante

An old server serves a made history: deliveries in the manners of several programs, sessions by POP3
and IMAP. What it answers to UIDL and LIST is then expected of Restante on the same Maildir: the same
unique-ids of the same messages, in the same order. That holds after a restart, without the old
lists, and with new mail; Dovecot's IMAP server goes on beside it; and a client with its saved state
fetches no message again.

The old servers are Dovecot 2.3 with each of its formats, and Courier. `--debian-13` adds Dovecot 2.4
and the newer Courier, in a Debian 13 that is made once in target/continuity. `--qmail-pop3d PROGRAM`
adds that program. `--thunderbird` adds Thunderbird to the clients.

Prints a line for each check and a closing line; the exit code is 1 if one failed. Words after the
program restrict the run to the checks whose names contain one of them; the checks of a move depend on
each other. Only root can run Dovecot.
"""

import argparse
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Callable, Optional, Sequence

from continuity import beside, debian, dovecot24, guard, kills
from continuity.clients import CLIENTS, Polls, Saved
from continuity.front import Front
from continuity.listing import ask
from continuity.made import Made
from continuity.moves import FROM_DOVECOT, Move, Taking, uidl
from continuity.old import FORMATS, Dovecot23, Format, Old
from lib.clients import Client, Fetchmail
from lib.process import free_port
from lib.report import Report
from lib.site import Account, Site
from lib.thunderbird import Thunderbird

# The messages of the Maildir that is taken over while the server is killed.
LARGE = 1000
FROM_COURIER = (uidl("courier", "base-name"),)
FROM_QMAIL = (uidl("base-name"), 'order = "modified"')


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
        self._program("Courier", debian.courier, FROM_COURIER)
        self._part("beside Dovecot's IMAP", lambda name: self._beside(name, served))
        self._part("guard", lambda name: self._guard(name, served))
        self._part("kills", self._kills)
        if self.arguments.debian_13:
            guest = debian.Guest(self.site.root)
            server = partial(self._dovecot_24, guest)
            self._dovecot("Dovecot 2.4", served, dovecot24.FORMATS, server)
            self._program("Courier of Debian 13", guest.courier, FROM_COURIER)
        if self.arguments.qmail_pop3d:
            program = debian.unprivileged(self.arguments.qmail_pop3d)
            self._program("qmail-pop3d", lambda: program, FROM_QMAIL)

    def _part(self, name: str, body: Callable[[str], None]) -> None:
        words = self.arguments.words
        if words and not any(word in name for word in words):
            return
        try:
            body(name)
        except Exception as error:  # the other parts go on
            self.report.expect(False, f"{name}: {type(error).__name__}: {error}")

    def _dovecot(
        self, server: str, served: Account, forms: Sequence[Format],
        of: Callable[[list[Account], Format, tuple[str, ...]], Dovecot23],
    ) -> None:
        """A Dovecot with all formats, and clients of the first two."""
        for form in forms:
            self._part(
                f"{server}, {form.name}", lambda name: self._from_dovecot(name, served, form, of)
            )
        for form in forms[:2]:
            self._part(f"clients of {server}, {form.name}", lambda name: self._clients(
                name, served, lambda accounts: of(accounts, form, form.dovecot),
                FROM_DOVECOT, more(form),
            ))

    def _program(
        self, server: str, program: Callable[[], list[str]], maildir: Sequence[str]
    ) -> None:
        """A POP3 server behind `Front`, and its clients."""
        has_list = maildir == FROM_COURIER

        def front(accounts: list[Account]) -> Front:
            return Front(self.site, self.made.name(), accounts, program())

        def moved(name: str) -> None:
            account = self.made.user(self.made.by_program(program()))
            lists = account.maildir if has_list else None
            self._move(name, front([account]), account, maildir, "", lists)

        self._part(server, moved)
        self._part(f"clients of {server}", lambda name: self._clients(
            name, self.made.by_program(program()), front, maildir, ""
        ))

    def _dovecot_23(
        self, accounts: list[Account], form: Format, settings: tuple[str, ...]
    ) -> Dovecot23:
        location = f":CONTROL={self._control()}/%u" if form.is_elsewhere else ""
        return Dovecot23(self.site, self.made.name(), accounts, *settings, location=location)

    def _dovecot_24(
        self, guest: debian.Guest, accounts: list[Account], form: Format,
        settings: tuple[str, ...],
    ) -> Dovecot23:
        control = str(self._control()) if form.is_elsewhere else ""
        name = self.made.name()
        return dovecot24.Dovecot24(guest, self.site, name, accounts, *settings, control=control)

    def _control(self) -> Path:
        """Where the lists are if they are elsewhere."""
        return self.site.root / "mail" / "control"

    def _from_dovecot(
        self, name: str, served: Account, form: Format,
        of: Callable[[list[Account], Format, tuple[str, ...]], Dovecot23],
    ) -> None:
        account = self.made.user(served)
        keys, lists = more(form), account.maildir
        if form.is_elsewhere:
            for path in account.maildir.glob("dovecot*"):
                path.unlink()
            keys += f'control = "{self._control()}/{{user}}/.INBOX"\n'
            lists = self._control() / account.user / ".INBOX"
        if form.before:
            earlier = of([account], form, form.before)
            earlier.start()
            ask(earlier.port, account)
            earlier.stop()
        old = of([account], form, form.dovecot)
        self._move(name, old, account, FROM_DOVECOT, keys, lists)

    def _move(
        self, name: str, old: Old, account: Account, maildir: Sequence[str], keys: str,
        lists: Optional[Path],
    ) -> None:
        server = Taking(self.site, self.made.name(), old.port, maildir, keys)
        Move(self.report, name, self.made.history(account), old, server, lists).run()

    def _clients(
        self, name: str, served: Account, front: Callable[[list[Account]], Old],
        maildir: Sequence[str], keys: str,
    ) -> None:
        saved = [self._saved(kind, served) for kind in self.kinds]
        polls = Polls(self.report, name, saved)
        old = front([each.account for each in saved])
        old.start()
        try:
            polls.old(old.port)
        finally:
            old.stop()
        server = Taking(self.site, self.made.name(), old.port, maildir, keys)
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

    def _guard(self, name: str, served: Account) -> None:
        saved = self._saved(Fetchmail, served)
        dovecot = Dovecot23(self.site, self.made.name(), [saved.account])
        dovecot.start()
        try:
            saved.all(dovecot.port)
        finally:
            dovecot.stop()
        server = Taking(self.site, self.made.name(), dovecot.port)
        try:
            self.report.check(f"{name}: unclaimed", lambda: guard.unclaimed(saved, server))
        finally:
            server.kill()

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


def more(form: Format) -> str:
    """The section of Restante for a format."""
    return f"[maildir.dovecot]\n{form.restante}"


if __name__ == "__main__":
    sys.exit(main())
