"""PAM: a separate service, with users in a file by libpam-pwdfile."""

import os
from pathlib import Path

from lib.process import SERVER_USER, run
from lib.report import require
from lib.site import Site
from stores.backend import BehindBarrier


class Pam(BehindBarrier):
    """A stack that first runs a command, which can wait, and then checks the file."""

    name = "pam"

    def __init__(self, site: Site) -> None:
        super().__init__(site, "passwords")
        self.service = f"restante-test-{os.getpid()}"

    def start(self) -> None:
        if self.is_put_back():
            return
        wait = self.root / "wait"
        wait.write_text(f"#!/bin/sh\nexec {self.gate.wait()}\n")
        wait.chmod(0o755)
        self.file.touch()
        self._path().write_text(
            f"auth requisite pam_exec.so quiet {wait}\n"
            f"auth required pam_pwdfile.so pwdfile={self.file} nodelay\n"
            "account required pam_permit.so\n"
        )

    def close(self) -> None:
        super().close()
        self._path().unlink(missing_ok=True)

    def add(self, user: str, password: str, **attributes: object) -> None:
        verifier = run(["openssl", "passwd", "-6", "-stdin"], stdin=password, who=None).stdout
        with self.file.open("a") as file:
            file.write(f"{user}:{verifier}")

    def admits(self, user: str, password: str) -> bool:
        said = run(
            ["pamtester", self.service, user, "authenticate"],
            stdin=password + "\n", who=SERVER_USER, codes=(0, 1), timeout=2,
        )
        text = said.stdout + said.stderr
        require("successfully" in text or "failure" in text.lower() or "User not" in text, text)
        return "successfully" in text

    def settings(self, directory: Path) -> str:
        return f'[[credentials]]\nkind = "pam"\nservice = "{self.service}"\ndeadline = "2s"\n'

    def _path(self) -> Path:
        """The path at which PAM looks for the service."""
        return Path("/etc/pam.d") / self.service
