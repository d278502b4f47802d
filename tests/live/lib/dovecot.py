"""Dovecot: its delivery agent, configured for one Maildir, and its server."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Iterable, Optional

from lib.process import LOOPBACK, SERVER_USER, free_port, run
from lib.report import Failed
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


class Dovecot:
    """A separate Dovecot 2.3 for some users, on loopback, without TLS."""

    def __init__(
        self, site: Site, name: str, accounts: Iterable[Account], *settings: str,
        location: Optional[str] = None, protocols: Iterable[str] = ("pop3", "imap"),
    ) -> None:
        """`settings` are further lines, `location` is that of other mail than the Maildirs."""
        self.site = site
        self.root = site.root / name
        self.root.mkdir()
        self.settings = settings
        self.location = location or f"maildir:{site.root}/mail/%u/Maildir"
        self.ports = {protocol: free_port() for protocol in protocols}
        users = self.root / "users"
        users.write_text("".join(f"{each.user}:{{PLAIN}}{each.password}\n" for each in accounts))
        users.chmod(0o644)
        self.config = self.root / "dovecot.conf"
        self.process: Optional[subprocess.Popen[bytes]] = None

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        self.config.write_text(self.configuration())
        # It has its own log, and its own session, so that Ctrl-C does not reach it.
        self.process = subprocess.Popen(
            self.command("dovecot", "-F", "-c", str(self.config)), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )
        for _ in range(300):
            try:
                for port in self.ports.values():
                    socket.create_connection((LOOPBACK, port), timeout=5).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.05)
        self.stop()
        raise Failed(f"Dovecot did not start: {self.log()[-1000:]}")

    def stop(self) -> None:
        """Ends it with all its processes."""
        process, self.process = self.process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def log(self) -> str:
        """Its log."""
        path = self.root / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def errors(self) -> list[str]:
        """Its errors."""
        marks = ("Error:", "Fatal:", "Panic:")
        return [line for line in self.log().split("\n") if any(mark in line for mark in marks)]

    def command(self, *words: str) -> list[str]:
        """A command of this Dovecot."""
        return list(words)

    def configuration(self) -> str:
        """The configuration file."""
        root = self.root
        return f"""\
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/log
protocols = {" ".join(self.ports)}
listen = {LOOPBACK}
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
passdb {{
  driver = passwd-file
  args = {root}/users
}}
userdb {{
  driver = static
  args = uid={SERVER_USER} gid={SERVER_USER} home={self.site.root}/mail/%u
}}
first_valid_uid = 1
first_valid_gid = 1
mail_location = {self.location}
mail_max_userip_connections = 0
{self.listeners()}""" + "".join(f"{line}\n" for line in self.settings)

    def listeners(self) -> str:
        """The port of each protocol."""
        return "".join(
            f"service {name}-login {{\n  inet_listener {name} {{\n    port = {port}\n  }}\n"
            f"  inet_listener {name}s {{\n    port = 0\n  }}\n}}\n"
            for name, port in self.ports.items()
        )
