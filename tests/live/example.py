"""Runs config/restante.toml through `restante check`: python3 tests/live example PROGRAM

It checks a copy, next to a fresh certificate and config/users.example as its credential file. Two
values depend on the machine and differ in the copy: the user of the server, and the directory of the
mail.
"""

import re
import shutil
import sys
from pathlib import Path

from lib.process import SERVER_USER, Finished, run
from lib.report import Report, require
from lib.site import Site, certify

CONFIG = Path(__file__).resolve().parents[2] / "config"
# The error of `check` about a missing certificate.
MISSING = r"restante\.toml:\d+:\d+: tls\.certificate: .*fullchain\.pem"


def main() -> int:
    """Both checks."""
    report = Report(only=[])
    site = Site(Path(sys.argv[1]).resolve())
    try:
        config = copied(site)
        report.check("the example has no error", lambda: accepted(site, config))
        report.check("a certificate is missing", lambda: refused(site, config))
    finally:
        site.close()
    return report.close()


def copied(site: Site) -> Path:
    """Writes the example and the files that it names."""
    root = site.root / "example"
    for user in ("mrose", "fred"):
        for part in ("new", "cur", "tmp"):
            (root / "vmail/example.org" / user / "Maildir" / part).mkdir(parents=True)
    (root / "tls").mkdir()
    certify("pop.example.org", root / "tls/fullchain.pem", root / "tls/privkey.pem")
    shutil.copy(CONFIG / "users.example", root / "users")
    (root / "users").chmod(0o600)
    text = (CONFIG / "restante.toml").read_text()
    text = text.replace('run-as = "vmail:vmail"', f'run-as = "{SERVER_USER}:{SERVER_USER}"')
    config = root / "restante.toml"
    config.write_text(text.replace("/var/vmail", f"{root}/vmail"))
    site.own(root, SERVER_USER)
    return config


def accepted(site: Site, config: Path) -> str:
    """It is accepted without a warning."""
    said = check(site, config, 0)
    require(said.stderr == "", f"warnings: {said.stderr}")
    return said.stdout.strip().split("\n")[-1]


def refused(site: Site, config: Path) -> str:
    """`check` fails, and names the place."""
    (config.parent / "tls/fullchain.pem").unlink()
    said = check(site, config, 1)
    found = re.search(MISSING, said.stdout + said.stderr)
    require(found is not None, f"missing in the output: {MISSING}: {said}")
    return found[0]


def check(site: Site, config: Path, code: int) -> Finished:
    """`restante check`, which must end with this exit code."""
    return run([site.program, "check", "--config", config], who=None, codes=(code,))


if __name__ == "__main__":
    sys.exit(main())
