"""The six clients that fetch the whole corpus."""

import poplib
import sys
from pathlib import Path

from lib import corpus
from lib.clients import Client, Fetchmail, Getmail, Mpop, take, take_all
from lib.corpus import LARGE
from lib.process import CLIENT_USER, run
from lib.report import Failed, require
from lib.server import STLS, TLS, Endpoint
from lib.site import Account


class Curl(Client):
    """curl, which runs single commands; this class keeps the list of messages."""

    name = "curl"
    # curl looks for the final dot with the line end before it. For an empty message that is the
    # end of the status line, which curl stores as an empty line.
    bears_not = frozenset([corpus.EMPTY])

    def version(self) -> str:
        return run(["curl", "--version"]).stdout.split("\n")[0].split(" (")[0]

    def call(
        self, account: Account, endpoint: Endpoint, home: Path, path: str, *options: object
    ) -> str:
        """One run of curl on one path of the mailbox."""
        scheme = "pop3s" if endpoint.transport == TLS else "pop3"
        # Credentials are in a private file, so that no process list shows them.
        netrc = home / "netrc"
        netrc.write_text(
            f'machine {endpoint.host} login {account.user} password "{account.password}"\n'
        )
        netrc.chmod(0o600)
        self.site.own(netrc, CLIENT_USER)
        return run(
            [
                "curl", "--silent", "--show-error", "--max-time", "90",
                "--netrc-file", netrc, "--cacert", self.site.certificate,
                *(["--ssl-reqd"] if endpoint.transport == STLS else []),
                *options,
                f"{scheme}://{endpoint.host}:{endpoint.port}/{path}",
            ],
            home=home,
        ).stdout

    def listing(
        self, command: str, account: Account, endpoint: Endpoint, home: Path
    ) -> dict[int, str]:
        """The lines of LIST or UIDL by message-number."""
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
        # From the last one, because each run is a separate session, which renumbers the messages.
        for number in reversed(wanted):
            self.call(account, endpoint, home, str(number), "--request", "DELE", "--head")
        return list(received.values())

    def _retrieve(
        self, account: Account, endpoint: Endpoint, home: Path, numbers: list[int]
    ) -> dict[int, bytes]:
        if not numbers:
            return {}
        # One run for all with braces in the path: curl keeps the connection.
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
        # poplib refuses lines of more than 2048 octets, which are common. The limit is raised
        # for the corpus, as getmail does.
        poplib._MAXLINE = 64 << 20
        context = self.site.client_tls()
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
    # Net::Cmd reads 1 KiB at a time and copies the unfinished line each time: a line of 10 MB
    # would take most of an hour.
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
                "perl", self.site.root / "scripts" / "net_pop3.pl", task, endpoint.port,
                endpoint.transport, account.user, self.site.certificate, home, limit,
            ],
            stdin=account.password + "\n", home=home,
        )
        return take_all(home, "mail.*")


CLIENTS = (Curl, Poplib, NetPop3, Mpop, Fetchmail, Getmail)
