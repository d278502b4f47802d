"""Power cuts: a file system is copied at the `+OK` to QUIT, mounted again, and checked.

An image of ext4, and one of XFS, is on a loop device. Its backing file has the contents of the disk,
without those that are only in memory. As soon as a client has read the `+OK`, that file is copied;
the copy is mounted, which replays the journal, and served by the same server as another user's mail.
The removed messages must be gone, and no others.

The images are in memory (/dev/shm), so that a copy takes milliseconds, and no data are written to
them by the clock meanwhile (`commit=600`; XFS after 30 s): each cut is mounted afresh.
"""

import random
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from lib.corpus import Message as Text
from lib.delivery import text
from lib.ledger import digest, files, token_of, unique_name
from lib.process import SERVER_USER
from lib.report import Failed, Report, require
from lib.server import CLEARTEXT, Clear
from lib.site import Account, Site

# The minimum of XFS.
SIZE = 320 << 20
FILE_SYSTEMS = {
    "ext4": (["mkfs.ext4", "-q", "-F"], "commit=600"),
    "xfs": (["mkfs.xfs", "-q", "-f"], "nouuid"),
}
MESSAGES = 20


def cuts(program: Path, number: int, seed: int) -> int:
    """Runs this number of cuts on each file system. Returns the exit code."""
    report = Report(only=[])
    for kind in FILE_SYSTEMS:
        site = Site(program)
        server = Clear(site, "power", allow_cleartext=True)
        images = Path(tempfile.mkdtemp(prefix="restante-power-", dir="/dev/shm"))
        try:
            _user(site, "before")
            _user(site, "after")
            server.start()
            report.check(
                f"{number} power cuts on {kind}, seed {seed}",
                lambda: _cuts(site, server, images, kind, number, random.Random(seed)),
            )
            server.stop()
        finally:
            server.kill()
            shutil.rmtree(images)
            site.close()
    return report.close()


def _user(site: Site, user: str) -> Account:
    """A user whose Maildir will be a file system."""
    account = Account(user, f"pass word {user}", site.root / "mail" / user / "Maildir")
    account.maildir.mkdir(parents=True)
    site.own(account.maildir.parent, SERVER_USER)
    site.accounts[user] = account
    site.enter(account)
    return account


def _cuts(
    site: Site, server: Clear, images: Path, kind: str, number: int, choice: random.Random
) -> str:
    """All cuts on one file system."""
    make, options = FILE_SYSTEMS[kind]
    require(shutil.which(make[0]) is not None, f"there is no {make[0]}")
    disk, copy = images / "disk", images / "copy"
    removed = kept = 0
    slowest = 0.0
    for _ in range(number):
        with disk.open("wb") as image:
            image.truncate(SIZE)
        subprocess.run([*make, str(disk)], check=True)
        with _mounted(disk, site.accounts["before"].maildir, options):
            wanted = _fill(site, site.accounts["before"], choice)
            gone = _remove(site, server, site.accounts["before"], wanted, choice)
            slowest = max(slowest, _copied(disk, copy))
        with _mounted(copy, site.accounts["after"].maildir, options):
            _compare(site, server, wanted, gone)
        removed += len(gone)
        kept += len(wanted) - len(gone)
    return f"{removed} messages removed and gone, {kept} kept, slowest copy {slowest * 1e3:.0f} ms"


def _copied(disk: Path, copy: Path) -> float:
    """Copies the contents of the disk at one moment. Returns the time, in seconds.

    A busy machine may write back memory at any time. A copy that was made meanwhile has some of the
    data and not the rest, unlike after any power cut, so another one is made.
    """
    for _ in range(20):
        begin = time.monotonic()
        subprocess.run(["cp", "--sparse=always", str(disk), str(copy)], check=True)
        elapsed = time.monotonic() - begin
        if subprocess.run(["cmp", "--quiet", str(disk), str(copy)], check=False).returncode == 0:
            return elapsed
    raise Failed("the disk is written to all the time")


@contextmanager
def _mounted(image: Path, where: Path, options: str) -> Iterator[None]:
    """Mounts the file system in this file while the block runs."""
    subprocess.run(["mount", "-o", f"loop,{options}", str(image), str(where)], check=True)
    try:
        yield
    finally:
        # The server writes its index after the reply, and keeps files open until then.
        for _ in range(100):
            said = subprocess.run(["umount", str(where)], capture_output=True, check=False)
            if said.returncode == 0:
                break
            time.sleep(0.05)
        else:
            subprocess.run(["umount", "--lazy", str(where)], check=True)
            raise Failed(f"{where} is in use after 5 s: {said.stderr!r}")


def _fill(site: Site, account: Account, choice: random.Random) -> dict[str, str]:
    """Delivers some messages durably. Returns their unique-ids and digests."""
    for part in ("new", "cur", "tmp"):
        (account.maildir / part).mkdir()
    wanted = {}
    for number in range(MESSAGES):
        message = text(f"power-{number}", choice, choice.choice((300, 3000, 30_000)))
        name = f"{1_700_000_000 + number}.M{number}P1.post"
        folder = choice.choice(("new", "cur"))
        flags = ":2,S" if folder == "cur" else ""
        (account.maildir / folder / (name + flags)).write_bytes(message.stored)
        wanted[name] = digest(message.wire)
    site.own(account.maildir, SERVER_USER)
    subprocess.run(["sync", "--file-system", str(account.maildir)], check=True)
    return wanted


def _remove(
    site: Site, server: Clear, account: Account, wanted: dict[str, str], choice: random.Random
) -> set[str]:
    """Removes some messages while others get flags. Returns at the `+OK` to QUIT."""
    connection = server.connect(CLEARTEXT)
    connection.log_in(account.user, account.password)
    connection.ok("UIDL")
    ids = [line.split()[1].decode() for line in connection.body()]
    require(set(ids) == set(wanted), f"listed {len(ids)} of {len(wanted)}")
    marked = choice.sample(range(len(ids)), choice.randint(1, len(ids)))
    for number in marked:
        connection.ok(f"DELE {number + 1}")
    # As a mail program does that reads new mail. These changes are not on disk yet.
    for path in files(account.maildir):
        if choice.random() < 0.3:
            path.rename(account.maildir / "cur" / f"{unique_name(path)}:2,FS")
    connection.ok("QUIT")
    connection.close()
    return {ids[number] for number in marked}


def _compare(site: Site, server: Clear, wanted: dict[str, str], gone: set[str]) -> None:
    """Checks the contents of the disk after the cut, and that they are served."""
    account = site.accounts["after"]
    on_disk: dict[str, str] = {}
    for path in files(account.maildir):
        name = unique_name(path)
        require(name not in on_disk, f"{name} is there twice")
        content = path.read_bytes()
        on_disk[name] = digest(Text(token_of(content), content).wire)
    kept = {name: text for name, text in wanted.items() if name not in gone}
    back = sorted(set(on_disk) & gone)
    lost = sorted(set(kept) - set(on_disk))
    require(not back, f"said to be removed, and there after the cut: {back}")
    require(not lost, f"LOST: {lost}")
    require(on_disk == kept, "some have other octets after the cut")
    connection = server.connect(CLEARTEXT)
    connection.log_in(account.user, account.password)
    connection.ok("UIDL")
    ids = {line.split()[1].decode() for line in connection.body()}
    require(ids == set(kept), f"served are {sorted(ids)}")
    connection.ok("QUIT")
    connection.close()
