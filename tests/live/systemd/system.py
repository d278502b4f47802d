"""The booted system: its commands, its journal, and the server as a client sees it."""

import json
import os
import ssl
import subprocess
import time
from pathlib import Path

from lib.pages import only
from lib.pop3 import Pop3
from lib.report import require

CONFIG = Path("/etc/restante/restante.toml")
UNIT = Path("/usr/lib/systemd/system/restante.service")
USER, PASSWORD = "mrose@example.org", "tanstaaf"
MAILDIR = Path("/var/vmail/example.org/mrose/Maildir")
TLS = ssl._create_unverified_context()
# The limit of the unit's rating by systemd-analyze; docs/SERVICE.md and the unit name it.
EXPOSURE = 1.5
CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapAmb")


def run(command: str, code: int | None = 0) -> str:
    """Runs a shell command. Returns its standard output and standard error."""
    done = subprocess.run(
        ["bash", "-euc", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=180, check=False,
    )
    outcome = f"{command!r} ended with {done.returncode}: {done.stdout}"
    require(code in (None, done.returncode), outcome)
    return done.stdout


def show(unit: str, name: str) -> str:
    """A property of a unit."""
    return run(f"systemctl show --value --property {name} {unit}").strip()


def until(what: str, holds, limit: float = 90) -> float:
    """Waits until a condition holds. Returns the time."""
    started = time.monotonic()
    while not holds():
        require(time.monotonic() - started < limit, f"not within {limit:.0f} s: {what}")
        time.sleep(0.1)
    return time.monotonic() - started


def journal(*matches: str) -> list[dict]:
    """The entries of the journal."""
    run("journalctl --sync")
    command = ["journalctl", "--output=json", "--no-pager", *matches]
    out = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def messages(*matches: str) -> str:
    """The messages of these entries."""
    return "\n".join(str(entry["MESSAGE"]) for entry in journal(*matches))


def now() -> str:
    """A match for later entries; together with other matches, a cursor would skip the first."""
    return f"--since=@{(int(journal('-n', '1')[0]['__REALTIME_TIMESTAMP']) + 1) / 1e6:.6f}"


class Session(Pop3):
    """A connection over TLS."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__(995, tls=TLS, host=host)

    def enter(self, password: str = PASSWORD, user: str = USER) -> str:
        """The reply to a login."""
        return self.user(user, password)

    def quit(self) -> str:
        """QUIT, and the end of the connection."""
        said = self.ask("QUIT")
        self.close()
        return said


def certificate() -> bytes:
    """The server's certificate."""
    return Session().certificate()


def until_logged_in(password: str, user: str) -> str:
    """The reply once the server knows the user, which may take a moment."""
    said = []

    def is_known() -> bool:
        said.append(Session().enter(password, user))
        return not said[-1].startswith("-ERR [AUTH]")

    until(f"{user} is known", is_known)
    return said[-1]


def serves(host: str = "127.0.0.1") -> bool:
    """Whether a user can log in."""
    try:
        pop = Session(host)
        said = pop.enter()
        pop.quit()
    except OSError:
        return False
    return said.startswith("+OK")


def deliver(name: str) -> Path:
    """Delivers a message."""
    path = MAILDIR / "new" / name
    path.write_bytes(b"Subject: one\n\nText.\n")
    os.chown(path, MAILDIR.stat().st_uid, MAILDIR.stat().st_gid)
    return path


def change(old: str, new: str, path: Path = CONFIG) -> None:
    """Replaces text in a file, which must have it."""
    text = path.read_text()
    require(old in text, f"{path} has no {old!r}")
    path.write_text(text.replace(old, new))


def block(page: str, beginning: str) -> str:
    """The commands of a page that begin with this text."""
    return only(f"/src/{page}", beginning).text
