#!/usr/bin/env python3
"""What others wait for: a file system that does not answer or is behind the times, a client that is gone.

Usage, as root, with bindfs, mergerfs, fuse3 and iproute2:  python3 tests/live stalls target/release/restante [NAME…]

Each part says what it does in its own file: dead, cached, vanish. All of them take two minutes and a
half; the exit code is 1 when something was wrong.
"""

import os
import sys
import threading

from stalls import cached, dead, vanish
from stalls.place import expect

PARTS = {"vanish": vanish.run, "dead": dead.run, "cached": cached.run}


def main():
    program = os.path.abspath(sys.argv[1])
    names = sys.argv[2:] or list(PARTS)
    # Who waits for a client that is gone does nothing meanwhile.
    waiting = threading.Thread(target=part, args=("vanish", program))
    if "vanish" in names:
        waiting.start()
    for name in names:
        if name != "vanish":
            part(name, program)
    if "vanish" in names:
        waiting.join()
    sys.exit(1 if expect.wrong else 0)


def part(name, program):
    try:
        PARTS[name](program)
    except Exception as error:
        expect(False, f"{name}: {error!r}")
        raise


main()
