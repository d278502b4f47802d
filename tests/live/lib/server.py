"""A real `restante serve` in the configurations of the suites."""

import os
import re
import signal
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

from lib.pop3 import Pop3
from lib.process import SERVER_USER, free_port
from lib.report import Failed, require
from lib.site import Account, Site

CLEARTEXT, STLS, TLS = "cleartext", "STLS", "TLS"


@dataclass(frozen=True)
class Endpoint:
    """The address for a client, and the kind of TLS there."""

    port: int
    transport: str
    host: str = "localhost"


class Server:
    """A `restante serve` with a port for each transport, and its log in a file."""

    # Whether it is protected from Ctrl-C at the terminal.
    is_apart = False
    # The command of another program that starts it.
    before: tuple[str, ...] = ()
    # Further keys of `[maildir]`, and the end of its configuration.
    maildir: tuple[str, ...] = ()
    more = ""

    def __init__(self, site: Site, name: str, allow_cleartext: bool = False) -> None:
        self.site = site
        self.name = name
        self.allow_cleartext = allow_cleartext
        self.ports = {transport: free_port() for transport in (CLEARTEXT, STLS, TLS)}
        self.log = site.root / f"{name}.log"
        self.process: Optional[subprocess.Popen[bytes]] = None

    def endpoint(self, transport: str) -> Endpoint:
        """The endpoint for a transport."""
        return Endpoint(self.ports[transport], transport)

    def config(self) -> Path:
        """Its configuration file."""
        return self.site.root / f"{self.name}.toml"

    def connect(
        self, transport: str = TLS, certificate: Optional[Path] = None, **options: Any
    ) -> Pop3:
        """A connection over this transport, with these options of `Pop3`."""
        if transport == CLEARTEXT:
            return Pop3(self.ports[transport], **options)
        tls = self.site.client_tls()
        if certificate is not None:
            tls.load_cert_chain(certificate)
        return Pop3(self.ports[transport], tls=tls, stls=transport == STLS, **options)

    def login(self, name: str, password: str, how: str = "user") -> str:
        """One login on a separate connection. Returns the reply, or the greeting if that refuses."""
        with self.connect() as client:
            if not client.greeting.startswith("+OK"):
                require(not client.until_closed(), "open after the greeting has refused")
                return client.greeting
            return str(getattr(client, how)(name, password))

    def must_admit(self, account: Account) -> None:
        """The right password is accepted, by USER and by PLAIN."""
        for how in ("user", "plain"):
            said = self.login(account.user, account.password, how)
            require(said.startswith("+OK"), f"{how}: the right password got {said!r}")

    def start(self) -> None:
        """Starts the server, and waits until it is ready."""
        self.config().write_text(self.configuration())
        notify = self.site.root / f"{self.name}.notify"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(notify))
            notify.chmod(0o666)
            ready.settimeout(0.2)
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [*self.before, self.site.program, "serve", "--config", self.config()],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    env={**os.environ, "NOTIFY_SOCKET": str(notify)},
                    start_new_session=self.is_apart,
                )
            for _ in range(100):
                try:
                    if b"READY=1" in ready.recv(4096):
                        return
                except TimeoutError:
                    if self.process.poll() is not None:
                        break
        self.kill()
        raise Failed(f"the server did not become ready: {self.last_words()}")

    def stop(self) -> None:
        """Stops the server as a service manager does. Fails without a clean exit."""
        code = self.end()
        require(code == 0, f"the server ended with {code}: {self.last_words()}")

    def end(self, seconds: float = 30) -> int:
        """Stops it in the same way. Returns the exit code, which is 0 if it had ended before."""
        process, self.process = self.process, None
        if process is None:
            return 0
        process.terminate()
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            raise Failed(f"the server did not end within {seconds:g} s of SIGTERM") from None

    def kill(self) -> None:
        """Kills the server."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def last_words(self) -> str:
        """The end of the log."""
        return self.log.read_text(errors="replace")[-2000:]

    def addresses(self) -> list[str]:
        """The loopback addresses, also of IPv6 if available: "localhost" may be either."""
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", 0))
        except OSError:
            return ["127.0.0.1"]
        return ["127.0.0.1", "[::1]"]

    def configuration(self) -> str:
        """The configuration file."""
        listeners = [
            (CLEARTEXT, "off"),
            (STLS, "starttls"),
            (TLS, "implicit"),
        ]
        lines = ['hostname = "localhost"']
        if os.geteuid() == 0:
            lines.append(f'run-as = "{SERVER_USER}:{SERVER_USER}"')
        for transport, tls in listeners:
            # No listener without TLS if it would not accept passwords.
            if transport == CLEARTEXT and not self.allow_cleartext:
                continue
            for address in self.addresses():
                lines += [
                    "[[listen]]",
                    f'address = "{address}:{self.ports[transport]}"',
                    f'tls = "{tls}"',
                ]
        lines += [
            "[tls]",
            f'certificate = "{self.site.certificate}"',
            f'private-key = "{self.site.key}"',
            "[maildir]",
            f'path = "{self.site.root}/mail/{{user}}/Maildir"',
            *self.maildir,
            "[auth]",
            f"allow-cleartext = {str(self.allow_cleartext).lower()}",
            *self.credentials(),
            "[throttle]",
            'trusted = ["127.0.0.1", "::1"]',
            "[log]",
            'format = "text"',
        ]
        return "\n".join(lines) + f"\n{self.more}"

    def credentials(self) -> list[str]:
        """Further keys of `[auth]`, and the stores."""
        return ["[[credentials]]", 'kind = "file"', f'path = "{self.site.users}"']


class Restante(Server):
    """A server with the given stores, and without a failure delay, which would hide their times."""

    def __init__(
        self, site: Site, name: str, sections: Callable[[], str], failure_delay: str = "0s"
    ) -> None:
        super().__init__(site, name)
        self.sections = sections
        self.failure_delay = failure_delay

    def credentials(self) -> list[str]:
        return [f'failure-delay = "{self.failure_delay}"', self.sections()]


class Homes(Restante):
    """A server with mail below the home directories of the stores."""

    def configuration(self) -> str:
        path = 'path = "{home}/Maildir"'
        return re.sub(r'(?m)^path = ".*/mail/.*"$', path, super().configuration())


class ByDefault(Restante):
    """A server with the default throttle and failure delay.

    All mechanisms of the stores are offered, for more to attack.
    """

    def credentials(self) -> list[str]:
        offered = '"PLAIN", "LOGIN", "SCRAM-SHA-256", "OAUTHBEARER"'
        return [f"mechanisms = [{offered}]", *super().credentials()]

    def configuration(self) -> str:
        lines = super().configuration().splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith(("trusted", "failure-delay")))


class Clear(Server):
    """A server whose credential file has passwords in clear."""

    def __init__(
        self, site: Site, name: str, *auth: str, allow_cleartext: bool = False
    ) -> None:
        super().__init__(site, name, allow_cleartext)
        self.auth = auth

    def credentials(self) -> list[str]:
        return [
            *self.auth, "[[credentials]]", 'kind = "file"', f'path = "{self.site.clear_users}"'
        ]
