"""Programs that are run to their end, as whom and with what, and the ports that servers get."""

import os
import pwd
import random
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Callable, Iterable, Mapping, Optional

from lib.report import Failed, require

# Started as root, the server becomes the one and the clients run as the other, as they would
# on a real machine; started by anybody else, all run as that user.
SERVER_USER = "mail"
CLIENT_USER = "nobody"

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Finished:
    """What a program has said."""

    stdout: str
    stderr: str


def run(
    command: list[object],
    *,
    stdin: str = "",
    who: Optional[str] = CLIENT_USER,
    home: Optional[Path] = None,
    codes: Iterable[int] = (0,),
    timeout: float = 120,
    variables: Mapping[str, object] = MappingProxyType({}),
) -> "Finished":
    """Runs a program to its end, as a plain user; any exit code but those of `codes` fails."""
    words = [str(word) for word in command]
    result = subprocess.run(
        words, input=stdin.encode(), capture_output=True, cwd=home, timeout=timeout,
        env=environment(home, variables), check=False, **identity(who),
    )
    # Decoded here, since text mode would turn CRLF into LF.
    finished = Finished(
        result.stdout.decode(errors="replace"), result.stderr.decode(errors="replace")
    )
    if result.returncode not in codes:
        said = (finished.stderr + finished.stdout).strip()[-1500:]
        raise Failed(f"{words[0]} ended with {result.returncode}: {said}")
    return finished


def identity(who: Optional[str] = CLIENT_USER) -> dict[str, Any]:
    """What `subprocess` is told to run a program as this user, where we may."""
    if who is None or os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(who)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def environment(
    home: Optional[Path], variables: Mapping[str, object] = MappingProxyType({})
) -> dict[str, str]:
    """The environment of a client: nothing of ours but where programs are."""
    return {
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
        **({} if home is None else {"HOME": str(home)}),
        **{name: str(value) for name, value in variables.items()},
    }


def free_port() -> int:
    """A port that no program listens on, each time another."""
    for port in PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue  # somebody else's
        return port
    raise Failed("no port is left")


def until(condition: Callable[[], bool], seconds: float) -> None:
    """Waits for the condition, no longer than that."""
    end = time.monotonic() + seconds
    while not condition():
        require(time.monotonic() < end, f"not so within {seconds:g} s")
        time.sleep(0.02)


# Below those that the system gives to clients, which would take one before its server starts.
PORTS = iter(random.sample(range(15_000, 32_000), 17_000))
