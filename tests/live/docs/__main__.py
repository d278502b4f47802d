"""Runs the commands of README and docs as they stand, in a clean Debian 12.

    python3 tests/live docs PROGRAM

Needs root and debootstrap. It builds a minbase Debian 12 with the apt configuration of this machine,
and downloads the packages that the pages install. Afterwards the system has no network, so that its
ports are its own. Bash runs every block that begins with ```sh, in the order of the pages, at a
terminal where prompts are answered. The sections of ```toml in CREDENTIALS.md are put into the
configuration, and a login is tried with each.

The system has no systemd. Lines that begin with `systemctl` are left out, listed and counted; their
effect on Restante, and the services that packages start, are provided here (`SERVICES`). Other
prerequisites of the pages are in `stand_ins` and `migrating`. docs/LOGS.md is about the journal, and is not among the
pages.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from docs import migrating
from lib.debian import CONFIGURATION, MAILBOX, Debian, Failed
from lib.pages import Block, blocks, commands

PAGES = ("README.md", "docs/DELIVERY.md", "docs/CONFIGURATION.md", "docs/CREDENTIALS.md",
         "docs/CLIENTS.md", "docs/SECURITY.md", migrating.PAGE)

# The first need a toolchain and many minutes.
LEFT_OUT = {
    "cargo run -- demo": "done by tests/live/readme.py",
    "cargo test": "done by .ci/run",
    "cargo build --release": "done by .ci/run, whose binary is in target/release here",
    "rsync -aH --delete --exclude 'restante.*' old.example.org:/var/vmail/ /var/vmail/": "needs another machine",
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
# The commands in place of `systemctl`.
RESTARTED = {
    "systemctl restart exim4": "exim4 -bd -oP /run/exim4/exim.pid",
    "systemctl restart opensmtpd":
        "smtpd; for _ in $(seq 100); do smtpctl show status && break; sleep 0.1; done",
    "systemctl restart fail2ban": "install -d /run/fail2ban; fail2ban-client start",
    "systemctl reload dovecot": "doveadm reload",
}

LOOK = "Check that it works"


class Reader:
    """Runs the commands of the pages."""

    def __init__(self, debian: Debian) -> None:
        self.debian = debian
        self.all = [block for page in PAGES for block in blocks(page)]
        self.done: set[Block] = set()
        self.ran = 0
        self.left_out: list[str] = []
        self.shipped = ""
        self.moves = migrating.Moves(debian, self.configure, self.section)

    def packages(self) -> list[str]:
        """The packages that the pages install, one a line."""
        lines = [line for block in self.all if block.language == "sh"
                 for line in commands(block.text)]
        wanted = [line.removeprefix("apt-get install ") for line in lines
                  if line.startswith("apt-get install ")]
        return [*wanted, migrating.DOVECOT]

    def follow(self) -> None:
        """Runs all blocks in their order, except for those that a page says to run before."""
        for block in self.all:
            if block.language == "sh" and block not in self.done:
                self.before(block)
                self.after(block, self.run(block))

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
        if block.page == migrating.PAGE:
            self.moves.before(block)

    def run(self, block: Block) -> str:
        """Runs a block as if it were pasted. Returns its output."""
        print(f"\n== {block}", flush=True)
        self.done.add(block)
        kept: list[str] = []
        for command in commands(block.text):
            bare = re.sub(r"\s+#.*", "", command)
            if bare in LEFT_OUT:
                self.left_out.append(f"{bare}  ({LEFT_OUT[bare]})")
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
        return said

    def after(self, block: Block, said: str) -> None:
        """Checks the result that a page promises."""
        if block.heading in ("Postfix", "Exim", "OpenSMTPD"):
            self.delivered(next(each for each in self.all if each.heading == LOOK))
        elif block.page.endswith("CREDENTIALS.md") or block.heading == "Mail of system users":
            self.logs_in(block)
        elif block.page == migrating.PAGE:
            self.moves.after(block, said)

    def section(self, heading: str) -> str:
        """The first ```toml of a heading."""
        return next(each.text for each in self.all
                    if each.heading == heading and each.language == "toml")

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


def main() -> int:
    """Builds the system, runs the pages, and counts."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python3 tests/live docs PROGRAM")
    binary = Path(sys.argv[1]).resolve()
    os.chdir(Path(__file__).resolve().parents[3])
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="restante-docs-") as directory:
        debian = Debian(Path(directory) / "debian")
        reader = Reader(debian)
        try:
            debian.make(reader.packages(), migrating.COURIER)
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
