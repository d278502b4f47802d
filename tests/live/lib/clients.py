"""Mail clients that several suites use, each configured as its manual says.

A client fetches new messages and leaves them on the server (`fetch`), or fetches and removes all
messages up to `corpus.LARGE` octets (`remove`). `bears_not` lists the marks of messages that the
client would change or refuse; `shape` applies the changes that it makes to every message.
"""

from pathlib import Path

from lib import corpus
from lib.corpus import LARGE, Message
from lib.process import CLIENT_USER, Finished, run
from lib.report import Failed
from lib.server import CLEARTEXT, STLS, TLS, Endpoint
from lib.site import Account, Site


class Client:
    """The interface of all clients. `home` keeps their record of seen messages."""

    name = ""
    transports: tuple[str, ...] = (CLEARTEXT, STLS, TLS)
    # The time limit of a run of mpop and fetchmail, in seconds.
    limit = 120.0
    bears_not: frozenset[str] = frozenset()

    def __init__(self, site: Site) -> None:
        self.site = site

    def can_carry(self, message: Message) -> bool:
        """Whether the client stores a message unchanged."""
        return not message.marks & self.bears_not

    def shape(self, wire: bytes) -> bytes:
        """The message as the client stores it."""
        return wire

    def version(self) -> str:
        """The version that the client prints. Fails if the client is missing."""
        raise NotImplementedError

    def fetch(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        """Fetches new messages, and leaves all of them on the server."""
        raise NotImplementedError

    def remove(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        """Fetches all messages up to `LARGE` octets, and removes them from the server."""
        raise NotImplementedError

    def refusal(self, account: Account, endpoint: Endpoint, home: Path) -> str:
        """Tries to log in without TLS where that is refused. Returns its error."""
        try:
            self.fetch(account, endpoint, home)
        except Failed as error:
            return str(error)
        raise Failed("the client reports a login")


class Mpop(Client):
    """mpop, with pipelining and its own Maildir."""

    name = "mpop"

    def version(self) -> str:
        return run(["mpop", "--version"]).stdout.split("\n")[0]

    def shape(self, wire: bytes) -> bytes:
        return wire.replace(b"\r\n", b"\n")

    def fetch(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self.run(account, endpoint, home, "keep on")

    def remove(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self.run(account, endpoint, home, "keep off", f"skipsize {LARGE}")

    def run(self, account: Account, endpoint: Endpoint, home: Path, *lines: str) -> list[bytes]:
        """One run of mpop with these lines in its configuration."""
        maildir = home / "Maildir"
        for part in ("new", "cur", "tmp"):
            (maildir / part).mkdir(parents=True, exist_ok=True)
        tls = {
            CLEARTEXT: ["tls off"],
            STLS: ["tls on", "tls_starttls on"],
            TLS: ["tls on", "tls_starttls off"],
        }[endpoint.transport]
        config = home / "mpoprc"
        config.write_text(
            "\n".join(
                [
                    "account default", f"host {endpoint.host}", f"port {endpoint.port}",
                    f"user {account.user}", f'password "{account.password}"', "timeout 60",
                    *tls, *([f"tls_trust_file {self.site.certificate}"] if len(tls) > 1 else []),
                    # Without TLS it sends a password only by a configured mechanism. By "auth user"
                    # it would send it together with the name, before it can be refused.
                    "auth plain",
                    f"delivery maildir {maildir}", f"uidls_file {home}/uidls",
                    "received_header off", *lines, "",
                ]
            )
        )
        config.chmod(0o600)
        self.site.own(home, CLIENT_USER)
        run(["mpop", "--quiet", f"--file={config}"], home=home, timeout=self.limit)
        return take_all(maildir / "new", "*")


class Fetchmail(Client):
    """fetchmail, which passes each message to a command that stores it."""

    name = "fetchmail"
    # It splits lines into pieces of 8 KiB, drops every CR, and adds a missing header, or a missing
    # blank line after it.
    bears_not = frozenset(
        [corpus.LONG_LINE, corpus.LONE_CR, corpus.HEADERLESS, corpus.NO_BLANK_LINE]
    )

    def version(self) -> str:
        said = run(["fetchmail", "--version"], home=self.site.home(), codes=(0, 5)).stdout
        return said.split("\n")[0]

    def shape(self, wire: bytes) -> bytes:
        return wire.replace(b"\r\n", b"\n")

    def fetch(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self._run(account, endpoint, home, "keep")

    def remove(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self._run(account, endpoint, home, f"no keep fetchall limit {LARGE}")

    def _run(
        self, account: Account, endpoint: Endpoint, home: Path, options: str
    ) -> list[bytes]:
        # 1: there was no mail. 13: a message was left because of the limit.
        result = self.poll(account, endpoint, home, options, codes=(0, 1, 13))
        if "error" in result.stderr.lower() or "error" in result.stdout.lower():
            raise Failed(result.stderr + result.stdout)
        return take_all(home / "inbox", "mail.*")

    def poll(
        self, account: Account, endpoint: Endpoint, home: Path, options: str,
        codes: tuple[int, ...],
    ) -> Finished:
        """One run. Fails with any other exit code."""
        inbox = home / "inbox"
        inbox.mkdir(exist_ok=True)
        store = storing(home, inbox)
        tls = {
            CLEARTEXT: 'no sslcertck sslproto ""',
            STLS: f'sslcertck sslcertfile "{self.site.certificate}" sslproto "auto"',
            TLS: f'ssl sslcertck sslcertfile "{self.site.certificate}" sslproto "auto"',
        }[endpoint.transport]
        config = home / "fetchmailrc"
        config.write_text(
            "set no bouncemail\n"
            "set invisible\n"  # no Received line of its own
            f'set idfile "{home}/ids"\n'
            f'set pidfile "{home}/pid"\n'
            f"poll {endpoint.host} protocol pop3 service {endpoint.port} uidl timeout 60 "
            "bad-header accept\n"
            f'  username "{account.user}" password "{account.password}" is "{CLIENT_USER}" here\n'
            f"  {options} no rewrite no mimedecode pass8bits {tls}\n"
            f'  mda "{store}"\n'
        )
        config.chmod(0o600)
        self.site.own(home, CLIENT_USER)
        command: list[object] = ["fetchmail", "--fetchmailrc", config]
        return run(command, home=home, codes=codes, timeout=self.limit)


class Getmail(Client):
    """getmail6, which has no STLS, only these two retrievers for POP3."""

    name = "getmail6"
    # It accepts lines of up to 1 MiB. Python's mail parser replaces every CR by LF, and gives
    # each message a header with its blank line.
    bears_not = frozenset(
        [corpus.HUGE_LINE, corpus.LONE_CR, corpus.HEADERLESS, corpus.NO_BLANK_LINE]
    )
    transports = (CLEARTEXT, TLS)

    def version(self) -> str:
        return run(["getmail", "--version"]).stdout.strip()

    def shape(self, wire: bytes) -> bytes:
        # It always adds this line at the top.
        return b"Return-Path: <unknown>\n" + wire.replace(b"\r\n", b"\n")

    def fetch(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self._run(account, endpoint, home, "read_all = false", "delete = false")

    def remove(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self._run(
            account, endpoint, home, "delete = true", f"max_message_size = {LARGE}"
        )

    def _run(
        self, account: Account, endpoint: Endpoint, home: Path, *options: str
    ) -> list[bytes]:
        inbox = home / "inbox"
        inbox.mkdir(exist_ok=True)
        tls = endpoint.transport == TLS
        config = home / "getmailrc"
        config.write_text(
            "\n".join(
                [
                    "[retriever]",
                    f"type = SimplePOP3{'SSL' if tls else ''}Retriever",
                    f"server = {endpoint.host}", f"port = {endpoint.port}",
                    f"username = {account.user}", f"password = {account.password}",
                    "timeout = 60",
                    *([f"ca_certs = {self.site.certificate}"] if tls else []),
                    # Not its own Maildir delivery: getmail sometimes waits for ever for a delivery that has
                    # ended before it begins to wait.
                    "[destination]", "type = MDA_external",
                    f"path = {storing(home, inbox, linger=0.1)}",
                    "[options]", "verbose = 1", "delivered_to = false", "received = false",
                    *options, "",
                ]
            )
        )
        config.chmod(0o600)
        self.site.own(home, CLIENT_USER)
        run(["getmail", f"--getmaildir={home}", f"--rcfile={config}"], home=home)
        return take_all(inbox, "mail.*")


def storing(home: Path, inbox: Path, linger: float = 0) -> Path:
    """A command that stores the message on its standard input."""
    command = home / "store"
    command.write_text(f'#!/bin/sh\ncat > "$(mktemp {inbox}/mail.XXXXXXXX)"\nsleep {linger}\n')
    command.chmod(0o755)
    return command


def take(path: Path) -> bytes:
    """Reads a received file, and removes it before the next run."""
    text = path.read_bytes() if path.exists() else b""
    path.unlink(missing_ok=True)
    return text


def take_all(directory: Path, pattern: str) -> list[bytes]:
    """The same for all files of a pattern."""
    return [take(path) for path in sorted(directory.glob(pattern))]
