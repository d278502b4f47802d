"""Programs of Debian that are not installed: Courier's pop3d, and Dovecot and Courier of Debian 13.

They are made once, below `continuity` in Cargo's target directory.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Callable, Optional

from lib.process import SERVER_USER
from lib.report import require

REPOSITORY = Path(__file__).resolve().parents[3]
MIRROR = "http://deb.debian.org/debian"
POP3D = "usr/lib/courier/courier/courierpop3d"

# In its own mount namespace, a command of the guest has the files of the site under the same path.
ENTER = """
mount -t tmpfs tmpfs "$0/tmp"
mkdir -p "$0$1"
mount --bind "$1" "$0$1"
mount -t proc proc "$0/proc"
exec chroot --userspec="$2" "$0" "${@:3}"
"""


def courier() -> list[str]:
    """Courier's pop3d of this Debian, which is unpacked, not installed: no service is started."""
    return unprivileged(made_once("courier", _unpack_courier) / POP3D)


def unprivileged(program: Path) -> list[str]:
    """The command of a program that runs as the user of the mail."""
    user = [f"--reuid={SERVER_USER}", f"--regid={SERVER_USER}", "--clear-groups"]
    return ["setpriv", *user, str(program)]


def _unpack_courier(directory: Path) -> None:
    directory.mkdir()
    command = ["apt-get", "download", "-q", "courier-pop"]
    if subprocess.run(command, cwd=directory, capture_output=True, check=False).returncode != 0:
        run("apt-get", "update", "-q")
        run(*command, directory=directory)
    for package in directory.glob("*.deb"):
        run("dpkg", "-x", str(package), str(directory))


class Guest:
    """Debian 13 in a directory, with Dovecot 2.4 and Courier."""

    def __init__(self, site_root: Path) -> None:
        self.root = made_once("trixie", _install)
        self.site_root = site_root

    def command(self, *words: str, user: str = "root") -> list[str]:
        """A command there, with the files of the site under the same path."""
        return [
            "unshare", "--mount", "bash", "-euc", ENTER, str(self.root), str(self.site_root),
            f"{user}:{user}", *words,
        ]

    def courier(self) -> list[str]:
        """Courier's pop3d there."""
        return self.command(f"/{POP3D}", user=SERVER_USER)


def _install(root: Path) -> None:
    # What it mounts is gone after it.
    run("unshare", "--mount", "debootstrap", "--variant=minbase", "trixie", str(root), MIRROR)
    # Packages start no services.
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    (root / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")
    for path in ("etc/apt/apt.conf.d", "etc/resolv.conf"):
        source, target = Path("/", path), root / path
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        elif source.exists():
            shutil.copy(source, target)
    # The two servers exclude each other, so that of Courier is only unpacked.
    install = ("apt-get", "-qq", "-y", "--no-install-recommends", "install")
    run("chroot", str(root), *install, "dovecot-pop3d", "dovecot-imapd", "courier-base")
    run("chroot", str(root), "sh", "-ec", "cd /srv && apt-get -q download courier-pop")
    for package in (root / "srv").glob("*.deb"):
        run("dpkg", "-x", str(package), str(root))


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """A directory that is made under another name first, so that it is always complete."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")).resolve()
    root = target / "continuity" / name
    if not root.is_dir():
        half = root.with_name(f"{name}.half")
        shutil.rmtree(half, ignore_errors=True)
        root.parent.mkdir(parents=True, exist_ok=True)
        make(half)
        half.rename(root)
    return root


def run(*command: str, directory: Optional[Path] = None) -> None:
    """Runs a command as root. Fails with its output."""
    done = subprocess.run(
        command, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
    )
    require(done.returncode == 0, f"{command[:3]} ended with {done.returncode}: {done.stdout[-800:]}")
