"""Counting and printing: a line for each check, and the closing line."""

import sys
import threading
import time
from collections import Counter
from typing import Callable, Iterable

from lib.corpus import Message


class Failed(Exception):
    """The server or a client failed; the text says how."""


class Report:
    """Runs checks, prints their results, and records the failures. Thread-safe."""

    def __init__(self, only: list[str]) -> None:
        self.only = only
        self._lock = threading.Lock()
        self.passed = 0
        self.failed: list[str] = []

    def wants(self, name: str) -> bool:
        """Whether a check is selected; all are, unless names were given."""
        return not self.only or any(part in name for part in self.only)

    def check(self, name: str, body: Callable[[], str]) -> None:
        """Runs `body`, and prints its result in brackets. A missing client is a failure."""
        if not self.wants(name):
            return
        started = time.monotonic()
        try:
            detail = body()
        except Exception as error:  # any error is a failure of this check only
            with self._lock:
                self.failed.append(name)
                print(f"FAILED {name}: {type(error).__name__}: {error}", flush=True)
            return
        took = time.monotonic() - started
        with self._lock:
            self.passed += 1
            print(f"ok {name} ({detail}, {took:.1f} s)", flush=True)

    def expect(self, holds: bool, what: str) -> None:
        """Prints and counts the result of a check."""
        with self._lock:
            if holds:
                self.passed += 1
                print(f"ok {what}", flush=True)
            else:
                self.failed.append(what)
                print(f"FAILED {what}", flush=True)

    def close(self) -> int:
        """Prints the closing line. Returns the exit code."""
        for name in self.failed:
            print(f"failed: {name}", file=sys.stderr)
        print(f"{self.passed} passed, {len(self.failed)} failed", flush=True)
        return 1 if self.failed or not self.passed else 0


def require(condition: bool, text: str) -> None:
    """Fails with `text` unless the condition holds; `assert` would be removed by -O."""
    if not condition:
        raise Failed(text)


def same_messages(
    received: Iterable[bytes], wanted: Iterable[Message], shape: Callable[[bytes], bytes]
) -> str:
    """Compares the stored messages of a client with the expected ones, octet for octet.

    `shape` turns the sent octets into those that this client stores.
    """
    names: dict[bytes, str] = {}
    expected: Counter[bytes] = Counter()
    for message in wanted:
        shaped = shape(message.wire)
        names[shaped] = message.name
        expected[shaped] += 1
    got = Counter(received)
    missing = [names[text] for text in (expected - got).elements()]
    strange = [describe(text) for text in (got - expected).elements()]
    require(not missing and not strange, f"missing or changed: {missing}; instead: {strange}")
    return f"{sum(expected.values())} messages"


def describe(text: bytes) -> str:
    """Enough of a message to recognise it."""
    if len(text) <= 160:
        return repr(text)
    return f"{len(text)} octets, {text[:200]!r} … {text[-60:]!r}"
