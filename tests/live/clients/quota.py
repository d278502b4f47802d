"""The Maildir++ quota of a Maildir to which Dovecot delivers, and from which Restante removes."""

from pathlib import Path

from clients.fetchers import Poplib
from lib import dovecot
from lib.corpus import Message, ordinary
from lib.report import Report, require
from lib.server import TLS, Server
from lib.site import Account, Site

# A quota of 10 kB. Delivery of a message that exceeds it is tried again later.
QUOTA = [
    "quota_full_tempfail = yes",
    *dovecot.plugin("quota", "quota = maildir:User quota", "quota_rule = *:storage=10k"),
]


def checks(report: Report, site: Site, server: Server) -> None:
    """All of them."""
    report.check("Dovecot delivers again after a removal", lambda: subtracted(site, server))


def subtracted(site: Site, server: Server) -> str:
    """A full Maildir accepts mail again as soon as its messages are removed, as after Dovecot's own
    POP3, and the recorded usage is the size of its messages."""
    account = site.account("quota")
    config = dovecot.configure(site, account, *QUOTA)
    for number in (1, 2):
        said = deliver(config, ordinary(number, 3900))
        require(said == "", f"not delivered: {said}")
    full = deliver(config, ordinary(3, 3900))
    require("quota exceeded" in full.lower(), f"there was room for a third message: {full!r}")
    before = taken(account)
    pop = Poplib(site).open(account, server.endpoint(TLS))
    sizes = stored(account)
    for number in (1, 2):
        pop.dele(number)
    pop.quit()
    lines = (account.maildir / "maildirsize").read_text().splitlines()
    require(lines[-1] == f"-{sum(sizes)} -2", f"maildirsize ends with {lines[-1]!r}")
    require(taken(account) == (before[0] - sum(sizes), before[1] - 2), f"{lines}")
    said = deliver(config, ordinary(3, 3900))
    require(said == "", f"no room after the removal: {said}")
    require(taken(account) == (sum(stored(account)), 1), "the sum is not what is in the Maildir")
    return lines[-1]


def deliver(config: Path, message: Message) -> str:
    """Delivers with Dovecot. Returns its error."""
    log = dovecot.deliver(config, message.stored, codes=(0, 75))
    return "" if "saved mail to INBOX" in log else log


def taken(account: Account) -> tuple[int, int]:
    """The octets and messages in maildirsize."""
    lines = (account.maildir / "maildirsize").read_text().splitlines()[1:]
    numbers = [[int(number) for number in line.split()] for line in lines]
    return sum(octets for octets, _ in numbers), sum(messages for _, messages in numbers)


def stored(account: Account) -> list[int]:
    """The sizes of the messages."""
    parts = [account.maildir / part for part in ("new", "cur")]
    return [path.stat().st_size for part in parts for path in part.iterdir()]
