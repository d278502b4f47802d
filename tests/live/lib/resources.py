"""The resources of a process, from /proc."""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """Descriptors, threads, octets of memory now and at the peak, and seconds of processor time."""

    descriptors: int
    threads: int
    memory: int
    most: int
    processor: float

    @classmethod
    def of(cls, process: int) -> "Usage":
        """The present usage of a process."""
        root = Path(f"/proc/{process}")
        status = dict(
            line.split(":", 1) for line in (root / "status").read_text().splitlines()
        )
        # After the name in brackets: state, …, utime and stime as the 12th and 13th, in ticks.
        times = (root / "stat").read_text().rsplit(")", 1)[1].split()[11:13]
        return cls(
            len(list((root / "fd").iterdir())), int(status["Threads"]),
            int(status["VmRSS"].split()[0]) * 1024, int(status["VmHWM"].split()[0]) * 1024,
            sum(map(int, times)) / 100,
        )

    def __str__(self) -> str:
        return (
            f"{self.descriptors} descriptors, {self.threads} threads, "
            f"{self.memory / 1e6:.1f} MB"
        )


def usual(samples: list[Usage]) -> Usage:
    """The limits at rest: the fewest descriptors and the most threads under load."""
    return Usage(
        min(each.descriptors for each in samples), max(each.threads for each in samples),
        int(statistics.median(each.memory for each in samples)), samples[-1].most,
        samples[-1].processor,
    )


def at_rest(process: int, before: Usage, seconds: float = 40) -> Usage:
    """The usage once descriptors and threads are within the limits, or after this time."""
    end = time.monotonic() + seconds
    while True:
        now = Usage.of(process)
        back = now.descriptors <= before.descriptors and now.threads <= before.threads
        if back or time.monotonic() > end:
            return now
        time.sleep(0.5)
