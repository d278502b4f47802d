"""Runs `restante serve` with every credential store against the real thing on loopback.

    cargo build --release --locked && python3 tests/live stores target/release/restante

Prints a line for each thing checked and a closing line; the exit code is 1 when one failed.
A backend that does not start, and a client that cannot be run, is a failure. Words after the
program restrict the run to the backends whose names contain one of them; the checks of a backend
build on each other. "mechanisms" stands for the clients with their ways to log in, "certificates"
for those that log in without a password, "hostile" for those that do not log in at all.
"""

import signal
import sys
from pathlib import Path

from lib.report import Report
from lib.world import World
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
    """The whole run."""
    # Ended from outside, the run still ends its backends and removes its files.
    signal.signal(signal.SIGTERM, end)
    words = sys.argv[2:]
    report = Report(only=[])
    world = World(Path(sys.argv[1]).resolve())
    try:
        for backend in filter(lambda each: asked(each.name, words), passwords(world)):
            Scenarios(report, world, backend).run()
        for provider in filter(lambda each: asked(each.name, words), tokens(world)):
            Tokens(report, world, provider).run()
        if asked("mechanisms", words):
            logins.checks(report, world)
        if asked("certificates", words):
            certificates.checks(report, world)
        if asked("hostile", words):
            hostile.checks(report, world)
    finally:
        world.close()
    return report.close()


def end(number: int, _: object) -> None:
    """Ends the run; a second signal, which `timeout` sends, must not end the cleaning up."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(1)


def asked(name: str, words: list[str]) -> bool:
    """Whether one of the words means this; all are meant when there are none."""
    return not words or any(word in name for word in words)


def passwords(world: World) -> list[Backend]:
    """All backends that take passwords; none of them runs yet."""
    return [
        File(world),
        PostgreSql(world),
        MariaDb(world),
        Sqlite(world),
        Slapd(world),
        Slapd(world, "slapd-direct", tls="ldaps", direct=True),
        Pam(world),
        CheckPassword(world),
    ]


def tokens(world: World) -> list[OpenId]:
    """The provider, whose tokens are checked by its keys and by itself."""
    return [OpenId(world), OpenId(world, "oidc-introspection", introspection=True)]


if __name__ == "__main__":
    sys.exit(main())
