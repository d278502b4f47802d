"""A clean Debian 12 in a directory, with a terminal, without systemd and without a network."""

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import termios
import time
from pathlib import Path
from typing import Optional

# The answers at the terminal.
PROMPTS = (
    (rb"LDAP Password: ?$", b"sesame\n"),
    (rb"([Pp]assword|again|Repeat it)[^\n]*: ?$", b"tanstaaf\n"),
    (rb"\[Y/n\] ?$", b"y\n"),
)

CERTIFICATE = "/etc/restante/tls/fullchain.pem"
CONFIGURATION = "/etc/restante/restante.toml"
MAILBOX = "/var/vmail/example.org/mrose/Maildir"


REPOSITORY = Path(__file__).resolve().parents[3]


class Failed(Exception):
    """A command or a check failed."""


class Debian:
    """A clean Debian 12, and the processes in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.init: Optional[subprocess.Popen[bytes]] = None
        self.pid = 0
        self.server: Optional[subprocess.Popen[bytes]] = None

    def make(self, packages: list[str], unpacked: str) -> None:
        """Installs the base, downloads `packages` for later, and puts others into `/opt`."""
        sources = " ".join(path.read_text() for path in
                           [*Path("/etc/apt").glob("sources.list"),
                            *Path("/etc/apt/sources.list.d").glob("*.sources"),
                            *Path("/etc/apt/sources.list.d").glob("*.list")])
        mirror = re.search(r"\bhttps?://\S+/debian/?(?=\s)", sources)
        run("debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm",
            str(self.root), mirror.group() if mirror else "http://deb.debian.org/debian")
        apt = self.root / "etc/apt"
        (apt / "sources.list").unlink(missing_ok=True)
        shutil.copytree("/etc/apt", apt, dirs_exist_ok=True, ignore=shutil.ignore_patterns(
            "docker-clean", "*packagekit", "*appstream", "*autoremove*", "*.disabled*",
            "preferences.d", "nodesource*"))
        for path in ("etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt"):
            if Path("/", path).exists():
                shutil.copy(Path("/", path), self.root / path)
        # It is temporary, so it need not survive a power failure.
        (self.root / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")
        (self.root / "etc/systemd/system").mkdir(parents=True, exist_ok=True)
        # Packages start no services, because there is no systemd.
        policy = self.root / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        run("chroot", str(self.root), "apt-get", "-q", "update", env=environment())
        # One by one: mail transfer agents exclude each other.
        for names in packages:
            run("chroot", str(self.root), "apt-get", "-qq", "-y", "--download-only", "install",
                *names.split(), env=environment())
        run("chroot", str(self.root), "bash", "-ec",
            f"cd /opt; apt-get -q download {unpacked}; for each in *.deb; do dpkg -x $each .; done",
            env=environment())

    def boot(self) -> None:
        """Creates the namespaces for all later commands."""
        self.init = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child",
             "bash", "-c",
             f"mount -t proc proc {self.root}/proc && mount --bind /dev {self.root}/dev"
             f" && mount -t sysfs -o ro sys {self.root}/sys && ip link set lo up"
             " && hostname pop && echo up && exec sleep infinity"],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
        )
        assert self.init.stdout is not None
        if self.init.stdout.readline() != b"up\n":
            raise Failed("the namespaces cannot be made")
        children = Path(f"/proc/{self.init.pid}/task/{self.init.pid}/children").read_text()
        self.pid = int(children.split()[0])

    def inside(self, *command: str) -> list[str]:
        """The command that runs another one in the system."""
        return ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--net", "--ipc", "--uts",
                "chroot", str(self.root), *command]

    def quietly(self, script: str) -> None:
        """Runs a command that is not in a page."""
        run(*self.inside("bash", "-c", script), env=environment())

    def type(self, script: str, limit: float = 240) -> str:
        """Runs a script at a terminal, and answers its questions. Returns its output."""
        master, slave = pty.openpty()

        def at_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        process = subprocess.Popen(
            self.inside("bash", "-ec", script), stdin=slave, stdout=slave, stderr=slave,
            env=environment(), preexec_fn=at_terminal,
        )
        os.close(slave)
        said, answered, deadline = b"", 0, time.monotonic() + limit
        try:
            while True:
                ready, _, _ = select.select([master], [], [], 0.2)
                if ready:
                    try:
                        piece = os.read(master, 65536)
                    except OSError:
                        break
                    if not piece:
                        break
                    said += piece
                    continue
                if process.poll() is not None:
                    break  # a daemon may hold the terminal
                for prompt, answer in PROMPTS:
                    if len(said) > answered and re.search(prompt, said):
                        answered = len(said)
                        os.write(master, answer)
                        break
                if time.monotonic() > deadline:
                    raise Failed(f"it takes too long:\n{said.decode(errors='replace')}")
        finally:
            if process.poll() is None and time.monotonic() > deadline:
                process.kill()
            os.close(master)
        text = said.decode(errors="replace")
        if process.wait() != 0:
            raise Failed(f"it ended with {process.returncode}:\n{text}")
        return text

    def serve(self) -> None:
        """Starts or restarts Restante as its unit does."""
        self.stop()
        log = self.root / "var/log/restante.log"
        with log.open("ab") as sink:
            before = sink.tell()
            self.server = subprocess.Popen(
                self.inside("restante", "serve", "--config", CONFIGURATION),
                stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=environment(),
            )
        for _ in range(300):
            if log.read_bytes()[before:].count(b"listening") == 2:
                return
            if self.server.poll() is not None:
                break
            time.sleep(0.1)
        raise Failed(f"the server does not come up:\n{log.read_text()}")

    def stop(self) -> None:
        """Stops Restante."""
        if self.server is not None:
            # nsenter has forked it into the namespace.
            children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text()
            for child in children.split():
                os.kill(int(child), signal.SIGTERM)
            self.server.wait(60)
            self.server = None

    def close(self) -> None:
        """Ends all processes."""
        if self.init is not None:
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)
            self.init.kill()
            self.init.wait()


def build_package(program: Path, directory: Path) -> Path:
    """The Debian package with this program, below `directory`."""
    built = subprocess.run(
        [REPOSITORY / "config/debian/build", program, "--fast"], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "CARGO_TARGET_DIR": str(directory / "target")}, check=True,
    )
    return Path(built.stdout.strip())


def environment() -> dict[str, str]:
    """The environment variables of the commands, the same on each machine."""
    proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
        "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "TERM": "dumb",
        # A password for a script, and a certificate of a well-known authority.
        "PASSWORD": "tanstaaf", "CURL_CA_BUNDLE": CERTIFICATE, **proxies,
    }


def run(*command: str, env: Optional[dict[str, str]] = None) -> None:
    """Runs a command that must succeed; otherwise shows its output."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=env, check=False, timeout=300)
    if done.returncode != 0:
        said = done.stdout.decode(errors="replace")
        raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{said[-3000:]}")
