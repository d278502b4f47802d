"""The final check: each message is in its place, once, and unchanged."""

from collections import defaultdict
from pathlib import Path

from lib.corpus import Message as Text
from lib.ledger import ARCHIVE, Ledger, Message, digest, files, token_of, unique_name
from lib.site import Account


def settle(ledger: Ledger, account: Account) -> None:
    """Compares the files with the replies, after all work on the Maildir has ended."""
    found: dict[str, list[Path]] = defaultdict(list)
    for folder in (account.maildir, account.maildir / f".{ARCHIVE}"):
        for path in files(folder) if folder.exists() else []:
            token = token_of(path.read_bytes())
            if token not in ledger.messages:
                ledger.violation(f"{path} is no message that was delivered")
            found[token].append(path)
    for message in ledger.of(account.user):
        _one(ledger, message, found[message.token])


def _one(ledger: Ledger, message: Message, paths: list[Path]) -> None:
    ledger.count("accounted for")
    if not message.is_delivered:
        ledger.count("deliveries that were cut off")
    elif not paths:
        _missing(ledger, message)
    elif len({path.stat().st_ino for path in paths}) > 1:
        ledger.violation(f"{message.token} is there more than once: {paths}", message)
    else:
        _left(ledger, message, paths[0])


def _missing(ledger: Ledger, message: Message) -> None:
    if message.told == "QUIT":
        ledger.count("gone, as +OK to QUIT said")
    elif message.is_copied:
        ledger.count("gone, and a mail program has it")
    elif message.is_expunging:
        ledger.count("gone by IMAP")
    elif message.was_leaving:
        ledger.count("gone after a QUIT without a reply")
    else:
        ledger.violation(f"{message.token} is LOST: no program was to remove it", message)


def _left(ledger: Ledger, message: Message, path: Path) -> None:
    ledger.count("left")
    if digest(Text(message.token, path.read_bytes()).wire) != message.digest:
        ledger.violation(f"{path}: the file was changed", message)
    if message.told == "QUIT" and not message.moves:
        ledger.violation(f"{path} is there, although QUIT removed it", message)
    if message.unique_id not in (None, unique_name(path)) and not message.moves:
        ledger.violation(f"{path} had the unique-id {message.unique_id}", message)
