"""A directory that is mounted by a program in user space, which can be stopped."""

import os
import signal
import subprocess
import time
from pathlib import Path

from lib.corpus import ordinary
from lib.process import SERVER_USER
from lib.report import Failed
from lib.server import Clear
from lib.site import Account, Site

# Limits for the connections of these checks, which come from one address.
LIMITS = "[limits]\nconnections-per-address = 2000\n"


class Mount:
    """Two directories under the mail root: the program mounts the first one at the second."""

    def __init__(self, program: str, site: Site, store: str, mount: str, options: str) -> None:
        self.site = site
        self.store, self.path = (site.root / "mail" / name for name in (store, mount))
        for directory in (self.store, self.path):
            directory.mkdir()
            site.own(directory, SERVER_USER)
        command = [program, "-f", "-o", f"allow_other,{options}", self.store, self.path]
        self.process = subprocess.Popen(command)
        while not os.path.ismount(self.path):
            if self.process.poll() is not None:
                raise Failed(f"{program} did not mount")
            time.sleep(0.05)

    def mailbox(self, user: str, number: int) -> Account:
        """A user whose mail the server reads through the program, and this suite directly."""
        messages = [ordinary(each) for each in range(number)]
        account = self.site.mailbox(user, messages, self.store / user)
        self.site.enter(account, f"::::::userdb_mail=maildir:{self.path / user}")
        return account

    def stop(self) -> None:
        """From now on no request is answered."""
        self.process.send_signal(signal.SIGSTOP)
        # A thread that has not stopped yet would take a request and not answer it.
        threads = Path(f"/proc/{self.process.pid}/task")
        while any(state(thread) != "T" for thread in threads.iterdir()):
            time.sleep(0.01)

    def go_on(self) -> None:
        """Answers the waiting requests."""
        self.process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        """Ends the program and the mount."""
        self.go_on()
        subprocess.run(["umount", "-l", self.path], check=False)
        # Another mount namespace may have a copy of the mount, which keeps it alive.
        self.process.kill()
        self.process.wait(timeout=20)


def state(thread: Path) -> str:
    """The state of a thread: the letter after the name in brackets."""
    return (thread / "stat").read_text().rpartition(")")[2].split()[0]


def served(site: Site, name: str, timeouts: str = "") -> Clear:
    """A server that accepts passwords without TLS, with these timeouts."""
    server = Clear(site, name, allow_cleartext=True)
    server.more = f"{LIMITS}[timeouts]\n{timeouts}"
    return server
