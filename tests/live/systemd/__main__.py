"""Boots Debian with systemd in a container, installs the package of Restante, and checks the service.

    python3 tests/live systemd PROGRAM [NAME…]

PROGRAM is built with all features. Needs root, cargo-deb, dpkg-dev, mmdebstrap and
systemd-container. The root file system is built once, in target/systemd, and not changed: each run
uses a copy. The checks are in guest.py; names after the program select from them. `--suite trixie`
uses another Debian.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lib.debian import REPOSITORY, build_package

PACKAGES = "dbus,iproute2,libpython3-stdlib,openssl,procps,python3-minimal,systemd,systemd-sysv"
LIMIT = 900
LANDLOCK = "landlock_create_ruleset landlock_add_rule landlock_restrict_self"

# Without systemd as its first process, a machine may have the old control groups, or none.
CONTROL_GROUPS = """
set -e
mount --make-rprivate /
if [ ! -d /run/systemd/system ]; then
    if [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then
        ! mountpoint -q /sys/fs/cgroup || umount -l /sys/fs/cgroup
        mount -t cgroup2 none /sys/fs/cgroup
    fi
    mkdir -p "/sys/fs/cgroup/$0"
    echo $$ > "/sys/fs/cgroup/$0/cgroup.procs"
fi
exec "$@"
"""

UNIT = """
[Unit]
Description=Checks of Restante
After=multi-user.target
[Service]
Type=oneshot
StandardOutput=file:/live/report
StandardError=file:/live/report
ExecStart=/usr/bin/python3 /src/tests/live systemd.guest {names}
ExecStopPost=/usr/bin/systemctl --no-block poweroff
"""


def main() -> int:
    """Builds what is missing, boots, and passes on the results of the checks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--suite", default="bookworm")
    options = parser.parse_args()
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    pristine = made_once(target / "systemd" / options.suite, options.suite)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as directory:
        root, live = Path(directory) / "root", Path(directory) / "live"
        subprocess.run(["cp", "-aH", "--reflink=auto", pristine, root], check=True)
        live.mkdir()
        shutil.copy(build_package(options.program, Path(directory)), live)
        (live / "report").touch()
        wanted = root / "etc/systemd/system/multi-user.target.wants"
        wanted.mkdir(parents=True, exist_ok=True)
        (wanted / "checks.service").symlink_to("../checks.service")
        names = " ".join(options.names)
        (wanted.parent / "checks.service").write_text(UNIT.format(names=names))
        return boot(root, live)


def made_once(root: Path, suite: str) -> Path:
    """A minimal Debian. It is built under another name first, so that it is always complete."""
    if not root.is_dir():
        half = root.with_name(f"{root.name}.half")
        shutil.rmtree(half, ignore_errors=True)
        half.parent.mkdir(parents=True, exist_ok=True)
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}"]
        command += ["--keyring=/usr/share/keyrings/debian-archive-keyring.gpg"]
        subprocess.run([*command, suite, half, "http://deb.debian.org/debian"], check=True)
        half.rename(root)
    return root


def boot(root: Path, live: Path) -> int:
    """Runs the container until it powers off; otherwise shows its console."""
    name = f"restante-{os.getpid()}"
    command = ["unshare", "--mount", "bash", "-c", CONTROL_GROUPS, name]
    command += ["systemd-nspawn", "--quiet", "--boot", f"--machine={name}", f"--directory={root}"]
    command += ["--register=no", "--keep-unit", "--console=read-only", "--private-network"]
    # The container's own filter does not know these calls; the unit of a service restricts them.
    command += [f"--system-call-filter={LANDLOCK}"]
    command += ["--link-journal=no", f"--bind-ro={REPOSITORY}:/src", f"--bind={live}:/live"]
    console = live / "console"
    with console.open("wb") as sink:
        container = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT
        )
    try:
        with (live / "report").open() as report:
            deadline = time.monotonic() + LIMIT
            while container.poll() is None and time.monotonic() < deadline:
                sys.stdout.write(report.read())
                sys.stdout.flush()
                time.sleep(0.2)
            sys.stdout.write(report.read())
    finally:
        if container.poll() is None:
            container.terminate()
            container.wait()
    said = (live / "report").read_text()
    if said.rstrip().endswith(" 0 failed") and not said.rstrip().endswith("\n0 passed, 0 failed"):
        return 0
    print(console.read_text(errors="replace")[-4000:], file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
