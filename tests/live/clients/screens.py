"""Mail programs that fill a terminal: mutt, neomutt, alpine."""

import re
from pathlib import Path
from typing import Callable, Iterable

from clients.commands import mbox
from clients.everyday import Everyday, Servers
from clients.terminal import Terminal
from lib.clients import take, take_all
from lib.corpus import small_maildrop
from lib.process import CLIENT_USER, run
from lib.report import Failed, same_messages
from lib.server import CLEARTEXT, STLS, TLS, Endpoint
from lib.site import Account


class Mutt(Everyday):
    """mutt, which fetches mail to its own Maildir, and tries all mechanisms of its SASL library."""

    name = "mutt"
    remembers = False
    wrong = r"Login failed\.? PASS: \[AUTH\] wrong user name or password"
    busy = r"Login failed\.? PASS: \[IN-USE\] this maildrop is open"
    # The mechanisms to configure if -PLUS is offered, with which its library fails.
    without_binding = "scram-sha-256:plain"

    def version(self) -> str:
        return run([self.name, "-v"]).stdout.split("\n")[0]

    def shape(self, wire: bytes) -> bytes:
        return wire.replace(b"\r\n", b"\n")

    def fetch(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self.run(account, endpoint, home, "set pop_delete=no")

    def remove(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self.run(account, endpoint, home, "set pop_delete=yes")

    def run(
        self, account: Account, endpoint: Endpoint, home: Path, *lines: str
    ) -> list[bytes]:
        """One run with these lines in its configuration."""
        inbox = home / "Maildir"
        for part in ("new", "cur", "tmp"):
            (inbox / part).mkdir(parents=True, exist_ok=True)
        scheme = "pops" if endpoint.transport == TLS else "pop"
        config = home / "muttrc"
        config.write_text(
            "\n".join(
                [
                    f'set pop_host="{scheme}://{account.user}@{endpoint.host}:{endpoint.port}"',
                    f'set pop_pass="{account.password}"',
                    f"set ssl_starttls={'yes' if endpoint.transport == STLS else 'no'}",
                    f"set ssl_force_tls={'yes' if endpoint.transport in (STLS, TLS) else 'no'}",
                    f'set certificate_file="{self.site.certificate}"',
                    "set mbox_type=Maildir", f'set spoolfile="{inbox}"', f'set folder="{home}"',
                    *lines, "",
                ]
            )
        )
        config.chmod(0o600)
        self.site.own(home, CLIENT_USER)
        command = [self.name, "-n", "-F", config, "-e", "push <fetch-mail>"]
        with Terminal(command, home, {}, self.limit) as terminal:
            said = terminal.until(r"\d+ of \d+ messages? read|Login failed\.? \w+: .{20}|Error")
            if "Login failed" in said or "Error" in said:
                raise Failed(said)
            terminal.type("x")
            terminal.end()
        return take_all(inbox / "new", "*") + take_all(inbox / "cur", "*")

    def more(self) -> Iterable[tuple[str, Callable[[Servers], str]]]:
        yield "binding-mechanisms-left-out", self._binding

    def _binding(self, servers: Servers) -> str:
        """A server that offers -PLUS, and a client that is configured not to try it."""
        account = servers.account(f"{self.name} binding", small_maildrop()[:1])
        received = self.run(
            account, servers.binding.endpoint(TLS), self.site.home(), "set pop_delete=no",
            f'set pop_authenticators="{self.without_binding}"',
        )
        return same_messages(received, small_maildrop()[:1], self.shape)


class Neomutt(Mutt):
    """neomutt, which behaves as mutt here, but has no option for the SASL mechanism."""

    name = "neomutt"
    without_binding = "user"


class Alpine(Everyday):
    """alpine, which saves all mail of the folder on the server to an mbox."""

    name = "alpine"
    remembers = False
    wrong = r"Retrying PLAIN authentication after \[AUTH\] wrong user name or password"
    busy = r"Retrying PLAIN authentication after \[IN-USE\] this maildrop is open"

    def version(self) -> str:
        return run(["alpine", "-v"]).stdout.split(" built")[0]

    def shape(self, wire: bytes) -> bytes:
        return wire.replace(b"\r\n", b"\n")

    def fetch(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self._run(account, endpoint, home, "save-will-not-delete")

    def remove(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self._run(account, endpoint, home, "expunge-without-confirm")

    def _run(
        self, account: Account, endpoint: Endpoint, home: Path, feature: str
    ) -> list[bytes]:
        mail = home / "mail"
        mail.mkdir(exist_ok=True)
        security = {CLEARTEXT: "/notls", STLS: "/tls", TLS: "/ssl"}[endpoint.transport]
        place = f"{{{endpoint.host}:{endpoint.port}/pop3{security}/user={account.user}}}INBOX"
        config = home / "pinerc"
        config.write_text(
            "\n".join(
                [
                    "user-domain=example.org", f"inbox-path={place}",
                    f"folder-collections=mail {mail}/[]", "last-version-used=6.26",
                    "feature-list=disable-password-file-saving,quit-without-confirm,"
                    f"enable-aggregate-command-set,{feature}",
                    "",
                ]
            )
        )
        self.site.own(home, CLIENT_USER)
        command = ["alpine", "-p", config, "-i"]
        variables = {"SSL_CERT_FILE": self.site.certificate}
        with Terminal(command, home, variables, self.limit) as terminal:
            terminal.until("ENTER PASSWORD: ")
            terminal.type(account.password + "\r")
            # The title of an open folder stays on the screen; other messages may not appear.
            opened = r"opened with \d+ message|Message +\d+ of \d+"
            said = terminal.until(rf"{opened}|Retrying [^\]]*\][^\]]*|[Ee]rror")
            if re.search(opened, said) is None:
                raise Failed(said)
            for keys, answer in (
                (";", "select All"), ("A", "selected"), ("A", "APPLY command"),
                ("S", "to folder"), ("saved\r", r"Create.*N  No"), ("y", "HELP|PrevMsg"),
            ):
                terminal.ask(keys, answer)
            terminal.type("q")
            terminal.end()
        added = re.compile(rb"^(Status|X-Status|X-Keywords|X-UID):.*\n", re.MULTILINE)
        # The first message is alpine's own note about the folder.
        messages = mbox(take(mail / "saved"))[1:]
        # It writes an empty line after each.
        return [added.sub(b"", message).removesuffix(b"\n") for message in messages]


SCREENS = (Mutt, Neomutt, Alpine)
