"""The mail of 160 users is on a file system that does not answer. Others are not affected.

The process behind their mount is stopped (SIGSTOP). Meanwhile users whose mail is elsewhere log in
with argon2id, fetch and remove. Users of the dead file system get [SYS/TEMP] or [IN-USE], and a
removal that was refused is not done later. Then a server with a hung removal is stopped, and must
end.
"""

import re
import statistics
import threading
import time
from pathlib import Path
from typing import Callable

from lib.corpus import ordinary
from lib.report import Report, require
from lib.server import CLEARTEXT, Server
from lib.site import Account, Site
from stalls.mount import Mount, served

DEAD, HEALTHY, SLOWEST = 160, 4, 3.0
# The users of the dead file system who are logged in when it stops, who remove, and who come later.
INSIDE, MARKED, LATER = 8, 20, 30
# The threads for mail, and those for the hung file system.
THREADS = 64 + 64
REFUSED = {"-ERR [SYS/TEMP]", "-ERR [IN-USE]"}


def run(report: Report, program: Path) -> None:
    """Both parts, on one mount."""
    site = Site(program)
    healthy = []
    for number in range(HEALTHY):
        account = site.mailbox(f"h{number}", [ordinary(each) for each in range(400)])
        site.add_user(account, site.clear_users)
        healthy.append(account)
    # Each request goes to the process, because nothing is cached.
    mount = Mount("bindfs", site, "store", "dead", "attr_timeout=0,entry_timeout=0")
    try:
        dead = [mount.mailbox(f"d{number}", 3) for number in range(DEAD)]
        dead_file_system(report, mount, healthy, dead)
        stuck_removal(report, mount, dead[21])
    finally:
        mount.remove()
        site.close()


def healthy_users(server: Server, accounts: list[Account], seconds: float) -> list[float]:
    """Users log in, fetch and remove for this time. Returns the times of the sessions."""
    times: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        account = accounts[len(times) % len(accounts)]
        begun = time.monotonic()
        with server.connect(CLEARTEXT, timeout=90) as client:
            client.log_in(account.user, account.password)
            client.lines("RETR 1")
            client.ok("DELE 1")
            reply = client.ask("QUIT")
        require(reply.startswith("+OK 1 message removed"), f"{reply}: {server.last_words()}")
        times.append(time.monotonic() - begun)
    return times


def dead_file_system(
    report: Report, mount: Mount, healthy: list[Account], dead: list[Account]
) -> None:
    """It stops while some users are logged in, and many more log in."""
    server = served(mount.site, "dead", 'login = "25s"\n')
    server.start()
    try:
        before = healthy_users(server, healthy, 3)
        inside = [server.connect(CLEARTEXT, timeout=90) for _ in range(INSIDE)]
        for client, account in zip(inside, dead):
            client.log_in(account.user, account.password)
            client.lines("RETR 1")
        marked = server.connect(CLEARTEXT, timeout=90)
        marked.log_in(dead[MARKED].user, dead[MARKED].password)
        for number in (1, 2, 3):
            marked.ok(f"DELE {number}")
        mount.stop()
        for client in inside:
            client.close()
        replies: list[str] = []

        def come(account: Account) -> None:
            try:
                with server.connect(CLEARTEXT, timeout=90) as client:
                    replies.append(client.user(account.user, account.password))
            except OSError as error:
                replies.append(str(error))

        # Three for each user: a client that gives up and tries again.
        coming = at_once([lambda each=each: come(each) for each in dead[LATER:] * 3])
        time.sleep(2)
        marked.send("QUIT")
        during = healthy_users(server, healthy, 20)
        most = threads(server)
        report.expect(most.get("mail", 0) <= THREADS, f"threads while it hangs: {most}")
        reply = marked.line()
        report.expect(reply.startswith("-ERR [SYS/TEMP] 3 of 3 messages"), f"QUIT: {reply}")
        for thread in coming:
            thread.join()
        mount.go_on()
        codes = [re.sub(r"^(\S+ ?(\[[^]]*\])?).*", r"\1", reply) for reply in replies]
        print({code: codes.count(code) for code in sorted(set(codes))})
        report.expect(set(codes) <= REFUSED, "users who cannot be served are refused")
        report.expect(
            max(during) < max(SLOWEST, 3 * max(before)),
            f"others: {len(during)} sessions, median {statistics.median(during):.3f} s (before "
            f"{statistics.median(before):.3f}), slowest {max(during):.3f} s (before "
            f"{max(before):.3f})",
        )
        time.sleep(2)
        afterwards(report, server, dead[MARKED])
        report.expect("panicked" not in server.log.read_text(), "no panic")
        report.expect(server.end(60) == 0, "it stops cleanly")
    finally:
        server.kill()


def afterwards(report: Report, server: Server, account: Account) -> None:
    """The removal that was refused has not been done, and can be done now."""
    left = len(account.files())
    report.expect(left == 3, f"of the removal that was refused {left} of 3 messages are there")
    with server.connect(CLEARTEXT, timeout=90) as client:
        reply = client.user(account.user, account.password)
        report.expect(reply.startswith("+OK 3 "), f"the lock is free: {reply}")
        client.ask("DELE 1")
        reply = client.ask("QUIT")
        removed = reply.startswith("+OK 1 message removed")
        report.expect(removed, f"and it can be removed from: {reply}")


def stuck_removal(report: Report, mount: Mount, account: Account) -> None:
    """The server is stopped while a removal hangs."""
    server = served(mount.site, "stuck", 'shutdown-grace = "1s"\n')
    server.start()
    try:
        client = server.connect(CLEARTEXT)
        client.log_in(account.user, account.password)
        client.ask("DELE 1")
        # The index is written after the reply. A request that the stopped process has begun cannot
        # be cancelled: the system does not let a process end that waits for the answer.
        for _ in range(100):
            if (account.maildir / "restante.index").exists():
                break
            time.sleep(0.1)
        time.sleep(1)
        mount.stop()
        client.send("QUIT")
        time.sleep(1)
        begun = time.monotonic()
        code = server.end(60)
        took = time.monotonic() - begun
        mount.go_on()
        report.expect(
            code == 1 and took < 30,
            f"a stop with a removal that hangs: exit code {code} after {took:.1f} s",
        )
        said = server.log.read_text()
        report.expect("removals had not ended" in said, "the log says how many removals are left")
    finally:
        server.kill()


def at_once(work: list[Callable[[], None]]) -> list[threading.Thread]:
    """Runs all of these in threads at the same time."""
    begun = [threading.Thread(target=each) for each in work]
    for thread in begun:
        thread.start()
    return begun


def threads(server: Server) -> dict[str, int]:
    """The number of the server's threads of each name."""
    assert server.process is not None
    names = []
    for task in Path(f"/proc/{server.process.pid}/task").iterdir():
        try:
            names.append((task / "comm").read_text().strip())
        except (FileNotFoundError, ProcessLookupError):
            pass  # ended meanwhile
    return {name: names.count(name) for name in sorted(set(names))}
