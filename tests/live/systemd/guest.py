"""What is checked on a booted system, as root; `tests/live/systemd` starts it there."""

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

from lib.pop3 import Pop3
from lib.report import Report, require

CONFIG = Path("/etc/restante/restante.toml")
UNIT = Path("/etc/systemd/system/restante.service")
USER, PASSWORD = "mrose@example.org", "tanstaaf"
MAILDIR = Path("/var/vmail/example.org/mrose/Maildir")
TLS = ssl._create_unverified_context()
# What systemd-analyze says of the unit, at most; docs/SERVICE.md and the unit name it.
EXPOSURE = 1.5
CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapAmb")


def run(command: str, code: int | None = 0) -> str:
    """Runs a line of shell; what it says, whatever it says it on."""
    done = subprocess.run(
        ["bash", "-euc", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=180, check=False,
    )
    outcome = f"{command!r} ended with {done.returncode}: {done.stdout}"
    require(code in (None, done.returncode), outcome)
    return done.stdout


def show(unit: str, name: str) -> str:
    """A property of a unit."""
    return run(f"systemctl show --value --property {name} {unit}").strip()


def until(what: str, holds, limit: float = 90) -> float:
    """Waits until something holds; for how long."""
    started = time.monotonic()
    while not holds():
        require(time.monotonic() - started < limit, f"not within {limit:.0f} s: {what}")
        time.sleep(0.1)
    return time.monotonic() - started


def journal(*matches: str) -> list[dict]:
    """What is in the journal."""
    run("journalctl --sync")
    command = ["journalctl", "--output=json", "--no-pager", *matches]
    out = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def messages(*matches: str) -> str:
    """The text of that."""
    return "\n".join(str(entry["MESSAGE"]) for entry in journal(*matches))


def now() -> str:
    """A match for what is logged from now on; beside others, a cursor passes over the first."""
    return f"--since=@{(int(journal('-n', '1')[0]['__REALTIME_TIMESTAMP']) + 1) / 1e6:.6f}"


class Session(Pop3):
    """A connection over TLS."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__(995, tls=TLS, host=host)

    def enter(self, password: str = PASSWORD, user: str = USER) -> str:
        """The reply to a login."""
        return self.user(user, password)

    def quit(self) -> str:
        """QUIT, and the end of the connection."""
        said = self.ask("QUIT")
        self.close()
        return said


def certificate() -> bytes:
    """What the server shows."""
    return Session().certificate()


def until_logged_in(password: str, user: str) -> str:
    """The reply once the user is known, which may take a moment."""
    said = []

    def is_known() -> bool:
        said.append(Session().enter(password, user))
        return not said[-1].startswith("-ERR [AUTH]")

    until(f"{user} is known", is_known)
    return said[-1]


def serves(host: str = "127.0.0.1") -> bool:
    """Whether a user gets in."""
    try:
        pop = Session(host)
        said = pop.enter()
        pop.quit()
    except OSError:
        return False
    return said.startswith("+OK")


def deliver(name: str) -> Path:
    """A message."""
    path = MAILDIR / "new" / name
    path.write_bytes(b"Subject: one\n\nText.\n")
    os.chown(path, MAILDIR.stat().st_uid, MAILDIR.stat().st_gid)
    return path


def change(old: str, new: str, path: Path = CONFIG) -> None:
    """Changes a file; the text has to be there."""
    text = path.read_text()
    require(old in text, f"{path} has no {old!r}")
    path.write_text(text.replace(old, new))


def block(page: str, beginning: str) -> str:
    """The commands of a page that begin so."""
    blocks = re.findall(r"^```sh\n(.*?)^```", Path(f"/src/{page}").read_text(), re.M | re.S)
    found = [text for text in blocks if text.startswith(beginning)]
    require(len(found) == 1, f"{page} has {len(found)} blocks that begin with {beginning!r}")
    return found[0]


# ------------------------------------------------------------------------------- what is checked


def installs() -> str:
    """README's commands, but for the build, and those of DELIVERY and CONFIGURATION."""
    lines = block("README.md", "cargo build --release\n").removeprefix("cargo build --release\n")
    run("cd /src\n" + lines.replace("target/release/restante", "/live/restante"))
    run(block("docs/DELIVERY.md", "useradd"))
    run(block("docs/CONFIGURATION.md", "install -d /etc/restante/tls"))
    run(
        f"printf '%s\\n' {PASSWORD} | restante user add --file /etc/restante/users --stdin {USER}\n"
        "chown vmail: /etc/restante/users\n"
        "install -d -o vmail -g vmail -m 700 "
        f"{MAILDIR}/../.. {MAILDIR}/.. {MAILDIR}{{,/cur,/new,/tmp}}"
    )
    # Many starts in a short time are of these checks' own making.
    drop_in = Path("/etc/systemd/system/restante.service.d/checks.conf")
    drop_in.parent.mkdir()
    drop_in.write_text("[Unit]\nStartLimitIntervalSec=0\n")
    run("systemctl daemon-reload\nsystemctl enable --now restante")
    return show("restante", "StatusText")


def verifies() -> str:
    """The units by themselves."""
    units = "/src/config/restante.service /src/config/restante.socket"
    said = run(f"systemd-analyze verify --man=no {units}")
    require(not said, said)
    rating = run("systemd-analyze security restante | tail -1").strip().split(": ")[-1]
    require(float(rating.split()[0]) <= EXPOSURE, f"the exposure is {rating}")
    return rating


def sandboxed() -> str:
    """What the server gives up by itself is in force under the unit, all of it."""
    since = ("-u", "restante", f"_SYSTEMD_INVOCATION_ID={show('restante', 'InvocationID')}")
    [line] = [text for text in messages(*since).splitlines() if text.startswith("sandbox")]
    parts = "landlock=on seccomp=on no_new_privileges=on core_dumps=off"
    require(line == f"sandbox {parts}", f"the log says {line!r}")
    status = Path(f"/proc/{show('restante', 'MainPID')}/status").read_text()
    none = [f"{name}:\t{0:016x}" for name in CAPABILITIES]
    for wanted in ("NoNewPrivs:\t1", "Seccomp:\t2", *none):
        require(f"\n{wanted}\n" in status, f"{wanted!r} is not in {status}")
    return parts


def read_again() -> str:
    """Users, their file as a whole, and the certificate are read again within the sandbox."""
    users, tls = Path("/etc/restante/users"), Path("/etc/restante/tls")
    before, mark = users.read_text(), now()
    old = {path: path.read_bytes() for path in tls.iterdir()}
    served = certificate()
    add = f"printf 'another\n' | restante user add --file {users} --stdin"
    try:
        run(f"{add} jon@example.org\ncp -a {MAILDIR}/../../mrose {MAILDIR}/../../jon")
        pop = Session()
        require(pop.enter("another", "jon@example.org").startswith("+OK"), "not let in")
        pop.quit()
        # As another program does it: a new file takes the place of the old one.
        run(f"cp -p {users} {users}.new\nsed -i /^jon@/d {users}.new\nmv {users}.new {users}")
        require(Session().enter("another", "jon@example.org").startswith("-ERR [AUTH]"), "let in")
        run(
            "cd /etc/restante/tls\nopenssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 "
            "-nodes -days 90 -subj /CN=pop.example.org -addext subjectAltName=DNS:pop.example.org "
            "-keyout privkey.new -out fullchain.new 2> /dev/null\n"
            "chown --reference=privkey.pem *.new\nchmod --reference=privkey.pem privkey.new\n"
            "mv privkey.new privkey.pem\nmv fullchain.new fullchain.pem"
        )
        took = until("the new certificate", lambda: certificate() != served)
        errors = messages(mark, "-u", "restante", "-p", "err")
        require(not errors, errors)
    finally:
        users.write_text(before)
        for path, octets in old.items():
            path.write_bytes(octets)
        run(f"rm -rf {MAILDIR}/../../jon\nsystemctl restart restante")
    return f"the new certificate {took:.0f} s after it was there"


def first_login() -> str:
    """With `create`, the Maildir of a new user is made within the sandbox."""
    good, users = CONFIG.read_text(), Path("/etc/restante/users")
    before, made = users.read_text(), MAILDIR.parent.parent / "new"
    try:
        run("restante init-root /var/vmail")
        change("[maildir]", "[maildir]\ncreate = true")
        run("systemctl reload restante")
        run(f"printf 'first\\n' | restante user add --file {users} --stdin new@example.org")
        said = until_logged_in("first", "new@example.org")
        require(said.startswith("+OK 0 messages"), said)
        owner = made.stat()
        require(owner.st_uid == MAILDIR.stat().st_uid, f"it belongs to {owner.st_uid}")
    finally:
        CONFIG.write_text(good)
        users.write_text(before)
        run(f"rm -rf {made} /var/vmail/restante.root\nsystemctl restart restante")
    return said


def outside() -> str:
    """Mail of a user that is elsewhere since the start is refused, and the log says what to do."""
    users = Path("/etc/restante/users")
    before, elsewhere = users.read_text(), Path("/var/elsewhere/Maildir")
    run(f"cp -a {MAILDIR}/.. {elsewhere.parent}")
    try:
        run(f"printf 'far\\n' | restante user add --file {users} --stdin far@example.org")
        run(f"sed -i '/^far@/s,$,::::::userdb_mail={elsewhere},' {users}")
        said = until_logged_in("far", "far@example.org")
        require(said.startswith("-ERR [SYS/TEMP]"), said)
        last = messages("-u", "restante", "-n", "20")
        [line] = re.findall(r"^.*maildrop cannot be opened.*$", last, re.M)
        require("sandbox.mail-directories" in line and str(elsewhere) in line, line)
    finally:
        users.write_text(before)
        run(f"rm -rf {elsewhere.parent}\nsystemctl restart restante")
    return line.split("failure=")[-1]


def removes() -> str:
    """Mail is fetched and removed under the unit's restrictions."""
    path = deliver("1.one.host")
    pop = Session()
    require(pop.enter().startswith("+OK 1 message"), "the message is not there")
    require(pop.ask("DELE 1").startswith("+OK"), "it cannot be marked")
    require(pop.quit().startswith("+OK"), "it cannot be removed")
    require(not path.exists(), "it is still there")
    return "one message"


def fields() -> str:
    """A line of the log has its fields in the journal."""
    mark = now()
    require(Session().enter("wrong").startswith("-ERR"), "a wrong password is taken")
    require(serves(), "nobody gets in")
    # That of a session before it, which removed something, may come late.
    what = (f"RESTANTE_USER={USER}", "RESTANTE_WHY=quit", "RESTANTE_REMOVED=0")
    its_end = (mark, "-u", "restante", *what)
    until("the session is logged", lambda: journal(*its_end))
    [entry] = journal(*its_end)
    require(entry["_TRANSPORT"] == "journal", f"came by {entry['_TRANSPORT']}")
    require(entry["SYSLOG_IDENTIFIER"] == "restante" and entry["PRIORITY"] == "6", f"{entry}")
    require(entry["RESTANTE_PEER"].startswith("127.0.0.1:"), f"{entry}")
    reply = "-ERR [AUTH] wrong user name or password"
    failed = journal(mark, "-u", "restante", f"RESTANTE_REPLY={reply}")
    require(len(failed) == 1, f"{failed}")
    require(failed[0]["MESSAGE"].startswith("session{peer=127.0.0.1:"), failed[0]["MESSAGE"])
    return ", ".join(name for name in entry if name.startswith("RESTANTE_"))


def status() -> str:
    """How many connections are open."""
    pops = [Session() for _ in range(3)]
    until("the status", lambda: "3 connections" in show("restante", "StatusText"))
    text = run("systemctl status restante | grep Status:").strip()
    for pop in pops:
        pop.quit()
    until("the status", lambda: show("restante", "StatusText") == "serving")
    return text


def reloads() -> str:
    """A reload of a good configuration, and of one with errors."""
    good = CONFIG.read_text()
    invocation = show("restante", "InvocationID")
    try:
        change('hostname = "pop.example.org"', 'hostname = "pop.example.net"')
        run("systemctl reload restante")
        until("the new greeting", lambda: "pop.example.net" in Session().greeting)
        until("the status", lambda: show("restante", "StatusText").startswith("serving"))
        require("failed" not in show("restante", "StatusText"), show("restante", "StatusText"))
        mark = now()
        change("[limits]", '[limits]\nfailure-dealy = "1s"')
        said = run("systemctl reload restante", code=1)
        require(show("restante", "ActiveState") == "active", "it does not serve any more")
        errors = messages(mark, "-u", "restante", "-p", "err")
        require("failure-dealy" in errors, f"the journal has {errors!r} as errors")
        # By hand, past the unit: the server itself says it.
        run("systemctl kill --kill-whom=main --signal=HUP restante")
        until("the status", lambda: "; the last reload failed: " in show("restante", "StatusText"))
        told = show("restante", "StatusText")
        require("failure-dealy" in told, told)
    finally:
        CONFIG.write_text(good)
    run("systemctl reload restante")
    until("the status", lambda: "failed" not in show("restante", "StatusText"))
    until("the old greeting", lambda: "pop.example.org" in Session().greeting)
    require(show("restante", "InvocationID") == invocation, "it was restarted")
    return f"{said.splitlines()[0]!r}; {told!r}"


def notify_reload() -> str:
    """Type=notify-reload, where systemd has it."""
    version = int(run("systemctl --version").split()[1])
    if version < 253:
        return f"systemd {version} does not have it"
    good, unit = CONFIG.read_text(), UNIT.read_text()
    try:
        change("\nType=notify\n", "\nType=notify-reload\n", UNIT)
        change("ExecReload=/bin/kill -HUP $MAINPID\n", "", UNIT)
        run("systemctl daemon-reload\nsystemctl restart restante")
        change('hostname = "pop.example.org"', 'hostname = "pop.example.net"')
        run("systemctl reload restante")
        require("pop.example.net" in Session().greeting, "the reload was not waited for")
        change("[limits]", '[limits]\nfailure-dealy = "1s"')
        run("systemctl reload restante", code=1)
        require(serves(), "it does not serve any more")
        CONFIG.write_text(good)
        run("systemctl reload restante")
        require("pop.example.org" in Session().greeting, "the reload was not waited for")
        require(show("restante", "ActiveState") == "active", show("restante", "ActiveState"))
    finally:
        CONFIG.write_text(good)
        UNIT.write_text(unit)
        run("systemctl daemon-reload\nsystemctl restart restante")
    return f"systemd {version}"


class Probes:
    """Connections, one after the other, while something happens to the server."""

    def __init__(self) -> None:
        self.greeted, self.refused, self.other, self.longest = 0, 0, 0, 0.0
        self.goes_on = True
        self.thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Probes":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.goes_on = False
        self.thread.join()

    def _run(self) -> None:
        while self.goes_on:
            started = time.monotonic()
            try:
                with socket.create_connection(("127.0.0.1", 110), timeout=60) as plain:
                    if plain.recv(512).startswith(b"+OK"):
                        self.greeted += 1
                    else:
                        self.other += 1
            except ConnectionRefusedError:
                self.refused += 1
            except OSError:
                self.other += 1
            self.longest = max(self.longest, time.monotonic() - started)
            time.sleep(0.01)

    def __str__(self) -> str:
        return (
            f"{self.greeted} greeted, {self.refused} refused, {self.other} cut off, "
            f"longest wait {self.longest:.1f} s"
        )


def restarts() -> str:
    """Without the socket unit, clients are refused for a moment, and served again."""
    with Probes() as probes:
        run("systemctl restart restante")
        until("it serves", serves)
    require(probes.greeted > 0, str(probes))
    return str(probes)


def socket_unit() -> str:
    """The socket unit by its own instructions, with what it makes possible."""
    unit = UNIT.read_text()
    try:
        run("cd /src\n" + block("docs/SERVICE.md", "cp config/restante.socket"))
        text = Path("/src/config/restante.socket").read_text()
        require(serves() and serves("::1"), "nobody gets in")
        with Probes() as probes:
            run("systemctl restart restante")
            until("it serves", serves)
        require(probes.refused == probes.other == 0, str(probes))
        # No capability at all.
        for key in ("AmbientCapabilities", "CapabilityBoundingSet"):
            change(f"\n{key}=CAP_NET_BIND_SERVICE\n", f"\n{key}=\n", UNIT)
        change("PrivateUsers=false", "PrivateUsers=true", UNIT)
        run("systemctl daemon-reload\nsystemctl restart restante")
        removes()
        fields()
        run("systemctl reload restante")
        # Stopped alone, the next client starts it.
        run("systemctl stop restante")
        require(serves(), "the next client does not start it")
        [line] = re.findall(r"^#   (systemctl stop .*socket.*)$", text, re.M)
        run(line)
        require(not serves(), "it serves though both are stopped")
        return str(probes)
    finally:
        UNIT.write_text(unit)
        run(
            "systemctl disable --now restante.socket\nrm -f /etc/systemd/system/restante.socket\n"
            "systemctl daemon-reload\nsystemctl restart restante"
        )
        until("it serves", serves)


def waits() -> str:
    """At the stop a session goes on to its QUIT, longer than TimeoutStopSec= says."""
    drop_in = Path("/etc/systemd/system/restante.service.d/stop.conf")
    drop_in.write_text("[Service]\nTimeoutStopSec=3s\n")
    try:
        run("systemctl daemon-reload\nsystemctl restart restante")
        path = deliver("1.one.host")
        pop, mark = Session(), now()
        require(pop.enter().startswith("+OK 1 message"), "the message is not there")
        require(pop.ask("DELE 1").startswith("+OK"), "it cannot be marked")
        run("systemctl restart --no-block restante")
        until("it stops", lambda: show("restante", "ActiveState") == "deactivating")
        told = show("restante", "StatusText")
        time.sleep(6)
        require(pop.quit().startswith("+OK") and not path.exists(), "the removal is lost")
        until("it serves", serves)
        log = messages(mark, "-u", "restante")
        require("stopped" in log and "SIGKILL" not in log, log)
    finally:
        drop_in.unlink()
        run("systemctl daemon-reload\nsystemctl restart restante")
    return f"{told!r}, 6 s with TimeoutStopSec=3s"


def killed() -> str:
    """kill -9."""
    pop = Session()
    require(pop.enter().startswith("+OK"), "nobody gets in")
    run("systemctl kill --signal=KILL restante")
    took = until("it serves", serves)
    return f"serves again after {took:.0f} s"


def fatal() -> str:
    """What keeps it from starting is an error in the journal, and it comes up when that is over."""
    certificate = Path("/etc/restante/tls/fullchain.pem")
    pem = certificate.read_bytes()
    try:
        run("systemctl stop restante")
        mark = now()
        certificate.unlink()
        run("systemctl start restante", code=1)
        errors = messages(mark, "-u", "restante", "-p", "err")
        require("tls.certificate: " in errors and "fullchain.pem" in errors, f"{errors!r}")
    finally:
        certificate.write_bytes(pem)
    took = until("it serves", serves)
    run("systemctl stop restante")
    mark = now()
    with socket.create_server(("127.0.0.1", 110)):
        run("systemctl start restante", code=1)
        errors = messages(mark, "-u", "restante", "-p", "err")
        require("[::]:110" in errors and "has this port" in errors, f"{errors!r}")
    until("it serves", serves)
    return f"up by itself after {took:.0f} s"


def no_ipv6() -> str:
    """IPv6 switched off by sysctl; a kernel without it is no container's to choose."""
    run("sysctl -q net.ipv6.conf.all.disable_ipv6=1")
    try:
        run("systemctl restart restante")
        require(serves(), "nobody gets in")
        require(not serves("::1"), "IPv6 is still there")
    finally:
        run("sysctl -q net.ipv6.conf.all.disable_ipv6=0\nip address replace ::1/128 dev lo")
    return "serves IPv4"


def mail_root() -> str:
    """The directory of the mail is not there at start, and comes back; it is mounted late."""
    run("systemctl stop restante\nmv /var/vmail /var/vmail.away")
    run("systemctl start restante", code=1)
    run("mv /var/vmail.away /var/vmail")
    took = until("it serves", serves)
    removes()
    # A file system that fstab names is mounted first.
    run("systemctl stop restante\nmv /var/vmail /var/vmail.away")
    run("install -d -o vmail -g vmail /var/vmail")
    Path("/etc/systemd/system/var-vmail.mount").write_text(
        "[Mount]\nWhat=/var/vmail.away\nWhere=/var/vmail\nType=none\nOptions=bind\n"
    )
    try:
        run("systemctl daemon-reload\nsystemctl start restante")
        require(show("var-vmail.mount", "ActiveState") == "active", "it was not mounted")
        removes()
    finally:
        run(
            "systemctl stop restante var-vmail.mount\nrm /etc/systemd/system/var-vmail.mount\n"
            "rmdir /var/vmail\nmv /var/vmail.away /var/vmail\n"
            "systemctl daemon-reload\nsystemctl start restante"
        )
    require(serves(), "nobody gets in")
    return f"serves {took:.0f} s after it is back, with nothing lost"


def homes() -> str:
    """Mail in a home directory, by the commands of docs/SERVICE.md, and what is then closed."""
    good = CONFIG.read_text()
    home, drop_in = Path("/home/mrose"), Path("/etc/systemd/system/restante.service.d/home.conf")
    files = "/etc/restante/users /etc/restante/tls/privkey.pem"

    def removes_there() -> None:
        path = home / "Maildir/new/1.one.host"
        path.write_bytes(b"Subject: one\n\nText.\n")
        run(f"chown mrose: {path}")
        pop = Session()
        require(pop.enter().startswith("+OK 1 message"), "the message is not there")
        require(pop.ask("DELE 1").startswith("+OK"), "it cannot be marked")
        require(pop.quit().startswith("+OK") and not path.exists(), "it is not removed")

    try:
        run(
            "systemctl stop restante\nuseradd --create-home mrose\n"
            f"cp -a {MAILDIR} {home}\nchown -R mrose: {home}"
        )
        change('path = "/var/vmail/{domain}/{local}/Maildir"', 'path = "/home/{local}/Maildir"')
        change('run-as = "vmail:vmail"', 'run-as = "mrose"')
        run(block("docs/SERVICE.md", "mkdir -p /etc/systemd/system/restante.service.d"))
        removes_there()
        inside = f"nsenter --target {show('restante', 'MainPID')} --mount --"
        run(f"{inside} touch {home}/Maildir/there\nrm {home}/Maildir/there")
        said = run(f"{inside} touch {home}/here", code=1)
        require("Read-only file system" in said, said)
        change("ProtectHome=read-only", f"ProtectHome=tmpfs\nBindPaths={home}/Maildir", drop_in)
        change(f"ReadWritePaths={home}/Maildir\n", "", drop_in)
        run("systemctl daemon-reload\nsystemctl restart restante")
        removes_there()
    finally:
        CONFIG.write_text(good)
        drop_in.unlink(missing_ok=True)
        run(f"chown vmail: {files}\nsystemctl daemon-reload")
        run("systemctl restart restante\nuserdel --remove mrose")
    require(serves(), "nobody gets in")
    return "only the Maildir can be written"


def stops() -> str:
    """The stop is whole in the journal, and its last lines are the unit's."""
    for _ in range(3):
        # So long that the journal has forgotten which unit the process belongs to.
        time.sleep(6)
        mark = now()
        run("systemctl restart restante")
        lines = messages(mark, "-u", "restante")
        require("\nstopped\n" in f"\n{lines}\n", f"no end in {lines!r}")
    return "three times"


def stopped_journal() -> str:
    """A journal that takes nothing does not stop the server, and what is lost is counted."""
    good, mark = CONFIG.read_text(), now()
    # More than one address may open.
    change("[limits]", "[limits]\nconnections-per-address = 10000")
    run("systemctl reload restante\nsystemctl kill --signal=STOP systemd-journald")
    try:
        sessions = 0
        started = time.monotonic()
        while time.monotonic() - started < 10:
            with socket.create_connection(("127.0.0.1", 110), timeout=20) as plain:
                lines = plain.makefile("rb")
                require(lines.readline().startswith(b"+OK"), "no greeting")
                plain.sendall(b"QUIT\r\n")
                require(lines.readline().startswith(b"+OK"), "no farewell")
            sessions += 1
    finally:
        CONFIG.write_text(good)
        run("systemctl kill --signal=CONT systemd-journald\nsystemctl reload restante")
    require(serves(), "nobody gets in")
    until("lines again", lambda: journal(mark, f"RESTANTE_USER={USER}"))
    return f"{sessions} sessions meanwhile"


# ------------------------------------------------------------------------------------- watchdog


HOLD = """
import ctypes, os, sys
from pathlib import Path
libc = ctypes.CDLL(None, use_errno=True)
seize, interrupt, wait_for_threads = 0x4206, 0x4207, 0x40000000
held = 0
for task in Path(f"/proc/{sys.argv[1]}/task").iterdir():
    if (task / "comm").read_text().strip() == sys.argv[2]:
        for request in (seize, interrupt):
            if libc.ptrace(request, int(task.name), 0, 0) != 0:
                sys.exit(os.strerror(ctypes.get_errno()))
        held += 1
print(held, flush=True)
while True:
    try:
        os.waitpid(-1, wait_for_threads)
    except ChildProcessError:
        break
"""


def hold(pid: int, name: str) -> int:
    """Holds the threads of that name, and no others, as a debugger does, until the process ends."""
    command = [sys.executable, "-c", HOLD, str(pid), name]
    return int(subprocess.Popen(command, stdout=subprocess.PIPE).stdout.readline())


def watchdog() -> str:
    """The watchdog lets a server alone that makes progress, and restarts one that does not."""
    drop_in = Path("/etc/systemd/system/restante.service.d/watchdog.conf")
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text("[Service]\nWatchdogSec=10s\nRestartSec=1s\n")
    run("systemctl daemon-reload\nsystemctl restart restante")
    outcomes = []

    def restarted(since: str) -> bool:
        return show("restante", "InvocationID") not in ("", since)

    try:
        first = show("restante", "InvocationID")
        time.sleep(25)
        with Probes() as probes:
            time.sleep(40)
        require(not restarted(first), "restarted though all was well")
        outcomes.append(f"let alone for 25 s idle, 40 s under load ({probes})")
        run("systemctl kill --kill-whom=main --signal=STOP restante")
        took = until("it is restarted", lambda: restarted(first) and serves(), 40)
        outcomes.append(f"stopped process: served again after {took:.0f} s")

        second, mark = show("restante", "InvocationID"), now()
        held = hold(int(show("restante", "MainPID")), "tokio-rt-worker")
        require(held > 0, "no thread was found")
        until("it is restarted", lambda: restarted(second), 40)
        until("it serves", serves)
        log = messages(mark, "-u", "restante")
        require("makes no progress" in log and "worker threads" in log, log)
        require("Watchdog timeout" in log, log)
        outcomes.append(f"{held} worker threads held: restarted")
    finally:
        drop_in.unlink()
        run("systemctl daemon-reload\nsystemctl restart restante")
    return "; ".join(outcomes)


def main() -> int:
    """All of them, in an order in which each finds the service running."""
    report = Report(only=sys.argv[1:])
    if report.only:
        report.only.append("installed")
    report.check("installed as README says", installs)
    report.check("units", verifies)
    report.check("sandbox", sandboxed)
    report.check("mail is removed", removes)
    report.check("fields in the journal", fields)
    report.check("status", status)
    report.check("reload", reloads)
    report.check("notify-reload", notify_reload)
    report.check("users and certificates are read again", read_again)
    report.check("first login", first_login)
    report.check("mail outside of the sandbox", outside)
    report.check("restart", restarts)
    report.check("socket unit", socket_unit)
    report.check("stop with a session", waits)
    report.check("kill -9", killed)
    report.check("fatal errors", fatal)
    report.check("IPv6 off", no_ipv6)
    report.check("mail root", mail_root)
    report.check("home directories", homes)
    report.check("the end in the journal", stops)
    report.check("journal stopped", stopped_journal)
    report.check("watchdog", watchdog)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
