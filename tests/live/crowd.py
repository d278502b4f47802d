#!/usr/bin/env python3
"""As many sessions as fit into the open files that a server may have, and one more that works.

Usage:  python3 tests/live crowd target/release/restante [--sessions 10000] [--files 32768]

So many users log in to a server whose limit on open files is --files, list their messages, fetch one
and wait. The server must hold three descriptors for each: its socket, the Maildir and the lock file.
Meanwhile one more user polls, fetches and removes; then some of those that waited do. When all have
left, the descriptors have to be back. Half a minute on an idle machine.

Where more open files are not allowed, it runs in a virtual machine, as root, with cpio, mmdebstrap
and qemu-system-x86:  --guest VMLINUZ  (a kernel of Debian: linux-image-cloud-amd64 has one)
"""

import argparse
import os
import pwd
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

EACH, MESSAGES, EVERY = 3, 3, 50  # descriptors, messages, and how many of those that wait go on
OWN_FILES = 64  # what this program has open besides the sockets
SMALL, LARGE = 1_000, 1_000_000
GUEST_PACKAGES = "iproute2,libpython3-stdlib,mount,python3-minimal"

INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /tmp
exec > /dev/ttyS0 2>&1
ip link set lo up
echo "crowd: $(uname -sr), open files: $(ulimit -Hn)"
python3 /crowd /restante {options}
echo "crowd: exit code $?"
sleep 3  # a reset takes what the serial line has not sent yet
echo b > /proc/sysrq-trigger
"""


class Pop3:
    """A client that says what it is told to."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.file = self.socket.makefile("rb", buffering=1024)
        self.line()

    def line(self):
        return self.file.readline().decode().rstrip("\r\n")

    def ask(self, command):
        self.socket.sendall(command.encode() + b"\r\n")
        return self.line()

    def lines(self, command):
        """The octets of a reply of many lines."""
        if not (reply := self.ask(command)).startswith("+OK"):
            raise ValueError(f"{command}: {reply}")
        octets = 0
        while (line := self.file.readline()) not in (b".\r\n", b""):
            octets += len(line)
        return octets

    def log_in(self, user):
        self.ask(f"USER {user}")
        return self.ask("PASS tanstaaf")

    def close(self):
        self.file.close()
        self.socket.close()


class Place:
    """The users, their mail and the configuration."""

    def __init__(self, sessions):
        self.folder = tempfile.mkdtemp(prefix="crowd-")
        os.chmod(self.folder, 0o755)
        self.owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self.make("mail")
        for number in range(sessions):
            self.maildir(f"u{number}", [SMALL] * MESSAGES)
        self.maildir("worker", [SMALL, LARGE, SMALL])
        self.maildir("first", [SMALL])
        users = [f"u{number}" for number in range(sessions)] + ["worker", "first"]
        self.write("users", "".join(f"{user}:{{PLAIN}}tanstaaf\n" for user in users), 0o600)
        run_as = 'run-as = "nobody"' if self.owner else ""
        self.write("restante.toml", f"""hostname = "pop.example.org"
{run_as}
[[listen]]
address = "127.0.0.1:0"
tls = "off"
[maildir]
path = "{self.folder}/mail/{{user}}"
[auth]
allow-cleartext = true
[[credentials]]
kind = "file"
path = "users"
[limits]
connections = {sessions + 1}
connections-per-address = {sessions + 1}
[timeouts]
idle = "1h"
[sandbox]
core-dumps = true
""")

    def path(self, name):
        return os.path.join(self.folder, name)

    def own(self, name):
        if self.owner:
            os.chown(self.path(name), self.owner.pw_uid, self.owner.pw_gid)

    def make(self, name):
        os.mkdir(self.path(name))
        self.own(name)

    def write(self, name, text, mode=0o644):
        with open(self.path(name), "w") as file:
            file.write(text)
        os.chmod(self.path(name), mode)
        self.own(name)

    def maildir(self, user, sizes):
        for folder in ("", "/cur", "/new", "/tmp"):
            self.make(f"mail/{user}{folder}")
        for number, size in enumerate(sizes, 1):
            text = f"Subject: {number}\n\n" + "0123456789 text\n" * (size // 16)
            self.write(f"mail/{user}/new/{number}.M1P1.host", text)

    def left(self, user):
        return sum(len(os.listdir(self.path(f"mail/{user}/{folder}"))) for folder in ("new", "cur"))


class Server:
    """The program, and what the kernel says of it."""

    def __init__(self, place, program, files):
        self.log = place.path("log")
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [program, "serve", "--config", place.path("restante.toml")], stdout=log, stderr=log,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)))
        while not (found := re.search(r"listening address=127\.0\.0\.1:(\d+)", self.text())):
            if self.process.poll() is not None:
                sys.exit(self.text())
            time.sleep(0.05)
        self.port = int(found[1])

    def text(self):
        with open(self.log) as log:
            return log.read()

    def complaints(self):
        return [line for line in self.text().splitlines() if re.search(r"\b(WARN|ERROR)\b|panicked", line)]

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def settled(self, most):
        """The descriptors, once they are no more than that, or do not become fewer for a minute."""
        fewest, end = self.descriptors(), time.monotonic() + 60
        while fewest > most and time.monotonic() < end:
            time.sleep(0.1)
            if (now := self.descriptors()) < fewest:
                fewest, end = now, time.monotonic() + 60
        return fewest

    def kilobytes(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def expect(holds, what):
    print(("ok    " if holds else "WRONG ") + what, flush=True)
    if not holds:
        expect.wrong += 1


expect.wrong = 0


def waiting(server, number):
    """A client that has logged in, listed its messages and fetched one."""
    client = Pop3(server.port)
    if not (reply := client.log_in(f"u{number}")).startswith(f"+OK {MESSAGES} "):
        sys.exit("\n".join([f"WRONG login {number + 1}: {reply}", *server.complaints()[:3]]))
    client.lines("UIDL")
    client.lines("RETR 1")
    return client


def timed(times, name, work):
    begun = time.monotonic()
    result = work()
    times.append(f"{name} {1000 * (time.monotonic() - begun):.1f}")
    return result


def work(server, place):
    """A user who does everything."""
    times, left = [], place.left("worker")
    client = timed(times, "connection", lambda: Pop3(server.port))
    reply = timed(times, "login", lambda: client.log_in("worker"))
    expect(reply.startswith("+OK 3 "), f"one more logs in: {reply}")
    timed(times, "UIDL", lambda: client.lines("UIDL"))
    small = timed(times, "RETR of 1 kB", lambda: client.lines("RETR 1"))
    large = timed(times, "RETR of 1 MB", lambda: client.lines("RETR 2"))
    expect(small > SMALL * 0.9 and large > LARGE, f"it fetches {small} and {large} octets")
    timed(times, "DELE", lambda: client.ask("DELE 1"))
    reply = timed(times, "QUIT", lambda: client.ask("QUIT"))
    client.close()
    expect(reply.startswith("+OK 1 message removed") and place.left("worker") == left - 1,
           f"it removes: {reply}")
    print("      ms: " + ", ".join(times))


def go_on(place, clients):
    """Some of those that waited fetch, remove and leave."""
    wrong, slowest = [], 0.0
    for number in range(0, len(clients), EVERY):
        begun, client = time.monotonic(), clients[number]
        octets, dele, reply = client.lines("RETR 2"), client.ask("DELE 2"), client.ask("QUIT")
        slowest = max(slowest, time.monotonic() - begun)
        if not (octets > SMALL * 0.9 and dele.startswith("+OK") and place.left(f"u{number}") == MESSAGES - 1
                and reply.startswith("+OK 1 message removed")):
            wrong.append((number, octets, dele, reply))
    expect(not wrong, f"{len(range(0, len(clients), EVERY))} of those that waited fetch, remove and leave, "
           f"the slowest in {1000 * slowest:.0f} ms {wrong[:3] or ''}")


def crowd(server, place, options):
    first = Pop3(server.port)
    first.log_in("first")
    first.lines("RETR 1")
    first.ask("QUIT")
    first.close()
    time.sleep(1)
    before, memory = server.descriptors(), server.kilobytes()
    begun = time.monotonic()
    clients = []
    for number in range(options.sessions):
        clients.append(waiting(server, number))
        if len(clients) % 1000 == 0:
            print(f"      {len(clients)} sessions after {time.monotonic() - begun:.1f} s", flush=True)
    print(f"      {options.sessions} sessions in {time.monotonic() - begun:.1f} s")
    most = before + EACH * options.sessions
    now = server.settled(most)
    expect(now <= most, f"descriptors: {before} before, {now} with {options.sessions} sessions, "
           f"{(now - before) / options.sessions:.4f} each; allowed are {options.files}")
    print(f"      memory: {(server.kilobytes() - memory) / options.sessions:.2f} kB each, "
          f"{server.kilobytes() / 1000:.1f} MB in all")
    work(server, place)
    go_on(place, clients)
    for client in clients:
        client.close()
    now = server.settled(before)
    expect(now <= before, f"descriptors when all have left: {now}")
    bad = server.complaints()
    expect(not bad, f"warnings and errors in the log: {len(bad)} {' '.join(bad[:3])}")
    code = server.stop()
    expect(code == 0, f"it stops with exit code {code}")


def allow(files, sessions):
    """Lets this process have the sockets, and the server the files that it is to have."""
    most = max(files, sessions + OWN_FILES)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        except (ValueError, OSError):
            sys.exit(f"{most} open files are needed, and the hard limit is {hard}. Raise it (as root "
                     f"`ulimit -Hn {most}`, and fs.nr_open where that is less; LimitNOFILE= of a service "
                     f"or container), or ask for less (--sessions {max(1, (hard - 64) * 4 // 13 - 1)} "
                     f"--files {hard}), or run it in a virtual machine (--guest VMLINUZ)")
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def too_late(*_):
    sys.exit("WRONG it has not ended in time")


def here(options):
    allow(options.files, options.sessions)
    place = server = None
    try:
        place = Place(options.sessions)
        server = Server(place, options.program, options.files)
        crowd(server, place, options)
    finally:
        signal.alarm(0)
        if server and server.process.poll() is None:
            server.process.kill()
            server.process.wait()
        if place:
            shutil.rmtree(place.folder)
    return 1 if expect.wrong else 0


def in_a_guest(options):
    """The same with a kernel of our own: all files are in its initramfs."""
    with tempfile.TemporaryDirectory(prefix="crowd-guest-") as folder:
        root, image = os.path.join(folder, "root"), os.path.join(folder, "initramfs")
        subprocess.run(["mmdebstrap", "--quiet", "--variant=essential", f"--include={GUEST_PACKAGES}",
                        "bookworm", root, "http://deb.debian.org/debian"], check=True)
        shutil.copy(options.program, f"{root}/restante")
        shutil.copy(__file__, f"{root}/crowd")
        limits = f"--sessions {options.sessions} --files {options.files} --seconds {options.seconds}"
        with open(f"{root}/init", "w") as init:
            init.write(INIT.format(options=limits))
        os.chmod(f"{root}/init", 0o755)
        subprocess.run(f"find . -xdev | cpio --quiet -o -H newc > {image}", shell=True, cwd=root, check=True)
        guest = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2",
             "-m", "3072", "-nographic", "-no-reboot", "-nic", "none", "-kernel", options.guest, "-initrd", image,
             "-append", "console=ttyS0 quiet panic=-1"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace")
        try:
            code = 1
            for line in guest.stdout:
                print(line.rstrip(), flush=True)
                if found := re.match(r"crowd: exit code (\d+)", line):
                    code = int(found[1])
            return code
        finally:
            guest.kill()
            guest.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("program", type=os.path.abspath)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=32_768)
    parser.add_argument("--seconds", type=int, default=1200, help="when to give up")
    parser.add_argument("--guest", metavar="VMLINUZ", help="run it in a virtual machine with this kernel")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, too_late)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # A guest has to be made and booted, too, and looks at the time by itself.
    signal.alarm(2 * options.seconds if options.guest else options.seconds)
    sys.exit(in_a_guest(options) if options.guest else here(options))


main()
