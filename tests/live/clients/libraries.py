"""Libraries that fetch mail, each used by a script in `scripts`.

The scripts use them as their manuals say. All have the same arguments, see `scripts/net_pop.rb`.
"""

import time
from pathlib import Path
from typing import Callable, Iterable

from clients.everyday import Everyday, Servers
from lib.clients import take_all
from lib.corpus import ordinary
from lib.process import run
from lib.report import require, same_messages
from lib.server import CLEARTEXT, TLS, Endpoint
from lib.site import Account


class Script(Everyday):
    """A script in the language of the library."""

    interpreter = ""
    script = ""

    def fetch(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self._run("fetch", account, endpoint, home)

    def remove(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self._run("remove", account, endpoint, home)

    def _run(self, task: str, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        run(
            [
                self.interpreter, self.site.root / "scripts" / self.script, task, endpoint.port,
                endpoint.transport, account.user, self.site.certificate, home,
            ],
            stdin=account.password + "\n", home=home, timeout=self.limit,
            variables={"SSL_CERT_FILE": self.site.certificate},
        )
        return take_all(home, "mail.*")


class Ruby(Script):
    """Ruby's net-pop, which has no STLS."""

    name = "net-pop"
    transports = (CLEARTEXT, TLS)
    interpreter, script = "ruby", "net_pop.rb"
    wrong = r"\[AUTH\] wrong user name or password \(Net::POPAuthenticationError\)"
    busy = r"\[IN-USE\] this maildrop is open"

    def version(self) -> str:
        script = 'puts "net-pop #{Net::POP3::VERSION}"'
        return run(["ruby", "-rnet/pop", "-e", script]).stdout.strip()


class Twisted(Script):
    """Twisted's POP3 client."""

    name = "Twisted"
    # Debian's interpreter, which has the library.
    interpreter, script = "/usr/bin/python3", "twisted_pop3.py"
    wrong = r"\[AUTH\] wrong user name or password"
    busy = r"\[IN-USE\] this maildrop is open"

    def version(self) -> str:
        script = "import twisted; print(twisted.version)"
        return run([self.interpreter, "-c", script]).stdout.strip()


class Tcllib(Script):
    """The pop3 package of tcllib. Its STLS supports TLS 1.0 only."""

    name = "tcllib"
    transports = (CLEARTEXT, TLS)
    interpreter, script = "tclsh", "tcllib_pop3.tcl"
    wrong = r"POP3 LOGIN ERROR: *\[AUTH\] wrong user name or password"
    busy = r"POP3 LOGIN ERROR: *\[IN-USE\] this maildrop is open"

    def version(self) -> str:
        return run(["tclsh"], stdin='puts "pop3 [package require pop3]"').stdout.strip()

    def shape(self, wire: bytes) -> bytes:
        return wire.replace(b"\r\n", b"\n")

    def more(self) -> Iterable[tuple[str, Callable[[Servers], str]]]:
        yield "commands-in-two-writes", self._many

    def _many(self, servers: Servers) -> str:
        """It sends the end of a line separately, after the rest is acknowledged."""
        messages = [ordinary(number) for number in range(100)]
        account = servers.account("tcllib many", messages)
        started = time.monotonic()
        received = self.fetch(account, servers.lenient.endpoint(CLEARTEXT), self.site.home())
        took = time.monotonic() - started
        said = same_messages(received, messages, self.shape)
        # Two hundred commands: each delayed acknowledgement would take 40 ms.
        require(took < 4, f"{said} took {took:.1f} s")
        return said


class Php(Script):
    """PHP's imap extension. Over STLS it supports TLS 1.0 only."""

    name = "PHP imap"
    remembers = False
    transports = (CLEARTEXT, TLS)
    interpreter, script = "php", "imap.php"
    wrong = r"\[AUTH\] wrong user name or password"
    busy = r"\[IN-USE\] this maildrop is open"

    def version(self) -> str:
        script = "echo 'PHP ', PHP_VERSION; exit(extension_loaded('imap') ? 0 : 1);"
        return run(["php", "-r", script]).stdout


LIBRARIES = (Ruby, Twisted, Tcllib, Php)
