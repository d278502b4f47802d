"""Running programs to their end, their users and environment, and the ports of servers."""

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

from lib.report import Failed

# If the suite runs as root, the server and the clients run as these users, as on a real machine;
# otherwise all run as the current user.
SERVER_USER = "mail"
CLIENT_USER = "nobody"

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Finished:
    """The output of a program."""

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
    """Runs a program to its end, as an ordinary user. Fails if its exit code is not in `codes`."""
    words = [str(word) for word in command]
    result = subprocess.run(
        words, input=stdin.encode(), capture_output=True, cwd=home, timeout=timeout,
        env=environment(home, variables), check=False, **identity(who),
    )
    # Decoded here, because text mode would replace CRLF by LF.
    finished = Finished(
        result.stdout.decode(errors="replace"), result.stderr.decode(errors="replace")
    )
    if result.returncode not in codes:
        said = (finished.stderr + finished.stdout).strip()[-1500:]
        raise Failed(f"{words[0]} ended with {result.returncode}: {said}")
    return finished


def identity(who: Optional[str] = CLIENT_USER) -> dict[str, Any]:
    """The arguments of `subprocess` to run a program as this user, if permitted."""
    if who is None or os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(who)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def environment(
    home: Optional[Path], variables: Mapping[str, object] = MappingProxyType({})
) -> dict[str, str]:
    """The environment of a client: only the PATH is inherited."""
    return {
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
        **({} if home is None else {"HOME": str(home)}),
        **{name: str(value) for name, value in variables.items()},
    }


def free_port() -> int:
    """A port on which no program listens; another one at each call."""
    for port in PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue  # in use
        return port
    raise Failed("no port is left")


def until(
    condition: Callable[[], bool], seconds: float, why: Callable[[], object] = lambda: ""
) -> None:
    """Waits for the condition; fails after this time, with what `why` then says."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            raise Failed(f"not so within {seconds:g} s: {why()}".removesuffix(": "))
        time.sleep(0.02)


# Below the ephemeral ports: a client might take one of those before the server starts.
PORTS = iter(random.sample(range(15_000, 32_000), 17_000))
