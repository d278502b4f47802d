"""Runs `restante serve` with every credential store against real servers on loopback.

    cargo build --release --locked --features full && python3 tests/live stores target/release/restante

Prints a line for each check and a closing line; the exit code is 1 if one failed. A backend that does
not start, and a client that cannot be run, is a failure. Words after the program restrict the run to
the backends whose names contain one of them; the checks of a backend depend on each other.
"mechanisms" selects the logins of clients, "certificates" those without a password, "hostile" the
clients that do not log in.
"""

import signal
import sys
from pathlib import Path

from lib.report import Report
from lib.site import Site
from stores import certificates, hostile, logins
from stores.backend import Backend
from stores.checkpassword import CheckPassword
from stores.file import File
from stores.ldap import Slapd
from stores.openid import OpenId
from stores.pam import Pam
from stores.scenarios import Scenarios
from stores.sql import MariaDb, PostgreSql, Sqlite
from stores.tokens import Tokens


def main() -> int:
    """Runs all checks."""
    # If it is ended by a signal, it still ends its backends and removes its files.
    signal.signal(signal.SIGTERM, end)
    words = sys.argv[2:]
    report = Report(only=[])
    site = Site(Path(sys.argv[1]).resolve())
    try:
        for backend in filter(lambda each: asked(each.name, words), passwords(site)):
            Scenarios(report, site, backend).run()
        for provider in filter(lambda each: asked(each.name, words), tokens(site)):
            Tokens(report, site, provider).run()
        if asked("mechanisms", words):
            logins.checks(report, site)
        if asked("certificates", words):
            certificates.checks(report, site)
        if asked("hostile", words):
            hostile.checks(report, site)
    finally:
        site.close()
    return report.close()


def end(number: int, _: object) -> None:
    """Ends the run. A second signal, which `timeout` sends, must not interrupt the clean-up."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(1)


def asked(name: str, words: list[str]) -> bool:
    """Whether one of the words selects this; without words, everything is selected."""
    return not words or any(word in name for word in words)


def passwords(site: Site) -> list[Backend]:
    """All backends for passwords; none of them runs yet."""
    return [
        File(site),
        PostgreSql(site),
        MariaDb(site),
        Sqlite(site),
        Slapd(site),
        Slapd(site, "slapd-direct", tls="ldaps", direct=True),
        Pam(site),
        CheckPassword(site),
    ]


def tokens(site: Site) -> list[OpenId]:
    """The provider, whose tokens are verified with its keys or by introspection."""
    return [OpenId(site), OpenId(site, "oidc-introspection", introspection=True)]


if __name__ == "__main__":
    sys.exit(main())
