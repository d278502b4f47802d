"""The container: every step of the Containerfile but the compilation, and a server in it.

buildah runs the steps without a container engine. The images that the file begins with are made of
the clean Debian here; in the first, `cargo` provides the program that this suite tests.
"""

import json
import os
import shutil
import signal
import ssl
import subprocess
from pathlib import Path

from lib.pop3 import Pop3
from lib.process import free_port, until
from lib.report import Failed, require

DEBIAN, RUST = "docker.io/library/debian:bookworm-slim", "docker.io/library/rust:1-bookworm"
# The user of the Containerfile.
OWNER = 5000
CARGO = """#!/bin/sh
set -e
[ "$*" = "build --release --locked --features full" ]
install -D /program target/release/restante
"""


def servers(pid: int) -> list[int]:
    """The servers among a process and its descendants."""
    try:
        is_one = Path(f"/proc/{pid}/comm").read_text() == "restante\n"
        lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []  # it has ended
    children = [int(child) for children in lists for child in children.split()]
    return [*([pid] if is_one else []), *(each for child in children for each in servers(child))]


class Container:
    """An image, and a container of it."""

    def __init__(self, directory: Path, program: Path) -> None:
        # The user of the container enters it, whoever makes it first.
        directory.mkdir()
        self.directory = directory
        self.program = program
        self.port = free_port()
        self.image: dict = {}

    def buildah(self, *words: object) -> list[str]:
        """A command of buildah, with a storage of its own."""
        storage = self.directory / "storage"
        return [
            "buildah", f"--root={storage}/root", f"--runroot={storage}/run",
            "--storage-driver=vfs", *map(str, words),
        ]

    def run(self, *words: object) -> str:
        """Runs a command of buildah to its end."""
        done = subprocess.run(
            self.buildah(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, check=False, timeout=600,
        )
        require(done.returncode == 0, f"{words[0]}: {done.stdout[-1000:]}{done.stderr[-2000:]}")
        return done.stdout.strip()

    def builds(self, debian: Path) -> str:
        """The Containerfile, with these files of a clean Debian."""
        self.run("from", "--name=debian", "scratch")
        self.run("add", "debian", debian, "/")
        self.run("commit", "debian", DEBIAN)
        cargo = self.directory / "cargo"
        cargo.write_text(CARGO)
        cargo.chmod(0o755)
        self.run("add", "debian", self.program, "/program")
        self.run("add", "debian", cargo, "/usr/local/bin/cargo")
        self.run("commit", "--rm", "debian", RUST)
        self.run("bud", "--isolation=chroot", "--pull-never", "--format=docker", "--tag=restante",
                 "--file=Containerfile", ".")
        self.run("from", "--pull-never", "--name=restante", "restante")
        self.image = json.loads(self.run("inspect", "restante"))["Docker"]["config"]
        require(self.image["User"] == "vmail:vmail", f"it runs as {self.image['User']!r}")
        return ", ".join(self.image["ExposedPorts"])

    def serves(self) -> str:
        """A login, the health check and a stop."""
        self._configure()
        command = [*self.image["Entrypoint"], *self.image["Cmd"]]
        volumes = [
            f"--volume={self.directory}/{places}"
            for places in ("etc:/etc/restante:ro", "mail:/var/vmail")
        ]
        container = subprocess.Popen(
            self.buildah("run", "--isolation=chroot", *volumes, "restante", "--", *command),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        try:
            until(lambda: container.poll() is not None or bool(servers(container.pid)), 60)
            [server] = servers(container.pid) or [0]
            require(server != 0, "the server has ended")
            until(lambda: self._is_healthy(server), 60)
            with Pop3(self.port, tls=ssl._create_unverified_context()) as client:
                said = client.user("mrose@example.org", "tanstaaf")
                client.ok("QUIT")
        except (Failed, OSError) as failed:
            said = str(failed)
        finally:
            for each in servers(container.pid):
                os.kill(each, getattr(signal, self.image["StopSignal"]))
            log = container.communicate(timeout=60)[0]
        require(said.startswith("+OK") and container.returncode == 0, f"{said}\n{log}")
        recorded = self.run("run", "--isolation=chroot", "restante", "--",
                            "cat", "/var/lib/restante/last-logins")
        require("mrose@example.org" in recorded, recorded)
        return said

    def _is_healthy(self, server: int) -> bool:
        """The health check of the image, where the server is, as an engine runs it."""
        kind, *command = self.image["Healthcheck"]["Test"]
        require(kind == "CMD", f"the health check is {kind}")
        inside = ["nsenter", f"--target={server}", "--mount", "--root", f"--setuid={OWNER}"]
        inside += [f"--setgid={OWNER}", "--", *command]
        done = subprocess.run(inside, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return done.returncode == 0

    def _configure(self) -> None:
        """The example, with ports of this machine, a certificate, a user and a Maildir."""
        etc, mail = self.directory / "etc", self.directory / "mail"
        maildir = mail / "example.org/mrose/Maildir"
        for name in ("cur", "new", "tmp"):
            (maildir / name).mkdir(parents=True)
        (etc / "tls").mkdir(parents=True)
        example = Path("config/restante.toml").read_text()
        example = example.replace("[::]:995", f"127.0.0.1:{self.port}")
        (etc / "restante.toml").write_text(example.replace("[::]:110", f"127.0.0.1:{free_port()}"))
        (etc / "users").write_text("mrose@example.org:{PLAIN}tanstaaf\n")
        (etc / "users").chmod(0o600)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "90", "-subj", "/CN=pop.example.org",
             "-keyout", etc / "tls/privkey.pem", "-out", etc / "tls/fullchain.pem"],
            check=True, capture_output=True,
        )
        for top in (etc, mail):
            for path in [top, *top.rglob("*")]:
                shutil.chown(path, OWNER, OWNER)
