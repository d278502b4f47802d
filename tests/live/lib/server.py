"""A real `restante serve`, in the ways that it is configured here."""

import os
import re
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

from lib.process import SERVER_USER, free_port
from lib.report import Failed, require
from lib.world import World

CLEARTEXT, STLS, TLS = "cleartext", "STLS", "TLS"


@dataclass(frozen=True)
class Endpoint:
    """Where a client connects, and how it gets TLS there."""

    port: int
    transport: str
    host: str = "localhost"


class Server:
    """One `restante serve`: a port for each way of connecting, its log in a file."""

    # Whether Ctrl-C at the terminal does not reach it.
    is_apart = False

    def __init__(self, world: World, name: str, allow_cleartext: bool = False) -> None:
        self.world = world
        self.name = name
        self.allow_cleartext = allow_cleartext
        self.ports = {transport: free_port() for transport in (CLEARTEXT, STLS, TLS)}
        self.log = world.root / f"{name}.log"
        self.process: Optional[subprocess.Popen[bytes]] = None

    def endpoint(self, transport: str) -> Endpoint:
        """Where a client finds this server."""
        return Endpoint(self.ports[transport], transport)

    def start(self) -> None:
        """Starts the server and returns when it says that it is ready."""
        config = self.world.root / f"{self.name}.toml"
        config.write_text(self.configuration())
        notify = self.world.root / f"{self.name}.notify"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(notify))
            notify.chmod(0o666)
            ready.settimeout(0.2)
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [self.world.program, "serve", "--config", config],
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
        """Ends the server as a service manager does, and wants a clean exit."""
        process, self.process = self.process, None
        if process is None:
            return
        process.terminate()
        try:
            code = process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failed("the server did not end within 30 s of SIGTERM") from None
        require(code == 0, f"the server ended with {code}: {self.last_words()}")

    def kill(self) -> None:
        """Ends the server without warning, as a power cut would."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def last_words(self) -> str:
        """The end of the log."""
        return self.log.read_text(errors="replace")[-2000:]

    def addresses(self) -> list[str]:
        """Loopback, in IPv6 too where the machine has it: "localhost" may mean either."""
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
            # No listener without TLS where no password would be taken on it.
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
            f'certificate = "{self.world.certificate}"',
            f'private-key = "{self.world.key}"',
            "[maildir]",
            f'path = "{self.world.root}/mail/{{user}}/Maildir"',
            "[auth]",
            f"allow-cleartext = {str(self.allow_cleartext).lower()}",
            *self.credentials(),
            "[throttle]",
            'trusted = ["127.0.0.1", "::1"]',
            "[log]",
            'format = "text"',
        ]
        return "\n".join(lines) + "\n"

    def credentials(self) -> list[str]:
        """The rest of `[auth]`, and the stores."""
        return ["[[credentials]]", 'kind = "file"', f'path = "{self.world.users}"']


class Restante(Server):
    """A server with the stores of our choice, and no delay that would hide how long they take."""

    def __init__(
        self, world: World, name: str, sections: Callable[[], str], failure_delay: str = "0s"
    ) -> None:
        super().__init__(world, name)
        self.sections = sections
        self.failure_delay = failure_delay

    def credentials(self) -> list[str]:
        return [f'failure-delay = "{self.failure_delay}"', self.sections()]

    def port(self) -> int:
        """Where TLS begins at once."""
        return self.endpoint(TLS).port

    def config(self) -> Path:
        """Its configuration file."""
        return self.world.root / f"{self.name}.toml"


class Homes(Restante):
    """One that looks for mail below the home directories that the stores name."""

    def configuration(self) -> str:
        path = 'path = "{home}/Maildir"'
        return re.sub(r'(?m)^path = ".*/mail/.*"$', path, super().configuration())


class ByDefault(Restante):
    """A server with the throttle and the delay that a configuration has when it is silent.

    Every mechanism is offered that the stores have at all: there is more to attack.
    """

    def credentials(self) -> list[str]:
        offered = '"PLAIN", "LOGIN", "SCRAM-SHA-256", "OAUTHBEARER"'
        return [f"mechanisms = [{offered}]", *super().credentials()]

    def configuration(self) -> str:
        lines = super().configuration().splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith(("trusted", "failure-delay")))


class Clear(Server):
    """A server whose credential file has the passwords in clear."""

    def __init__(
        self, world: World, name: str, *auth: str, allow_cleartext: bool = False
    ) -> None:
        super().__init__(world, name, allow_cleartext)
        self.auth = auth

    def credentials(self) -> list[str]:
        path = credential_file(self.world)
        return [*self.auth, "[[credentials]]", 'kind = "file"', f'path = "{path}"']


def credential_file(world: World) -> Path:
    """The credential file of all servers here."""
    return world.root / "everyday-users"
