"""Users, their Maildirs, the server, a mount in user space, and a client that says what it is told to."""

import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

PASSWORD = "tanstaaf 42"


class Pop3:
    """A client that says what it is told to."""

    def __init__(self, port, patience=90, host="127.0.0.1", room=None):
        self.socket = socket.socket()
        self.socket.settimeout(patience)
        if room:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.socket.connect((host, port))
        self.file = self.socket.makefile("rb")
        self.line()

    def line(self):
        return self.file.readline().decode().rstrip("\r\n")

    def send(self, command):
        self.socket.sendall(command.encode() + b"\r\n")

    def ask(self, command):
        self.send(command)
        return self.line()

    def log_in(self, user):
        self.ask(f"USER {user}")
        return self.ask(f"PASS {PASSWORD}")

    def body(self):
        lines = []
        while (line := self.file.readline()) not in (b".\r\n", b""):
            lines.append(line.decode().rstrip("\r\n"))
        return lines

    def close(self):
        self.file.close()
        self.socket.close()


class Place:
    """A directory with the Maildirs of users, and what a server needs."""

    def __init__(self, program):
        self.program = program
        self.folder = tempfile.mkdtemp(prefix="stalls-", dir="/tmp")
        os.chmod(self.folder, 0o755)
        self.owner = pwd.getpwnam("nobody")
        self.users = {}

    def path(self, name):
        return os.path.join(self.folder, name)

    def make(self, name):
        os.mkdir(self.path(name))
        os.chown(self.path(name), self.owner.pw_uid, self.owner.pw_gid)

    def write(self, name, text, mode=0o644):
        with open(self.path(name), "w") as file:
            file.write(text)
        os.chmod(self.path(name), mode)
        os.chown(self.path(name), self.owner.pw_uid, self.owner.pw_gid)

    def maildir(self, name, count, text="text\n"):
        for folder in ("", "/cur", "/new", "/tmp"):
            self.make(name + folder)
        for number in range(count):
            self.write(f"{name}/new/{number + 1}.M1P1.host", f"Subject: {number}\n\n{text}")

    def user(self, name, maildir, password=f"{{PLAIN}}{PASSWORD}"):
        self.users[name] = f"{name}:{password}::::::userdb_mail=maildir:{self.path(maildir)}\n"

    def serve(self, timeouts="", address="127.0.0.1:0", before=()):
        """Starts a server, with the words of another program before its own."""
        self.write("users", "".join(self.users.values()), 0o600)
        self.write("restante.toml", f"""hostname = "pop.example.org"
run-as = "nobody"
[[listen]]
address = "{address}"
tls = "off"
[maildir]
path = "{self.folder}/mail/{{user}}"
[auth]
allow-cleartext = true
[[credentials]]
kind = "file"
path = "users"
[throttle]
trusted = ["127.0.0.1"]
[limits]
connections-per-address = 2000
[timeouts]
{timeouts}
""")
        return Server(self, before)

    def remove(self):
        subprocess.run(["rm", "-rf", "--one-file-system", self.folder], check=False)


class Mount:
    """A directory of a place seen through a program, which can be stopped."""

    def __init__(self, program, place, store, mount, options):
        place.make(mount)
        self.path = place.path(mount)
        self.process = subprocess.Popen(
            [program, "-f", "-o", f"allow_other,{options}", place.path(store), self.path])
        while not os.path.ismount(self.path):
            if self.process.poll() is not None:
                sys.exit(f"{program} did not mount")
            time.sleep(0.05)

    def stop(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def remove(self):
        self.go_on()
        subprocess.run(["umount", "-l", self.path], check=False)
        # Another mount namespace may have a copy, and then it goes on.
        self.process.kill()
        self.process.wait(timeout=20)


class Server:
    def __init__(self, place, before):
        self.log = place.path("log")
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [*before, place.program, "serve", "--config", place.path("restante.toml")],
                stdout=log, stderr=log)
        while not (found := re.search(r"listening address=[0-9.]+:(\d+)", self.text())):
            if self.process.poll() is not None:
                sys.exit(self.text())
            time.sleep(0.05)
        self.port = int(found[1])

    def stop(self):
        """Tells it to stop; gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return None

    def text(self):
        with open(self.log) as log:
            return log.read()

    def threads(self):
        names = []
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            try:
                with open(f"/proc/{self.process.pid}/task/{task}/comm") as comm:
                    names.append(comm.read().strip())
            except FileNotFoundError:
                pass
        return {name: names.count(name) for name in sorted(set(names))}


def expect(holds, what):
    print(("ok    " if holds else "WRONG ") + what, flush=True)
    if not holds:
        expect.wrong += 1


expect.wrong = 0
