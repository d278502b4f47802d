"""`restante selftest` with real servers: python3 tests/live selftest PROGRAM

With Restante, no rule is broken, with TLS from the start and with STLS, removal included. With
Dovecot 2.3 and Courier's pop3d of Debian, exactly the rules are broken that docs/SELFTEST.md lists.
"""

import json
import re
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from lib import uninstalled
from lib.corpus import Message, header
from lib.dovecot import Dovecot
from lib.front import Front
from lib.process import LOOPBACK, run
from lib.report import Report, require
from lib.server import STLS, TLS, Server
from lib.site import Account, Site

PAGE = Path(__file__).resolve().parents[2] / "docs/SELFTEST.md"

# What cannot be tested at a port that begins with TLS, and in less than ten minutes.
BEFORE_TLS = {
    "rfc2595-discard", "rfc2595-no-second-greeting", "rfc2595-stls", "rfc8314-no-cleartext",
}
IDLE = {"rfc1939-idle"}
# What Restante does not offer by default.
OPTIONAL = {"rfc2449-login-delay", "rfc6856-utf8"}


@dataclass(frozen=True)
class Tested:
    """The names of rules by their outcome."""

    outcomes: dict[str, str]

    def those(self, outcome: str) -> set[str]:
        """The names of those with this outcome."""
        return {name for name, found in self.outcomes.items() if found == outcome}


def main() -> int:
    """All servers."""
    report = Report(only=sys.argv[2:])
    site = Site(Path(sys.argv[1]).resolve())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    server = Server(site, "restante")
    try:
        server.start()

        def restante(transport: str, untested: set[str]) -> str:
            account = site.account(f"mrose-{transport.lower()}", mail())
            words = ("--tls", "starttls") if transport == STLS else ()
            tested = selftest(site, account, server.ports[transport], *words)
            same(tested.those("broken"), set())
            same(tested.those("not-offered"), OPTIONAL)
            same(tested.those("not-tested"), untested)
            require(len(account.files()) == 2, "not one message was removed")
            return f"{len(tested.those('kept'))} kept"

        def dovecot() -> str:
            account = site.mailbox("dovecot", mail())
            old = Dovecot(site, "dovecot-server", [account], protocols=["pop3"])
            old.start()
            try:
                tested = selftest(site, account, old.ports["pop3"], "--tls", "off")
            finally:
                old.stop()
            return as_documented("Dovecot 2.3", tested)

        def courier() -> str:
            account = site.mailbox("courier", mail())
            front = Front(site, "courier-server", [account], uninstalled.courier())
            front.start()
            try:
                tested = selftest(site, account, front.port, "--tls", "off")
            finally:
                front.stop()
            # The login is that of this suite, so only the rules about sessions count, and the lock.
            names = list(tested.outcomes)
            counted = {*names[names.index("rfc1939-noop"):], "rfc1939-lock"}
            outcomes = {name: tested.outcomes[name] for name in names if name in counted}
            return as_documented("Courier", Tested(outcomes))

        report.check("Restante, TLS from the start", lambda: restante(TLS, BEFORE_TLS | IDLE))
        report.check("Restante, STLS", lambda: restante(STLS, IDLE))
        report.check("Dovecot 2.3", dovecot)
        report.check("Courier", courier)
        server.stop()
    finally:
        server.kill()
        site.close()
    return report.close()


def mail() -> list[Message]:
    """Three messages with lines that begin with dots."""
    body = b"one\n.two\n..\nthree\n"
    return [Message(f"dots {number}", header(f"dots {number}") + body) for number in range(3)]


def selftest(site: Site, account: Account, port: int, *words: str) -> Tested:
    """Tests a server, removal included."""
    said = run(
        [
            site.program, "selftest", f"{LOOPBACK}:{port}", *words, "--insecure", "--user",
            account.user, "--stdin", "--destructive", "--json",
        ],
        stdin=f"{account.password}\n", codes=(0, 1),
    )
    *rules, summary = (json.loads(line) for line in said.stdout.splitlines())
    require(summary["kept"] > 0, f"nothing was tested: {said.stderr}")
    require(account.password not in said.stdout, "the password is shown")
    return Tested({rule["id"]: rule["outcome"] for rule in rules})


def as_documented(name: str, tested: Tested) -> str:
    """The rules that are broken are those in the section about this server."""
    _, _, rest = PAGE.read_text().partition(f"\n### {name}")
    section = re.split(r"\n##+ ", rest)[0]
    same(tested.those("broken"), set(re.findall(r"(?m)^- `(rfc[0-9a-z-]+)`", section)))
    return f"{len(tested.those('kept'))} kept, {len(tested.those('broken'))} broken"


def same(got: set[str], expected: set[str]) -> None:
    """Two sets of rules are the same."""
    more, less = sorted(got - expected), sorted(expected - got)
    require(not more and not less, f"unexpected: {more}; missing: {less}")


if __name__ == "__main__":
    sys.exit(main())
