"""Faults: at the start, with home directories, at the end, and without a journal."""

import socket
import time
from pathlib import Path

from lib.report import require
from systemd.serving import removes
from systemd.system import (
    CONFIG,
    MAILDIR,
    USER,
    Session,
    block,
    change,
    journal,
    messages,
    now,
    run,
    serves,
    show,
    until,
)


def fatal() -> str:
    """An error at the start is in the journal, and the service starts once it is repaired."""
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
    """IPv6 switched off by sysctl; a container cannot choose a kernel without it."""
    run("sysctl -q net.ipv6.conf.all.disable_ipv6=1")
    try:
        run("systemctl restart restante")
        require(serves(), "logins fail")
        require(not serves("::1"), "IPv6 is still there")
    finally:
        run("sysctl -q net.ipv6.conf.all.disable_ipv6=0\nip address replace ::1/128 dev lo")
    return "serves IPv4"


def mail_root() -> str:
    """The mail directory is missing at the start, or mounted late."""
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
    require(serves(), "logins fail")
    return f"serves {took:.0f} s after it is back, without loss"


def homes() -> str:
    """Mail in a home directory by the commands of docs/SERVICE.md, and the other restrictions."""
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
    require(serves(), "logins fail")
    return "only the Maildir can be written"


def stops() -> str:
    """The journal has all lines of the stop as lines of the unit."""
    for _ in range(3):
        # Longer than the journal remembers the unit of a process.
        time.sleep(6)
        mark = now()
        run("systemctl restart restante")
        lines = messages(mark, "-u", "restante")
        require("\nstopped\n" in f"\n{lines}\n", f"no end in {lines!r}")
    return "three times"


def stopped_journal() -> str:
    """A stopped journal does not stop the server, and lost lines are counted."""
    good, mark = CONFIG.read_text(), now()
    # More connections than one address may open.
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
    require(serves(), "logins fail")
    until("lines again", lambda: journal(mark, f"RESTANTE_USER={USER}"))
    return f"{sessions} sessions meanwhile"


# ------------------------------------------------------------------------------------- watchdog
