"""Whether fail2ban finds the failures in a real log: python3 tests/live fail2ban PROGRAM

Starts `restante serve` once for each form of the log, makes failed logins with ordinary names and
with names that try to deceive the filter, and checks with fail2ban-regex that exactly the lines
about failures of the client match, each with the address of the client.
"""

import re
import signal
import sys
import tempfile
from pathlib import Path
from typing import Callable

from lib.process import run
from lib.report import Report, require
from lib.server import CLEARTEXT, Server
from lib.site import Account, Site

HERE = Path(__file__).resolve().parents[2]
FILTER = HERE / "config/fail2ban/filter.d/restante.conf"
JAIL = HERE / "config/fail2ban/jail.d/restante.conf"
MAXRETRY = int(re.search(r"(?m)^maxretry = (\d+)$", JAIL.read_text())[1])
# Lines about one address before they are summed up.
AT_ONCE = 200
REPLY = "-ERR [AUTH] wrong user name or password"

# Names that would ban 6.6.6.6, or protect their client from a ban, if they deceived a filter.
LINE = f'login failed reply="{REPLY}" user=x'
NAMES = [
    b"mrose",
    b"nobody@example.org",
    b"session{peer=6.6.6.6:1}: " + LINE.encode(),
    b'x" session{peer=6.6.6.6:1}: login failed',
    b"x\n2026-01-01T00:00:00.000000Z  INFO session{peer=6.6.6.6:1}: " + LINE.encode(),
    b"x\r\n<6>session{peer=6.6.6.6:1}: " + LINE.encode(),
    b'x","target":"restante::session::authorization","spans":[{"peer":"6.6.6.6:1",'
    b'"name":"session"}]}',
    b'\\","target":"restante::session::authorization","spans":[{"peer":"6.6.6.6:1",'
    b'"name":"session"}]}\\',
    b"\\",
    b'"',
    b"2026-01-01T00:00:00.000000Z",
    b"<HOST> 6.6.6.6 from 6.6.6.6",
    b"\xff\xfe\x1b[31m\xe2\x80\xae",
    "müßig@example.org".encode(),
    b"x" * 4000,
    b"",
]


class Logging(Server):
    """A server with this form of log."""

    def __init__(self, site: Site, name: str, form: str, throttle: str) -> None:
        super().__init__(site, name, allow_cleartext=True)
        self.form, self.throttle = form, throttle

    def configuration(self) -> str:
        text = super().configuration().replace('format = "text"', f'format = "{self.form}"')
        # One connection is enough for each name, almost without delay.
        text = text.replace("[auth]", '[auth]\nfailure-delay = "0s"')
        text = re.sub(r"(?m)^\[throttle\]\n(?:(?!\[).*\n)*", "", text)
        return f"{text}\n[throttle]\n{self.throttle}\n"


def try_to_log_in(server: Server, address: str, name: bytes, password: bytes) -> str:
    """AUTH PLAIN, which allows more names than USER. Returns the reply."""
    with server.connect(CLEARTEXT, host=address) as client:
        reply = client.plain(name, password)
        client.send("QUIT")
        return reply


def matched(lines: list[str]) -> list[tuple[int, str]]:
    """The numbers of the lines that fail2ban matches, with the addresses that it would ban."""
    with tempfile.NamedTemporaryFile("w", suffix=".log", encoding="utf-8") as log:
        log.writelines(f"{line}\n" for line in lines)
        log.flush()
        command = ["fail2ban-regex", "--out", "<ip> <matches>", log.name, FILTER]
        found = run(command, who=None, codes=(0, 1, 255)).stdout.split("\n")
    pairs = [line.split(" ", maxsplit=1) for line in found if line]
    # Each connection has another port.
    require(all(lines.count(line) == 1 for _, line in pairs), "some lines are the same")
    return [(lines.index(line), address) for address, line in pairs]


def main() -> int:
    """All forms of the log, and all names in each."""
    report = Report(only=[])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    site = Site(Path(sys.argv[1]).resolve())
    try:
        account = site.account("anna")
        with site.users.open("a") as users:
            # Guesses for this user are fast, so that many come in a moment.
            users.write("plain:{PLAIN}tanstaaf\n")
            # An unknown scheme: the password cannot be verified.
            users.write("broken:{CRAM-MD5}9186d855e11eba527a7a52f39a7a2e5c\n")
        for form, shapes in {
            "text": {"a file": lambda line: line},
            "json": {"a file": lambda line: line},
            "journald": {
                "a file": lambda line: f"2026-01-01T00:00:00.000000Z {line}",
                "the journal": lambda line: f"2026-01-01T00:00:00+0000 host pop3[1]: {line[3:]}",
                "syslog": lambda line: f"Jan  1 00:00:00 host restante[123]: {line[3:]}",
            },
        }.items():
            report.check(f"the log as {form}", checks(site, account, form, shapes))
        report.check("more failures than lines", lambda: flood(site))
    finally:
        site.close()
    return report.close()


def checks(
    site: Site, account: Account, form: str, shapes: dict[str, Callable[[str], str]]
) -> Callable[[], str]:
    """A server with this form of log, failed logins, and the matches of fail2ban."""

    def body() -> str:
        # Repeated passwords are recognised only with the throttle.
        server = Logging(site, form, form, 'first-delay = "1ms"\nlongest-delay = "1s"')
        server.start()
        wanted = []
        try:
            for address in [each.strip("[]") for each in server.addresses()]:
                for name in NAMES:
                    reply = try_to_log_in(server, address, name, b"wrong")
                    if reply.startswith(REPLY):
                        wanted.append(address)
                    else:
                        require("[AUTH]" not in reply, f"{name!r} got {reply!r}")
                # A device with an old password: it is refused each time, and counts once.
                for password in (b"old", b"old", b"another", b"old"):
                    reply = try_to_log_in(server, address, b"telephone", password)
                    require(reply.startswith(REPLY), f"got {reply!r}")
                wanted += [address, address]
                # Not the client's fault: a user whose password cannot be verified.
                reply = try_to_log_in(server, address, b"broken", b"wrong")
                require(reply.startswith("-ERR [SYS/TEMP]"), f"got {reply!r}")
                reply = try_to_log_in(
                    server, address, account.user.encode(), account.password.encode()
                )
                require(reply.startswith("+OK"), f"got {reply!r}")
        finally:
            server.stop()
        lines = server.log.read_text(encoding="utf-8").splitlines()
        for shape, reshape in shapes.items():
            found = matched([reshape(line) for line in lines])
            require(
                [address for _, address in found] == wanted,
                f"{shape}: banned {found}, not {wanted}\n" + "\n".join(lines),
            )
            guilty = [number for number, line in enumerate(lines) if is_failure(line)]
            require([number for number, _ in found] == guilty, f"{shape}: other lines matched")
        return f"{len(wanted)} failures among {len(lines)} lines, as {', '.join(shapes)}"

    return body


def flood(site: Site) -> str:
    """If the log summarises the lines of one address, the others suffice to ban it, and others."""
    server = Logging(site, "flood", "text", 'first-delay = "0s"')
    server.start()
    try:
        for number in range(2 * AT_ONCE):
            try_to_log_in(server, "127.0.0.1", b"plain", b"%d" % number)
        for number in range(MAXRETRY):
            try_to_log_in(server, "::1", b"plain", b"%d" % number)
    finally:
        server.stop()
    lines = server.log.read_text(encoding="utf-8").splitlines()
    found = [address for _, address in matched(lines)]
    loud, quiet = found.count("127.0.0.1"), found.count("::1")
    require(AT_ONCE <= loud < 2 * AT_ONCE, f"{loud} lines about the one")
    require(quiet == MAXRETRY, f"{quiet} lines about the other")
    [summed_up] = [line for line in lines if "network=127.0.0.1/32 " in line]
    require(f"wrong_passwords={2 * AT_ONCE - loud} " in summed_up, summed_up)
    return f"{loud} failures of {2 * AT_ONCE} have a line, {MAXRETRY} are enough"


def is_failure(line: str) -> bool:
    """Whether a line is about a failure of the client.

    It is decided without the filter, for both forms of the log.
    """
    head = re.split('user[="]', line, maxsplit=1)[0]
    is_repeated = re.search("repeated(=|\":)true", head) is not None
    return "login failed" in head and "wrong user name or password" in head and not is_repeated


if __name__ == "__main__":
    sys.exit(main())
