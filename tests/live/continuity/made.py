"""The users of the suite, their mail, and the made histories that old servers have served."""

import shutil
from typing import Callable, Optional, Sequence

from continuity.history import History
from continuity.old import Dovecot23, Old, imap_session, pop3_session
from lib.front import Front
from lib.process import SERVER_USER
from lib.site import Account, Site

# How often a server serves the made history.
VISITS = 8


class Made:
    """Makes them, with names of their own."""

    def __init__(self, site: Site, seed: int, deliveries: int) -> None:
        self.site, self.seed, self.deliveries = site, seed, deliveries
        self._number = 0

    def name(self) -> str:
        """A name for a user or a server."""
        self._number += 1
        return f"made-{self._number}"

    def user(self, source: Optional[Account] = None) -> Account:
        """A new user, with a copy of the mail and the lists of another one."""
        account = self.site.mailbox(self.name())
        if source is not None:
            shutil.copytree(source.maildir, account.maildir, dirs_exist_ok=True)
            self.site.own(account.maildir, SERVER_USER)
        self.site.enter(account)
        return account

    def history(self, account: Account) -> History:
        """Further deliveries to a user."""
        return History(self.site, account, f"{self.seed} {account.user}")

    def by_dovecot(self) -> Account:
        """The history with sessions by POP3 and IMAP of Dovecot 2.3."""
        account = self.user()
        dovecot = Dovecot23(self.site, self.name(), [account])

        def sessions(history: History) -> None:
            pop3_session(dovecot.port, history)
            imap_session(dovecot.ports["imap"], history)

        return self._served(dovecot, account, sessions)

    def by_program(self, program: Sequence[str]) -> Account:
        """The same by a POP3 server behind `Front`, beside a mail program that flags."""
        account = self.user()
        server = Front(self.site, self.name(), [account], program)

        def sessions(history: History) -> None:
            pop3_session(server.port, history)
            history.move_and_flag(8)
            history.remove(1)

        return self._served(server, account, sessions)

    def _served(
        self, old: Old, account: Account, sessions: Callable[[History], None]
    ) -> Account:
        history = self.history(account)
        old.start()
        try:
            for _ in range(VISITS):
                history.deliver(self.deliveries // VISITS)
                sessions(history)
        finally:
            old.stop()
        return account
