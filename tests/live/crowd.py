"""As many sessions as the server's limit of open files allows, and one more that works.

    python3 tests/live crowd target/release/restante [--sessions 10000] [--files 32768]

The users log in to a server whose limit of open files is --files, list their messages, fetch one and
wait. The server may hold three descriptors for each: its socket, the Maildir and the lock file.
Meanwhile one more user polls, fetches and removes; then some of the waiting ones do. When all have
quit, the descriptors must be released. It takes half a minute on an idle machine.

If the system does not allow as many open files, it runs in a virtual machine, as root, with cpio,
mmdebstrap and qemu-system-x86:  --guest VMLINUZ  (a Debian kernel of linux-image-cloud-amd64)
"""

import argparse
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, NoReturn

from lib.corpus import Message
from lib.pop3 import Pop3
from lib.report import Failed, Report
from lib.resources import Usage
from lib.server import CLEARTEXT, Clear
from lib.site import Account, Site

HERE = Path(__file__).resolve().parent
EACH, MESSAGES, EVERY = 3, 3, 50  # descriptors, messages, and which share of the waiting ones go on
OWN_FILES = 64  # open files of this program in addition to the sockets
SMALL, LARGE = 1_000, 1_000_000
GUEST_PACKAGES = "iproute2,libpython3-stdlib,mount,openssl,python3-minimal"

INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /tmp
exec > /dev/ttyS0 2>&1
ip link set lo up
echo "crowd: $(uname -sr), open files: $(ulimit -Hn)"
python3 /live crowd /restante {options}
echo "crowd: exit code $?"
sleep 3  # a reset discards what the serial line has not sent yet
echo b > /proc/sysrq-trigger
"""


class Crowded(Clear):
    """A server with this limit of open files, which accepts one session more than wait."""

    def __init__(self, site: Site, sessions: int, files: int) -> None:
        super().__init__(site, "crowded", allow_cleartext=True)
        self.before = ("prlimit", f"--nofile={files}:{files}")
        self.more = (
            f"[limits]\nconnections = {sessions + 1}\nconnections-per-address = {sessions + 1}\n"
            '[timeouts]\nidle = "1h"\n[sandbox]\ncore-dumps = true\n'
        )

    def usage(self) -> Usage:
        """Its present usage."""
        assert self.process is not None
        return Usage.of(self.process.pid)

    def settled(self, most: int) -> int:
        """The descriptors, once they are within the limit or have not become fewer for a minute."""
        fewest, end = self.usage().descriptors, time.monotonic() + 60
        while fewest > most and time.monotonic() < end:
            time.sleep(0.1)
            if (now := self.usage().descriptors) < fewest:
                fewest, end = now, time.monotonic() + 60
        return fewest

    def complaints(self) -> list[str]:
        """Warnings and errors in its log; the notification socket is closed once it is ready."""
        lines = self.log.read_text().splitlines()
        bad = [line for line in lines if re.search(r"\b(WARN|ERROR)\b|panicked", line)]
        return [line for line in bad if "the service manager was not told" not in line]

    def session(self, account: Account) -> Pop3:
        """A client that has logged in."""
        client = self.connect(CLEARTEXT)
        client.log_in(account.user, account.password)
        return client


def user(site: Site, name: str, *sizes: int) -> Account:
    """A user with messages of these sizes."""
    account = site.mailbox(name, [message(number, size) for number, size in enumerate(sizes, 1)])
    site.enter(account)
    return account


def message(number: int, size: int) -> Message:
    """Lines of text."""
    text = f"Subject: {number}\n\n" + "0123456789 text\n" * (size // 16)
    return Message(str(number), text.encode())


def fetched(client: Pop3, command: str) -> int:
    """The octets of a multi-line reply."""
    return sum(len(line) + 2 for line in client.lines(command))


def waiting(server: Crowded, account: Account) -> Pop3:
    """A client that has logged in, listed its messages and fetched one."""
    client = server.session(account)
    client.lines("UIDL")
    client.lines("RETR 1")
    return client


def timed(times: list[str], name: str, work: Callable[[], Any]) -> Any:
    """The result of `work`, and its time."""
    begun = time.monotonic()
    result = work()
    times.append(f"{name} {1000 * (time.monotonic() - begun):.1f}")
    return result


def work(report: Report, server: Crowded, worker: Account) -> None:
    """A session with all commands."""
    times: list[str] = []
    left = len(worker.files())
    client = timed(times, "connection", lambda: server.connect(CLEARTEXT))
    reply = timed(times, "login", lambda: client.user(worker.user, worker.password))
    report.expect(reply.startswith("+OK 3 "), f"one more logs in: {reply}")
    timed(times, "UIDL", lambda: client.lines("UIDL"))
    small = timed(times, "RETR of 1 kB", lambda: fetched(client, "RETR 1"))
    large = timed(times, "RETR of 1 MB", lambda: fetched(client, "RETR 2"))
    report.expect(small > SMALL * 0.9 and large > LARGE, f"it fetches {small} and {large} octets")
    timed(times, "DELE", lambda: client.ask("DELE 1"))
    reply = timed(times, "QUIT", lambda: client.ask("QUIT"))
    client.close()
    removed = reply.startswith("+OK 1 message removed") and len(worker.files()) == left - 1
    report.expect(removed, f"it removes: {reply}")
    print("   ms: " + ", ".join(times))


def go_on(report: Report, accounts: list[Account], clients: list[Pop3]) -> None:
    """Some of the waiting sessions fetch, remove and quit."""
    some = list(zip(accounts, clients))[::EVERY]
    wrong, slowest = [], 0.0
    for account, client in some:
        begun = time.monotonic()
        octets, dele, reply = fetched(client, "RETR 2"), client.ask("DELE 2"), client.ask("QUIT")
        slowest = max(slowest, time.monotonic() - begun)
        done = dele.startswith("+OK") and reply.startswith("+OK 1 message removed")
        if not (done and octets > SMALL * 0.9 and len(account.files()) == MESSAGES - 1):
            wrong.append((account.user, octets, dele, reply))
    report.expect(not wrong, f"{len(some)} of those that waited fetch, remove and leave, "
                  f"the slowest in {1000 * slowest:.0f} ms {wrong[:3] or ''}")


def crowd(report: Report, site: Site, options: argparse.Namespace) -> None:
    """All clients log in, wait, and quit."""
    accounts = [user(site, f"u{number}", *[SMALL] * MESSAGES) for number in range(options.sessions)]
    worker, first = user(site, "worker", SMALL, LARGE, SMALL), user(site, "one", SMALL)
    server = Crowded(site, options.sessions, options.files)
    server.start()
    clients: list[Pop3] = []
    try:
        with server.session(first) as client:
            client.lines("RETR 1")
            client.ask("QUIT")
        time.sleep(1)
        before, begun = server.usage(), time.monotonic()
        for account in accounts:
            clients.append(waiting(server, account))
            if len(clients) % 1000 == 0:
                print(f"   {len(clients)} sessions after {time.monotonic() - begun:.1f} s", flush=True)
        print(f"   {options.sessions} sessions in {time.monotonic() - begun:.1f} s")
        most = before.descriptors + EACH * options.sessions
        now = server.settled(most)
        report.expect(now <= most, f"descriptors: {before.descriptors} before, {now} with "
                      f"{options.sessions} sessions, "
                      f"{(now - before.descriptors) / options.sessions:.4f} each; "
                      f"allowed are {options.files}")
        memory = server.usage().memory
        print(f"   memory: {(memory - before.memory) / 1024 / options.sessions:.2f} kB each, "
              f"{memory / 1024 / 1000:.1f} MB in all")
        work(report, server, worker)
        go_on(report, accounts, clients)
        for client in clients:
            client.close()
        now = server.settled(before.descriptors)
        report.expect(now <= before.descriptors, f"descriptors when all have left: {now}")
        bad = server.complaints()
        said = f"warnings and errors in the log: {len(bad)} {' '.join(bad[:3])}"
        report.expect(not bad, said)
        code = server.end(60)
        report.expect(code == 0, f"it stops with exit code {code}")
    except (Failed, OSError) as error:
        report.expect(False, f"after {len(clients)} sessions: {error} {server.complaints()[:3]}")
    finally:
        server.kill()


def allow(files: int, sessions: int) -> None:
    """Sets the limits of open files of this process and of the server."""
    most = max(files, sessions + OWN_FILES)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        except (ValueError, OSError):
            sys.exit(f"{most} open files are needed, and the hard limit is {hard}. Raise it (as root "
                     f"`ulimit -Hn {most}`, and fs.nr_open where that is less; LimitNOFILE= of a "
                     "service or container), or ask for less "
                     f"(--sessions {max(1, (hard - 64) * 4 // 13 - 1)} --files {hard}), "
                     "or run it in a virtual machine (--guest VMLINUZ)")
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def too_late(*_: object) -> NoReturn:
    """The time limit is over."""
    sys.exit("FAILED it has not ended in time")


def here(options: argparse.Namespace) -> int:
    """On this machine."""
    allow(options.files, options.sessions)
    report = Report(only=[])
    site = Site(options.program)
    try:
        crowd(report, site, options)
    finally:
        signal.alarm(0)
        site.close()
    return report.close()


def in_a_guest(options: argparse.Namespace) -> int:
    """The same in a guest with its own kernel; all files are in its initramfs."""
    with tempfile.TemporaryDirectory(prefix="crowd-guest-") as folder:
        root, image = Path(folder) / "root", Path(folder) / "initramfs"
        subprocess.run(["mmdebstrap", "--quiet", "--variant=essential",
                        f"--include={GUEST_PACKAGES}", "bookworm", str(root),
                        "http://deb.debian.org/debian"], check=True)
        shutil.copy(options.program, root / "restante")
        shutil.copytree(HERE / "lib", root / "live/lib")
        for name in ("__main__.py", "crowd.py"):
            shutil.copy(HERE / name, root / "live")
        limits = (f"--sessions {options.sessions} --files {options.files} "
                  f"--seconds {options.seconds}")
        (root / "init").write_text(INIT.format(options=limits))
        (root / "init").chmod(0o755)
        subprocess.run(f"find . -xdev | cpio --quiet -o -H newc > {image}", shell=True, cwd=root,
                       check=True)
        return boot(options.guest, image)


def boot(kernel: Path, image: Path) -> int:
    """Runs the guest to its end. Returns the exit code of the program in it."""
    guest = subprocess.Popen(
        ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2",
         "-m", "3072", "-nographic", "-no-reboot", "-nic", "none", "-kernel", str(kernel),
         "-initrd", str(image), "-append", "console=ttyS0 quiet panic=-1"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace")
    try:
        assert guest.stdout is not None
        code = 1
        for line in guest.stdout:
            print(line.rstrip(), flush=True)
            if found := re.match(r"crowd: exit code (\d+)", line):
                code = int(found[1])
        return code
    finally:
        guest.kill()
        guest.wait()


def main() -> int:
    """Runs on this machine or in a guest."""
    parser = argparse.ArgumentParser(
        prog="crowd", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("program", type=lambda text: Path(text).resolve())
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=32_768)
    parser.add_argument("--seconds", type=int, default=1200, help="when to give up")
    parser.add_argument("--guest", metavar="VMLINUZ", type=Path,
                        help="run it in a virtual machine with this kernel")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, too_late)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # A guest must also be built and booted, and has its own time limit.
    signal.alarm(2 * options.seconds if options.guest else options.seconds)
    return in_a_guest(options) if options.guest else here(options)


if __name__ == "__main__":
    sys.exit(main())
