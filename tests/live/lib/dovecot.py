"""Dovecot's delivery agent, configured for one Maildir."""

from pathlib import Path
from typing import Iterable

from lib.process import SERVER_USER, run
from lib.site import Account, Site

LDA = Path("/usr/lib/dovecot/dovecot-lda")


def configure(site: Site, account: Account, *more: str) -> Path:
    """Writes its configuration, with these lines at the end, to its own home."""
    home = site.home()
    config = home / "dovecot.conf"
    lines = [
        f"base_dir = {home}",
        f"log_path = {home}/log",
        f"info_log_path = {home}/log",
        "ssl = no",
        f"mail_location = maildir:{account.maildir}",
        "postmaster_address = postmaster@example.org",
        *more,
    ]
    config.write_text("\n".join(lines) + "\n")
    site.own(home, SERVER_USER)
    return config


def plugin(name: str, *settings: str) -> list[str]:
    """The lines that configure a plugin of Dovecot."""
    return [f"mail_plugins = {name}", "plugin {", *(f"  {line}" for line in settings), "}"]


def deliver(config: Path, message: bytes, codes: Iterable[int] = (0,)) -> str:
    """One delivery. Returns its log."""
    log = config.parent / "log"
    log.unlink(missing_ok=True)
    run(
        [LDA, "-c", config, "-f", "mrose@example.org"],
        stdin=message.decode(), who=SERVER_USER, home=config.parent, codes=codes,
    )
    return log.read_text()
