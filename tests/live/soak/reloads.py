"""SIGHUP once a minute, mostly with a broken file: the server must keep the earlier one."""

import os
import random
import shutil
import signal
import ssl
import threading
import time
from pathlib import Path
from typing import Callable

from lib.ledger import Ledger
from lib.pop3 import Lost, Pop3
from lib.process import SERVER_USER
from lib.report import Failed, require
from lib.server import TLS, Clear
from lib.site import Account, Site


class OwnCertificate(Clear):
    """A server with its own copies of key and certificate; clients trust the first ones."""

    is_apart = True

    def __init__(self, site: Site, name: str) -> None:
        super().__init__(site, name, allow_cleartext=True)
        self.certificate, self.key = (site.root / f"{name}.{kind}" for kind in ("pem", "key"))
        shutil.copy(site.certificate, self.certificate)
        shutil.copy(site.key, self.key)
        site.own(self.key, SERVER_USER)

    def configuration(self) -> str:
        text = super().configuration().replace(str(self.site.certificate), str(self.certificate))
        return text.replace(str(self.site.key), str(self.key))


class Reloads:
    """Breaks a file, reloads the server, and repairs the file."""

    def __init__(
        self, site: Site, server: OwnCertificate, ledger: Ledger, account: Account, seed: int
    ) -> None:
        self.site, self.server, self.ledger, self.account = site, server, ledger, account
        self._choice = random.Random(f"{seed} reloads")
        self.config = site.root / f"{server.name}.toml"
        users = site.clear_users
        key, certificate = server.key, server.certificate
        another = self._another_key()
        # Each error, with the file and its broken contents.
        self.broken: dict[str, tuple[Path, Callable[[bytes], bytes]]] = {
            "configuration: no TOML": (self.config, lambda text: text + b"\n[[[\n"),
            "configuration: cut": (self.config, lambda text: text[: len(text) // 2]),
            "configuration: empty": (self.config, lambda _: b""),
            "configuration: unknown key": (self.config, lambda text: text + b"colour = 1\n"),
            "configuration: value out of range": (
                self.config, lambda text: text + b"[limits]\nconnections = 0\n"
            ),
            "certificate: garbage": (certificate, lambda _: b"garbage\n" * 100),
            "certificate: cut": (certificate, lambda text: text[: len(text) // 2]),
            "certificate: empty": (certificate, lambda _: b""),
            "key: of another certificate": (key, lambda _: another),
            "key: cut": (key, lambda text: text[: len(text) // 2]),
            "credentials: not UTF-8": (users, lambda text: text + b"\xff\xfe:\xff\n"),
            "credentials: a line without a password": (users, lambda text: text + b"nobody\n"),
        }
        self._order: list[str] = []

    def run(self, stop: threading.Event, pause: float) -> None:
        """One every `pause` seconds, in turn."""
        while not stop.wait(pause):
            if not self._order:
                self._order = [*self.broken, "none", "none"]
                self._choice.shuffle(self._order)
            what = self._order.pop()
            try:
                self.one(what)
            except (Failed, Lost, OSError) as error:
                self.ledger.violation(f"reload with broken {what}: {error}")

    def one(self, what: str) -> None:
        """One reload with this error, and another after the repair."""
        before = self._serial()
        if what != "none":
            path, damage = self.broken[what]
            text, mode = path.read_bytes(), path.stat().st_mode & 0o777
            try:
                self._write(path, damage(text), mode)
                said = self._reload()
                if path == self.config:
                    require(" ERROR " in said, f"no error is logged: {said!r}")
                require(self._serial() == before, "another certificate is in use")
                self._log_in()
            finally:
                self._write(path, text, mode)
            self.ledger.count("reloads with something broken")
        said = self._reload()
        require(" ERROR " not in said, f"after it was mended: {said!r}")
        require(self._serial() == before, "another certificate is in use afterwards")
        self._log_in()
        self.ledger.count("reloads that were taken")

    def _write(self, path: Path, text: bytes, mode: int) -> None:
        """Replaces a file by a new one, as the documentation says."""
        new = path.with_name(path.name + ".new")
        new.touch(mode=mode)
        new.write_bytes(text)
        if path != self.config:
            self.site.own(new, SERVER_USER)
        new.rename(path)

    def _reload(self) -> str:
        """Sends SIGHUP. Returns the lines in the log about it."""
        process = self.server.process
        if process is None:
            raise Failed("there is no server")
        begin = self.server.log.stat().st_size
        os.kill(process.pid, signal.SIGHUP)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with self.server.log.open("rb") as log:
                log.seek(begin)
                lines = log.read().decode(errors="replace").split("\n")
            said = [line for line in lines[:-1] if "SIGHUP: " in line]
            if said:
                return said[0]
            time.sleep(0.05)
        raise Failed("no line was logged within 30 s of SIGHUP")

    def _serial(self) -> bytes:
        """The serial number of the server's certificate."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with Pop3(self.server.ports[TLS], tls=context) as client:
            return client.certificate()

    def _log_in(self) -> None:
        with self.server.connect() as client:
            client.log_in(self.account.user, self.account.password)
            client.ok("QUIT")

    def _another_key(self) -> bytes:
        other = Site(self.site.program)
        try:
            return other.key.read_bytes()
        finally:
            other.close()
