"""The processor time of a login."""

import os
from pathlib import Path

from figures.target import Target
from lib.server import CLEARTEXT
from lib.site import Site


def uncached(site: Site) -> float:
    """Milliseconds for a login when every password is hashed."""
    return cost(Target(site, "uncached", limits=MANY), 200)


def cached(site: Site) -> float:
    """The same with a cached password. It needs more logins, because the clock is coarse."""
    return cost(Target(site, "cached", auth='cache = "10m"', limits=MANY), 2_000)


# More logins a second than a single address may make by default.
MANY = "connections-per-address = 5000"


def cost(target: Target, logins: int) -> float:
    """Logs in the same user repeatedly."""
    owner = target.site.accounts["first"]

    def log_in() -> None:
        with target.connect(CLEARTEXT) as client:
            client.log_in(owner.user, owner.password)
            client.ok("QUIT")

    target.start()
    try:
        log_in()
        before = spent(target)
        for _ in range(logins):
            log_in()
        return (spent(target) - before) * 1000 / logins
    finally:
        target.kill()


def spent(target: Target) -> float:
    """Seconds of processor time, in user and kernel mode, since the start."""
    assert target.process is not None
    stat = Path(f"/proc/{target.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
