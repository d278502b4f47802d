"""The service as the package installs it: unit, sandbox, users, mail, and the journal."""

import json
import re
from pathlib import Path

from lib.report import require
from systemd.system import (
    CAPABILITIES,
    CONFIG,
    EXPOSURE,
    MAILDIR,
    PASSWORD,
    UNIT,
    USER,
    Session,
    block,
    certificate,
    change,
    deliver,
    journal,
    messages,
    now,
    run,
    serves,
    show,
    until,
    until_logged_in,
)


def installs() -> str:
    """The commands of INSTALL.md and CONFIGURATION.md."""
    run("cd /live\n" + block("docs/INSTALL.md", "apt-get install"))
    for unit in ("restante.service", "restante.socket"):
        require(show(unit, "UnitFileState") == "disabled", f"{unit} is enabled")
        require(show(unit, "ActiveState") == "inactive", f"{unit} is started")
    run(block("docs/CONFIGURATION.md", "install -d /etc/restante/tls"))
    # The password is not typed at a terminal here.
    first = block("docs/INSTALL.md", "restante init-root")
    run(f"exec < <(echo {PASSWORD})\n" + first.replace(" --maildir", " --maildir --stdin"))
    # These checks restart it often in a short time.
    drop_in = Path("/etc/systemd/system/restante.service.d/checks.conf")
    drop_in.parent.mkdir()
    drop_in.write_text("[Unit]\nStartLimitIntervalSec=0\n")
    run("systemctl daemon-reload\n" + block("docs/INSTALL.md", "restante check"))
    return show("restante", "StatusText")


def verifies() -> str:
    """Verifies the units."""
    units = f"{UNIT} {UNIT.with_suffix('.socket')}"
    said = run(f"systemd-analyze verify --man=no {units}")
    require(not said, said)
    rating = run("systemd-analyze security restante | tail -1").strip().split(": ")[-1]
    require(float(rating.split()[0]) <= EXPOSURE, f"the exposure is {rating}")
    return rating


def sandboxed() -> str:
    """All parts of the server's own sandbox are in force under the unit."""
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
    """Users, a replaced credential file and the certificate are read again within the sandbox."""
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
        # As another program does: a new file replaces the old one.
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
    """Mail that was moved elsewhere after the start is refused, and the log says what to do."""
    users = Path("/etc/restante/users")
    before, elsewhere = users.read_text(), Path("/var/elsewhere/Maildir")
    run(f"cp -a {MAILDIR}/.. {elsewhere.parent}")
    try:
        run(f"printf 'far\\n' | restante user add --file {users} --stdin far@example.org")
        run(f"sed -i '/^far@/s,$,::::::userdb_mail={elsewhere},' {users}")
        said = until_logged_in("far", "far@example.org")
        require(said.startswith("-ERR [SYS/TEMP]"), said)
        refused = re.compile(r"^.*maildrop cannot be opened.*$", re.M)
        recent = ("-u", "restante", "-n", "20")
        until("the refusal is logged", lambda: refused.search(messages(*recent)))
        [line] = refused.findall(messages(*recent))
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
    require(Session().enter("wrong").startswith("-ERR"), "a wrong password is accepted")
    require(serves(), "logins fail")
    # The line of an earlier session, which removed mail, may come late.
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
    """The number of open connections in the status."""
    pops = [Session() for _ in range(3)]
    until("the status", lambda: "3 connections" in show("restante", "StatusText"))
    text = run("systemctl status restante | grep Status:").strip()
    for pop in pops:
        pop.quit()
    until("the status", lambda: show("restante", "StatusText") == "serving")
    return text


def asked() -> str:
    """The commands about the running server, with the socket of the unit's own directory."""
    require(run("stat -c '%a %U' /run/restante/control").split() == ["600", "vmail"], "its owner")
    told = json.loads(run("restante status --json"))
    require(told["pid"] == int(show("restante", "MainPID")), f"{told}")
    require("expires in" in run("restante status"), "no certificate in the status")
    path = deliver("1.kicked.host")
    pop = Session()
    require(pop.enter().startswith("+OK 1 message"), "the message is not there")
    require(pop.ask("DELE 1").startswith("+OK"), "it cannot be marked")
    session = json.loads(run(f"restante sessions --json --user {USER}"))
    require(session["marked"] == 1 and session["tls"] == "1.3", f"{session}")
    kicked = run(f"restante kick {USER}").strip()
    require(kicked.endswith(": ended, nothing is removed"), kicked)
    pop.close()
    require(path.exists(), "the message is gone")
    path.unlink()
    require("in use" in run("restante reload"), "not reloaded")
    asking = "restante status --socket /run/restante/control"
    refused = run(f"setpriv --reuid nobody --clear-groups -- {asking}", code=1)
    require("run this as root, or as the user of the server" in refused, refused)
    run("systemctl stop restante")
    require("is the server running" in run("restante status", code=1), "an answer after the stop")
    run("systemctl start restante")
    return kicked
