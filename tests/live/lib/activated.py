"""A server with sockets of a service manager: listening sockets, and one for notifications."""

import fcntl
import os
import signal
import socket
from pathlib import Path

from lib.server import STLS, TLS, Server
from lib.site import Site


class Activated(Server):
    """A server whose listening sockets belong to this process, as to a service manager."""

    def __init__(self, site: Site) -> None:
        super().__init__(site, "activated")
        self.sockets = [
            socket.create_server(("127.0.0.1", self.ports[transport])) for transport in (STLS, TLS)
        ]
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.bind(str(site.root / "notify"))
        (site.root / "notify").chmod(0o666)
        self.notices.settimeout(20)
        self.child = 0

    def addresses(self) -> list[str]:
        return ["127.0.0.1"]

    def start(self) -> None:
        config = self.site.root / "activated.toml"
        config.write_text(self.configuration())
        self.child = os.fork()
        if self.child == 0:
            self._become(config)

    def _become(self, config: Path) -> None:
        """In the child: sets descriptors 3 and 4, and the variables with its process id."""
        try:
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            # Moved to higher numbers first, so that none is overwritten.
            high = [fcntl.fcntl(each.fileno(), fcntl.F_DUPFD, 100) for each in self.sockets]
            os.dup2(log, 1)
            os.dup2(log, 2)
            for target, source in enumerate(high, start=3):
                os.dup2(source, target)
            os.closerange(5, 200)
            os.execve(
                self.site.program,
                [str(self.site.program), "serve", "--config", str(config)],
                {
                    "PATH": os.environ["PATH"],
                    "LISTEN_FDS": "2",
                    "LISTEN_PID": str(os.getpid()),
                    "NOTIFY_SOCKET": str(self.site.root / "notify"),
                },
            )
        finally:
            os._exit(127)

    def told(self, wanted: str) -> str:
        """Reads notifications until one has this line."""
        heard: list[str] = []
        while True:
            try:
                notice = self.notices.recv(4096).decode()
            except TimeoutError:
                raise TimeoutError(f"no {wanted} within 20 s, only {heard}") from None
            heard.append(notice)
            if wanted in notice.split("\n"):
                return notice

    def end(self, seconds: float = 30) -> int:
        """Waits for the end of the server. Returns its exit code."""
        child, self.child = self.child, 0
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)

    def kill(self) -> None:
        if self.child:
            os.kill(self.child, signal.SIGKILL)
            self.end()
