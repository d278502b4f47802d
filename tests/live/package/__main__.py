"""The Debian package and the container, in a clean Debian 12: python3 tests/live package PROGRAM

Builds the package with PROGRAM, checks it with lintian, and runs the commands of docs/INSTALL.md as
they stand. Then it upgrades the package, removes it and purges it, with an edited configuration,
users and mail. `container` builds the Containerfile. PROGRAM is built with all features. Needs
root, buildah, cargo-deb, debootstrap, dpkg-dev and lintian. The system has no systemd, so lines
that begin with `systemctl` are left out; `tests/live/systemd` runs them.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from lib.debian import (
    CERTIFICATE, CONFIGURATION, MAILBOX, REPOSITORY, Debian, build_package, run,
)
from lib.pages import blocks, commands, only
from lib.report import Report, require
from package.container import Container

PAGE = "docs/INSTALL.md"
USERS = "/etc/restante/users"
# What the new version of the package adds to its example of a configuration.
NEW_LINE = "# new in this version"


class Package:
    """The package, and the system that it is installed on."""

    def __init__(self, directory: Path, program: Path) -> None:
        self.directory = directory
        self.program = program
        self.debian = Debian(directory / "debian")
        self.steps = [block.text for block in blocks(PAGE) if block.language == "sh"]
        self.file = Path()

    def path(self, name: str) -> Path:
        """A file of the system."""
        return self.debian.root / name[1:]

    def says(self, command: str) -> str:
        """The output of a command in the system."""
        return self.debian.type(command).strip()

    def follow(self, beginning: str) -> str:
        """Runs the block of the page that begins so, where the package is."""
        text = only(PAGE, beginning).text
        self.steps.remove(text)
        lines = [line for line in commands(text) if not line.startswith("systemctl ")]
        return self.debian.type("\n".join(["cd /root", *lines]))

    def builds(self) -> str:
        """The package, from the program."""
        self.file = build_package(self.program, self.directory)
        return f"{self.file.name}, {self.file.stat().st_size / 1e6:.1f} MB"

    def is_clean(self) -> str:
        """Lintian has nothing to say."""
        said = subprocess.run(
            ["lintian", "--allow-root", "--fail-on", "error,warning", self.file],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )
        require(said.returncode == 0, said.stdout)
        overrides = (REPOSITORY / "config/debian/lintian-overrides").read_text()
        return f"{overrides.count('restante: ')} override"

    def makes_a_system(self) -> str:
        """A clean Debian. The packages that this one depends on are downloaded meanwhile."""
        self.debian.make(["libpam0g systemd", "openssl"], "hostname")
        self.debian.boot()
        self.path(f"/root/{self.file.name}").write_bytes(self.file.read_bytes())
        return "Debian 12"

    def installs(self) -> str:
        """The first installation: everything is there, and no unit is enabled."""
        self.follow("apt-get install")
        # At the next start of a system with systemd.
        self.debian.type("systemd-tmpfiles --create restante.conf")
        require(self.says("command -v restante") == "/usr/bin/restante", "not in the path")
        require("not built: none" in self.says("restante --version"), "a feature is missing")
        for unit in ("restante.service", "restante.socket"):
            require(self.path(f"/usr/lib/systemd/system/{unit}").exists(), f"{unit} is missing")
        wants = [str(path) for path in self.path("/etc/systemd/system").glob("*.wants/restante*")]
        require(not wants, f"enabled: {wants}")
        for name in ("restante.1.gz", "restante-user-add.1.gz"):
            require(self.path(f"/usr/share/man/man1/{name}").exists(), f"{name} is missing")
        completed = self.says(
            ". /usr/share/bash-completion/completions/restante; COMP_WORDS=(restante sess)"
            ' COMP_CWORD=1; _restante restante sess restante; echo "${COMPREPLY[@]}"'
        )
        require(completed == "sessions", f"bash completes {completed!r}")
        owners = self.says(f"stat -c '%U %a' /var/vmail {USERS}").split()
        require(owners == ["vmail", "750", "vmail", "600"], f"{owners}")
        # The example is complete but for the certificate and its key.
        said = self.says("restante check --offline || true")
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        require(len(errors) == 2 and all(": tls." in line for line in errors), said)
        return self.says("dpkg-query --show restante").replace("\t", " ")

    def serves(self) -> str:
        """The steps of the page lead to a server that lets the user in."""
        self.debian.type("apt-get -qq -y install openssl")
        first = next(each for each in blocks("docs/CONFIGURATION.md") if each.language == "sh")
        self.debian.type(first.text)
        self.follow("restante init-root")
        self.follow("restante check")
        self.follow("systemctl stop restante")
        self.debian.serve()
        said = self.says("restante user test mrose@example.org")
        self.debian.stop()
        owner = self.says(f"stat -c %U {USERS} {MAILBOX}").split()
        require(owner == ["vmail", "vmail"], f"they belong to {owner}")
        return said.splitlines()[-1]

    def upgrades(self) -> str:
        """A new version, with another example, keeps the edited configuration and the users."""
        config = self.path(CONFIGURATION)
        config.write_text(config.read_text().replace("pop.example.org", "pop.example.net"))
        before = {name: self.path(name).read_bytes() for name in (CONFIGURATION, USERS)}
        new = self.directory / "new"
        run("dpkg-deb", "--raw-extract", str(self.file), str(new))
        control, example = new / "DEBIAN/control", new / CONFIGURATION[1:]
        control.write_text(control.read_text().replace("-1\n", "-2\n", 1))
        example.write_text(f"{example.read_text()}{NEW_LINE}\n")
        package = self.path("/root/new.deb")
        run("dpkg-deb", "--build", "-Znone", str(new), str(package))
        keep = "-o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-confdef"
        self.debian.type(f"apt-get -q -y {keep} install /root/new.deb")
        for name, octets in before.items():
            require(self.path(name).read_bytes() == octets, f"{name} was changed")
        require(NEW_LINE in self.path(f"{CONFIGURATION}.dpkg-dist").read_text(), "no new example")
        self.debian.serve()
        self.debian.stop()
        return self.says("dpkg-query --show restante").replace("\t", " ")

    def removes(self) -> str:
        """The removal keeps the configuration, users and mail; it can be installed again."""
        message = self.path(f"{MAILBOX}/new/1.one.host")
        message.write_bytes(b"Subject: one\n\nText.\n")
        kept = (CONFIGURATION, USERS, CERTIFICATE, f"{MAILBOX}/new/1.one.host")
        self.follow("apt-get remove")
        require(not self.path("/usr/bin/restante").exists(), "the program is still there")
        for name in kept:
            require(self.path(name).exists(), f"{name} was removed")
        self.debian.type("apt-get -q -y install /root/new.deb")
        self.debian.serve()
        self.debian.stop()
        return "and installed again"

    def purges(self) -> str:
        """The purge removes what the package has made, and nothing else."""
        self.follow("apt-get purge")
        left = self.says(
            "find / -xdev -path /proc -prune -o -path /sys -prune -o -path /root -prune"
            " -o -name '*restante*' -print | sort"
        ).split()
        # The directory has the key; the others belong to the mail.
        mail = [f"{MAILBOX}/restante.index", f"{MAILBOX}/restante.lock", "/var/vmail/restante.root"]
        wanted = ["/etc/restante", *mail]
        log = "/var/log/restante.log"
        require(set(left) <= {*wanted, log} and "/etc/restante" in left, f"left: {left}")
        for name in (CERTIFICATE, f"{MAILBOX}/new/1.one.host", "/var/vmail/restante.root"):
            require(self.path(name).exists(), f"{name} was removed")
        for name in (CONFIGURATION, USERS):
            require(not self.path(name).exists(), f"{name} is still there")
        self.says("id vmail")
        require(not self.steps, f"not run: {self.steps}")
        return "mail, certificate and the user vmail stay"


def main() -> int:
    """All checks, in the order of a package's life; each needs the one before."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python3 tests/live package PROGRAM")
    program = Path(sys.argv[1]).resolve()
    os.chdir(REPOSITORY)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    report = Report(only=[])
    with tempfile.TemporaryDirectory(prefix="restante-package-") as directory:
        # The user of the container enters it.
        Path(directory).chmod(0o711)
        package = Package(Path(directory), program)
        container = Container(Path(directory) / "container", program)
        try:
            for name, body in {
                "the package is built": package.builds,
                "lintian": package.is_clean,
                "a clean system": package.makes_a_system,
                "the image of the container": lambda: container.builds(package.debian.root),
                "a server in the container": container.serves,
                "installation": package.installs,
                "set-up as the page says": package.serves,
                "upgrade": package.upgrades,
                "removal": package.removes,
                "purge": package.purges,
            }.items():
                report.check(name, body)
                if report.failed:
                    break
        finally:
            package.debian.close()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
