"""The interface of all backends, and server processes that can be stopped and suspended.

A backend is the server of a credential store, started from Debian's packages in a directory of the
run. The run fails if a backend cannot start.
"""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Callable, Iterable, Optional

from lib.process import SERVER_USER, identity, run, until
from lib.report import Failed, require
from lib.site import Site

LOOPBACK = "127.0.0.1"


class Backend:
    """The interface of a backend. `Site` owns the files, the backend owns its processes."""

    name = ""
    # The attributes that it can store for a user, of "home", "mail", "pop3" and "sessions".
    attributes: frozenset[str] = frozenset()
    # Whether it has app passwords with names.
    has_app_passwords = False
    # Whether it can be suspended and stopped.
    can_fail = True
    # Whether an unknown name takes it as long as a known one.
    is_even = True

    def __init__(self, site: Site) -> None:
        self.site = site
        self.root = site.root / self.name
        self.root.mkdir(mode=0o755)

    def start(self) -> None:
        """Starts it, the first time or again, and waits until it answers."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stops it: from now on connections are refused."""
        raise NotImplementedError

    def hang(self) -> None:
        """Suspends it: it accepts connections and does not answer."""
        raise NotImplementedError

    def resume(self) -> None:
        """Resumes it."""
        raise NotImplementedError

    def add(self, user: str, password: str, **attributes: object) -> None:
        """Adds a user, with those of `attributes` that it can store."""
        raise NotImplementedError

    def add_app_password(self, user: str, name: str) -> str:
        """Gives a user an app password, and returns it."""
        raise NotImplementedError

    def remove_app_password(self, user: str, name: str) -> None:
        """Removes an app password of a user."""
        raise NotImplementedError

    def settings(self, directory: Path) -> str:
        """The `[[credentials]]` section; writes the files that it names to `directory`."""
        raise NotImplementedError

    def admits(self, user: str, password: str) -> bool:
        """Verifies a password with a foreign client; fails without an answer within 2 s."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends all its processes, suspended or not. May be called at any time."""
        raise NotImplementedError

    def secret(self, path: Path, text: str) -> str:
        """Writes a secret that only the server can read. Returns its path."""
        path.touch(mode=0o600)
        path.write_text(text + "\n")
        self.site.own(path, SERVER_USER)
        return str(path)


class Daemon:
    """A server program with all its processes, in any process group and session."""

    def __init__(self, command: Iterable[object], user: str, directory: Path) -> None:
        self.command = [str(word) for word in command]
        self.user = user
        self.directory = directory
        self.log = directory / "log"
        self.process: Optional[subprocess.Popen[bytes]] = None

    def start(self, ready: Callable[[], bool], seconds: float = 30) -> None:
        """Starts the program and waits for `ready`."""
        require(self.process is None, f"{self.command[0]} runs already")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}, start_new_session=True,
                **identity(self.user),
            )
        process = self.process
        try:
            until(lambda: process.poll() is not None or ready(), seconds)
            require(process.poll() is None, "it ended at once")
        except Failed as error:
            self.kill()
            said = self.log.read_text(errors="replace")[-1000:]
            raise Failed(f"{self.command[0]} did not start: {error}: {said}") from None

    def stop(self, number: int = signal.SIGTERM, seconds: float = 20) -> None:
        """Stops it as its manual says. Fails if a process is left."""
        if self.process is None:
            return
        family = self.family()
        self.process.send_signal(number)
        self.resume()  # held, it would never hear of it
        try:
            self.process.wait(seconds)
            until(lambda: not any(map(alive, family)), seconds)
        finally:
            # Processes whose parent has ended are no longer in the tree.
            for each in filter(alive, family):
                send(each, signal.SIGKILL)
            self.kill()

    def kill(self) -> None:
        """Kills it."""
        if self.process is None:
            return
        for each in self.family():
            send(each, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def hang(self) -> None:
        """Suspends every process, until there is no new one and no thread runs any more."""
        held: set[int] = set()
        while fresh := [each for each in self.family() if each not in held]:
            for each in fresh:
                send(each, signal.SIGSTOP)
            held.update(fresh)
        # A thread has to run once more to stop the others, which answer until then.
        until(lambda: not any(map(runs, held)), 20)

    def resume(self) -> None:
        """Resumes every process."""
        for each in self.family():
            send(each, signal.SIGCONT)

    def family(self) -> list[int]:
        """The process and its descendants, parents first."""
        if self.process is None:
            return []
        parents = dict(parentage())
        family = [self.process.pid]
        for elder in family:
            family += [child for child, parent in parents.items() if parent == elder]
        return family


class Served(Backend):
    """A backend that is a daemon."""

    daemon: Daemon

    def stop(self) -> None:
        self.daemon.stop()

    def hang(self) -> None:
        self.daemon.hang()

    def resume(self) -> None:
        self.daemon.resume()

    def close(self) -> None:
        self.daemon.kill()


class Barrier:
    """A barrier at which a program waits while it is closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch(mode=0o644)
        self._holder: Optional[subprocess.Popen[bytes]] = None

    def wait(self) -> str:
        """A command that returns when the gate is open."""
        return f"flock --shared {self.path} true"

    def hold(self) -> None:
        """Closes it: programs wait from now on."""
        self._holder = subprocess.Popen(
            ["flock", "--no-fork", self.path, "sleep", "600"], stdin=subprocess.DEVNULL
        )
        until(lambda: not self.open(), 5)

    def release(self) -> None:
        """Opens it: all waiting programs go on."""
        holder, self._holder = self._holder, None
        if holder is not None:
            holder.kill()
            holder.wait()

    def open(self) -> bool:
        """Whether a program would not have to wait."""
        probe = ["flock", "--shared", "--nonblock", str(self.path), "true"]
        return subprocess.run(probe, check=False).returncode == 0


def hashed(site: Site, password: str) -> str:
    """The hash that Restante itself would write to a credential file."""
    return run([site.program, "hash", "--stdin"], stdin=password + "\n", who=None).stdout.strip()


def verifies(verifier: str, password: str) -> bool:
    """Whether Dovecot verifies the password with this hash."""
    if not verifier.startswith("{"):
        verifier = f"{{{verifier.split('$')[1].upper()}}}{verifier}"
    said = run(["doveadm", "pw", "-t", verifier, "-p", password], codes=(0, 75), who=None)
    require("verified" in said.stdout or "mismatch" in said.stderr, said.stderr)
    return "verified" in said.stdout


def program(*names: str) -> str:
    """The path of the first of these programs that is installed, also in `sbin`."""
    path = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    raise Failed(f"none of {', '.join(names)} is installed, see .ci/run")


def listens(port: int) -> bool:
    """Whether a port accepts connections."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def parentage() -> Iterable[tuple[int, int]]:
    """Every process with its parent."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The name in brackets may contain any text; the state and the parent follow it.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # ended meanwhile
            yield int(entry.name), int(fields[1])


def alive(process: int) -> bool:
    """Whether it exists and is not a zombie."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def runs(process: int) -> bool:
    """Whether one of its threads is not suspended."""
    try:
        threads = [path.read_text() for path in Path(f"/proc/{process}/task").glob("*/stat")]
    except OSError:
        return alive(process)
    return any(text.rpartition(")")[2].split()[0] not in "TtZX" for text in threads)


def send(process: int, number: int) -> None:
    """Sends a signal to a process that may have ended."""
    try:
        os.kill(process, number)
    except ProcessLookupError:
        pass  # that is what was wanted, or it does not matter any more


class BehindBarrier(Backend):
    """A program or module that waits at a barrier, with its users in a file that can be moved away."""

    # The time of an answer depends on the program.
    is_even = False

    def __init__(self, site: Site, file: str) -> None:
        super().__init__(site)
        self.file = self.root / file
        self.away = self.root / f"{file}.away"
        self.gate = Barrier(self.root / "gate")

    def is_put_back(self) -> bool:
        """Moves the file back, if it was moved away."""
        if not self.away.exists():
            return False
        self.away.rename(self.file)
        return True

    def stop(self) -> None:
        self.gate.release()
        self.file.rename(self.away)

    def hang(self) -> None:
        self.gate.hold()

    def resume(self) -> None:
        self.gate.release()

    def close(self) -> None:
        self.gate.release()
