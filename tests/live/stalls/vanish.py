"""Clients that lose their network: how long does the maildrop stay locked?

Server and clients are in separate network namespaces, connected by a veth pair. The clients' end is
taken down in the middle of their actions, without any packet to the server. From then on, logins
over the server's loopback check whether the maildrops are free.
"""

import ctypes
import os
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Callable

from lib.corpus import Message
from lib.pop3 import Pop3
from lib.report import Report
from lib.server import CLEARTEXT, Clear
from lib.site import Account, Site
from stalls.mount import LIMITS

WRITE, SILENCE, PROBE, LOOK = 10, 120, 15, 5
CLONE_NEWNET = 0x40000000
# The action of each user at the cut, the size of the message, and the time limit from then on.
SIZES = {"idle": 0, "marked": 0, "reading": 8 << 20, "sent": 100 << 10}
MOST = {
    "reading": WRITE + LOOK, "sent": WRITE + LOOK,
    "idle": SILENCE + PROBE, "marked": SILENCE + PROBE,
}


def run(report: Report, program: Path) -> None:
    """Runs all users, and cuts the network once."""
    site = Site(program)
    accounts = []
    for user, size in SIZES.items():
        text = b"Subject: 0\n\n" + (b"x" * 98 + b"\n") * (size // 99 + 1)
        accounts.append(site.mailbox(user, [Message(user, text)]))
        site.enter(accounts[-1])
    network = Network()
    server = Isolated(site, network)
    try:
        server.start()
        clients = network.from_client(lambda: connect(server, accounts))
        network.cut()
        for account in sorted(accounts, key=lambda each: MOST[each.user]):
            free_again(report, server, account)
        del clients
        report.expect(server.end(60) == 0, "it stops cleanly")
    finally:
        server.kill()
        network.remove()
        site.close()


class Isolated(Clear):
    """A server in a separate network namespace."""

    def __init__(self, site: Site, network: "Network") -> None:
        super().__init__(site, "vanish", allow_cleartext=True)
        self.network = network
        self.before = network.within_server()
        self.more = f'{LIMITS}[timeouts]\nwrite = "{WRITE}s"\n'

    def addresses(self) -> list[str]:
        return ["0.0.0.0"]


def connect(server: Isolated, accounts: list[Account]) -> dict[str, Pop3]:
    """Starts four clients, each in the middle of an action."""
    clients = {}
    for account in accounts:
        clients[account.user] = client = server.connect(
            CLEARTEXT, host=Network.SERVER, receive_buffer=4096
        )
        client.log_in(account.user, account.password)
    clients["marked"].ok("DELE 1")
    # Much more than the systems buffer, and less than that.
    for user in ("reading", "sent"):
        clients[user].ok("RETR 1")
    return clients


def free_again(report: Report, server: Isolated, account: Account) -> None:
    """Waits for the end of the user's session, and logs in."""
    user, network = account.user, server.network
    ended = f"session ended user={user} .*?why=(.*)"
    while not re.search(ended, server.log.read_text()):
        if network.since_cut() > MOST[user] + 10:
            break
        time.sleep(0.2)
    took = network.since_cut()
    reply = network.from_server(lambda: log_in_and_leave(server, account))
    found = re.search(ended, server.log.read_text())
    report.expect(
        reply.startswith("+OK 1 ") and took < MOST[user] + 3,
        f"the line of a client breaks, {user}: free after {took:.1f} s, "
        f"{found and found[1]} ({reply})",
    )


def log_in_and_leave(server: Isolated, account: Account) -> str:
    """The reply to a login of the user."""
    with server.connect(CLEARTEXT) as client:
        reply = client.user(account.user, account.password)
        client.ask("QUIT")
    return reply


class Network:
    """Two network namespaces, connected by a veth pair."""

    SERVER, CLIENT = "198.51.100.1", "198.51.100.2"

    def __init__(self) -> None:
        self._cut = 0.0
        self.names = [f"stalls-{end}-{os.getpid()}" for end in ("server", "client")]
        try:
            for name in self.names:
                ip("netns", "add", name)
            server, client = self.names
            ip("-n", server, "link", "add", "cable", "type", "veth", "peer", "name", "cable",
               "netns", client)
            for name, address in ((server, self.SERVER), (client, self.CLIENT)):
                ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
                ip("-n", name, "link", "set", "cable", "up")
                ip("-n", name, "link", "set", "lo", "up")
        except BaseException:
            self.remove()
            raise

    def within_server(self) -> tuple[str, ...]:
        """The command prefix for a program at the server's end."""
        return ("ip", "netns", "exec", self.names[0])

    def from_server(self, work: Callable[[], Any]) -> Any:
        """The result of `work` at the server's end."""
        return self._within(self.names[0], work)

    def from_client(self, work: Callable[[], Any]) -> Any:
        """The result of `work` at the clients' end."""
        return self._within(self.names[1], work)

    def cut(self) -> None:
        """Disconnects the clients' end."""
        ip("-n", self.names[1], "link", "set", "cable", "down")
        self._cut = time.monotonic()

    def since_cut(self) -> float:
        """Seconds since then."""
        return time.monotonic() - self._cut

    def remove(self) -> None:
        """Removes both namespaces, and the veth pair with them."""
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)

    @staticmethod
    def _within(name: str, work: Callable[[], Any]) -> Any:
        """The result of `work` in a thread in this namespace, to which its sockets belong then."""
        result: list[Any] = []

        def enter() -> None:
            with open(f"/run/netns/{name}") as namespace:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            result.append(work())

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        return result[0]


def ip(*words: str) -> None:
    """One command of iproute2."""
    subprocess.run(["ip", *words], check=True)
