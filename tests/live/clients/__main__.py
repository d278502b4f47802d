"""Runs every client against a real `restante serve` on loopback.

    pip install command-injection-tester pyte
    cargo build --release --locked && python3 tests/live clients target/release/restante

Prints a line for each check and a closing line; the exit code is 1 if one failed. A client that
cannot be run is a failure. Words after the program restrict the run to the checks whose names
contain one of them.
"""

import shutil
import signal
import sys
from pathlib import Path

from clients import compressed, everyday, quota, sessions
from clients.commands import COMMANDS
from clients.desktop import DESKTOP
from clients.fetchers import CLIENTS
from clients.libraries import LIBRARIES
from clients.relay import Relay
from clients.screens import SCREENS
from lib.clients import Client
from lib.corpus import LARGE, corpus, ordinary
from lib.report import Report, require, same_messages
from lib.server import CLEARTEXT, STLS, Server
from lib.site import Site

SCRIPTS = Path(__file__).resolve().with_name("scripts")


def main() -> int:
    """Runs all checks."""
    # If it is ended by a signal, it still ends its servers and removes its files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    report = Report(only=sys.argv[2:])
    site = Site(Path(sys.argv[1]).resolve())
    server = Server(site, "server")
    # Dovecot delivers to some Maildirs, and has a list of UIDs there.
    server.maildir = ('uidl = ["name"]',)
    # Accepts passwords without TLS.
    lenient = Server(site, "lenient", allow_cleartext=True)
    try:
        # In a place that the user of the clients can read.
        shutil.copytree(SCRIPTS, site.root / "scripts")
        server.start()
        lenient.start()
        for kind in CLIENTS:
            client = kind(site)
            report.check(f"{client.name} runs", client.version)
            report.check(f"{client.name} cleartext-refused", lambda: refused(client, server))
            for transport in client.transports:
                over(report, client, lenient if transport == CLEARTEXT else server, transport)
        everyday.checks(report, site, (*DESKTOP, *COMMANDS, *SCREENS, *LIBRARIES))
        sessions.checks(report, site, server)
        quota.checks(report, site, server)
        compressed.checks(report, site, server)
        report.check("server ends cleanly on SIGTERM", lambda: ended(server, lenient))
        report.check("log without errors and passwords", lambda: discreet(site, server, lenient))
    finally:
        server.kill()
        lenient.kill()
        site.close()
    return report.close()


def over(report: Report, client: Client, server: Server, transport: str) -> None:
    """One client over one transport: fetch, fetch again, new mail, removal."""
    name = f"{client.name} {transport}"
    if not report.wants(name):
        return
    site = client.site
    messages = [message for message in corpus() if client.can_carry(message)]
    late = ordinary(5000)
    account = site.account(f"{client.name}-{transport}".lower().replace(":", ""), messages)
    endpoint = server.endpoint(transport)
    home = site.home()

    def fetch() -> list[bytes]:
        return client.fetch(account, endpoint, home)

    def fetch_new() -> str:
        site.deliver(account, late, 5000)
        return same_messages(fetch(), [late], client.shape)

    def remove() -> str:
        before = account.files()
        small = [message for message in [*messages, late] if len(message.wire) <= LARGE]
        # A new home, hence a client that has not seen a message yet.
        received = client.remove(account, endpoint, site.home())
        said = same_messages(received, small, client.shape)
        kept = {name: file for name, file in before.items() if file.octets > LARGE}
        require(account.files() == kept, "not exactly the fetched messages were removed")
        return f"{said} removed, {len(kept)} untouched"

    report.check(
        f"{name} fetch-all",
        lambda: everyday.fetch_all(fetch, account, messages, client.shape),
    )
    report.check(f"{name} fetch-again", lambda: everyday.fetch_none(fetch))
    report.check(f"{name} fetch-new", fetch_new)
    report.check(f"{name} remove", remove)
    shutil.rmtree(account.maildir)  # some 20 MB each


def refused(client: Client, server: Server) -> str:
    """Without TLS the client is refused before it has sent a password."""
    account = client.site.account(f"refused-{client.name}".lower().replace(":", ""), [ordinary(1)])
    before = account.files()
    with Relay(server.endpoint(STLS).port) as relay:
        said = client.refusal(account, relay.endpoint(), client.site.home())
        require(not relay.told(account.password), f"the password was sent: {relay.sent!r}")
        require(b"CAPA" in relay.sent or b"USER" in relay.sent, "the client never talked to us")
    require(account.files() == before, "the Maildir changed")
    return "; ".join(said.split("\n"))[:160]


def ended(*servers: Server) -> str:
    """All servers stop on SIGTERM, with exit code 0."""
    for server in servers:
        server.stop()
    return f"{len(servers)} servers"


def discreet(site: Site, *servers: Server) -> str:
    """No log has a password or an error."""
    lines = 0
    for server in servers:
        text = server.log.read_text(errors="replace")
        lines += text.count("\n")
        faults = [line for line in text.split("\n") if " ERROR " in line or "panicked" in line]
        require(not faults, f"{faults[:3]}")
        for account in site.accounts.values():
            require(account.password not in text, f"{account.user}'s password is in the log")
    require(lines > 0, "the logs are empty")
    return f"{lines} lines"


if __name__ == "__main__":
    sys.exit(main())
