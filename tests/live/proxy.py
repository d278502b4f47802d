"""A server behind HAProxy and nginx: python3 tests/live proxy PROGRAM [CHECK…]

The proxies send both versions of the PROXY protocol, pass TLS through or end it, and check the
health of the server. Clients connect to them from many addresses of the loopback. Checks what
clients get, and which addresses the log, the limits and the commands about a running server have.
"""

import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Optional

from lib.corpus import ordinary
from lib.pop3 import Pop3
from lib.process import free_port, run, until
from lib.report import Failed, Report, require
from lib.server import CLEARTEXT, STLS, TLS, Server
from lib.site import Account, Site

CLIENT = "127.3.0.7"
# What one address may have.
CONNECTIONS = 5


class Behind(Server):
    """A server that only the proxies can reach."""

    def configuration(self) -> str:
        text = super().configuration()
        # Without trust in the loopback, its addresses are limited like those of the internet.
        text = re.sub(r"(?m)^\[throttle\]\n(?:(?!\[).*\n)*", "", text)
        text = re.sub(r"(?m)^\[\[listen\]\]$", '[[listen]]\nproxy-protocol = true\n'
                      'proxies = ["127.0.0.1", "::1"]', text)
        off = f'[[listen]]\nproxy-protocol = true\nproxies = ["127.0.0.1"]\ntls = "off"\n' \
              f'address = "127.0.0.1:{self.ports[CLEARTEXT]}"\n'
        return f"{text}{off}[limits]\nconnections-per-address = {CONNECTIONS}\n" \
               f'[control]\npath = "{self.control()}"\n'

    def control(self) -> Path:
        """The control socket."""
        return self.site.root / "mail" / "control"

    def asked(self, *words: str) -> list[dict[str, Any]]:
        """The answers to a command about the running server."""
        command = [self.site.program, *words, "--json", "--socket", self.control()]
        return [json.loads(line) for line in run(command, who=None).stdout.splitlines()]

    def lines(self, *words: str) -> list[str]:
        """The lines of the log with all of these words."""
        return [line for line in self.log.read_text().split("\n") if all(w in line for w in words)]

    def logged(self, *words: str) -> str:
        """The first such line, which is waited for."""
        until(lambda: bool(self.lines(*words)), 20, lambda: f"{words}: {self.last_words()}")
        return self.lines(*words)[0]


class Proxy:
    """A proxy program with its ports, in the foreground."""

    def __init__(self, site: Site, server: Server) -> None:
        self.site, self.server = site, server
        self.ports = {name: free_port() for name in self.listeners()}
        self.log = site.root / f"{type(self).__name__}.log"
        self.process: Optional[subprocess.Popen[bytes]] = None

    @staticmethod
    def listeners() -> list[str]:
        """The names of its ports."""
        raise NotImplementedError

    def configuration(self) -> str:
        """Its configuration file."""
        raise NotImplementedError

    def command(self, config: Path) -> list[str]:
        """The command that runs it."""
        raise NotImplementedError

    def start(self) -> None:
        """Starts it, and waits until it listens."""
        config = self.site.root / f"{type(self).__name__}.conf"
        config.write_text(self.configuration())
        with self.log.open("wb") as log:
            process = self.process = subprocess.Popen(
                self.command(config), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until(lambda: process.poll() is not None or self.listens(), 20, self.log.read_text)
        require(process.poll() is None, f"it ended at once: {self.log.read_text()}")

    def listens(self) -> bool:
        """Whether all of its ports can be reached. The last one makes no connection to the server."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", list(self.ports.values())[-1])) == 0

    def stop(self) -> None:
        """Ends it, if it runs."""
        process, self.process = self.process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(20)
            finally:
                process.kill()

    def connect(self, name: str, source: str = CLIENT, tls: bool = False, **options: Any) -> Pop3:
        """A client of this port, from this address."""
        context = self.site.client_tls() if tls else None
        return Pop3(self.ports[name], tls=context, source=source, **options)


class Haproxy(Proxy):
    """HAProxy, as docs/PROXY.md has it, with more ways to send the header."""

    def __init__(self, site: Site, server: Server) -> None:
        super().__init__(site, server)
        self.pair = site.root / "pair.pem"
        self.pair.write_bytes(site.certificate.read_bytes() + site.key.read_bytes())

    @staticmethod
    def listeners() -> list[str]:
        return ["text", "binary", "ended", "ended, text", "everything", "silent", "stats"]

    def command(self, config: Path) -> list[str]:
        return ["haproxy", "-db", "-f", str(config)]

    def configuration(self) -> str:
        def listen(name: str, transport: str, how: str, bind: str = "") -> str:
            return "\n".join([
                f"listen {name.replace(', ', '-')}",
                f"    bind 127.0.0.1:{self.ports[name]} {bind}",
                f"    server restante 127.0.0.1:{self.server.ports[transport]} {how}\n",
            ])

        ended = f"ssl crt {self.pair}"
        greeting = "    option tcp-check\n    tcp-check expect rstring ^\\+OK\n"
        check = "check inter 200ms"
        every = "proxy-v2-options ssl,cert-cn,ssl-cipher,cert-sig,cert-key,crc32c,authority,unique-id"
        return "\n".join([
            "global\n    stats socket " + str(self.site.root / "haproxy.sock"),
            "defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 1m",
            "    timeout server 1m\n    unique-id-format %{+X}o%ci%cp",
            listen("text", STLS, f"send-proxy {check}") + greeting,
            listen("binary", TLS, f"send-proxy-v2 {check}"),
            listen("ended", CLEARTEXT, f"send-proxy-v2-ssl {check}", ended) + greeting,
            # Version 1 cannot say that there was TLS.
            listen("ended, text", CLEARTEXT, f"send-proxy {check}", ended),
            listen("everything", CLEARTEXT, f"send-proxy-v2-ssl {every}", ended),
            listen("silent", STLS, ""),
            f"listen stats\n    bind 127.0.0.1:{self.ports['stats']}\n    mode http\n    stats enable\n",
        ])

    def health(self) -> dict[str, str]:
        """What its health checks have found, by listener."""
        with socket.socket(socket.AF_UNIX) as stats:
            stats.connect(str(self.site.root / "haproxy.sock"))
            stats.sendall(b"show stat\n")
            text = b"".join(iter(lambda: stats.recv(65536), b"")).decode()
        head, *rows = [line.split(",") for line in text.lstrip("# ").splitlines() if line]
        table = [dict(zip(head, row)) for row in rows]
        return {
            row["pxname"]: row["check_status"].lstrip("* ")
            for row in table if row["svname"] == "restante" and row["check_status"]
        }


class Nginx(Proxy):
    """nginx, as docs/PROXY.md has it: it sends version 1, and passes TLS through."""

    @staticmethod
    def listeners() -> list[str]:
        return ["passed", "stls", "web"]

    def command(self, config: Path) -> list[str]:
        return ["nginx", "-c", str(config), "-p", str(self.site.root), "-e", "stderr"]

    def configuration(self) -> str:
        modules = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

        def server(name: str, transport: str) -> str:
            return f"server {{ listen 127.0.0.1:{self.ports[name]}; proxy_protocol on; " \
                   f"proxy_pass 127.0.0.1:{self.server.ports[transport]}; }}"

        return "\n".join([
            f"load_module {modules};" if modules.exists() else "",
            "daemon off;",
            f"pid {self.site.root}/nginx.pid;",
            "events {}",
            "stream {",
            server("passed", TLS),
            server("stls", STLS),
            f"server {{ listen 127.0.0.1:{self.ports['web']}; return up; }}",
            "}",
        ])


def main() -> int:
    """All checks, with one server."""
    report = Report(only=sys.argv[2:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    site = Site(Path(sys.argv[1]).resolve())
    server = Behind(site, "behind")
    haproxy, nginx = Haproxy(site, server), Nginx(site, server)
    with ExitStack() as ends:
        ends.callback(site.close)
        account = site.account("mrose", [ordinary(1)])
        for each in (server, haproxy, nginx):
            ends.callback(each.stop)
            each.start()
        checks = Checks(server, haproxy, nginx, account)
        for name, check in {
            "version 1, with STLS": lambda: checks.session(haproxy, "text", stls=True),
            "version 2, TLS passed through": lambda: checks.session(haproxy, "binary"),
            "TLS ended at HAProxy": lambda: checks.ended("ended"),
            "every field of version 2": lambda: checks.ended("everything"),
            "version 1 says nothing of TLS": checks.no_passwords,
            "no header": checks.no_header,
            "a client without the proxy": checks.stranger,
            "health checks": checks.health,
            "the limit by address": checks.limit,
            "many clients": checks.many,
            "wrong passwords": checks.guesses,
            "sessions and kick": checks.kick,
            "nginx, TLS passed through": lambda: checks.session(nginx, "passed"),
            "nginx, with STLS": lambda: checks.session(nginx, "stls", stls=True),
        }.items():
            report.check(name, check)
    return report.close()


class Checks:
    """The checks."""

    def __init__(self, server: Behind, haproxy: Haproxy, nginx: Nginx, account: Account) -> None:
        self.server, self.haproxy, self.nginx = server, haproxy, nginx
        self.account = account

    def whole(self, client: Pop3, peer: str) -> str:
        """A session with a login, a message and QUIT. Returns its last line in the log."""
        with client:
            port = client.socket.getsockname()[1]
            client.log_in(self.account.user, self.account.password)
            require(len(client.lines("RETR 1")) > 3, "the message is not there")
            client.ok("QUIT")
        return self.server.logged(f"peer={peer}:{port}}}", "session ended", "user=mrose")

    def session(self, proxy: Proxy, name: str, stls: bool = False) -> str:
        """A session whose TLS is that of the server."""
        line = self.whole(proxy.connect(name, tls=True, stls=stls), CLIENT)
        require(" proxy=127.0.0.1 tls=1.3 cipher_suite=TLS13_" in line, line)
        return line[line.index("peer="):]

    def ended(self, name: str) -> str:
        """A session whose TLS is that of the proxy."""
        with self.haproxy.connect(name, tls=True) as client:
            offered = b"\n".join(client.lines("CAPA"))
            require(b"USER" in offered and b"STLS" not in offered, f"CAPA: {offered!r}")
        line = self.whole(self.haproxy.connect(name, tls=True), CLIENT)
        require(" proxy=127.0.0.1 tls=1.3 retrieved=1" in line, line)
        return line[line.index("peer="):]

    def no_passwords(self) -> str:
        """TLS that the header does not tell does not count."""
        with self.haproxy.connect("ended, text", tls=True) as client:
            require(b"USER" not in client.lines("CAPA"), "passwords are offered")
            said = client.ask("USER mrose")
            require(said.startswith("-ERR [AUTH]"), said)
        return said

    def no_header(self) -> str:
        """A proxy that sends no header: the client's first octets are none."""
        with socket.create_connection(("127.0.0.1", self.haproxy.ports["silent"]), 20) as client:
            client.sendall(b"CAPA\r\n")
            require(closed(client) == b"", "the client got a reply")
        self.server.logged("WARN", "a proxy sent no usable header")
        return self.server.logged("why=no-proxy-header")[28:]

    def stranger(self) -> str:
        """Nobody but a proxy can connect."""
        for transport in (CLEARTEXT, STLS, TLS):
            address = ("127.0.0.1", self.server.ports[transport])
            with socket.create_connection(address, 20, source_address=(CLIENT, 0)) as client:
                require(closed(client) == b"", "the client got something")
        self.server.logged("WARN", "only proxies may connect here")
        return self.server.logged(f"peer={CLIENT}", "why=not-a-proxy")[28:]

    def health(self) -> str:
        """Checks of HAProxy find the server, and leave no line."""
        expected = {"text": "L7OK", "binary": "L4OK", "ended": "L7OK", "ended-text": "L4OK"}
        until(lambda: self.haproxy.health() == expected, 20, self.haproxy.health)
        noise = self.server.lines("peer=127.0.0.1:")
        noise = [line for line in noise if "no-proxy-header" not in line and "WARN" not in line]
        require(not noise, "\n".join(noise))
        return ", ".join(f"{name} {status}" for name, status in expected.items())

    def limit(self) -> str:
        """One address may have some connections, and the others are served."""
        held = [self.haproxy.connect("text", "127.3.1.1") for _ in range(CONNECTIONS)]
        refused = self.haproxy.connect("text", "127.3.1.1").greeting
        require(refused.startswith("-ERR [SYS/TEMP] too many connections from your"), refused)
        with self.haproxy.connect("text", "127.3.1.2") as other:
            require(other.greeting.startswith("+OK"), other.greeting)
        for client in held:
            client.close()
        return refused

    def many(self) -> str:
        """Clients of two hundred networks at once, which would be too many of one address."""
        lost: list[str] = []
        together = threading.Barrier(200)

        def one(number: int) -> None:
            source = f"127.4.{number}.1"
            try:
                with self.haproxy.connect("text", source) as client:
                    together.wait(60)
                    require(client.greeting.startswith("+OK"), client.greeting)
                    client.ok("QUIT")
            except (Failed, OSError, threading.BrokenBarrierError) as error:
                lost.append(f"{source}: {error}")

        clients = [threading.Thread(target=one, args=(number,)) for number in range(1, 201)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        require(not lost, "\n".join(lost[:5]))
        seen = {f"127.4.{number}.1" for number in range(1, 201)}
        until(lambda: len(self.server.lines("peer=127.4.", "session ended")) == 200, 20)
        peers = {
            re.search(r"peer=([\d.]+):", line)[1]  # type: ignore[index]
            for line in self.server.lines("peer=127.4.", "session ended")
        }
        require(peers == seen, f"{len(peers)} addresses")
        return f"{len(peers)} addresses"

    def guesses(self) -> str:
        """A wrong password is one of the client's address."""
        with self.haproxy.connect("ended", "127.5.0.1", tls=True) as client:
            said = client.user(self.account.user, "wrong")
            require(said.startswith("-ERR [AUTH]"), said)
        return self.server.logged("peer=127.5.0.1:", "login failed")[28:]

    def kick(self) -> str:
        """The operator sees clients, not proxies."""
        with self.haproxy.connect("ended", "127.6.0.1", tls=True) as client:
            client.log_in(self.account.user, self.account.password)
            shown = self.server.asked("sessions", "--address", "127.6.0.1")
            require(len(shown) == 1 and "mrose" in json.dumps(shown), f"{shown}")
            self.server.asked("kick", "127.6.0.1")
            said = client.until_closed()
        return f"{said}"


def closed(client: socket.socket) -> bytes:
    """What a client receives until the end of its connection, in order or not."""
    received = b""
    try:
        while more := client.recv(4096):
            received += more
    except (ConnectionResetError, ssl.SSLError):
        pass
    return received


if __name__ == "__main__":
    sys.exit(main())
