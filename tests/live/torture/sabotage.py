"""Forbidden changes of the mail. The torture must detect each kind."""

import random
import shutil
import threading
from pathlib import Path

from lib.ledger import FLAGGED, STILL, Ledger, files, token_of
from lib.process import SERVER_USER
from lib.site import Account, Site

KINDS = ("remove", "alter", "rename", "hide", "duplicate")


def sabotage(
    kind: str, site: Site, ledger: Ledger, account: Account, choice: random.Random,
    stop: threading.Event,
) -> None:
    """Waits, makes one change, and prints the file."""
    stop.wait(10)
    wanted = FLAGGED if kind == "alter" else STILL
    found = [path for path in files(account.maildir) if _kind(ledger, path) == wanted]
    path = choice.choice(found)
    print(f"sabotage: {kind} {path}", flush=True)
    if kind == "remove":
        path.unlink()
    elif kind == "alter":
        text = bytearray(path.read_bytes())
        text[-20] ^= 1
        path.write_bytes(text)
    elif kind == "rename":
        path.rename(path.with_name(f"1{path.name}"))
    elif kind == "hide":
        elsewhere = account.maildir / "tmp" / path.name
        path.rename(elsewhere)
        stop.wait(8)
        elsewhere.rename(path)
    else:
        copy = path.with_name(f"1{path.name}")
        shutil.copy(path, copy)
        site.own(copy, SERVER_USER)


def _kind(ledger: Ledger, path: Path) -> str:
    try:
        message = ledger.messages.get(token_of(path.read_bytes()))
    except FileNotFoundError:
        return ""
    return message.kind if message else ""
