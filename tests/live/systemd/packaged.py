"""The package on the running system: upgrade with and without the socket unit, removal, purge."""

import subprocess
from pathlib import Path

from lib.report import require
from systemd.restarts import Probes
from systemd.system import (
    CONFIG,
    MAILDIR,
    Session,
    block,
    change,
    deliver,
    run,
    serves,
    show,
    until,
)


def make(revision: int) -> str:
    """Makes a new version of the package. Returns the command that installs it."""
    run(
        "rm -rf /tmp/new\ndpkg-deb --raw-extract /live/restante_*.deb /tmp/new\n"
        f"sed -i '/^Version: /s/-1$/-{revision}/' /tmp/new/DEBIAN/control\n"
        "dpkg-deb --build -Znone /tmp/new /tmp/new.deb"
    )
    return "apt-get -q -y install /tmp/new.deb"


def version() -> str:
    """The installed version."""
    return run("dpkg-query --show --showformat '${Version}' restante")


def upgrades() -> str:
    """An upgrade waits for a session, which goes on to its QUIT, and then serves the new version."""
    path, before = deliver("1.one.host"), show("restante", "MainPID")
    pop = Session()
    require(pop.enter().startswith("+OK 1 message"), "the message is not there")
    require(pop.ask("DELE 1").startswith("+OK"), "it cannot be marked")
    upgrade = subprocess.Popen(make(2).split(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    until("the old version stops", lambda: show("restante", "ActiveState") == "deactivating")
    require(pop.quit().startswith("+OK") and not path.exists(), "the removal is lost")
    said = upgrade.communicate(timeout=90)[0].decode()
    require(upgrade.returncode == 0, said)
    until("it serves", serves)
    require(show("restante", "MainPID") != before, "the old version is still running")
    return version()


def waits_in_the_socket() -> str:
    """Under the socket unit, no client is refused during an upgrade."""
    command = make(3)
    run(block("docs/INSTALL.md", "systemctl stop restante"))
    try:
        before = show("restante", "MainPID")
        with Probes() as probes:
            run(command)
            until("it serves", serves)
        require(show("restante", "MainPID") != before, "the old version is still running")
        require(show("restante.socket", "ActiveState") == "active", "the socket is gone")
        require(probes.greeted > 0 and probes.refused == probes.other == 0, str(probes))
    finally:
        run("systemctl disable --now restante.socket\nsystemctl restart restante")
    return f"{version()}: {probes}"


def refuses() -> str:
    """If the new version refuses the configuration, the old one continues and apt says why."""
    good, before = CONFIG.read_text(), show("restante", "MainPID")
    command = make(4)
    try:
        change("[limits]", '[limits]\nfailure-dealy = "1s"')
        said = run(command)
        require("failure-dealy" in said and "the old version still runs" in said, said)
        require(show("restante", "MainPID") == before and serves(), "it does not serve any more")
    finally:
        CONFIG.write_text(good)
    run("systemctl restart restante")
    return version()


def removed() -> str:
    """A removal stops the service; a new installation does not start it; a purge keeps the mail."""
    path, command = deliver("1.kept.host"), make(5)
    # Nobody is at a terminal here.
    Path("/etc/apt/apt.conf.d/checks").write_text('APT::Get::Assume-Yes "true";\n')
    run(block("docs/INSTALL.md", "apt-get remove") + command)
    for unit in ("restante.service", "restante.socket"):
        require(show(unit, "ActiveState") == "inactive", f"{unit} is started")
    require(CONFIG.exists(), "the configuration is gone")
    run("systemctl start restante")
    require(serves(), "logins fail")
    run(block("docs/INSTALL.md", "apt-get purge"))
    require(not serves(), "it serves after the purge")
    require(show("restante", "LoadState") in ("not-found", "masked"), show("restante", "LoadState"))
    require(not CONFIG.exists() and not Path("/etc/restante/users").exists(), "not purged")
    require(not Path("/var/lib/restante").exists(), "the last logins are not purged")
    require(path.exists() and (MAILDIR / "cur").is_dir(), "the mail is gone")
    run("id vmail")
    return "the mail stays"
