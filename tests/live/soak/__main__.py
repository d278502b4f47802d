"""An hour of ordinary load on a real `restante serve`: its resources, and the time of a poll.

    cargo build --release --locked
    python3 tests/live soak target/release/restante --minutes 60 --csv soak.csv
    python3 tests/live/soak/draw.py soak.csv docs/reliability/soak.svg

Polls, fetches and removals over TLS, STLS and in the clear, clients that vanish, mpop and
fetchmail, wrong passwords, deliveries, and a SIGHUP a minute, mostly with a broken file. At the end
every message is accounted for, as in `tests/live/torture`. Then the server is restarted under load:
`restart.py`. The exit code is 1 if there was an error or a resource has grown.
"""

import argparse
import csv
import os
import random
import signal
import statistics
import sys
import threading
import time
from pathlib import Path

from lib.delivery import deliverable
from lib.ledger import Ledger
from lib.report import Failed, Report
from lib.resources import Usage, at_rest, usual
from lib.settle import settle
from lib.site import Account, Site
from soak import restart
from soak.load import Load
from soak.reloads import OwnCertificate, Reloads

# Seconds between two samples.
SAMPLE = 5.0
COLUMNS = (
    "seconds", "memory_bytes", "descriptors", "threads", "processor_seconds", "p50_ms", "p99_ms",
    "polls", "sessions", "fetched", "removed", "reloads", "violations",
)
# How much more memory the last third of the run may keep than the second, and the number of samples
# that are needed to compare them.
GROWTH = 1.10
ENOUGH = 120


def main() -> int:
    """Runs the load, and then the restarts."""
    arguments = parse()
    deliverable()
    stopped = threading.Event()
    code = soak(arguments, stopped) if arguments.minutes else 0
    if stopped.is_set():
        return code
    report = Report(only=[])
    restart.checks(report, arguments.program)
    return max(code, report.close())


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("program", type=lambda text: Path(text).resolve())
    parser.add_argument("--minutes", type=float, default=60, metavar="N",
                        help="0 for the restarts alone")
    parser.add_argument("--csv", type=Path, default=Path("soak.csv"), metavar="FILE")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--reload-every", type=float, default=60, metavar="SECONDS")
    return parser.parse_args()


def soak(arguments: argparse.Namespace, stopped: threading.Event) -> int:
    """Runs and samples the load, until its time is over or a signal arrives."""
    ledger = Ledger()
    site = Site(arguments.program)
    server = OwnCertificate(site, "soak")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        accounts = [user(site, name, name < "c") for name in ("ann", "bob", "cid", "dot")]
        server.start()
        load = Load(site, server, ledger, accounts, arguments.seed)
        reloads = Reloads(site, server, ledger, accounts[0], arguments.seed)
        load.begin()
        thread = threading.Thread(
            target=reloads.run, args=(load.stop, arguments.reload_every), daemon=True
        )
        thread.start()
        rows = sample(server, ledger, load, stopped, arguments)
        load.end()
        thread.join(60)
        judge(server, ledger, rows)
        for account in accounts:
            settle(ledger, account)
        summary(ledger, rows, arguments.seed)
    finally:
        server.kill()
        site.close()
    return 1 if ledger.violations else 0


def user(site: Site, name: str, is_hashed: bool) -> Account:
    """A user: half of them have a hash, and the others a password in the clear."""
    account = site.mailbox(name)
    if is_hashed:
        site.add_user(account, site.clear_users)
    else:
        site.enter(account)
    return account


def sample(
    server: OwnCertificate, ledger: Ledger, load: Load, stopped: threading.Event,
    arguments: argparse.Namespace,
) -> list[dict[str, float]]:
    """Writes a row every few seconds."""
    rows: list[dict[str, float]] = []
    begin = time.monotonic()
    with arguments.csv.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        while not stopped.wait(SAMPLE) and time.monotonic() < begin + arguments.minutes * 60:
            if server.process is None or server.process.poll() is not None:
                ledger.violation("the server has ended")
                break
            usage, counts = Usage.of(server.process.pid), ledger.counts
            row = {
                "seconds": round(time.monotonic() - begin, 1), "memory_bytes": usage.memory,
                "descriptors": usage.descriptors, "threads": usage.threads,
                "processor_seconds": round(usage.processor, 2),
                "p50_ms": round(load.latencies.at(0.5) * 1e3, 2),
                "p99_ms": round(load.latencies.at(0.99) * 1e3, 2),
                "polls": counts["polls"], "sessions": counts["sessions"],
                "fetched": counts["fetched"], "removed": counts["removed"],
                "reloads": counts["reloads that were taken"]
                + counts["reloads with something broken"],
                "violations": len(ledger.violations),
            }
            rows.append(row)
            writer.writerow(row)
            file.flush()
            if len(rows) % 12 == 1:
                print(", ".join(f"{value} {name}" for name, value in row.items()), flush=True)
    return rows


def judge(server: OwnCertificate, ledger: Ledger, rows: list[dict[str, float]]) -> None:
    """Checks that no resource has grown, and that the server stops cleanly."""
    samples = [
        Usage(int(row["descriptors"]), int(row["threads"]), int(row["memory_bytes"]), 0, 0)
        for row in rows
    ]
    process = server.process
    if process is None or len(rows) < 6:
        ledger.violation("too few samples")
        return
    second, last = (rows[len(rows) * part // 3 : len(rows) * (part + 1) // 3] for part in (1, 2))
    grown = memory(last) / memory(second)
    if grown > GROWTH and len(rows) >= ENOUGH:
        ledger.violation(f"memory grew by {grown - 1:.1%} from the second third to the last")
    most = usual(samples)
    rest = at_rest(process.pid, most)
    print(f"memory, last third on second: {grown - 1:+.1%}; at rest: {rest}")
    if rest.descriptors > most.descriptors or rest.threads > most.threads:
        ledger.violation(f"at rest it holds {rest}; under load it was down to {most}")
    try:
        server.stop()
    except Failed as error:
        ledger.violation(str(error))
    if "panicked" in server.log.read_text(errors="replace"):
        ledger.violation("there is a panic in the log")


def memory(rows: list[dict[str, float]]) -> float:
    """The tenth percentile of the memory: what the server keeps.

    A login with an Argon2 hash takes 19 MiB while it lasts, and the number of samples during one
    depends on the machine more than on the server.
    """
    return statistics.quantiles((row["memory_bytes"] for row in rows), n=10)[0]


def summary(ledger: Ledger, rows: list[dict[str, float]], seed: int) -> None:
    """Prints the figures."""
    for what, number in sorted(ledger.counts.items()):
        print(f"{number:9} {what}")
    if rows:
        print(
            f"memory {rows[0]['memory_bytes'] / 1e6:.1f} MB at first, "
            f"{rows[-1]['memory_bytes'] / 1e6:.1f} MB at last; "
            f"processor {rows[-1]['processor_seconds'] / rows[-1]['seconds']:.1%} of a core; "
            f"poll p50 {statistics.median(row['p50_ms'] for row in rows):.1f} ms, "
            f"p99 {statistics.median(row['p99_ms'] for row in rows):.1f} ms, in the median"
        )
    print(f"{len(ledger.violations)} violations, seed {seed}", flush=True)


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("only root can deliver as another user")
    sys.exit(main())
