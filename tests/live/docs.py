"""Runs the commands of README and docs as they stand, in a clean Debian 12.

    python3 tests/live docs PROGRAM

Needs root and debootstrap. It builds a minbase Debian 12 with the apt configuration of this machine,
and downloads the packages that the pages install. Afterwards the system has no network, so that its
ports are its own. Bash runs every block that begins with ```sh, in the order of the pages, at a
terminal where prompts are answered. The sections of ```toml in CREDENTIALS.md are put into the
configuration, and a login is tried with each.

The system has no systemd. Lines that begin with `systemctl` are left out, listed and counted; their
effect on Restante, and the services that packages start, are provided here (`SERVICES`). Other
prerequisites of the pages are in `stand_ins`. docs/LOGS.md is about the journal, and is not among the
pages.
"""

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import Iterator, NamedTuple, Optional

PAGES = ("README.md", "docs/DELIVERY.md", "docs/CONFIGURATION.md", "docs/CREDENTIALS.md",
         "docs/CLIENTS.md", "docs/SECURITY.md")

# Other steps of .ci/run do these, which need a toolchain and many minutes.
ELSEWHERE = {
    "cargo run -- demo": "tests/live/readme.py",
    "cargo test": ".ci/run",
    "cargo build --release": ".ci/run, whose binary is in target/release here",
}

# The services that packages would start with systemd.
SERVICES = {
    "postfix": "postfix start",
    "postgresql": "pg_ctlcluster 15 main start",
    "mariadb-server": "install -d -o mysql /run/mysqld; (setsid mariadbd -u mysql >/dev/null 2>&1 &);"
                      " for _ in $(seq 100); do mariadb-admin ping && break; sleep 0.2; done",
    "slapd": "slapd -h ldap:/// -g openldap -u openldap -F /etc/ldap/slapd.d",
}
# The services that stop when another package replaces theirs.
STOPPED = {
    "exim4-daemon-light": "postfix stop",
    "opensmtpd": "kill $(cat /run/exim4/exim.pid)",
}
# The commands for `systemctl restart`.
RESTARTED = {
    "systemctl restart exim4": "exim4 -bd -oP /run/exim4/exim.pid",
    "systemctl restart opensmtpd":
        "smtpd; for _ in $(seq 100); do smtpctl show status && break; sleep 0.1; done",
    "systemctl restart fail2ban": "install -d /run/fail2ban; fail2ban-client start",
}

# The answers at the terminal.
PROMPTS = (
    (rb"LDAP Password: ?$", b"sesame\n"),
    (rb"([Pp]assword|again|Repeat it)[^\n]*: ?$", b"tanstaaf\n"),
    (rb"\[Y/n\] ?$", b"y\n"),
)

LOOK = "Check that it works"
CERTIFICATE = "/etc/restante/tls/fullchain.pem"
CONFIGURATION = "/etc/restante/restante.toml"
MAILBOX = "/var/vmail/example.org/mrose/Maildir"


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int
    heading: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.heading})"


def blocks(page: str) -> Iterator[Block]:
    """All fenced blocks of a page."""
    heading, start, language, text = "", 0, "", ""
    for number, line in enumerate(Path(page).read_text().splitlines(), 1):
        if start == 0 and line.startswith("#"):
            heading = line.lstrip("# ")
        elif start == 0 and line.startswith("```"):
            start, language, text = number, line[3:].strip(), ""
        elif start and line == "```":
            yield Block(page, start, heading, language, text)
            start = 0
        elif start:
            text += line + "\n"


def commands(text: str) -> list[str]:
    """The commands of a block, each with its continuation lines."""
    found: list[str] = []
    end: Optional[str] = None
    goes_on = False
    for line in text.splitlines():
        if end is not None:
            found[-1] += "\n" + line
            end = None if line == end else end
            continue
        if goes_on:
            found[-1] += "\n" + line
        elif line.strip() and not line.startswith("#"):
            found.append(line)
        goes_on = line.endswith("\\")
        here = re.search(r"<<'?(\w+)'?", line)
        end = here.group(1) if here else None
    return found


class Failed(Exception):
    """A command or a check failed."""


class Debian:
    """A clean Debian 12, and the processes in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.init: Optional[subprocess.Popen[bytes]] = None
        self.pid = 0
        self.server: Optional[subprocess.Popen[bytes]] = None

    def make(self, packages: list[str]) -> None:
        """Installs the base, and downloads `packages` for later."""
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


class Reader:
    """Runs the commands of the pages."""

    def __init__(self, debian: Debian) -> None:
        self.debian = debian
        self.all = [block for page in PAGES for block in blocks(page)]
        self.done: set[Block] = set()
        self.ran = 0
        self.left_out: list[str] = []
        self.shipped = ""

    def packages(self) -> list[str]:
        """The packages that the pages install, one a line."""
        lines = [line for block in self.all if block.language == "sh"
                 for line in commands(block.text)]
        return [line.removeprefix("apt-get install ") for line in lines
                if line.startswith("apt-get install ")]

    def follow(self) -> None:
        """Runs all blocks in their order, except for those that a page says to run before."""
        for block in self.all:
            if block.language == "sh" and block not in self.done:
                self.before(block)
                self.run(block)
                self.after(block)

    def before(self, block: Block) -> None:
        """Runs the prerequisites."""
        if block.heading == "Postfix":
            # README, step 2: docs/CONFIGURATION.md "also says how to get a certificate".
            first = next(each for each in self.all
                         if "CONFIGURATION" in each.page and each.language == "sh")
            self.run(first)
            self.shipped = (self.debian.root / CONFIGURATION[1:]).read_text()
            self.debian.serve()
        self.stand_ins(block)

    def stand_ins(self, block: Block) -> None:
        """Provides what the pages presuppose and the system lacks."""
        if "letsencrypt" in block.text:
            live = "/etc/letsencrypt/live/pop.example.org"
            self.debian.quietly(f"install -d {live}; cp /etc/restante/tls/*.pem {live}")
        if block.page.endswith("CLIENTS.md"):
            # A message to read and to remove.
            self.configure("")
            self.debian.quietly(
                f"printf 'Subject: second\\n\\nHello.\\n' > {MAILBOX}/new/2.second;"
                f" chown vmail: {MAILBOX}/new/2.second")

    def run(self, block: Block) -> None:
        """Runs a block as if it were pasted."""
        print(f"\n== {block}", flush=True)
        self.done.add(block)
        kept: list[str] = []
        for command in commands(block.text):
            bare = re.sub(r"\s+#.*", "", command)
            if bare in ELSEWHERE:
                self.left_out.append(f"{bare}  (done by {ELSEWHERE[bare]})")
            elif bare.startswith("systemctl "):
                self.left_out.append(f"{bare}  (needs systemd)")
                kept.append(RESTARTED.get(bare, ""))
            else:
                self.ran += 1
                print(f"$ {command}", flush=True)
                names = bare.split()[2:] if bare.startswith("apt-get install ") else []
                kept += [STOPPED[name] for name in names if name in STOPPED]
                kept.append(command)
                kept += [SERVICES[name] for name in names if name in SERVICES]
        script = "trap 'echo \"FAILED: $BASH_COMMAND\"' ERR\ncd /root/restante\n" + "\n".join(kept)
        said = self.debian.type(script)
        print("\n".join(said.splitlines()[-6:]), flush=True)

    def after(self, block: Block) -> None:
        """Checks the result that a page promises."""
        if block.heading in ("Postfix", "Exim", "OpenSMTPD"):
            self.delivered(next(each for each in self.all if each.heading == LOOK))
        elif block.page.endswith("CREDENTIALS.md") or block.heading == "Mail of system users":
            self.logs_in(block)

    def delivered(self, look: Block) -> None:
        """Mail arrives through the mail transfer agent, and can be fetched."""
        self.debian.quietly(f"rm -f {MAILBOX}/new/*")
        self.run(look)
        new = self.debian.root / MAILBOX[1:] / "new"
        for _ in range(300):
            if any(new.iterdir()):
                break
            time.sleep(0.1)
        else:
            raise Failed("no mail has come")
        last = commands(look.text)[-1]
        if "1 " not in self.debian.type(last):
            raise Failed("the list has no message")

    def logs_in(self, block: Block) -> None:
        """A login with the sections of ```toml under the same heading."""
        sections = [each for each in self.all if each.heading == block.heading
                    and each.page == block.page and each.language == "toml"]
        text = sections[0].text if sections else ""
        if block.heading == "MySQL and MariaDB":
            shown = next(each for each in self.all if each.heading == "PostgreSQL"
                         and each.language == "toml")
            text = shown.text.replace("postgres://", "mysql://")
        if 'kind = "pam"' in text or 'kind = "oauth2"' in text or not text:
            return  # by tests/live/stores, with another build and another package manager
        self.configure(text)
        if "client-ca" in text:
            self.debian.serve()
            return
        alone = "checkpassword" in text or "run-as" in text
        name = "mrose" if alone else "mrose@example.org"
        self.debian.type(f"restante check --config {CONFIGURATION}")
        self.debian.type(f"restante user test --config {CONFIGURATION} {name}")
        print(f"{name} can log in with this section", flush=True)
        self.configure("")
        self.debian.quietly("chown vmail: /etc/restante/users /etc/restante/tls/privkey.pem")

    def configure(self, text: str) -> None:
        """Replaces keys and sections with the same names."""
        head, bracket, sections = text.partition("[")
        whole = self.shipped
        for key, value in re.findall(r"^(\S+) = (.*)$", head, re.M):
            whole = re.sub(rf"(?m)^{key} = .*$", f"{key} = {value}", whole)
        text = bracket + sections
        names = set(re.findall(r"^\[+[\w.]+\]+", text, re.M))
        parts = re.split(r"(?m)^(?=\[)", whole)
        kept = [part for part in parts if part.split("\n")[0] not in names]
        path = self.debian.root / CONFIGURATION[1:]
        path.write_text("".join(kept) + text)


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


def main() -> int:
    """Builds the system, runs the pages, and counts."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python3 tests/live docs PROGRAM")
    binary = Path(sys.argv[1]).resolve()
    os.chdir(Path(__file__).resolve().parents[2])
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="restante-docs-") as directory:
        debian = Debian(Path(directory) / "debian")
        reader = Reader(debian)
        try:
            debian.make(reader.packages())
            clone = debian.root / "root/restante"
            (clone / "target/release").mkdir(parents=True)
            files = subprocess.check_output(["git", "ls-files", "-z"]).decode().split("\0")
            for name in filter(None, files):
                (clone / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(name, clone / name, follow_symlinks=False)
            shutil.copy(binary, clone / "target/release/restante")
            debian.boot()
            print(f"a clean Debian 12 after {time.monotonic() - start:.0f} s", flush=True)
            reader.follow()
        except Failed as failed:
            print(f"\nFAILED: {failed}", file=sys.stderr)
            return 1
        finally:
            debian.close()
    print("\nnot run:")
    for line in reader.left_out:
        print(f"  {line}")
    print(f"{reader.ran} commands of {len(PAGES)} pages work as they stand, {len(reader.left_out)} "
          f"were left out, in {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
