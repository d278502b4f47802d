"""Mail programs of the command line."""

import re
from pathlib import Path

from clients.everyday import Everyday
from lib.clients import take, take_all
from lib.process import CLIENT_USER, run
from lib.report import Failed
from lib.server import CLEARTEXT, STLS, TLS, Endpoint
from lib.site import Account


class Nmh(Everyday):
    """inc of nmh, which stores messages unchanged."""

    name = "nmh inc"
    remembers = False
    wrong = r"inc: -ERR \[AUTH\] wrong user name or password"
    busy = r"inc: -ERR \[IN-USE\] this maildrop is open"

    def version(self) -> str:
        return run(["dpkg-query", "--show", "nmh"]).stdout.strip()

    def shape(self, wire: bytes) -> bytes:
        return wire.replace(b"\r\n", b"\n")

    def fetch(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self._run(account, endpoint, home, "-notruncate")

    def remove(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self._run(account, endpoint, home, "-truncate")

    def _run(
        self, account: Account, endpoint: Endpoint, home: Path, task: str
    ) -> list[bytes]:
        inbox = home / "Mail" / "inbox"
        inbox.mkdir(parents=True, exist_ok=True)
        (home / ".mh_profile").write_text("Path: Mail\ncredentials: file:netrc\n")
        netrc = home / "Mail" / "netrc"
        netrc.write_text(
            f'machine {endpoint.host} login {account.user} password "{account.password}"\n'
        )
        netrc.chmod(0o600)
        self.site.own(home, CLIENT_USER)
        security = {CLEARTEXT: "-notls", STLS: "-tls", TLS: "-initialtls"}[endpoint.transport]
        run(
            [
                "/usr/bin/mh/inc", "-host", endpoint.host, "-port", endpoint.port,
                "-user", account.user, security, task,
            ],
            home=home, timeout=self.limit,
            variables={"SSL_CERT_FILE": self.site.certificate},
        )
        return take_all(inbox, "[0-9]*")


class Snail(Everyday):
    """s-nail, which copies the mail of a POP3 folder to an mbox."""

    name = "s-nail"
    remembers = False
    wrong = r"POP3 error: -ERR \[AUTH\] wrong user name or password"
    busy = r"POP3 error: -ERR \[IN-USE\] this maildrop is open"

    def version(self) -> str:
        return run(["s-nail", "-V"]).stdout.split(" (")[0].split(",")[0]

    def shape(self, wire: bytes) -> bytes:
        # It adds an empty line to each message without one at its end.
        text = wire.replace(b"\r\n", b"\n")
        return text if text.endswith(b"\n\n") else text + b"\n"

    def fetch(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self._run(account, endpoint, home, "exit")

    def remove(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self._run(account, endpoint, home, "delete *", "quit")

    def _run(
        self, account: Account, endpoint: Endpoint, home: Path, *commands: str
    ) -> list[bytes]:
        netrc = home / ".netrc"
        netrc.write_text(
            f'machine {endpoint.host} login {account.user} password "{account.password}"\n'
        )
        netrc.chmod(0o600)
        self.site.own(netrc, CLIENT_USER)
        scheme = "pop3s" if endpoint.transport == TLS else "pop3"
        script = [
            "set v15-compat netrc-lookup", "set pop3-bulk-load",
            f"set tls-ca-file={self.site.certificate}", "set tls-verify=strict",
            *(["set pop3-use-starttls"] if endpoint.transport == STLS else []),
            f"folder {scheme}://{account.user}@{endpoint.host}:{endpoint.port}",
            "copy * inbox", *commands, "",
        ]
        said = run(
            ["s-nail", "-:/", "-#"], stdin="\n".join(script), home=home, timeout=self.limit
        )
        # Its exit code is always 0.
        if "POP3 error" in said.stderr:
            raise Failed(said.stderr)
        return mbox(take(home / "inbox"))


class Fdm(Everyday):
    """fdm, storing in a Maildir."""

    name = "fdm"
    wrong = r"\[AUTH\] wrong user name or password"
    busy = r"\[IN-USE\] this maildrop is open"

    def version(self) -> str:
        return run(["dpkg-query", "--show", "fdm"]).stdout.strip()

    def shape(self, wire: bytes) -> bytes:
        return wire.replace(b"\r\n", b"\n")

    def fetch(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self._run(account, endpoint, home, "-k")

    def remove(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self._run(account, endpoint, home)

    def _run(
        self, account: Account, endpoint: Endpoint, home: Path, *options: str
    ) -> list[bytes]:
        kind = "pop3s" if endpoint.transport == TLS else "pop3"
        starttls = " starttls" if endpoint.transport == STLS else ""
        config = home / "fdm.conf"
        config.write_text(
            f'set lock-file "{home}/lock"\n'
            "set no-received\n"
            f'action "keep" maildir "{home}/Maildir"\n'
            f'account "interop" {kind} server "{endpoint.host}" port {endpoint.port}\n'
            f'    user "{account.user}" pass "{account.password}"\n'
            f'    new-only cache "{home}/cache"{starttls}\n'
            'match all action "keep"\n'
        )
        config.chmod(0o600)
        self.site.own(config, CLIENT_USER)
        said = run(
            ["fdm", "-f", config, *options, "-v", "fetch"], home=home, timeout=self.limit,
            variables={"SSL_CERT_FILE": self.site.certificate},
        )
        # Its exit code is always 0.
        if "fetching error" in said.stderr:
            raise Failed(said.stderr)
        return take_all(home / "Maildir" / "new", "*")


class Emacs(Everyday):
    """Emacs's pop3.el."""

    name = "Emacs"
    wrong = r"\[AUTH\] wrong user name or password"
    busy = r"\[IN-USE\] this maildrop is open"

    def version(self) -> str:
        return run(["emacs", "--version"]).stdout.split("\n")[0]

    def shape(self, wire: bytes) -> bytes:
        return wire.replace(b"\r\n", b"\n")

    def fetch(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self._run("fetch", account, endpoint, home)

    def remove(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self._run("remove", account, endpoint, home)

    def _run(self, task: str, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        (home / ".emacs.d").mkdir(exist_ok=True)
        self.site.own(home / ".emacs.d", CLIENT_USER)
        run(
            ["emacs", "--batch", "--quick", "--load", self.site.root / "scripts" / "emacs_pop3.el",
             "--funcall", "fetch"],
            stdin=account.password + "\n", home=home, timeout=self.limit,
            variables={
                "TASK": task, "PORT": endpoint.port, "TRANSPORT": endpoint.transport,
                "MAILDROP": account.user, "CA": self.site.certificate,
            },
        )
        added = re.compile(rb"^(Content-Length|X-UIDL): .*\n", re.MULTILINE)
        messages = [added.sub(b"", message) for message in mbox(take(home / "inbox"))]
        # It writes an empty line between them.
        return [message.removesuffix(b"\n") for message in messages[:-1]] + messages[-1:]


def mbox(text: bytes) -> list[bytes]:
    """The messages of an mbox. No line of the messages begins with "From "."""
    return re.split(rb"^From .*\n", text, flags=re.MULTILINE)[1:]


COMMANDS = (Nmh, Snail, Fdm, Emacs)
