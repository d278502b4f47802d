"""Starts `restante serve` as a service manager does: python3 tests/live socket_activation PROGRAM

Passes two bound sockets and a notification socket. Checks that the server serves on these sockets
only, and its notifications at start, reload and stop.
"""

import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

from lib.activated import Activated
from lib.corpus import ordinary
from lib.report import Report, require
from lib.server import STLS, TLS
from lib.site import Site


def main() -> int:
    """All checks, in the order of a server's life."""
    report = Report(only=[])
    site = Site(Path(sys.argv[1]).resolve())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    server = Activated(site)
    try:
        account = site.account("mrose", [ordinary(1)])
        # A connection before the start of the server: it waits in the manager's socket.
        early = socket.create_connection(("127.0.0.1", server.ports[STLS]), timeout=20)

        def starts() -> str:
            server.start()
            return repr(server.told("READY=1"))

        def serves_the_early() -> str:
            text = early.recv(512)
            require(text.startswith(b"+OK "), f"got {text!r}")
            return "its connection had waited in the socket"

        def serves() -> str:
            for transport in (STLS, TLS):
                with server.connect(transport) as client:
                    client.log_in(account.user, account.password)
                    require(client.ok("STAT").startswith("+OK 1 "), "the message is not there")
                    client.ok("QUIT")
            return "STLS and TLS"

        def binds_no_other() -> str:
            ours = {os.fstat(each.fileno()).st_ino for each in server.sockets}
            theirs = listening(server.child)
            require(theirs == ours, f"listens on {theirs}, was given {ours}")
            return "the two sockets passed"

        def reloads() -> str:
            client = server.connect()
            client.log_in(account.user, account.password)
            os.kill(server.child, signal.SIGHUP)
            notice = server.told("RELOADING=1")
            require("MONOTONIC_USEC=" in notice, f"no time stamp in {notice!r}")
            server.told("READY=1")
            require(client.ok("STAT").startswith("+OK 1 "), "the session did not survive")
            client.ok("QUIT")
            client.close()
            return serves()

        def stops() -> str:
            os.kill(server.child, signal.SIGTERM)
            server.told("STOPPING=1")
            early.close()
            code = server.end()
            require(code == 0, f"ended with {code}: {server.last_words()}")
            return "exit code 0"

        report.check("READY=1", starts)
        report.check("a client before the start of the server", serves_the_early)
        report.check("serves on the sockets passed", serves)
        report.check("binds no other socket", binds_no_other)
        report.check("RELOADING=1 and READY=1 on SIGHUP", reloads)
        report.check("STOPPING=1 on SIGTERM", stops)
    finally:
        server.kill()
        site.close()
    return report.close()


def listening(process: int) -> set[int]:
    """The inodes of the TCP sockets that a process listens on."""
    waiting = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":  # TCP_LISTEN
                waiting.add(int(fields[9]))
    own = set()
    for path in Path(f"/proc/{process}/fd").iterdir():
        # A connection may be closed meanwhile.
        with contextlib.suppress(FileNotFoundError):
            link = os.readlink(path)
            if link.startswith("socket:["):
                own.add(int(link[8:-1]))
    return own & waiting


if __name__ == "__main__":
    sys.exit(main())
