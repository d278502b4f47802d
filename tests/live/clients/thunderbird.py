"""Thunderbird against a real `restante serve`, without a screen.

    apt-get install thunderbird
    python3 tests/live clients.thunderbird target/release/restante

The checks are those of `tests/live/clients/everyday.py`. It is not part of `.ci/run`: Thunderbird is
large, and starts for each check anew.
"""

import signal
import sys
from pathlib import Path

from clients import everyday
from lib import thunderbird
from lib.report import Report
from lib.site import Site


class Thunderbird(thunderbird.Thunderbird, everyday.Everyday):
    """Thunderbird, and its message about a failed login."""

    # Its dialog is the same for both, and does not show the server's reply.
    wrong = busy = r"Login to server localhost with username \S+ failed"


def main() -> int:
    """Runs all checks."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    report = Report(only=sys.argv[2:])
    site = Site(Path(sys.argv[1]).resolve())
    try:
        everyday.checks(report, site, (Thunderbird,))
    finally:
        site.close()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
