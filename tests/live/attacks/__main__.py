"""Attacks the server, and measures the effect on its users.

    cargo build --release --locked && python3 tests/live attacks target/release/restante

For each attack: the times of logins and polls of two users (one with a password in the clear, one
with an argon2id hash) during the attack and just before it; the server's processor time and peak
memory; and whether memory, descriptors and connections are released afterwards. The last check,
"memory", searches the server's memory for passwords after their sessions, which only root can do.
Prints a line for each attack; the exit code is 1 if one exceeds a limit. `--quick` makes each
shorter, with a limit for logins that holds on any machine; words restrict the run to the attacks
whose names contain one of them. Those of HTTP need a program with the feature `web`.
"""

import signal
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from attacks.attacker import ATTACKER, ATTACKS, MESSAGES, PASSWORD
from attacks.memory import search
from lib.corpus import ordinary
from lib.process import SERVER_USER, free_port
from lib.report import Failed, Report, require
from lib.resources import Usage, at_rest
from lib.server import STLS, TLS, ByDefault
from lib.site import Account, Site

ATTACKER_PROGRAM = Path(__file__).resolve().with_name("attacker.py")

# The limit of the time of a login, as a multiple of that before the attack. On two processors, of
# which the attackers have one.
WORSE = 3.0
# Attacks with another limit, and why.
EXCUSED = {
    "handshakes, one address": "each handshake costs a signature, and the attackers' half as much again",
}
# The attack that takes all connections, their number, and the line in the log.
CROWD, PLACES, EVICTED = "silent, more than there is room for", 2000, "why=evicted"
# The beginning of the names of attacks on the port for HTTP.
HTTP = "HTTP, "
# Shorter times, in seconds, do not count; with `--quick` the machine may be busy otherwise.
UNNOTICED, UNNOTICED_QUICKLY = 0.05, 2.0
# The login deadline, after which idle clients are disconnected.
LOGIN = 15
# The memory, in MiB, that the allocator may keep: less than a tenth of what some of these attacks
# could have taken.
KEPT = 64.0


class Users:
    """Users who poll one after the other, and the times of the polls."""

    def __init__(self, server: ByDefault, accounts: list[Account]) -> None:
        self.server = server
        self.accounts = accounts
        self.failed: list[str] = []

    def poll(self, seconds: float) -> dict[str, list[float]]:
        """Polls for this time."""
        self.failed = []
        taken: dict[str, list[float]] = {account.user: [] for account in self.accounts}
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            for account in self.accounts:
                begun = time.monotonic()
                try:
                    with self.server.connect(timeout=30) as session:
                        reply = session.user(account.user, account.password)
                        require(reply.startswith("+OK"), reply)
                        session.ask("STAT")
                        session.ask("QUIT")
                except (OSError, Failed) as error:
                    self.failed.append(f"{account.user}: {error}")
                taken[account.user].append(time.monotonic() - begun)
            time.sleep(0.02)
        return taken


class Trial:
    """The server under attack, and the users who are measured."""

    def __init__(self, site: Site, quick: bool) -> None:
        self.seconds = 5 if quick else 15
        self.unnoticed = UNNOTICED_QUICKLY if quick else UNNOTICED
        hashed = site.account("argon2", [ordinary(1)])
        plain = site.mailbox("plain", [ordinary(1)])
        attacker = site.mailbox(ATTACKER)
        for number in range(MESSAGES):
            (attacker.maildir / "new" / f"{1_700_000_000 + number}.M1P1.post").write_bytes(b"x\n")
        site.own(attacker.maildir, SERVER_USER)
        site.enter(plain, users=site.users)
        site.enter(replace(attacker, password=PASSWORD), users=site.users)
        store = f'[[credentials]]\nkind = "file"\npath = "{site.users}"'
        self.server = ByDefault(site, "attacked", lambda: store)
        self.http = free_port()
        self.users = Users(self.server, [plain, hashed])

    def attack(self, name: str) -> str:
        """One attack. Returns its result."""
        # The defaults, except for a shorter login deadline, and fewer connections if needed.
        self.server.more = f'[timeouts]\nlogin = "{LOGIN}s"\n'
        if name == CROWD:
            self.server.more += f"[limits]\nconnections = {PLACES}\n"
        if name.startswith(HTTP):
            self.server.more += f"""
[client-settings.smtp]
host = "smtp.example.org"
[client-settings.pop3]
port = {self.server.ports[TLS]}
[web]
listen = "127.0.0.1:{self.http}"
tls = false
"""
        self.server.start()
        try:
            return self._attack(name)
        finally:
            self.server.kill()

    def _attack(self, name: str) -> str:
        process = self.server.process
        require(process is not None, "the server does not run")
        self.users.poll(1)
        quiet = self.users.poll(3)
        before = Usage.of(process.pid)
        said_before = self.server.log.stat().st_size
        # Attacks before login do without TLS: an attacker has no reason to encrypt them.
        ports = [str(port) for port in (self.server.ports[STLS], self.server.ports[TLS], self.http)]
        command = [sys.executable, ATTACKER_PROGRAM, name, *ports, str(self.seconds)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as attackers:
            time.sleep(0.5)
            attacked = self.users.poll(self.seconds)
            said, _ = attackers.communicate(timeout=60)
        attackers_did = said.strip()
        require(attackers.returncode == 0, attackers_did)
        worst = Usage.of(process.pid)
        after = at_rest(process.pid, before, LOGIN + 25)
        figures = []
        for user, taken in attacked.items():
            usual, now = statistics.median(quiet[user]), statistics.median(taken)
            figures.append(
                f"{user} {1000 * usual:.0f} -> {1000 * now:.0f} ms, at most {1000 * max(taken):.0f}"
            )
            hurt = now > max(WORSE * usual, self.unnoticed) and name not in EXCUSED
            require(not hurt, f"{'; '.join(figures)}; {attackers_did}")
        failed = self.users.failed
        words = self.server.last_words()
        require(not failed, f"{len(failed)} polls failed, the first: {failed[:1]}: {words}")
        log = self.server.log.read_bytes()[said_before:].decode(errors="replace")
        require(name != CROWD or EVICTED in log, "no connection was evicted")
        require(after.descriptors <= before.descriptors, f"{after.descriptors} descriptors")
        kept = mib(after.memory - before.memory)
        require(kept <= KEPT, f"{kept:.0f} MiB stay")
        return "; ".join(
            [
                *figures,
                f"{attackers_did}",
                f"processor {worst.processor - before.processor:.1f} s",
                f"memory {mib(before.memory):.0f}, at most {mib(worst.most):.0f}, "
                f"then {mib(after.memory):.0f} MiB",
                f"descriptors {before.descriptors} -> {after.descriptors}",
            ]
        )


def mib(octets: int) -> float:
    """A size in MiB."""
    return octets / (1 << 20)


def main() -> int:
    """Runs all attacks."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    words = sys.argv[2:]
    quick = "--quick" in words
    report = Report([word for word in words if word != "--quick"])
    site = Site(Path(sys.argv[1]).resolve())
    try:
        trial = Trial(site, quick)
        for name in ATTACKS:
            report.check(name, lambda name=name: trial.attack(name))
        report.check("memory", lambda: search(site))
    finally:
        site.close()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
