"""The checks on a booted system, as root; `tests/live/systemd` starts this program there."""

import sys

from lib.report import Report
from systemd.faults import fatal, homes, mail_root, no_ipv6, stopped_journal, stops
from systemd.packaged import refuses, removed, upgrades, waits_in_the_socket
from systemd.restarts import (
    killed,
    notify_reload,
    reloads,
    removal,
    restarts,
    socket_unit,
    waits,
    watchdog,
)
from systemd.serving import (
    asked,
    fields,
    first_login,
    installs,
    outside,
    read_again,
    removes,
    sandboxed,
    status,
    verifies,
)


def main() -> int:
    """Runs all checks. The service runs at the beginning of each."""
    report = Report(only=sys.argv[1:])
    if report.only:
        report.only.append("installed")
    report.check("installed as the page says", installs)
    report.check("units", verifies)
    report.check("sandbox", sandboxed)
    report.check("mail is removed", removes)
    report.check("fields in the journal", fields)
    report.check("status", status)
    report.check("control socket", asked)
    report.check("reload", reloads)
    report.check("notify-reload", notify_reload)
    report.check("users and certificates are read again", read_again)
    report.check("first login", first_login)
    report.check("mail outside of the sandbox", outside)
    report.check("restart", restarts)
    report.check("socket unit", socket_unit)
    report.check("stop with a session", waits)
    report.check("stop in a removal", removal)
    report.check("kill -9", killed)
    report.check("fatal errors", fatal)
    report.check("IPv6 off", no_ipv6)
    report.check("mail root", mail_root)
    report.check("home directories", homes)
    report.check("the end in the journal", stops)
    report.check("journal stopped", stopped_journal)
    report.check("watchdog", watchdog)
    report.check("upgrade", upgrades)
    report.check("upgrade with the socket unit", waits_in_the_socket)
    report.check("upgrade with an error in the configuration", refuses)
    # The last: the service is gone.
    report.check("removal and purge", removed)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
