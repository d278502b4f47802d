"""The quota of a Maildir that Dovecot delivers to and Restante empties (Maildir++)."""

from pathlib import Path

from clients import Poplib
from corpus import Message, ordinary
from report import Report, require
from server import SERVER_USER, TLS, Account, Server, World, run

LDA = Path("/usr/lib/dovecot/dovecot-lda")


def checks(report: Report, world: World, server: Server) -> None:
    """All of them."""
    report.check("Dovecot delivers again after a removal", lambda: subtracted(world, server))


def subtracted(world: World, server: Server) -> str:
    """A full Maildir takes mail again as soon as its messages are removed, as after Dovecot's own
    POP3, and what it has taken of its quota is what is in it."""
    account = world.account("quota")
    config = configuration(world, account)
    for number in (1, 2):
        said = deliver(config, ordinary(number, 3900))
        require(said == "", f"not delivered: {said}")
    full = deliver(config, ordinary(3, 3900))
    require("quota exceeded" in full.lower(), f"there was room for a third message: {full!r}")
    before = taken(account)
    pop = Poplib(world).open(account, server.endpoint(TLS))
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


def configuration(world: World, account: Account) -> Path:
    """Writes Dovecot's configuration for this Maildir, 10 kB of quota."""
    home = world.home()
    config = home / "dovecot.conf"
    config.write_text(
        f"""\
base_dir = {home}
log_path = {home}/log
info_log_path = {home}/log
ssl = no
mail_location = maildir:{account.maildir}
mail_plugins = quota
quota_full_tempfail = yes
postmaster_address = postmaster@example.org
plugin {{
  quota = maildir:User quota
  quota_rule = *:storage=10k
}}
"""
    )
    world.own(home, SERVER_USER)
    return config


def deliver(config: Path, message: Message) -> str:
    """Delivers with Dovecot; says why it would not."""
    log = config.parent / "log"
    log.unlink(missing_ok=True)
    run(
        [LDA, "-c", config, "-f", "mrose@example.org"],
        stdin=message.stored.decode(), who=SERVER_USER, home=config.parent, codes=(0, 75),
    )
    text = log.read_text()
    return "" if "saved mail to INBOX" in text else text


def taken(account: Account) -> tuple[int, int]:
    """Octets and messages, as maildirsize has them."""
    lines = (account.maildir / "maildirsize").read_text().splitlines()[1:]
    numbers = [[int(number) for number in line.split()] for line in lines]
    return sum(octets for octets, _ in numbers), sum(messages for _, messages in numbers)


def stored(account: Account) -> list[int]:
    """The sizes of the messages."""
    parts = [account.maildir / part for part in ("new", "cur")]
    return [path.stat().st_size for part in parts for path in part.iterdir()]
