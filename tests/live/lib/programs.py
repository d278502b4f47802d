"""Mail programs that remember messages, on the same maildrops: mpop and fetchmail."""

import random
import subprocess

from lib import clients
from lib.ledger import Ledger, digest, token_of
from lib.report import Failed
from lib.server import STLS, TLS, Server
from lib.site import Account, Site


class Mpop(clients.Mpop):
    """mpop, which is ended if it waits for a server that was killed."""

    limit = 20.0


class Fetchmail(clients.Fetchmail):
    """The same for fetchmail."""

    limit = 20.0


class Program:
    """One of them. It removes what it has fetched, and keeps it in its home."""

    def __init__(
        self, client: clients.Client, server: Server, ledger: Ledger, account: Account
    ) -> None:
        self.client, self.server, self.ledger, self.account = client, server, ledger, account
        self.home = client.site.home()
        self.inbox = self.home / ("Maildir/new" if isinstance(client, Mpop) else "inbox")

    def poll(self, choice: random.Random) -> None:
        """One run, cut off or not, and the messages that it has fetched."""
        endpoint = self.server.endpoint(choice.choice((TLS, STLS)))
        self.ledger.polled(self.account.user, 1)
        texts: list[bytes] = []
        try:
            texts = self.client.remove(self.account, endpoint, self.home)
            self.ledger.count(f"runs of {self.client.name}")
        except (Failed, subprocess.TimeoutExpired):
            # Refused, because the maildrop is in use, or cut off by a kill.
            self.ledger.count(f"runs of {self.client.name} without success")
            texts = clients.take_all(self.inbox, "*") if self.inbox.exists() else []
        finally:
            for text in texts:
                self._check(text)
            self.ledger.polled(self.account.user, -1)

    def _check(self, text: bytes) -> None:
        """A complete copy must be right, and counts; one that a kill has cut off does not."""
        token = token_of(text)
        message = self.ledger.messages.get(token)
        if message is None:
            self.ledger.count("parts of messages in mail programs")
        elif digest(text) == message.stored_digest:
            self.ledger.copied(token, self.client.name)
            self.ledger.count("fetched by mail programs")
        elif len(text) < message.octets:
            self.ledger.count("parts of messages in mail programs")
        else:
            self.ledger.violation(
                f"{self.client.name} has stored {len(text)} octets of {token} that are not it",
                message,
            )


def programs(
    site: Site, server: Server, ledger: Ledger, accounts: list[Account]
) -> list[Program]:
    """mpop for the first account, fetchmail for the second."""
    return [
        Program(kind(site), server, ledger, account)
        for kind, account in zip((Mpop, Fetchmail), accounts)
    ]
