"""What a POP3 server lists, and how two listings differ."""

from collections import Counter
from dataclasses import dataclass

from continuity.history import token_of
from lib.pop3 import Pop3
from lib.report import require
from lib.site import Account


@dataclass(frozen=True)
class Listed:
    """A message: its unique-id, its octets, and its token, which tells which message it is."""

    id: str
    octets: int
    token: str


Listing = list[Listed]


def ask(port: int, account: Account) -> Listing:
    """Logs in, asks for UIDL and LIST, and looks into each message."""
    with Pop3(port) as pop:
        pop.log_in(account.user, account.password)
        ids = _values(pop.lines("UIDL"))
        octets = _values(pop.lines("LIST"))
        require(len(ids) == len(octets), "UIDL and LIST have other lengths")
        found = [_token(pop, number) for number in range(1, len(ids) + 1)]
        pop.ok("QUIT")
    return [Listed(id, int(size), token) for id, size, token in zip(ids, octets, found)]


def ids(listing: Listing) -> list[str]:
    """The unique-ids."""
    return [each.id for each in listing]


def _values(lines: list[bytes]) -> list[str]:
    """The values of UIDL or LIST; the message-numbers must be complete."""
    pairs = [line.decode().split(" ", 1) for line in lines]
    numbers = [int(number) for number, _ in pairs]
    require(numbers == list(range(1, len(lines) + 1)), f"message-numbers: {numbers}")
    return [value for _, value in pairs]


def _token(pop: Pop3, number: int) -> str:
    return token_of(b"\n".join(pop.lines(f"TOP {number} 0")))


def same(old: Listing, new: Listing, is_in_order: bool = True) -> str:
    """The same messages with the same unique-ids, in the same order if they have one.

    Restante lists no unique-id twice: of messages that share one, the first keeps it.
    """
    if not is_in_order:
        old, new = (sorted(listing, key=lambda each: each.id) for listing in (old, new))
    wanted = set(ids(old))
    firsts = {each.id: number for number, each in reversed(list(enumerate(old)))}
    other = [
        (number + 1, before.id, after.id)
        for number, (before, after) in enumerate(zip(old, new))
        if before.token != after.token
        or (after.id != before.id if firsts[before.id] == number else after.id in wanted)
    ]
    require(
        not other and len(old) == len(new),
        f"{len(wanted & set(ids(new)))} of {len(wanted)} unique-ids kept, {len(new)} messages for "
        f"{len(old)}; the first places that differ (number, old, new): {other[:3]}",
    )
    _must_be_single(new)
    others = len(old) - len(wanted)
    said = f"{len(wanted)} unique-ids" + (f", and {others} for doubled ones" if others else "")
    return said if is_in_order else f"{said}, in any order"


def followed(before: Listing, now: Listing) -> Listing:
    """The rest of an earlier listing is unchanged, and new mail follows it. Returns that mail."""
    known, present = set(ids(before)), set(ids(now))
    left = [(each.id, each.token) for each in before if each.id in present]
    first = [(each.id, each.token) for each in now[:len(left)]]
    require(first == left, f"not in the old order at first: {sorted(set(first) ^ set(left))[:4]}")
    _must_be_single(now)
    new = now[len(left):]
    require(not known & set(ids(new)), "a unique-id was used again")
    return new


def _must_be_single(listing: Listing) -> None:
    doubled = [id for id, count in Counter(ids(listing)).items() if count > 1]
    require(not doubled, f"listed twice: {doubled[:3]}")
