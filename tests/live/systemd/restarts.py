"""Reloads, restarts and stops of the service, and their effect on clients."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from lib.report import require
from systemd.serving import fields, removes
from systemd.system import (
    CONFIG,
    MAILDIR,
    UNIT,
    Session,
    block,
    change,
    deliver,
    messages,
    now,
    run,
    serves,
    show,
    until,
)


def reloads() -> str:
    """A reload of a good configuration, and of one with errors."""
    good = CONFIG.read_text()
    invocation = show("restante", "InvocationID")
    try:
        change('hostname = "pop.example.org"', 'hostname = "pop.example.net"')
        run("systemctl reload restante")
        until("the new greeting", lambda: "pop.example.net" in Session().greeting)
        until("the status", lambda: show("restante", "StatusText").startswith("serving"))
        require("failed" not in show("restante", "StatusText"), show("restante", "StatusText"))
        mark = now()
        change("[limits]", '[limits]\nfailure-dealy = "1s"')
        said = run("systemctl reload restante", code=1)
        require(show("restante", "ActiveState") == "active", "it no longer serves")
        errors = messages(mark, "-u", "restante", "-p", "err")
        require("failure-dealy" in errors, f"the journal has {errors!r} as errors")
        # Without the unit, the server itself reports it.
        run("systemctl kill --kill-whom=main --signal=HUP restante")
        until("the status", lambda: "; the last reload failed: " in show("restante", "StatusText"))
        told = show("restante", "StatusText")
        require("failure-dealy" in told, told)
    finally:
        CONFIG.write_text(good)
    run("systemctl reload restante")
    until("the status", lambda: "failed" not in show("restante", "StatusText"))
    until("the old greeting", lambda: "pop.example.org" in Session().greeting)
    require(show("restante", "InvocationID") == invocation, "it was restarted")
    return f"{said.splitlines()[0]!r}; {told!r}"


def notify_reload() -> str:
    """Type=notify-reload, if systemd supports it."""
    version = int(run("systemctl --version").split()[1])
    if version < 253:
        return f"systemd {version} does not have it"
    good, unit = CONFIG.read_text(), UNIT.read_text()
    try:
        change("\nType=notify\n", "\nType=notify-reload\n", UNIT)
        change("ExecReload=/bin/kill -HUP $MAINPID\n", "", UNIT)
        run("systemctl daemon-reload\nsystemctl restart restante")
        change('hostname = "pop.example.org"', 'hostname = "pop.example.net"')
        run("systemctl reload restante")
        require("pop.example.net" in Session().greeting, "the reload was not waited for")
        change("[limits]", '[limits]\nfailure-dealy = "1s"')
        run("systemctl reload restante", code=1)
        require(serves(), "it does not serve any more")
        CONFIG.write_text(good)
        run("systemctl reload restante")
        require("pop.example.org" in Session().greeting, "the reload was not waited for")
        require(show("restante", "ActiveState") == "active", show("restante", "ActiveState"))
    finally:
        CONFIG.write_text(good)
        UNIT.write_text(unit)
        run("systemctl daemon-reload\nsystemctl restart restante")
    return f"systemd {version}"


class Probes:
    """Connections, one after the other, while the server is restarted."""

    def __init__(self) -> None:
        self.greeted, self.refused, self.other, self.longest = 0, 0, 0, 0.0
        self.goes_on = True
        self.thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Probes":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.goes_on = False
        self.thread.join()

    def _run(self) -> None:
        while self.goes_on:
            started = time.monotonic()
            try:
                with socket.create_connection(("127.0.0.1", 110), timeout=60) as plain:
                    if plain.recv(512).startswith(b"+OK"):
                        self.greeted += 1
                    else:
                        self.other += 1
            except ConnectionRefusedError:
                self.refused += 1
            except OSError:
                self.other += 1
            self.longest = max(self.longest, time.monotonic() - started)
            time.sleep(0.01)

    def __str__(self) -> str:
        return (
            f"{self.greeted} greeted, {self.refused} refused, {self.other} cut off, "
            f"longest wait {self.longest:.1f} s"
        )


def restarts() -> str:
    """Without the socket unit, clients are refused for a moment, and served again."""
    with Probes() as probes:
        run("systemctl restart restante")
        until("it serves", serves)
    require(probes.greeted > 0, str(probes))
    return str(probes)


def socket_unit() -> str:
    """The socket unit by its own instructions, and its benefits."""
    unit = UNIT.read_text()
    try:
        run(block("docs/INSTALL.md", "systemctl stop restante"))
        text = UNIT.with_suffix(".socket").read_text()
        require(serves() and serves("::1"), "logins fail")
        with Probes() as probes:
            run("systemctl restart restante")
            until("it serves", serves)
        require(probes.refused == probes.other == 0, str(probes))
        # No capability at all.
        for key in ("AmbientCapabilities", "CapabilityBoundingSet"):
            change(f"\n{key}=CAP_NET_BIND_SERVICE\n", f"\n{key}=\n", UNIT)
        change("PrivateUsers=false", "PrivateUsers=true", UNIT)
        run("systemctl daemon-reload\nsystemctl restart restante")
        removes()
        fields()
        run("systemctl reload restante")
        # If only the service is stopped, the next client starts it.
        run("systemctl stop restante")
        require(serves(), "the next client does not start it")
        [line] = re.findall(r"^#   (systemctl stop .*socket.*)$", text, re.M)
        run(line)
        require(not serves(), "it serves though both are stopped")
        return str(probes)
    finally:
        UNIT.write_text(unit)
        run(
            "systemctl disable --now restante.socket\n"
            "systemctl daemon-reload\nsystemctl restart restante"
        )
        until("it serves", serves)


def waits() -> str:
    """At the stop a session goes on to its QUIT, even longer than TimeoutStopSec=."""
    drop_in = Path("/etc/systemd/system/restante.service.d/stop.conf")
    drop_in.write_text("[Service]\nTimeoutStopSec=3s\n")
    try:
        run("systemctl daemon-reload\nsystemctl restart restante")
        path = deliver("1.one.host")
        pop, mark = Session(), now()
        require(pop.enter().startswith("+OK 1 message"), "the message is not there")
        require(pop.ask("DELE 1").startswith("+OK"), "it cannot be marked")
        run("systemctl restart --no-block restante")
        until("it stops", lambda: show("restante", "ActiveState") == "deactivating")
        told = show("restante", "StatusText")
        time.sleep(6)
        require(pop.quit().startswith("+OK") and not path.exists(), "the removal is lost")
        until("it serves", serves)
        log = messages(mark, "-u", "restante")
        require("stopped" in log and "SIGKILL" not in log, log)
    finally:
        drop_in.unlink()
        run("systemctl daemon-reload\nsystemctl restart restante")
    return f"{told!r}, 6 s with TimeoutStopSec=3s"


def removal() -> str:
    """A stop in the middle of a removal: the removal is finished, and the client is told."""
    number = 20_000
    for each in range(number):
        deliver(f"{each}.many.host")
    pop = Session()
    require(pop.enter().startswith(f"+OK {number} messages"), "the messages are not there")
    pop.write(b"".join(b"DELE %d\r\n" % (each + 1) for each in range(number)))
    for _ in range(number):
        require(pop.line().startswith("+OK"), "a message cannot be marked")
    pop.send("QUIT")
    until("the removal has begun", lambda: len(os.listdir(MAILDIR / "new")) < number)
    run("systemctl kill --kill-whom=main --signal=TERM restante")
    left = len(os.listdir(MAILDIR / "new"))
    require(left > 0, "the removal was faster than the stop")
    require(pop.line().startswith("+OK"), "the client is not told")
    pop.close()
    require(not os.listdir(MAILDIR / "new"), "some are still there")
    until("it has stopped", lambda: show("restante", "ActiveState") == "inactive")
    require(show("restante", "Result") == "success", show("restante", "Result"))
    run("systemctl start restante")
    return f"{left} of {number} were left when it was stopped"


def killed() -> str:
    """kill -9."""
    pop = Session()
    require(pop.enter().startswith("+OK"), "logins fail")
    run("systemctl kill --signal=KILL restante")
    took = until("it serves", serves)
    return f"serves again after {took:.0f} s"


HOLD = """
import ctypes, os, sys
from pathlib import Path
libc = ctypes.CDLL(None, use_errno=True)
seize, interrupt, wait_for_threads = 0x4206, 0x4207, 0x40000000
held = 0
for task in Path(f"/proc/{sys.argv[1]}/task").iterdir():
    if (task / "comm").read_text().strip() == sys.argv[2]:
        for request in (seize, interrupt):
            if libc.ptrace(request, int(task.name), 0, 0) != 0:
                sys.exit(os.strerror(ctypes.get_errno()))
        held += 1
print(held, flush=True)
while True:
    try:
        os.waitpid(-1, wait_for_threads)
    except ChildProcessError:
        break
"""


def hold(pid: int, name: str) -> int:
    """Stops the threads of this name, as a debugger does, until the process ends."""
    command = [sys.executable, "-c", HOLD, str(pid), name]
    return int(subprocess.Popen(command, stdout=subprocess.PIPE).stdout.readline())


def watchdog() -> str:
    """The watchdog restarts a server that makes no progress, and no other."""
    drop_in = Path("/etc/systemd/system/restante.service.d/watchdog.conf")
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text("[Service]\nWatchdogSec=10s\nRestartSec=1s\n")
    run("systemctl daemon-reload\nsystemctl restart restante")
    outcomes = []

    def restarted(since: str) -> bool:
        return show("restante", "InvocationID") not in ("", since)

    try:
        first = show("restante", "InvocationID")
        time.sleep(25)
        with Probes() as probes:
            time.sleep(40)
        require(not restarted(first), "restarted though all was well")
        outcomes.append(f"let alone for 25 s idle, 40 s under load ({probes})")
        run("systemctl kill --kill-whom=main --signal=STOP restante")
        took = until("it is restarted", lambda: restarted(first) and serves(), 40)
        outcomes.append(f"stopped process: served again after {took:.0f} s")

        second, mark = show("restante", "InvocationID"), now()
        held = hold(int(show("restante", "MainPID")), "tokio-rt-worker")
        require(held > 0, "no thread was found")
        until("it is restarted", lambda: restarted(second), 40)
        until("it serves", serves)
        log = messages(mark, "-u", "restante")
        require("makes no progress" in log and "worker threads" in log, log)
        require("Watchdog timeout" in log, log)
        outcomes.append(f"{held} worker threads held: restarted")
    finally:
        drop_in.unlink()
        run("systemctl daemon-reload\nsystemctl restart restante")
    return "; ".join(outcomes)
