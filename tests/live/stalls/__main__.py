"""File systems that do not answer or are out of date, and clients that vanish.

    python3 tests/live stalls target/release/restante [NAME…]

Needs root, bindfs, mergerfs, fuse3 and iproute2. Each part is described in its file: dead, cached,
vanish. All of them take two and a half minutes; the exit code is 1 if a check failed.
"""

import sys
import threading
from pathlib import Path

from lib.report import Report
from stalls import cached, dead, vanish

PARTS = {"vanish": vanish.run, "dead": dead.run, "cached": cached.run}


def main() -> int:
    """Runs all parts, or the named ones."""
    program = Path(sys.argv[1]).resolve()
    names = sys.argv[2:] or list(PARTS)
    report = Report(only=[])
    # This part mostly waits.
    waiting = threading.Thread(target=part, args=(report, "vanish", program))
    if "vanish" in names:
        waiting.start()
    for name in names:
        if name != "vanish":
            part(report, name, program)
    if "vanish" in names:
        waiting.join()
    return report.close()


def part(report: Report, name: str, program: Path) -> None:
    """Runs a part. Any exception is a failure."""
    try:
        PARTS[name](report, program)
    except Exception as error:
        report.expect(False, f"{name}: {error!r}")
        raise


if __name__ == "__main__":
    sys.exit(main())
