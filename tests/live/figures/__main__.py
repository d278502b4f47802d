"""Measures the success of guessing passwords, and the cost of logins: the figures of the docs.

    cargo build --release --locked --features full && python3 tests/live figures target/release/restante

Prints a table, the source of the figures in docs/SECURITY.md. With `--quick` it is shorter, and checks
bounds that hold on any machine: it prints a line for each check, and the exit code is 1 if one
failed.
"""

import signal
import sys
from pathlib import Path

from figures.cost import cached, uncached
from figures.guessing import CONNECTIONS, Attack, attack
from lib.abandoned import Abandoned
from lib.report import Report, require
from lib.site import Site

# One guess for each doubling of the delay, and a few more; with many names also one for each
# connection, before the first failure is known (docs/SECURITY.md).
ONE_NAME, MANY_NAMES = 12, 12 + CONNECTIONS
CHEAPER = 10


def main() -> int:
    """Runs all measurements."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    quick = "--quick" in sys.argv[2:]
    site = Site(Path(sys.argv[1]).resolve())
    try:
        return check(site) if quick else measure(site)
    finally:
        site.close()


def measure(site: Site) -> int:
    """Prints all figures as a table."""
    for title, kind, throttle in (
        ("one name", "one", ""),
        ("many names", "many", ""),
        ('one name, first-delay = "0s"', "unslowed", 'first-delay = "0s"'),
    ):
        show(f"hydra for 60 s, {title}", told(attack(site, kind, 60, throttle)))
    milliseconds = "{:.2f} ms of a processor".format
    show(
        "a login of a user with an argon2id hash",
        {
            "cache off": milliseconds(uncached(site)),
            "cache on": milliseconds(cached(site)),
        },
    )
    abandoned = Abandoned(site)
    try:
        abandoned.start()
        before, after = abandoned.measure(100_000)
    finally:
        abandoned.server.kill()
    show(
        "100000 exchanges begun and given up",
        {"resident before": f"{before:.1f} MiB", "resident after": f"{after:.1f} MiB"},
    )
    return 0


def check(site: Site) -> int:
    """Checks bounds in a shorter run. `tests/live/stores` checks that memory does not grow."""
    report = Report(only=[])

    def slowed(kind: str, most: int) -> str:
        got = attack(site, kind, 12)
        require(got.heard <= most, f"{got.heard} guesses were heard")
        return ", ".join(f"{name} {figure}" for name, figure in told(got).items())

    def cheaper() -> str:
        without, with_it = uncached(site), cached(site)
        text = f"{without:.2f} ms of a processor without, {with_it:.2f} with it"
        require(without >= CHEAPER * with_it, text)
        return text

    report.check("one name is guessed at", lambda: slowed("one", ONE_NAME))
    report.check("many names are guessed at", lambda: slowed("many", MANY_NAMES))
    report.check("cache", cheaper)
    return report.close()


def told(got: Attack) -> dict[str, str]:
    """The figures of an attack, by name."""
    return {
        "heard": str(got.heard),
        "turned away at least": str(got.unheard),
        "owner from home": logins(got.known),
        "owner from elsewhere": logins(got.new),
    }


def logins(taken: list[float]) -> str:
    """The number of times, and the longest."""
    return f"{len(taken)} times, the slowest {max(taken):.2f} s"


def show(title: str, figures: dict[str, str]) -> None:
    """Prints a part of the table."""
    print(title)
    for name, figure in figures.items():
        print(f"    {name:<22}{figure}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
