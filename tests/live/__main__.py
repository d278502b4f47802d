"""Runs one of the suites in this directory against a real `restante serve`.

    python3 tests/live SUITE PROGRAM [WORD…]

SUITE is a directory or a file beside this one; its beginning says what it checks and which words it
takes. `lib` has what several suites use.
"""

import runpy
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def suites() -> list[str]:
    """The names of all suites."""
    directories = [path.parent.name for path in HERE.glob("*/__main__.py")]
    files = [path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_")]
    return sorted(directories + files)


def main() -> None:
    """Runs the suite with the rest of the command line."""
    if len(sys.argv) < 2 or sys.argv[1].partition(".")[0] not in suites():
        names = ", ".join(suites())
        sys.exit(f"usage: python3 tests/live SUITE PROGRAM [WORD…], with one of {names}")
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


main()
