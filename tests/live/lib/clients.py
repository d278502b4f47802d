"""The six clients, each driven the way its own manual says.

A client fetches what is new and leaves it on the server (`fetch`), or fetches and removes
everything up to `corpus.LARGE` octets (`remove`). `bears_not` names the marks of messages that
the client itself would change or refuse; `shape` says what it does to every message.
"""

import poplib
import sys
from pathlib import Path

from lib import corpus
from lib.corpus import LARGE, Message
from lib.process import CLIENT_USER, Finished, run
from lib.report import Failed, require
from lib.server import CLEARTEXT, STLS, TLS, Endpoint
from lib.world import Account, World


class Client:
    """What all clients have in common; `home` keeps their memory of what they have seen."""

    name = ""
    transports: tuple[str, ...] = (CLEARTEXT, STLS, TLS)
    # Seconds for each run of mpop and fetchmail.
    limit = 120.0
    bears_not: frozenset[str] = frozenset()

    def __init__(self, world: World) -> None:
        self.world = world

    def can_carry(self, message: Message) -> bool:
        """Whether the client leaves a message as it is."""
        return not message.marks & self.bears_not

    def shape(self, wire: bytes) -> bytes:
        """What the client makes of a message on the wire."""
        return wire

    def version(self) -> str:
        """The client's own words about its version; a missing client fails here."""
        raise NotImplementedError

    def fetch(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        """Fetches what it has not seen yet and leaves everything on the server."""
        raise NotImplementedError

    def remove(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        """Fetches everything up to `LARGE` octets and removes it from the server."""
        raise NotImplementedError

    def refusal(self, account: Account, endpoint: Endpoint, home: Path) -> str:
        """Tries to log in without TLS where that is refused, and gives its error text."""
        try:
            self.fetch(account, endpoint, home)
        except Failed as error:
            return str(error)
        raise Failed("the client believes that it was let in")


class Curl(Client):
    """curl knows no mailbox, only single commands: the bookkeeping is ours, in few lines."""

    name = "curl"
    # The end mark is looked for with the line end before it, which here is the status line's:
    # curl stores it, and so makes an empty line of an empty message.
    bears_not = frozenset([corpus.EMPTY])

    def version(self) -> str:
        return run(["curl", "--version"]).stdout.split("\n")[0].split(" (")[0]

    def call(
        self, account: Account, endpoint: Endpoint, home: Path, path: str, *options: object
    ) -> str:
        """One run of curl on one path of the mailbox."""
        scheme = "pop3s" if endpoint.transport == TLS else "pop3"
        # Credentials in a file of the client's own, so that no process list shows them.
        netrc = home / "netrc"
        netrc.write_text(
            f'machine {endpoint.host} login {account.user} password "{account.password}"\n'
        )
        netrc.chmod(0o600)
        self.world.own(netrc, CLIENT_USER)
        return run(
            [
                "curl", "--silent", "--show-error", "--max-time", "90",
                "--netrc-file", netrc, "--cacert", self.world.certificate,
                *(["--ssl-reqd"] if endpoint.transport == STLS else []),
                *options,
                f"{scheme}://{endpoint.host}:{endpoint.port}/{path}",
            ],
            home=home,
        ).stdout

    def listing(
        self, command: str, account: Account, endpoint: Endpoint, home: Path
    ) -> dict[int, str]:
        """LIST or UIDL, by number."""
        text = self.call(account, endpoint, home, "", "--request", command)
        return {int(number): rest for number, rest in map(str.split, text.splitlines())}

    def fetch(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        seen_file = home / "seen"
        seen = set(seen_file.read_text().split()) if seen_file.exists() else set()
        ids = self.listing("UIDL", account, endpoint, home)
        wanted = [number for number, id in ids.items() if id not in seen]
        sizes = self.listing("LIST", account, endpoint, home)
        received = self._retrieve(account, endpoint, home, wanted)
        for number, text in received.items():
            require(
                len(text) == int(sizes[number]),
                f"message {number}: LIST says {sizes[number]}, sent were {len(text)}",
            )
        seen_file.write_text("\n".join(seen | set(ids.values())))
        return list(received.values())

    def remove(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        sizes = self.listing("LIST", account, endpoint, home)
        wanted = [number for number, size in sizes.items() if int(size) <= LARGE]
        received = self._retrieve(account, endpoint, home, wanted)
        # From the end, since each run is a session of its own and the numbers close ranks.
        for number in reversed(wanted):
            self.call(account, endpoint, home, str(number), "--request", "DELE", "--head")
        return list(received.values())

    def _retrieve(
        self, account: Account, endpoint: Endpoint, home: Path, numbers: list[int]
    ) -> dict[int, bytes]:
        if not numbers:
            return {}
        # One run for all, as braces in the path allow: curl keeps the connection.
        braces = "{" + ",".join(map(str, numbers)) + "}"
        self.call(account, endpoint, home, braces, "--output", home / "mail.#1")
        return {number: take(home / f"mail.{number}") for number in numbers}


class Poplib(Client):
    """Python's own library."""

    name = "poplib"

    def version(self) -> str:
        return f"Python {sys.version.split()[0]}"

    def open(self, account: Account, endpoint: Endpoint) -> poplib.POP3:
        """A session that is logged in."""
        # poplib refuses lines of more than 2048 octets, which mail is full of: lifted, as
        # getmail lifts it, and high enough for the corpus.
        poplib._MAXLINE = 64 << 20
        context = self.world.client_tls()
        try:
            if endpoint.transport == TLS:
                pop: poplib.POP3 = poplib.POP3_SSL(
                    endpoint.host, endpoint.port, context=context, timeout=60
                )
            else:
                pop = poplib.POP3(endpoint.host, endpoint.port, timeout=60)
            if endpoint.transport == STLS:
                pop.stls(context)
            pop.user(account.user)
            pop.pass_(account.password)
        except poplib.error_proto as error:
            raise Failed(str(error)) from None
        return pop

    def fetch(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        seen_file = home / "seen"
        seen = set(seen_file.read_text().split()) if seen_file.exists() else set()
        pop = self.open(account, endpoint)
        ids = dict(line.decode().split() for line in pop.uidl()[1])
        sizes = dict(line.decode().split() for line in pop.list()[1])
        count, total = pop.stat()
        require(count == len(ids) == len(sizes), "STAT, LIST and UIDL disagree on the number")
        require(total == sum(map(int, sizes.values())), "STAT and LIST disagree on the octets")
        received = [
            self._retrieve(pop, number, int(sizes[number]))
            for number, id in ids.items()
            if id not in seen
        ]
        pop.quit()
        seen_file.write_text("\n".join(seen | set(ids.values())))
        return received

    def remove(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        pop = self.open(account, endpoint)
        received = []
        for line in pop.list()[1]:
            number, size = line.decode().split()
            if int(size) <= LARGE:
                received.append(self._retrieve(pop, number, int(size)))
                pop.dele(number)
        pop.quit()
        return received

    @staticmethod
    def _retrieve(pop: poplib.POP3, number: str, size: int) -> bytes:
        reply, lines, octets = pop.retr(number)
        text = b"".join(line + b"\r\n" for line in lines)
        require(len(text) == size, f"message {number}: LIST says {size}, sent were {len(text)}")
        require(f"+OK {size} octets".encode() == reply, f"RETR {number}: {reply!r}")
        return text


class NetPop3(Client):
    """Perl's own library."""

    name = "Net::POP3"
    # Net::Cmd reads 1 KiB at a time and copies the unfinished line each time: a line of
    # 10 MB would take it the better part of an hour.
    bears_not = frozenset([corpus.HUGE_LINE])

    def version(self) -> str:
        script = 'print "Net::POP3 $Net::POP3::VERSION, IO::Socket::SSL $IO::Socket::SSL::VERSION"'
        return run(["perl", "-MNet::POP3", "-MIO::Socket::SSL", "-e", script]).stdout

    def fetch(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self._run("fetch", account, endpoint, home, 1 << 40)

    def remove(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self._run("remove", account, endpoint, home, LARGE)

    def _run(
        self, task: str, account: Account, endpoint: Endpoint, home: Path, limit: int
    ) -> list[bytes]:
        run(
            [
                "perl", self.world.root / "scripts" / "net_pop3.pl", task, endpoint.port,
                endpoint.transport, account.user, self.world.certificate, home, limit,
            ],
            stdin=account.password + "\n", home=home,
        )
        return take_all(home, "mail.*")


class Mpop(Client):
    """mpop, with pipelining and a Maildir of its own."""

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
                    *tls, *([f"tls_trust_file {self.world.certificate}"] if len(tls) > 1 else []),
                    # Without TLS it sends a password only when told how; by "auth user" it would
                    # do so in one go with the name, before it can be told not to.
                    "auth plain",
                    f"delivery maildir {maildir}", f"uidls_file {home}/uidls",
                    "received_header off", *lines, "",
                ]
            )
        )
        config.chmod(0o600)
        self.world.own(home, CLIENT_USER)
        run(["mpop", "--quiet", f"--file={config}"], home=home, timeout=self.limit)
        return take_all(maildir / "new", "*")


class Fetchmail(Client):
    """fetchmail, handing each message to a command that stores it."""

    name = "fetchmail"
    # It splits lines in pieces of 8 KiB, drops every CR, and makes up a header, or the blank line
    # after it, where there is none.
    bears_not = frozenset(
        [corpus.LONG_LINE, corpus.LONE_CR, corpus.HEADERLESS, corpus.NO_BLANK_LINE]
    )

    def version(self) -> str:
        said = run(["fetchmail", "--version"], home=self.world.home(), codes=(0, 5)).stdout
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
        # 1: there was nothing to fetch. 13: a message was left because of the limit.
        result = self.poll(account, endpoint, home, options, codes=(0, 1, 13))
        if "error" in result.stderr.lower() or "error" in result.stdout.lower():
            raise Failed(result.stderr + result.stdout)
        return take_all(home / "inbox", "mail.*")

    def poll(
        self, account: Account, endpoint: Endpoint, home: Path, options: str,
        codes: tuple[int, ...],
    ) -> Finished:
        """One run, which has to end with one of these codes."""
        inbox = home / "inbox"
        inbox.mkdir(exist_ok=True)
        store = storing(home, inbox)
        tls = {
            CLEARTEXT: 'no sslcertck sslproto ""',
            STLS: f'sslcertck sslcertfile "{self.world.certificate}" sslproto "auto"',
            TLS: f'ssl sslcertck sslcertfile "{self.world.certificate}" sslproto "auto"',
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
        self.world.own(home, CLIENT_USER)
        command: list[object] = ["fetchmail", "--fetchmailrc", config]
        return run(command, home=home, codes=codes, timeout=self.limit)


class Getmail(Client):
    """getmail6, which has no STLS: only the two retrievers below are for POP3."""

    name = "getmail6"
    # It takes lines of up to 1 MiB, and passes everything through Python's mail parser, which
    # makes LF of every CR and gives each message a header with its blank line.
    bears_not = frozenset(
        [corpus.HUGE_LINE, corpus.LONE_CR, corpus.HEADERLESS, corpus.NO_BLANK_LINE]
    )
    transports = (CLEARTEXT, TLS)

    def version(self) -> str:
        return run(["getmail", "--version"]).stdout.strip()

    def shape(self, wire: bytes) -> bytes:
        # It puts this line on top, whatever there was.
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
                    *([f"ca_certs = {self.world.certificate}"] if tls else []),
                    # Not its own Maildir: getmail waits in vain for a delivery that ends before it
                    # begins to wait, as a fast one does now and then.
                    "[destination]", "type = MDA_external",
                    f"path = {storing(home, inbox, linger=0.1)}",
                    "[options]", "verbose = 1", "delivered_to = false", "received = false",
                    *options, "",
                ]
            )
        )
        config.chmod(0o600)
        self.world.own(home, CLIENT_USER)
        run(["getmail", f"--getmaildir={home}", f"--rcfile={config}"], home=home)
        return take_all(inbox, "mail.*")


def storing(home: Path, inbox: Path, linger: float = 0) -> Path:
    """A command that stores the message on its standard input, for clients that want one."""
    command = home / "store"
    command.write_text(f'#!/bin/sh\ncat > "$(mktemp {inbox}/mail.XXXXXXXX)"\nsleep {linger}\n')
    command.chmod(0o755)
    return command


def take(path: Path) -> bytes:
    """Reads a received file and removes it, so that the next run starts empty."""
    text = path.read_bytes() if path.exists() else b""
    path.unlink(missing_ok=True)
    return text


def take_all(directory: Path, pattern: str) -> list[bytes]:
    """The same for all files of a pattern."""
    return [take(path) for path in sorted(directory.glob(pattern))]


CLIENTS = (Curl, Poplib, NetPop3, Mpop, Fetchmail, Getmail)
